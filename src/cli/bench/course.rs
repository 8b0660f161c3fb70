//! What a measurement does and what that costs, told from the configuration alone: nothing is called before the user agrees.

use crate::cli::error::CommandError;
use crate::cli::render::view::counted;
use crate::cli::view::usd;
use crate::config::{Config, Target};
use crate::media::FrameRange;
use crate::plan::cost;
use crate::render::chunks::{ChunkLength, ChunkPlan};
use crate::resource::price;

/// Numbers of workers on AWS where nobody says any.
const WORKERS_DEFAULT: [u32; 3] = [1, 5, 20];

/// Renders at most: more would be a bill and not a measurement.
const RENDERS_MAX: u32 = 200;

/// Invocations of a render beside its chunks: the composition's lookup, and the sound.
const OTHER_REQUESTS: u32 = 2;

/// Seconds that an environment takes to start, and an invocation beside its frames: assumed.
const START_SECONDS: f64 = 5.0;

/// Frames of a minute, for which the configuration says how long workers take.
const MINUTE_FRAMES: f64 = 1_800.0;

/// Renders to be done.
#[derive(Debug)]
pub(super) struct Course {
    pub(super) config: Config,
    pub(super) composition: String,
    /// Numbers of workers, ascending: so that each step starts environments which nobody has used.
    pub(super) workers: Vec<u32>,
    pub(super) runs: u32,
    pub(super) frames: FrameRange,
}

impl Course {
    /// `asked` are the numbers of workers that somebody asked for; `workers_max` as many as there can be at the same time.
    ///
    /// # Errors
    /// There are too few frames for so many workers, more workers than there can be, or too many renders.
    pub(super) fn new(
        config: &Config,
        composition: &str,
        asked: Vec<u32>,
        workers_max: Option<u32>,
        runs: u32,
        frames: u32,
    ) -> Result<Self, CommandError> {
        let frames = FrameRange::new(0, frames).expect("it is not empty: the number is not 0");
        let mut workers = match (asked.is_empty(), workers_max) {
            (false, _) => asked,
            (true, Some(max)) => vec![1, max],
            (true, None) => WORKERS_DEFAULT.to_vec(),
        };
        workers.sort_unstable();
        workers.dedup();
        for count in &workers {
            if workers_max.is_some_and(|max| *count > max) {
                return Err(CommandError::usage("This machine has no processors for so many workers").detail(format!(
                    "{count} were asked for; on the embedded cloud there are {} at most with this much memory.",
                    workers_max.unwrap_or_default()
                )));
            }
            let plan = ChunkPlan::new(frames, ChunkLength::Chunks(*count));
            let plan = plan.map_err(|error| {
                CommandError::usage("So many workers are not possible").cause(error)
            })?;
            // Chunks are no shorter than a few frames.
            if plan.frames_per_chunk() > frames.len().div_ceil(*count) {
                return Err(CommandError::usage("There are too few frames for so many workers")
                    .detail(format!(
                        "{count} workers were asked for; {} frames make {} of them.",
                        frames.len(),
                        counted(u64::from(plan.len()), "chunk", "chunks"),
                    ))
                    .hint("ask for more frames with --frames, or for fewer workers with --workers"));
            }
        }
        let renders = u32::try_from(workers.len())
            .unwrap_or(u32::MAX)
            .saturating_mul(runs);
        if renders > RENDERS_MAX {
            return Err(
                CommandError::usage("These are too many renders").detail(format!(
                    "{} numbers of workers, {runs} times each: {RENDERS_MAX} renders are possible.",
                    workers.len()
                )),
            );
        }
        Ok(Self {
            config: config.clone(),
            composition: composition.to_owned(),
            workers,
            runs,
            frames,
        })
    }

    /// Whether it is paid for.
    pub(super) fn is_billed(&self) -> bool {
        self.config.target == Target::Aws
    }

    fn seconds_per_minute(&self) -> u32 {
        let configured = self.config.render.worker_seconds_per_minute;
        configured.unwrap_or(cost::WORKER_SECONDS_PER_MINUTE)
    }

    /// About what all of it costs; nothing where no prices are known.
    fn estimate_usd(&self) -> Option<f64> {
        let per_frame = f64::from(self.seconds_per_minute()) / MINUTE_FRAMES;
        let frames_seconds = per_frame * f64::from(self.frames.len());
        let (mut seconds, mut requests) = (0.0, 0);
        for workers in &self.workers {
            let invocations = workers + OTHER_REQUESTS;
            let render_seconds = frames_seconds + START_SECONDS * f64::from(invocations);
            seconds += f64::from(self.runs) * render_seconds;
            requests += self.runs * invocations;
        }
        let function = &self.config.function;
        let prices = price::prices(&self.config.region, function.architecture.as_str())?;
        let second_usd = prices.second_usd(function.memory_mb, function.disk_mb);
        Some(seconds * second_usd + f64::from(requests) * prices.request_usd)
    }

    /// What will be done and what it costs.
    pub(super) fn announcement(&self) -> String {
        let counts: Vec<String> = self.workers.iter().map(u32::to_string).collect();
        let renders = u64::from(self.runs) * self.workers.len() as u64;
        let what = format!(
            "{} of {} of {}, with {} {}, {} each.",
            counted(renders, "render", "renders"),
            counted(u64::from(self.frames.len()), "frame", "frames"),
            self.composition,
            counts.join(", "),
            if counts == ["1"] { "worker" } else { "workers" },
            counted(u64::from(self.runs), "time", "times"),
        );
        format!("{what}\n{}", self.cost())
    }

    fn cost(&self) -> String {
        if !self.is_billed() {
            return "Nothing is billed: the farm is the embedded cloud of this machine.".to_owned();
        }
        let region = &self.config.region;
        match self.estimate_usd() {
            Some(estimate) => format!(
                "It is billed, at about {} by list prices of {} for {region}: workers are taken to need {} seconds for a minute of video \
                 and {START_SECONDS} for each start. S3 and data transfer are not in it, nor what has to be rendered again.",
                usd(estimate),
                price::PRICES_DATE,
                self.seconds_per_minute(),
            ),
            None => format!("It is billed; no list price in USD is known for {region}."),
        }
    }

    pub(super) fn question(&self) -> &'static str {
        match self.is_billed() {
            true => "Do you want to measure this farm, at that cost?",
            false => "Do you want to measure this farm?",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::Ui;
    use crate::config::parse_for_tests;

    fn config(text: &str) -> Config {
        parse_for_tests(&format!("project = \"a\"\n{text}"), None)
    }

    const AWS: &str = "target = \"aws\"\nregion = \"us-east-1\"\n[function]\nmemory_mb = 2048\narchitecture = \"x86_64\"\n";

    #[test]
    fn what_it_costs_is_told_and_rests_on_the_configuration() {
        let course =
            |text: &str| Course::new(&config(text), "Title", vec![], None, 3, 100).unwrap();
        let text = course(AWS).announcement();
        assert!(
            text.starts_with(
                "9 renders of 100 frames of Title, with 1, 5, 20 workers, 3 times each.\n"
            ),
            "{text}"
        );
        // 9 · 100 frames at 240 s for 1800, and 3 · (3 + 7 + 22) starts of 5 s: 600 s of 2 GB and a little of disk, 96 requests.
        assert!(text.contains("about $0.0200 by list prices"), "{text}");
        let text =
            course(&format!("{AWS}[render]\nworker_seconds_per_minute = 480\n")).announcement();
        assert!(text.contains("about $0.0241 by list prices"), "{text}");
        let text = course(&AWS.replace("us-east-1", "mars-north-1")).announcement();
        assert!(text.contains("It is billed; no list price"), "{text}");
        let text = course("").announcement();
        assert!(
            text.ends_with("Nothing is billed: the farm is the embedded cloud of this machine."),
            "{text}"
        );
    }

    #[test]
    fn numbers_of_workers_rise_and_each_has_its_chunk() {
        let config = config("");
        let workers = |asked: &[u32], max| {
            let course = Course::new(&config, "Title", asked.to_vec(), max, 2, 100);
            course
                .map(|course| course.workers)
                .map_err(|error| error.render(&Ui::plain()))
        };
        assert_eq!(workers(&[20, 2, 2], None).unwrap(), [2, 20]);
        assert_eq!(workers(&[], Some(4)).unwrap(), [1, 4]);
        assert_eq!(workers(&[], Some(1)).unwrap(), [1]);
        let refused = workers(&[3], Some(2)).unwrap_err();
        assert!(refused.contains("there are 2 at most"), "{refused}");
        let refused = workers(&[30], None).unwrap_err();
        assert!(
            refused.contains("100 frames make 20 chunks of them"),
            "{refused}"
        );
        let refused = workers(&[500], None).unwrap_err();
        assert!(refused.contains("1 to 200"), "{refused}");
        assert_eq!(workers(&[14], None).unwrap(), [14]);
        let many: Vec<u32> = (1..=15).collect();
        let refused = Course::new(&config, "Title", many, None, 20, 100).unwrap_err();
        assert!(
            refused
                .render(&Ui::plain())
                .contains("200 renders are possible")
        );
    }
}
