//! Lambda's list prices, without free tier, savings plans and tiers, without S3 and data transfer.

use crate::names::Region;

/// Where the prices come from.
pub const PRICES_SOURCE: &str = "https://aws.amazon.com/lambda/pricing/";

/// When they were looked up.
pub const PRICES_DATE: &str = "2026-11";

/// `/tmp` that is not paid for.
pub const FREE_DISK_MB: u32 = 512;

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

impl Prices {
    /// A second of a function with so much memory and disk, in USD.
    pub fn second_usd(&self, memory_mb: u32, disk_mb: u32) -> f64 {
        let memory_gb = f64::from(memory_mb) / MB_PER_GB;
        let disk_gb = f64::from(disk_mb.saturating_sub(FREE_DISK_MB)) / MB_PER_GB;
        memory_gb * self.gb_second_usd + disk_gb * self.disk_gb_second_usd
    }
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
