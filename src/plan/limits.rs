//! Preflight of what follows from Lambda's limits: how much code an account stores, and how many workers run at once. Pure.

use super::change::{Action, Change, Plan};
use super::preflight::{Check, Subject, Verdict};
use crate::resource::{FunctionSpec, Resource};

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

/// Whether what the plan stores of code fits; `None` where it stores nothing. `freed_bytes` is what goes with the functions
/// that are replaced, before they are made again.
///
/// Lambda counts each version with the whole of its code, also where that is the code of the version before ("Best practices
/// for managing code storage", operator guide).
pub fn code_storage(
    plan: &Plan,
    package: Package,
    limits: Limits,
    freed_bytes: u64,
) -> Option<Check> {
    let stored: Vec<Stored> = plan.changes.iter().filter_map(stored).collect();
    if stored.is_empty() {
        return None;
    }
    let copies: u64 = stored.iter().map(|one| one.copies).sum();
    let verdict = match stored.iter().any(|one| one.certain) {
        true => Verdict::Refused,
        false => Verdict::Warning,
    };
    let needed = copies.saturating_mul(package.zipped_bytes);
    let used = limits.total_bytes_used.saturating_sub(freed_bytes);
    let free = limits.total_bytes_max.saturating_sub(used);
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
        return Some(Check::new(subject, verdict, detail));
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

/// Code that a change stores.
struct Stored {
    copies: u64,
    /// Else there may be the version already that it would make, as there is after a rollback.
    certain: bool,
}

/// What is made is stored twice, as what can be changed and as its first version; an update adds a version.
fn stored(change: &Change) -> Option<Stored> {
    match (change.action, &change.before, &change.after) {
        (Action::Create | Action::Replace, _, Some(Resource::Function(_))) => Some(Stored {
            copies: 2,
            certain: true,
        }),
        (
            Action::Update | Action::Adopt,
            Some(Resource::Function(before)),
            Some(Resource::Function(after)),
        ) if before != after => {
            let as_it_is = FunctionSpec {
                published: after.published,
                runtime_version_arn: after.runtime_version_arn.clone(),
                ..before.clone()
            };
            Some(Stored {
                copies: 1,
                certain: as_it_is != *after,
            })
        }
        _ => None,
    }
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

/// `12.3 MiB`: AWS counts code in powers of 1024, and calls them MB.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["B", "KiB", "MiB", "GiB"];
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
