//! What rendering costs, and how much of it the account does at once: before a plan and after it.
//!
//! At Lambda's list prices (`resource/price.rs`). How long workers take for a minute of video is an assumption, which the
//! configuration can replace; it is told with the figures.

use serde::{Deserialize, Serialize};

use super::change::{Action, Plan};
use crate::names::Region;
use crate::resource::price::{PRICES_DATE, PRICES_SOURCE, prices};
use crate::resource::{Address, FunctionSpec, Resource};

/// Seconds that workers take for a minute of video where nobody says so: 1800 frames of 1920×1080 at about 0.1 s of one
/// processor each, with the 1.16 processors of 2048 MB, and a second for each of 83 chunks to begin.
pub const WORKER_SECONDS_PER_MINUTE: u32 = 240;

/// How rendering is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Seconds that all workers together take for a minute of video.
    pub worker_seconds_per_minute: u32,
    /// Whether that is assumed; else the configuration says so.
    pub assumed: bool,
    /// Invocations for a minute of video: a minute at 30 frames a second in the chunks that the configuration makes.
    pub requests_per_minute: u32,
    /// Workers that a long render wants at the same time.
    pub workers_per_render: u32,
}

/// What a plan does to cost and capacity.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The function: all replicas are alike.
    pub address: Address,
    /// Where the prices apply.
    pub region: Region,
    /// Nothing is paid where the target is local; it is what AWS would take.
    pub local: bool,
    /// USD for a minute of video with what `live` serves; `None` if there is none, or no price is known.
    pub before_usd: Option<f64>,
    /// USD for a minute of video as it will be.
    pub after_usd: Option<f64>,
    /// Whether there is a function after the plan.
    pub remains: bool,
    /// On what that rests.
    pub shape: Shape,
    /// [`PRICES_DATE`].
    pub prices_date: String,
    /// [`PRICES_SOURCE`].
    pub prices_source: String,
    /// Invocations that the account runs at the same time, for all functions without a reservation; `None` if unknown.
    pub unreserved_concurrency: Option<u32>,
}

/// What `plan` does to the cost of a minute of video. `None` where no function is planned or was there.
pub fn estimate(
    plan: &Plan,
    shape: Shape,
    local: bool,
    unreserved_concurrency: Option<u32>,
) -> Option<Estimate> {
    let region = &plan.identity.region;
    let change = plan.changes.iter().find(|change| {
        let specs = [&change.before, &change.after];
        let mut specs = specs.into_iter().flatten();
        change.action != Action::Forget && specs.any(|spec| matches!(spec, Resource::Function(_)))
    })?;
    let cost = |spec: Option<&Resource>| match spec {
        Some(Resource::Function(spec)) => per_minute_usd(spec, region, shape),
        _ => None,
    };
    Some(Estimate {
        address: change.address.clone(),
        region: region.clone(),
        local,
        before_usd: cost(change.serves()),
        after_usd: cost(change.after.as_ref()),
        remains: change.after.is_some(),
        shape,
        prices_date: PRICES_DATE.to_owned(),
        prices_source: PRICES_SOURCE.to_owned(),
        unreserved_concurrency,
    })
}

fn per_minute_usd(spec: &FunctionSpec, region: &Region, shape: Shape) -> Option<f64> {
    let prices = prices(region, &spec.architecture)?;
    let seconds = f64::from(shape.worker_seconds_per_minute);
    let second_usd = prices.second_usd(spec.memory_mb, spec.disk_mb);
    let requests = f64::from(shape.requests_per_minute);
    Some(seconds * second_usd + requests * prices.request_usd)
}
