//! `[policy]`: what a plan may not do.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::rule::{Default, Key, Kind, TableRule, TextRule};

/// `[policy]`
#[derive(Debug, Clone, std::default::Default, PartialEq)]
pub struct PolicyConfig {
    /// What is refused.
    pub deny: BTreeSet<DenyRule>,
    /// What a minute of video may cost, in USD.
    pub max_cost_per_minute_usd: Option<f64>,
}

/// What a plan can be refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DenyRule {
    /// A resource is destroyed.
    Destroy,
    /// A resource is replaced.
    Replace,
    /// A role that exists may do more, or more may assume it, or its permissions boundary is another.
    IamWiden,
    /// A bucket is left without its public access blocks.
    PublicBucket,
}

impl DenyRule {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Destroy,
        Self::Replace,
        Self::IamWiden,
        Self::PublicBucket,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Destroy => "destroy",
            Self::Replace => "replace",
            Self::IamWiden => "iam-widen",
            Self::PublicBucket => "public-bucket",
        }
    }
}

impl fmt::Display for DenyRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The text is not the word of a rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a rule: destroy, replace, iam-widen or public-bucket is needed")]
pub struct DenyRuleError(String);

impl FromStr for DenyRule {
    type Err = DenyRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let rule = Self::ALL.into_iter().find(|rule| rule.as_str() == text);
        rule.ok_or_else(|| DenyRuleError(text.to_owned()))
    }
}

/// The keys of `[policy]`.
pub(super) static POLICY: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "deny",
            kind: Kind::Texts {
                rule: &TextRule {
                    what: "a rule",
                    rule: "`destroy`, `replace`, `iam-widen`, `public-bucket`",
                    valid: |text| text.parse::<DenyRule>().is_ok(),
                },
                count_min: 0,
                count_max: 4,
            },
            default: Default::Value("[]"),
            doc: "Rules. `destroy`: a resource is destroyed. `replace`: one is replaced. `iam-widen`: a role that \
                  exists may do more than before, more may assume it, or a function gets another role. `public-bucket`: the bucket is left without \
                  its public access blocks. `--deny RULE` adds to them.",
        },
        Key {
            name: "max_cost_per_minute_usd",
            kind: Kind::Number {
                min: 0.0001,
                max: 1_000.0,
            },
            default: Default::Words("any cost", "0.05"),
            doc: "What a minute of video may cost on AWS at most, in USD, as `plan` estimates it. Where no price is known, \
                  the plan is refused.",
        },
    ]],
    exclusive: &[],
};
