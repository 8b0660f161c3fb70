//! What a render costs, estimated by Remotion's formula, the orchestrator included.

use serde::{Deserialize, Serialize};

use super::progress::Timing;

/// What Lambda adds to each invocation, by Remotion's estimate.
const INVOCATION_MS: u64 = 100;

/// What a function costs.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rates {
    /// A second of it, memory and disk.
    pub second_usd: f64,
    /// An invocation.
    pub request_usd: f64,
}

/// A cost as clients show it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cost {
    /// In `currency`.
    pub accrued_so_far: f64,
    /// With the currency's sign.
    pub display_cost: String,
    /// `USD`.
    pub currency: String,
    /// What it does not hold.
    pub disclaimer: String,
}

/// What is billed, in milliseconds: chunks that are done, those that are running, and the orchestrator.
pub fn billed_ms(timings: &[Timing], invoked: u32, elapsed_ms: u64) -> u64 {
    let done: u64 = timings
        .iter()
        .map(|timing| timing.rendered.saturating_sub(timing.start) + INVOCATION_MS)
        .sum();
    let unfinished = u64::from(invoked).saturating_sub(timings.len() as u64);
    done + unfinished * elapsed_ms + elapsed_ms
}

impl Rates {
    /// So many milliseconds in so many invocations.
    pub fn cost(self, billed_ms: u64, invocations: u32) -> Cost {
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of a render are far below 2^53"
        )]
        let seconds = billed_ms as f64 / 1_000.0;
        let usd = seconds * self.second_usd + f64::from(invocations) * self.request_usd;
        let usd = (usd * 100_000.0).round() / 100_000.0;
        Cost {
            accrued_so_far: usd,
            display_cost: match usd < 0.001 {
                true => "<$0.001".to_owned(),
                false => format!("${usd:.3}"),
            },
            currency: "USD".to_owned(),
            disclaimer: "Estimated cost only. Does not include charges for other AWS services."
                .to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_formula_is_the_official_one_and_counts_the_orchestrator() {
        let timing = |chunk, rendered| Timing {
            chunk,
            start: 1_000,
            rendered,
        };
        // The official function says 3477.
        let billed = billed_ms(&[timing(0, 2_000), timing(1, 2_500)], 3, 777);
        assert_eq!(billed, 3_477 + 777);
        let rates = Rates {
            second_usd: 2.0 * 0.000_013_333_4 + 9.5 * 0.000_000_030_9,
            request_usd: 0.000_000_2,
        };
        // us-east-1, Arm, 2048 MB of memory and 10 240 MB of disk.
        let cost = rates.cost(60_000, 20);
        assert!((cost.accrued_so_far - 0.001_62).abs() < 1e-9, "{cost:?}");
        assert_eq!(cost.display_cost, "$0.002");
        assert_eq!(rates.cost(0, 0).display_cost, "<$0.001");
    }
}
