//! What a plan may not do: the rules of `[policy]` and `--deny`, asked before anything is touched.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::change::{Action, Change, Plan};
use super::cost::Estimate;
use crate::config::DenyRule;
use crate::resource::reach::{self, Reach};
use crate::resource::{Address, Resource};

/// The field of a function that names its role.
pub const ROLE_FIELD: &str = "role";

/// The rule by which somebody has to agree to lose data.
pub const CONSENT_RULE: &str = "delete_data";

/// A change that a rule forbids. Its text is a sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule, as the configuration writes it.
    pub rule: String,
    /// The resource.
    pub address: Address,
    /// What would happen to it.
    #[serde(rename = "detail")]
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rule,
            address,
            what,
        } = self;
        match rule.as_str() {
            CONSENT_RULE => write!(f, "{address} {what}"),
            _ => write!(f, "`{rule}` forbids that {address} {what}"),
        }
    }
}

/// Every change of `plan` that a rule of `denied` forbids.
pub fn violations(plan: &Plan, denied: &BTreeSet<DenyRule>) -> Vec<Violation> {
    let found = plan.changes.iter().flat_map(|change| {
        denied.iter().filter_map(|rule| {
            Some(Violation {
                rule: rule.as_str().to_owned(),
                address: change.address.clone(),
                what: forbidden(*rule, change)?,
            })
        })
    });
    found.collect()
}

/// Every change that deletes or replaces what is protected: as it is recorded, or as the config says.
pub fn breaches(plan: &Plan) -> Vec<&Change> {
    let changes = plan.changes.iter();
    let breaches = changes.filter(|change| {
        matches!(change.action, Action::Delete | Action::Replace)
            && (change.protect.recorded || change.protect.wanted)
    });
    breaches.collect()
}

/// The same as violations.
pub fn unprotected(plan: &Plan) -> Vec<Violation> {
    let breaches = breaches(plan).into_iter();
    let violations = breaches.map(|change| Violation {
        rule: "protect".to_owned(),
        address: change.address.clone(),
        what: match change.action {
            Action::Replace => "is replaced".to_owned(),
            _ => "is destroyed".to_owned(),
        },
    });
    violations.collect()
}

/// Whether the plan makes rendering cost more than `max_usd` a minute of video, or nobody knows what.
pub fn too_expensive(estimate: &Estimate, max_usd: f64) -> Option<Violation> {
    let what = match estimate.after_usd {
        Some(after) if after <= max_usd => return None,
        // What is there already costs that: this plan makes nothing dearer.
        Some(after) if estimate.before_usd.is_some_and(|before| after <= before) => return None,
        Some(after) => {
            format!("costs ${after:.4} a minute of video: at most ${max_usd:.4} may be paid")
        }
        None if !estimate.remains => return None,
        None => format!(
            "costs what nobody knows: no list price in USD is known for {}",
            estimate.region
        ),
    };
    Some(Violation {
        rule: "max_cost_per_minute_usd".to_owned(),
        address: estimate.address.clone(),
        what,
    })
}

fn forbidden(rule: DenyRule, change: &Change) -> Option<String> {
    match rule {
        DenyRule::Destroy => (change.action == Action::Delete).then(|| "is destroyed".to_owned()),
        DenyRule::Replace => (change.action == Action::Replace).then(|| {
            let fields = change
                .fields
                .iter()
                .filter(|field| field.forces_replacement);
            let fields: Vec<&str> = fields.map(|field| field.path.as_str()).collect();
            match fields[..] {
                [] => "is replaced".to_owned(),
                _ => format!("is replaced because of {}", fields.join(", ")),
            }
        }),
        DenyRule::IamWiden => {
            let widened = widened(change);
            match change.after {
                _ if widened.is_empty() => None,
                Some(Resource::Function(_)) => {
                    Some("gets another role, and roles are not compared".to_owned())
                }
                _ => Some(format!("is widened: {}", widened.join(", "))),
            }
        }
        DenyRule::PublicBucket => match &change.after {
            Some(Resource::Bucket(bucket)) if !bucket.block_public_access => {
                Some("may be public".to_owned())
            }
            _ => None,
        },
    }
}

/// The fields through which a role, or the code that runs as it, gets to do more than it may now. What another role of a
/// function may do is not looked up, so every one counts. A role or function that is made is no wider than one that was not
/// there: whoever wants to look at those looks at `create`.
pub fn widened(change: &Change) -> Vec<&'static str> {
    match (&change.before, &change.after) {
        (Some(Resource::Role(before)), Some(Resource::Role(after))) => {
            let mut widened = Vec::new();
            if before.permissions_boundary != after.permissions_boundary
                && before.permissions_boundary.is_some()
            {
                widened.push("permissions_boundary");
            }
            if reach::of_change(&before.trust_policy, &after.trust_policy) == Reach::Widened {
                widened.push("trust_policy");
            }
            if reach::of_change(&before.policy, &after.policy) == Reach::Widened {
                widened.push("policy");
            }
            if reach::of_other_policies(before, after) == Reach::Widened {
                widened.push("other_policies");
            }
            if reach::of_attached_policies(before, after) == Reach::Widened {
                widened.push("attached_policies");
            }
            widened
        }
        (Some(_), Some(Resource::Function(after))) => {
            // `live` may still run as the role of its time.
            let now = [&change.before, &change.live].into_iter().flatten();
            let runs_as =
                |now: &Resource| matches!(now, Resource::Function(now) if now.role == after.role);
            match now.into_iter().all(runs_as) {
                true => Vec::new(),
                false => vec![ROLE_FIELD],
            }
        }
        _ => Vec::new(),
    }
}
