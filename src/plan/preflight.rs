//! Preflight: whether a plan could be carried out, told before anything is touched.
//!
//! Pure: what the cloud answered comes in, [`Check`]s come out. A check that could not be made says so and why; it is
//! never a pass, and never a reason to refuse.

use std::fmt;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::calls::{Call, Surroundings, calls};
use super::change::Plan;
use crate::names::RoleName;
use crate::resource::{Address, Resource};

/// Credentials that end sooner may end in the middle of an apply: a role takes up to three minutes to be known, a
/// function in a VPC ten to come up.
pub const CREDENTIALS_MIN_MINUTES: i64 = 15;

/// What was checked before a plan is carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// ARN of who would carry it out.
    pub principal: String,
    /// In the order in which they are shown.
    pub checks: Vec<Check>,
}

/// One thing that was checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What.
    pub subject: Subject,
    /// How it came out.
    pub verdict: Verdict,
    /// The finding, as a clause.
    pub detail: String,
    /// What would be denied.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub denied: Vec<Denied>,
}

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Who calls, and whether the account is the right one.
    Caller,
    /// When the credentials expire.
    Credentials,
    /// Whether the caller may do what the plan does.
    Permissions,
    /// Whether the role of the workers lets them do their work.
    WorkerRole,
    /// Whether the code fits into what the account has.
    CodeStorage,
    /// Whether the function's layers are there, and what is known of their sizes.
    Layers,
    /// Whether the account runs as many workers as a render wants.
    Concurrency,
}

impl Subject {
    /// The words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Credentials => "credentials",
            Self::Permissions => "permissions",
            Self::WorkerRole => "worker role",
            Self::CodeStorage => "code storage",
            Self::Layers => "layers",
            Self::Concurrency => "concurrency",
        }
    }
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, and there is something to be known.
    Warning,
    /// It would not work: the plan is refused.
    Refused,
    /// It could not be told.
    NotChecked,
}

/// An action that would be denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denied {
    /// As policies write it.
    pub action: String,
    /// ARN, or `*`.
    pub resource: String,
    /// Whose changes need it; none for what workers need.
    pub addresses: Vec<Address>,
    /// Why, as a clause.
    pub reason: String,
}

/// Its subject and what was found.
impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject.as_str(), self.detail)
    }
}

impl Preflight {
    /// Checks for which the plan is refused.
    pub fn refusals(&self) -> impl Iterator<Item = &Check> {
        let checks = self.checks.iter();
        checks.filter(|check| check.verdict == Verdict::Refused)
    }
}

impl Check {
    /// A check without denials.
    pub fn new(subject: Subject, verdict: Verdict, detail: impl Into<String>) -> Self {
        Self {
            subject,
            verdict,
            detail: detail.into(),
            denied: Vec::new(),
        }
    }
}

/// Whose policies can be simulated for a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A user or role, by ARN.
    Named(String),
    /// A role that was assumed. Its path, and with it its ARN, is known to IAM alone.
    AssumedRole {
        /// The role.
        name: RoleName,
        /// Its ARN if it has no path.
        arn: String,
    },
    /// Nobody whose policies IAM could simulate: why.
    None(&'static str),
}

/// Who stands behind the ARN of a caller (`GetCallerIdentity`).
pub fn principal(caller: &str) -> Principal {
    let mut parts = caller.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (_, partition, service, _, account, rest) =
        (next(), next(), next(), next(), next(), next());
    let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
    match (service, kind) {
        ("iam", "user" | "role") => Principal::Named(caller.to_owned()),
        ("sts", "assumed-role") => {
            let name = name.split('/').next().unwrap_or_default();
            match name.parse() {
                Ok(name) => Principal::AssumedRole {
                    arn: format!("arn:{partition}:iam::{account}:role/{name}"),
                    name,
                },
                Err(_) => Principal::None("the caller's ARN names no role"),
            }
        }
        ("iam", "root") => {
            Principal::None("the caller is the account's root user, whom no policy of IAM limits")
        }
        ("sts", "federated-user") => Principal::None("IAM does not simulate federated users"),
        _ => Principal::None("IAM does not simulate callers of this kind"),
    }
}

/// A call with the changes that make it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// The call.
    pub call: Call,
    /// Whose changes make it.
    pub addresses: Vec<Address>,
}

/// Every call of `plan`, each once, sorted by resource.
pub fn needs(plan: &Plan, surroundings: Surroundings<'_>) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    let specs = plan.changes.iter();
    let mut specs = specs.filter_map(|change| change.after.as_ref().or(change.before.as_ref()));
    let bucket = specs.find_map(|spec| match spec {
        Resource::Bucket(spec) => Some(&spec.name),
        _ => None,
    });
    for change in &plan.changes {
        for call in calls(change, surroundings, bucket) {
            let same = |need: &&mut Need| {
                (need.call.action, &need.call.resource) == (call.action, &call.resource)
            };
            match needs.iter_mut().find(same) {
                Some(need) => {
                    need.call.dispensable &= call.dispensable;
                    if !need.addresses.contains(&change.address) {
                        need.addresses.push(change.address.clone());
                    }
                }
                None => needs.push(Need {
                    call,
                    addresses: vec![change.address.clone()],
                }),
            }
        }
    }
    needs.sort_by(|one, other| one.call.resource.cmp(&other.call.resource));
    needs
}

/// What is called for another reason than a change, as [`Need`]s.
pub fn needs_of_nobody(needs: Vec<(&'static str, String)>) -> Vec<Need> {
    let needs = needs.into_iter().map(|(action, resource)| Need {
        call: Call {
            action,
            resource,
            dispensable: false,
        },
        addresses: Vec::new(),
    });
    needs.collect()
}

/// What the cloud said of a need.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It is allowed.
    Allowed,
    /// It is denied: why, as a clause.
    Denied(String),
    /// It could not be told: why, as a clause.
    Unknown(String),
}

/// Whether everything that `who` needs is allowed; `answers` belong to `needs`, one to each.
pub fn permissions(subject: Subject, who: &str, needs: &[Need], answers: &[Answer]) -> Check {
    let both = || needs.iter().zip(answers);
    let denied: Vec<(bool, Denied)> = both()
        .filter_map(|(need, answer)| match answer {
            Answer::Denied(reason) => Some((
                need.call.dispensable,
                Denied {
                    action: need.call.action.to_owned(),
                    resource: need.call.resource.clone(),
                    addresses: need.addresses.clone(),
                    reason: reason.clone(),
                },
            )),
            Answer::Allowed | Answer::Unknown(_) => None,
        })
        .collect();
    let unknown: Vec<&str> = both()
        .filter_map(|(_, answer)| match answer {
            Answer::Unknown(reason) => Some(reason.as_str()),
            Answer::Allowed | Answer::Denied(_) => None,
        })
        .collect();
    let count = needs.len();
    let refused = denied.iter().any(|(dispensable, _)| !dispensable);
    let (verdict, detail) = if refused {
        let needed = denied.iter().filter(|(dispensable, _)| !dispensable);
        let detail = format!(
            "{} of {count} actions would be denied to {who}",
            needed.count()
        );
        (Verdict::Refused, detail)
    } else if let Some(first) = unknown.first() {
        let allowed = count - unknown.len() - denied.len();
        let detail = match (allowed, denied.len()) {
            (0, 0) => format!("not checked: {first}"),
            (_, 0) => format!(
                "{allowed} of {count} actions are allowed to {who}, the others are not checked: {first}"
            ),
            // Whatever is denied here is dispensable.
            (_, denied) => format!(
                "{allowed} of {count} actions are allowed to {who}, {denied} denied (only for clearing away old versions), the \
                 others not checked: {first}"
            ),
        };
        (Verdict::NotChecked, detail)
    } else if denied.is_empty() {
        let detail = format!("all {count} actions are allowed to {who}");
        (Verdict::Ok, detail)
    } else {
        let detail = format!("what is denied to {who} is only for clearing away old versions");
        (Verdict::Warning, detail)
    };
    Check {
        subject,
        verdict,
        detail,
        denied: denied.into_iter().map(|(_, denied)| denied).collect(),
    }
}

/// Whether credentials that end at `end` last for an apply. Credentials without an end always do.
pub fn credentials(end: Option<OffsetDateTime>, now: OffsetDateTime) -> Check {
    let Some(end) = end else {
        let detail = "no expiry is known";
        return Check::new(Subject::Credentials, Verdict::Ok, detail);
    };
    let minutes = (end - now).whole_minutes();
    let detail = format!("they expire in {minutes} min");
    if minutes >= CREDENTIALS_MIN_MINUTES {
        return Check::new(Subject::Credentials, Verdict::Ok, detail);
    }
    Check::new(
        Subject::Credentials,
        Verdict::Warning,
        format!("{detail}, which may be too soon for an apply: get new ones first"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_traced_to_who_has_policies() {
        let user = "arn:aws:iam::123456789012:user/ci";
        assert_eq!(principal(user), Principal::Named(user.to_owned()));
        assert_eq!(
            principal("arn:aws-cn:sts::123456789012:assumed-role/deploy/ci@1"),
            Principal::AssumedRole {
                name: "deploy".parse().unwrap(),
                arn: "arn:aws-cn:iam::123456789012:role/deploy".to_owned(),
            }
        );
        for caller in [
            "arn:aws:iam::123456789012:root",
            "arn:aws:sts::123456789012:federated-user/x",
            "nonsense",
        ] {
            assert!(matches!(principal(caller), Principal::None(_)), "{caller}");
        }
    }

    fn need(action: &'static str, dispensable: bool) -> Need {
        Need {
            call: Call {
                action,
                resource: "*".to_owned(),
                dispensable,
            },
            addresses: vec!["function.worker".parse().unwrap()],
        }
    }

    #[test]
    fn only_a_denial_of_what_is_needed_refuses() {
        let needs = [need("a:One", false), need("a:Two", true)];
        let denied = || Answer::Denied("no policy allows it".to_owned());
        let unknown = || Answer::Unknown("nobody answers".to_owned());
        for (answers, verdict, detail) in [
            (
                [Answer::Allowed, Answer::Allowed],
                Verdict::Ok,
                "all 2 actions are allowed to x",
            ),
            (
                [Answer::Allowed, denied()],
                Verdict::Warning,
                "what is denied to x is only for clearing away old versions",
            ),
            (
                [denied(), Answer::Allowed],
                Verdict::Refused,
                "1 of 2 actions would be denied to x",
            ),
            (
                [denied(), denied()],
                Verdict::Refused,
                "1 of 2 actions would be denied to x",
            ),
            (
                [denied(), unknown()],
                Verdict::Refused,
                "1 of 2 actions would be denied to x",
            ),
            (
                [Answer::Allowed, unknown()],
                Verdict::NotChecked,
                "1 of 2 actions are allowed to x, the others are not checked: nobody answers",
            ),
            (
                [unknown(), denied()],
                Verdict::NotChecked,
                "0 of 2 actions are allowed to x, 1 denied (only for clearing away old versions), the others not checked: \
                 nobody answers",
            ),
            (
                [unknown(), unknown()],
                Verdict::NotChecked,
                "not checked: nobody answers",
            ),
        ] {
            let check = permissions(Subject::Permissions, "x", &needs, &answers);
            assert_eq!(
                (check.verdict, &*check.detail),
                (verdict, detail),
                "{answers:?}"
            );
        }
    }

    #[test]
    fn credentials_that_end_soon_are_warned_of() {
        let now = OffsetDateTime::UNIX_EPOCH;
        let minutes = |minutes| Some(now + time::Duration::minutes(minutes));
        assert_eq!(credentials(None, now).verdict, Verdict::Ok);
        assert_eq!(credentials(minutes(60), now).verdict, Verdict::Ok);
        assert_eq!(credentials(minutes(4), now).verdict, Verdict::Warning);
    }
}
