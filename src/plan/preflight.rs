//! Preflight: whether a plan could be carried out, told before anything is touched.
//!
//! Pure: what the cloud answered comes in, [`Check`]s come out. A check that could not be made says so and why; it is
//! never a pass, and never a reason to refuse.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::calls::{Call, Surroundings, calls};
use super::change::{Action, Change, Plan};
use crate::names::RoleName;
use crate::resource::{Address, FunctionSpec, Resource};

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

/// Lambda's limits, as far as a plan depends on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Invocations at the same time of all functions without a reservation.
    pub unreserved_concurrency: u32,
    /// Largest zip that goes within a request.
    pub zipped_bytes_max: u64,
    /// Largest function, unzipped.
    pub unzipped_bytes_max: u64,
    /// Code of all functions and versions together.
    pub total_bytes_max: u64,
    /// How much of that is in use.
    pub total_bytes_used: u64,
}

/// The function package of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Package {
    /// Size of the zip.
    pub zipped_bytes: u64,
    /// Size of what is in it.
    pub unzipped_bytes: u64,
}

/// Whether new code fits; `None` where the plan brings none.
pub fn code_storage(plan: &Plan, package: Package, limits: Limits) -> Option<Check> {
    // What is made is stored twice, as what can be changed and as its first version; an update adds a version.
    let copies = |change: &Change| match (change.action, &change.before, &change.after) {
        (Action::Create | Action::Replace, _, Some(Resource::Function(_))) => 2,
        (
            Action::Update | Action::Adopt,
            Some(Resource::Function(before)),
            Some(Resource::Function(after)),
        ) => u64::from(stored_anew(before, after)),
        _ => 0,
    };
    let copies: u64 = plan.changes.iter().map(copies).sum();
    if copies == 0 {
        return None;
    }
    let needed = copies.saturating_mul(package.zipped_bytes);
    let free = limits
        .total_bytes_max
        .saturating_sub(limits.total_bytes_used);
    let subject = Subject::CodeStorage;
    if package.unzipped_bytes > limits.unzipped_bytes_max {
        let detail = format!(
            "the package has {} unzipped, and Lambda takes {}",
            size(package.unzipped_bytes),
            size(limits.unzipped_bytes_max)
        );
        return Some(Check::new(subject, Verdict::Refused, detail));
    }
    if needed > free {
        let detail = format!(
            "the plan stores {} of code, and the account has {} left of {}: delete functions or versions, or ask AWS for more",
            size(needed),
            size(free),
            size(limits.total_bytes_max)
        );
        return Some(Check::new(subject, Verdict::Refused, detail));
    }
    let way = match package.zipped_bytes > limits.zipped_bytes_max {
        true => "through the bucket",
        false => "within the request",
    };
    let detail = format!(
        "{} zipped ({} unzipped of {}) {way}; {} left of {}",
        size(package.zipped_bytes),
        size(package.unzipped_bytes),
        size(limits.unzipped_bytes_max),
        size(free),
        size(limits.total_bytes_max)
    );
    Some(Check::new(subject, Verdict::Ok, detail))
}

fn stored_anew(before: &FunctionSpec, after: &FunctionSpec) -> bool {
    before.code_sha256 != after.code_sha256 || before.architecture != after.architecture
}

/// Whether the account runs as many workers at the same time as a render wants.
pub fn concurrency(workers_per_render: u32, limits: Limits) -> Check {
    let unreserved = limits.unreserved_concurrency;
    let subject = Subject::Concurrency;
    if workers_per_render > unreserved {
        let detail = format!(
            "a render wants up to {workers_per_render} workers at once, and the account runs {unreserved}: renders take longer; \
             ask AWS for more (Service Quotas, Lambda, concurrent executions)"
        );
        return Check::new(subject, Verdict::Warning, detail);
    }
    let renders = unreserved / workers_per_render.max(1);
    let detail = format!(
        "a render wants up to {workers_per_render} workers at once; the account runs {unreserved}, {renders} such renders"
    );
    Check::new(subject, Verdict::Ok, detail)
}

/// `12.3 MB`, in powers of 1024 as AWS counts code.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KB", "MB", "GB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", UNITS[unit]),
    }
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
