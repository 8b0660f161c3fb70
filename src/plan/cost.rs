//! What rendering costs, and how much of it the account does at once: before a plan and after it.
//!
//! Lambda's list prices, without free tier, savings plans and tiers, without S3 and data transfer. How long workers take for
//! a minute of video is an assumption, which the configuration can replace; it is told with the figures.

use serde::{Deserialize, Serialize};

use super::change::{Action, Plan};
use crate::names::Region;
use crate::resource::{Address, FunctionSpec, Resource};

/// Where the prices come from.
pub const PRICES_SOURCE: &str = "https://aws.amazon.com/lambda/pricing/";

/// When they were looked up.
pub const PRICES_DATE: &str = "2026-11";

/// Seconds that workers take for a minute of video where nobody says so: 1800 frames of 1920×1080 at about 0.1 s of one
/// processor each, with the 1.16 processors of 2048 MB, and a second for each of 83 chunks to begin.
pub const WORKER_SECONDS_PER_MINUTE: u32 = 240;

/// `/tmp` that is not paid for.
const FREE_DISK_MB: u32 = 512;

const MB_PER_GB: f64 = 1024.0;

/// List prices of a region and an architecture, in USD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prices {
    /// A GB of memory for a second, in the first tier.
    pub gb_second_usd: f64,
    /// A GB of `/tmp` beyond the free ones for a second.
    pub disk_gb_second_usd: f64,
    /// An invocation.
    pub request_usd: f64,
}

/// A region's prices: x86 and Arm memory, disk in units of 1e-10 USD, requests in units of 1e-8 USD.
struct Row {
    regions: &'static [&'static str],
    x86_64: Option<f64>,
    arm64: f64,
    disk: f64,
    request: f64,
}

const X86_64: Option<f64> = Some(166_667.0);
const ARM64: f64 = 133_334.0;
const REQUEST: f64 = 20.0;

/// Memory in units of 1e-10 USD. Regions that bill in another currency are not here.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    Row { regions: &["us-east-1", "us-east-2", "us-west-2"], x86_64: X86_64, arm64: ARM64, disk: 309.0, request: REQUEST },
    Row { regions: &["us-west-1", "ap-northeast-1", "ap-northeast-3", "ap-southeast-1", "ap-southeast-2", "ap-southeast-4"],
          x86_64: X86_64, arm64: ARM64, disk: 370.0, request: REQUEST },
    Row { regions: &["ap-south-1", "ap-northeast-2"], x86_64: X86_64, arm64: ARM64, disk: 352.0, request: REQUEST },
    Row { regions: &["ca-central-1", "eu-west-1"], x86_64: X86_64, arm64: ARM64, disk: 340.0, request: REQUEST },
    Row { regions: &["eu-central-1"], x86_64: X86_64, arm64: ARM64, disk: 367.0, request: REQUEST },
    Row { regions: &["eu-west-2", "eu-west-3"], x86_64: X86_64, arm64: ARM64, disk: 358.0, request: REQUEST },
    Row { regions: &["eu-north-1"], x86_64: X86_64, arm64: ARM64, disk: 323.0, request: REQUEST },
    Row { regions: &["sa-east-1"], x86_64: X86_64, arm64: ARM64, disk: 586.0, request: REQUEST },
    Row { regions: &["eu-south-1"], x86_64: Some(195_172.0), arm64: 156_138.0, disk: 357.0, request: 23.0 },
    Row { regions: &["af-south-1"], x86_64: Some(221_000.0), arm64: 176_800.0, disk: 404.0, request: 27.0 },
    Row { regions: &["ap-east-1"], x86_64: Some(229_200.0), arm64: 183_000.0, disk: 407.0, request: 28.0 },
    Row { regions: &["eu-central-2"], x86_64: None, arm64: 146_667.0, disk: 441.0, request: 22.0 },
    Row { regions: &["ap-southeast-5"], x86_64: None, arm64: 120_000.0, disk: 333.0, request: 18.0 },
];

/// The list prices; `None` where they are not known here.
pub fn prices(region: &Region, architecture: &str) -> Option<Prices> {
    let mut rows = ROWS.iter();
    let row = rows.find(|row| row.regions.contains(&region.as_str()))?;
    let memory = match architecture {
        "arm64" => row.arm64,
        "x86_64" => row.x86_64?,
        _ => return None,
    };
    Some(Prices {
        // Memory is written with nine digits behind the point, disk with ten.
        gb_second_usd: memory * 1e-10,
        disk_gb_second_usd: row.disk * 1e-10,
        request_usd: row.request * 1e-8,
    })
}

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
    let memory_gb = f64::from(spec.memory_mb) / MB_PER_GB;
    let disk_gb = f64::from(spec.disk_mb.saturating_sub(FREE_DISK_MB)) / MB_PER_GB;
    let second_usd = memory_gb * prices.gb_second_usd + disk_gb * prices.disk_gb_second_usd;
    let requests = f64::from(shape.requests_per_minute);
    Some(seconds * second_usd + requests * prices.request_usd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_prices_are_those_of_the_page() {
        let region = |name: &str| name.parse().unwrap();
        let virginia = prices(&region("us-east-1"), "x86_64").unwrap();
        assert!((virginia.gb_second_usd - 0.000_016_666_7).abs() < 1e-12);
        assert!((virginia.disk_gb_second_usd - 0.000_000_030_9).abs() < 1e-14);
        assert!((virginia.request_usd - 0.000_000_2).abs() < 1e-12);
        let arm = prices(&region("eu-central-1"), "arm64").unwrap();
        assert!((arm.gb_second_usd - 0.000_013_333_4).abs() < 1e-12);
        assert_eq!(prices(&region("mars-north-1"), "arm64"), None);
        assert_eq!(prices(&region("eu-central-2"), "x86_64"), None);
        let mut regions: Vec<_> = ROWS.iter().flat_map(|row| row.regions).collect();
        let count = regions.len();
        regions.sort_unstable();
        regions.dedup();
        assert_eq!(regions.len(), count, "a region is in one row");
    }
}
