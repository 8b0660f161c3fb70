//! Figures out of what was measured. Pure.

use serde::Serialize;

use crate::render::{Invoked, RenderTimings};
use crate::resource::price::Prices;

/// One render of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Measured {
    /// Workers at the same time.
    pub(super) workers: u32,
    /// Chunks: one for each of them, or fewer where the frames do not divide so.
    pub(super) chunks: u32,
    /// 1 for the first render with so many.
    pub(super) run: u32,
    /// Frames of the video.
    pub(super) frames: u64,
    /// From the request to the video on this machine, in milliseconds.
    pub(super) wall_ms: u64,
    /// Of these.
    pub(super) phases: Phases,
    /// Chunks tried again.
    pub(super) retries: u32,
    /// Second copies of slow chunks.
    pub(super) backups: u32,
    /// Everything that was asked of the farm, in the order in which it ended.
    pub(super) invocations: Vec<Invoked>,
}

/// Wall time of a render's phases, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Phases {
    resolve_ms: u64,
    render_ms: u64,
    sound_ms: u64,
    stitch_ms: u64,
}

impl From<RenderTimings> for Phases {
    fn from(timings: RenderTimings) -> Self {
        let RenderTimings {
            resolve_ms,
            render_ms,
            sound_ms,
            stitch_ms,
        } = timings;
        Self {
            resolve_ms,
            render_ms,
            sound_ms,
            stitch_ms,
        }
    }
}

impl Measured {
    /// Frames of the video a second, from the request to the end.
    fn frames_per_second(&self) -> f64 {
        self.frames as f64 * 1_000.0 / self.wall_ms.max(1) as f64
    }

    /// Seconds of all invocations together. Lambda counts from its own start to the worker's end; this counts the way there and back.
    fn worker_seconds(&self) -> f64 {
        let took_ms: u64 = self.invocations.iter().map(|one| one.took_ms).sum();
        took_ms as f64 / 1_000.0
    }
}

/// What a function is billed by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rate {
    pub(super) prices: Prices,
    pub(super) memory_mb: u32,
    pub(super) disk_mb: u32,
}

impl Rate {
    /// What a render costs.
    fn usd(&self, render: &Measured) -> f64 {
        let second_usd = self.prices.second_usd(self.memory_mb, self.disk_mb);
        let requests_usd = render.invocations.len() as f64 * self.prices.request_usd;
        render.worker_seconds() * second_usd + requests_usd
    }
}

/// How often something took how long, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct Distribution {
    pub(super) count: usize,
    pub(super) min_ms: u64,
    pub(super) p50_ms: u64,
    pub(super) p90_ms: u64,
    pub(super) p99_ms: u64,
    pub(super) max_ms: u64,
}

impl Distribution {
    /// Nothing, where there is nothing.
    pub(super) fn of(times_ms: impl IntoIterator<Item = u64>) -> Option<Self> {
        let mut sorted: Vec<u64> = times_ms.into_iter().collect();
        sorted.sort_unstable();
        let (min_ms, max_ms) = (*sorted.first()?, *sorted.last()?);
        Some(Self {
            count: sorted.len(),
            min_ms,
            p50_ms: percentile(&sorted, 50),
            p90_ms: percentile(&sorted, 90),
            p99_ms: percentile(&sorted, 99),
            max_ms,
        })
    }
}

/// The least of `sorted` that so many per cent of them do not exceed (nearest rank). There is at least one.
fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted[rank.clamp(1, sorted.len()) - 1]
}

/// Starts of one kind: how long until the worker was heard of, and until its first picture was there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Starts {
    /// From the invocation to the first message.
    pub(super) first_message: Option<Distribution>,
    /// From the invocation to the first picture of a chunk.
    pub(super) first_picture: Option<Distribution>,
}

impl Starts {
    /// Those of environments that were `warm`, or of new ones.
    pub(super) fn of(renders: &[Measured], warm: bool) -> Self {
        let invocations = || {
            let all = renders.iter().flat_map(|render| &render.invocations);
            all.filter(move |one| one.warm == Some(warm))
        };
        Self {
            first_message: Distribution::of(invocations().filter_map(|one| one.started_ms)),
            first_picture: Distribution::of(invocations().filter_map(Invoked::first_picture_ms)),
        }
    }
}

/// What so many workers do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ByWorkers {
    pub(super) workers: u32,
    pub(super) runs: usize,
    /// Of a render.
    pub(super) wall: Distribution,
    /// Of the render in the middle.
    pub(super) frames_per_second: f64,
    /// By how much it is faster than with the fewest workers.
    pub(super) speed_up: f64,
    /// Seconds that all workers took, on average.
    pub(super) worker_seconds: f64,
    /// USD of a render, on average; nothing where no prices are known.
    pub(super) usd: Option<f64>,
}

/// Renders with the same number of workers, put together; the fewest workers first.
pub(super) fn by_workers(renders: &[Measured], rate: Option<Rate>) -> Vec<ByWorkers> {
    let mut counts: Vec<u32> = renders.iter().map(|render| render.workers).collect();
    counts.sort_unstable();
    counts.dedup();
    let mut rows: Vec<ByWorkers> = Vec::new();
    for workers in counts {
        let these: Vec<&Measured> = renders
            .iter()
            .filter(|render| render.workers == workers)
            .collect();
        let runs = these.len();
        let Some(wall) = Distribution::of(these.iter().map(|render| render.wall_ms)) else {
            continue;
        };
        let middle = these.iter().find(|render| render.wall_ms == wall.p50_ms);
        let slowest = rows.first().map_or(wall.p50_ms, |row| row.wall.p50_ms);
        let mean = |of: &dyn Fn(&Measured) -> f64| {
            these.iter().map(|render| of(render)).sum::<f64>() / runs as f64
        };
        rows.push(ByWorkers {
            workers,
            runs,
            frames_per_second: middle.map_or(0.0, |render| render.frames_per_second()),
            speed_up: slowest as f64 / wall.p50_ms.max(1) as f64,
            worker_seconds: mean(&Measured::worker_seconds),
            usd: rate.map(|rate| mean(&|render| rate.usd(render))),
            wall,
        });
    }
    rows
}

/// What all of it costs.
pub(super) fn total_usd(renders: &[Measured], rate: Rate) -> f64 {
    renders.iter().map(|render| rate.usd(render)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ChunkTimings;
    use crate::render::Made;

    fn invoked(warm: bool, started_ms: u64, took_ms: u64) -> Invoked {
        Invoked {
            warm: Some(warm),
            started_ms: Some(started_ms),
            took_ms,
            segment: Some(Made {
                frame_count: 10,
                timings: ChunkTimings {
                    capture_ms: 100,
                    ..ChunkTimings::default()
                },
            }),
        }
    }

    fn render(workers: u32, wall_ms: u64, invocations: Vec<Invoked>) -> Measured {
        Measured {
            workers,
            chunks: workers,
            run: 1,
            frames: 10 * u64::from(workers),
            wall_ms,
            phases: RenderTimings::default().into(),
            retries: 0,
            backups: 0,
            invocations,
        }
    }

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let told = |times: &[u64]| Distribution::of(times.iter().copied());
        assert_eq!(told(&[]), None);
        let one = told(&[7]).unwrap();
        assert_eq!([one.min_ms, one.p50_ms, one.p99_ms, one.max_ms], [7; 4]);
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let hundred = told(&hundred).unwrap();
        assert_eq!(
            [
                hundred.min_ms,
                hundred.p50_ms,
                hundred.p90_ms,
                hundred.p99_ms,
                hundred.max_ms
            ],
            [1, 50, 90, 99, 100]
        );
        let three = told(&[30, 10, 20]).unwrap();
        assert_eq!(
            [three.count as u64, three.p50_ms, three.p90_ms],
            [3, 20, 30]
        );
    }

    #[test]
    fn cold_starts_are_told_from_warm_ones() {
        let mut unheard = invoked(false, 0, 9_000);
        (unheard.warm, unheard.started_ms, unheard.segment) = (None, None, None);
        let renders = [render(
            2,
            5_000,
            vec![invoked(false, 800, 3_000), unheard, invoked(true, 30, 900)],
        )];
        let (cold, warm) = (Starts::of(&renders, false), Starts::of(&renders, true));
        assert_eq!(cold.first_message.unwrap().max_ms, 800);
        assert_eq!(cold.first_picture.unwrap().p50_ms, 2_900);
        assert_eq!(warm.first_message.unwrap().count, 1);
        assert_eq!(warm.first_picture.unwrap().max_ms, 800);
    }

    #[test]
    fn workers_are_compared_with_the_fewest() {
        let prices = Prices {
            gb_second_usd: 0.01,
            disk_gb_second_usd: 0.5,
            request_usd: 0.001,
        };
        let rate = Rate {
            prices,
            memory_mb: 2048,
            disk_mb: 512,
        };
        let one = |wall_ms| {
            render(
                1,
                wall_ms,
                vec![invoked(false, 1, 4_000), invoked(true, 1, 6_000)],
            )
        };
        let renders = [
            render(4, 2_500, vec![invoked(false, 1, 8_000)]),
            one(10_000),
            one(9_000),
            one(30_000),
        ];
        let rows = by_workers(&renders, Some(rate));
        let told: Vec<_> = rows
            .iter()
            .map(|row| (row.workers, row.runs, row.wall.p50_ms))
            .collect();
        assert_eq!(told, [(1, 3, 10_000), (4, 1, 2_500)]);
        // 10 s of 2 GB and two requests; 8 s and one.
        let near = |found: f64, expected: f64| (found - expected).abs() < 1e-9;
        assert!(near(rows[0].frames_per_second, 1.0) && near(rows[1].frames_per_second, 16.0));
        assert!(near(rows[0].speed_up, 1.0) && near(rows[1].speed_up, 4.0));
        assert!(near(rows[0].worker_seconds, 10.0) && near(rows[1].worker_seconds, 8.0));
        assert!(
            near(rows[0].usd.unwrap(), 0.202) && near(rows[1].usd.unwrap(), 0.161),
            "{rows:?}"
        );
        assert!(near(total_usd(&renders, rate), 3.0 * 0.202 + 0.161));
        assert_eq!(by_workers(&renders, None)[0].usd, None);
    }
}
