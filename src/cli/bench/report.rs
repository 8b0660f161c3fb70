//! What a measurement says: the document for programs, and the table for a terminal.

use serde::Serialize;

use crate::cli::render::view::duration;
use crate::cli::view::usd;
use crate::env;
use crate::names::StageName;
use crate::resource::{FunctionSpec, price};
use crate::state::CloudIdentity;

use super::course::Course;
use super::figures::{ByWorkers, Distribution, Measured, Rate, Starts, by_workers, total_usd};

/// Changes when a field changes its meaning.
const FORMAT_VERSION: &str = "1.0";

/// A measurement.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    format_version: &'static str,
    /// Of the rmx that measured.
    pub(super) rmx_version: &'static str,
    /// When it ended, RFC 3339.
    pub(super) measured_at: String,
    pub(super) project: &'a str,
    pub(super) stage: Option<&'a str>,
    /// `aws` or `local`.
    pub(super) target: &'static str,
    pub(super) region: &'a str,
    pub(super) function: Function<'a>,
    pub(super) composition: &'a str,
    /// Frames of each render.
    pub(super) frames: u32,
    pub(super) cold: Starts,
    pub(super) warm: Starts,
    pub(super) by_workers: Vec<ByWorkers>,
    pub(super) cost: Cost,
    pub(super) renders: Vec<Measured>,
}

/// The function that was measured.
#[derive(Debug, Serialize)]
pub(super) struct Function<'a> {
    pub(super) architecture: &'a str,
    pub(super) memory_mb: u32,
    pub(super) disk_mb: u32,
}

/// What the measurement costs.
#[derive(Debug, Serialize)]
pub(super) struct Cost {
    /// Whether it was paid for; else it is what AWS would take.
    pub(super) billed: bool,
    /// By list prices; nothing where none are known. Without S3 and data transfer.
    pub(super) usd: Option<f64>,
    pub(super) prices_date: &'static str,
    pub(super) prices_source: &'static str,
}

impl<'a> Report<'a> {
    /// Of at least one render with `function`.
    pub(super) fn new(
        course: &'a Course,
        function: &'a FunctionSpec,
        identity: &'a CloudIdentity,
        renders: Vec<Measured>,
    ) -> Self {
        let prices = price::prices(&identity.region, &function.architecture);
        let rate = prices.map(|prices| Rate {
            prices,
            memory_mb: function.memory_mb,
            disk_mb: function.disk_mb,
        });
        Self {
            format_version: FORMAT_VERSION,
            rmx_version: env!("CARGO_PKG_VERSION"),
            measured_at: env::timestamp(env::now()),
            project: course.config.project.as_str(),
            stage: course.config.stage.as_ref().map(StageName::as_str),
            target: if course.is_billed() { "aws" } else { "local" },
            region: identity.region.as_str(),
            function: Function {
                architecture: &function.architecture,
                memory_mb: function.memory_mb,
                disk_mb: function.disk_mb,
            },
            composition: &course.composition,
            frames: course.frames.len(),
            cold: Starts::of(&renders, false),
            warm: Starts::of(&renders, true),
            by_workers: by_workers(&renders, rate),
            cost: Cost {
                billed: course.is_billed(),
                usd: rate.map(|rate| total_usd(&renders, rate)),
                prices_date: price::PRICES_DATE,
                prices_source: price::PRICES_SOURCE,
            },
            renders,
        }
    }

    /// The kinds of start, with what they took.
    pub(super) fn starts(&self) -> [(&'static str, Option<&Distribution>); 4] {
        [
            ("cold, first message", self.cold.first_message.as_ref()),
            ("cold, first picture", self.cold.first_picture.as_ref()),
            ("warm, first message", self.warm.first_message.as_ref()),
            ("warm, first picture", self.warm.first_picture.as_ref()),
        ]
    }

    /// For a terminal.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{:>7}  {:>9}  {:>8}  {:>8}  {:>14}  {:>8}\n",
            "workers", "wall time", "frames/s", "speed-up", "worker seconds", "cost"
        );
        for row in &self.by_workers {
            text += &format!(
                "{:>7}  {:>9}  {:>8.1}  {:>8.2}  {:>14.1}  {:>8}\n",
                row.workers,
                duration(row.wall.p50_ms),
                row.frames_per_second,
                row.speed_up,
                row.worker_seconds,
                row.usd.map_or("-".to_owned(), usd),
            );
        }
        text += &format!(
            "\n{:<20} {:>6}  {:>8}  {:>8}  {:>8}  {:>8}\n",
            "start", "count", "p50", "p90", "p99", "longest"
        );
        for (name, times) in self.starts() {
            let Some(times) = times else { continue };
            text += &format!(
                "{name:<20} {:>6}  {:>8}  {:>8}  {:>8}  {:>8}\n",
                times.count,
                duration(times.p50_ms),
                duration(times.p90_ms),
                duration(times.p99_ms),
                duration(times.max_ms),
            );
        }
        text + &format!("\n{}\n", self.cost.sentence())
    }
}

impl Cost {
    pub(super) fn sentence(&self) -> String {
        let basis = format!(
            "by list prices of {} ({}), without S3 and data transfer",
            self.prices_date, self.prices_source
        );
        match (self.usd, self.billed) {
            (Some(cost), true) => format!("All of it cost about {} {basis}.", usd(cost)),
            (Some(cost), false) => {
                format!(
                    "Nothing was billed; so many seconds of a function on AWS are {} {basis}.",
                    usd(cost)
                )
            }
            (None, true) => "No list price in USD is known for this region.".to_owned(),
            (None, false) => "Nothing was billed.".to_owned(),
        }
    }
}
