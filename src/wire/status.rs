//! The answer to `status`, made of the progress document and the clock.

use serde::Serialize;

use super::cost::{Cost, Rates, billed_ms};
use super::output::Place;
use super::progress::{Artifact, ErrorInfo, ExpensiveRange, Progress, RenderMetadata, Retry};

/// From the orchestrator's deadline until it counts as dead: Lambda repeats an event whose function died after one minute,
/// and again two minutes after that, and the orchestrator that comes then takes the render up.
const REPEAT_MS: u64 = 150_000;

/// What part of a render's progress each of its steps is.
const EVALUATING: f64 = 0.1;
const ENCODING: f64 = 0.1;
const INVOKING: f64 = 0.1;
const FRAMES: f64 = 0.6;
const COMBINING: f64 = 0.1;

/// What is known besides the document.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The render.
    pub render_id: &'a str,
    /// Where it lies.
    pub bucket: &'a str,
    /// Where its output goes; nothing until that is known.
    pub place: Option<&'a Place>,
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// What the workers cost.
    pub rates: Rates,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReply<'a> {
    frames_rendered: u32,
    chunks: u32,
    done: bool,
    encoding_status: EncodingStatus,
    time_to_render_frames: Option<u64>,
    costs: Cost,
    render_id: &'a str,
    render_metadata: Option<&'a RenderMetadata>,
    bucket: &'a str,
    output_file: Option<&'a str>,
    time_to_finish: Option<u64>,
    errors: Vec<ShownError>,
    fatal_error_encountered: bool,
    current_time: u64,
    render_size: u64,
    lambdas_invoked: u32,
    cleanup: Cleanup,
    time_to_finish_chunks: Option<u64>,
    overall_progress: f64,
    retries_info: &'a [Retry],
    out_key: Option<&'a str>,
    out_bucket: Option<&'a str>,
    most_expensive_frame_ranges: Option<&'a [ExpensiveRange]>,
    time_to_encode: Option<u64>,
    output_size_in_bytes: Option<u64>,
    estimated_billing_duration_in_milliseconds: Option<u64>,
    combined_frames: u64,
    time_to_combine: Option<u64>,
    timeout_timestamp: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    composition_validated: Option<u64>,
    function_launched: Option<u64>,
    serve_url_opened: Option<u64>,
    artifacts: &'a [Artifact],
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct EncodingStatus {
    frames_encoded: u32,
    combined_frames: u64,
    time_to_combine: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cleanup {
    done_in: Option<u64>,
    min_files_to_delete: u32,
    files_deleted: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownError {
    #[serde(flatten)]
    error: ErrorInfo,
    explanation: Option<&'static str>,
    s3_location: &'static str,
}

/// From when on the orchestrator of this document must have died if it has not come to its end, in milliseconds since 1970.
pub fn dead_from_ms(progress: &Progress) -> u64 {
    progress.timeout_timestamp.saturating_add(REPEAT_MS)
}

/// Whether the orchestrator of this document must have died.
pub fn is_dead(progress: &Progress, now_ms: u64) -> bool {
    !progress.is_over() && now_ms > dead_from_ms(progress)
}

impl<'a> StatusReply<'a> {
    /// How far the render is.
    pub fn new(progress: &'a Progress, around: Surroundings<'a>) -> Self {
        let done = progress.post_render_data.as_ref();
        let metadata = progress.render_metadata.as_ref();
        let frames = progress.frame_count().unwrap_or(0);
        let mut errors = match done {
            Some(done) => done.errors.clone(),
            None => progress.errors.clone(),
        };
        if is_dead(progress, around.now_ms) {
            errors.insert(0, died(progress));
        }
        let fatal = done.is_none() && errors.iter().any(|e| e.is_fatal && !e.will_retry);
        let elapsed_ms = metadata.map_or(0, |metadata| {
            let now_ms = progress.fatal_error_timestamp.unwrap_or(around.now_ms);
            now_ms.saturating_sub(metadata.started_date)
        });
        let billed = billed_ms(&progress.timings, progress.lambdas_invoked, elapsed_ms);
        let place = around.place.filter(|_| done.is_some());
        Self {
            frames_rendered: done.map_or(progress.frames_rendered, |_| frames),
            chunks: match (done, metadata) {
                (Some(_), Some(metadata)) => metadata.total_chunks,
                _ => u32::try_from(progress.chunks.len()).unwrap_or(u32::MAX),
            },
            done: done.is_some(),
            encoding_status: EncodingStatus {
                frames_encoded: done.map_or(progress.frames_encoded, |_| frames),
                combined_frames: done.map_or(progress.combined_frames, |_| frames.into()),
                time_to_combine: progress.time_to_combine,
            },
            time_to_render_frames: progress.time_to_render_frames,
            costs: match done {
                Some(done) => Cost {
                    accrued_so_far: done.cost.estimated_cost,
                    display_cost: done.cost.estimated_display_cost.clone(),
                    currency: done.cost.currency.clone(),
                    disclaimer: done.cost.disclaimer.clone(),
                },
                None => around.rates.cost(billed, progress.lambdas_invoked),
            },
            render_id: around.render_id,
            render_metadata: metadata,
            bucket: around.bucket,
            output_file: done.map(|done| done.output_file.as_str()),
            time_to_finish: done.map(|done| done.time_to_finish),
            errors: errors.into_iter().map(shown).collect(),
            fatal_error_encountered: fatal,
            current_time: around.now_ms,
            render_size: done.map_or(0, |done| done.render_size),
            lambdas_invoked: match (done, metadata) {
                (Some(_), Some(metadata)) => metadata.total_chunks,
                _ => progress.lambdas_invoked,
            },
            cleanup: Cleanup {
                done_in: done.map(|done| done.time_to_clean_up),
                min_files_to_delete: done.map_or(0, |done| done.files_cleaned_up),
                files_deleted: done.map_or(0, |done| done.files_cleaned_up),
            },
            time_to_finish_chunks: done.map(|done| done.time_to_render_chunks),
            overall_progress: done.map_or_else(|| overall_progress(progress), |_| 1.0),
            retries_info: &progress.retries,
            out_key: place.map(|place| place.key.as_str()),
            out_bucket: place.map(|place| place.bucket.as_str()),
            most_expensive_frame_ranges: done.map(|done| &done.most_expensive_frame_ranges[..]),
            time_to_encode: progress.time_to_encode,
            output_size_in_bytes: done.map(|done| done.output_size),
            estimated_billing_duration_in_milliseconds: match done {
                Some(done) => Some(done.estimated_billing_duration_in_milliseconds),
                None => metadata.map(|_| billed),
            },
            combined_frames: done.map_or(progress.combined_frames, |_| frames.into()),
            time_to_combine: progress.time_to_combine,
            timeout_timestamp: progress.timeout_timestamp,
            kind: "success",
            composition_validated: progress.composition_validated,
            function_launched: progress.function_launched,
            serve_url_opened: progress.serve_url_opened,
            artifacts: &progress.received_artifact,
        }
    }
}

/// How much of a render is done, 0 to 1, as clients show it.
pub fn overall_progress(progress: &Progress) -> f64 {
    let steps = [
        progress.lambdas_invoked > 0,
        progress.serve_url_opened.is_some(),
        progress.composition_validated.is_some(),
    ];
    let evaluated = steps.map(f64::from).iter().sum::<f64>() / 3.0;
    let (Some(frames), Some(metadata)) = (progress.frame_count(), &progress.render_metadata) else {
        return evaluated * EVALUATING;
    };
    let share = |part: f64, all: u32| (part / f64::from(all.max(1))).min(1.0);
    #[expect(clippy::cast_precision_loss, reason = "frames are far below 2^53")]
    let combined = progress.combined_frames as f64;
    let invokations = metadata.estimated_render_lambda_invokations;
    evaluated * EVALUATING
        + share(f64::from(progress.frames_encoded), frames) * ENCODING
        + share(f64::from(progress.lambdas_invoked), invokations) * INVOKING
        + share(f64::from(progress.frames_rendered), frames) * FRAMES
        + share(combined, frames) * COMBINING
}

/// The error of a render whose orchestrator has not been heard of since its deadline.
fn died(progress: &Progress) -> ErrorInfo {
    let missing = match &progress.render_metadata {
        None => "The composition was not known by then: look at the site, and at how long its calculateMetadata() takes."
            .to_owned(),
        Some(metadata) => {
            let missing = (0..metadata.total_chunks).filter(|chunk| !progress.chunks.contains(chunk));
            let missing: Vec<String> = missing.map(|chunk| chunk.to_string()).collect();
            match missing.len() {
                0 => "All chunks are rendered; the output was not written.".to_owned(),
                count => format!(
                    "Of {} chunks {count} are missing, the first of them {}.",
                    metadata.total_chunks,
                    missing[..count.min(5)].join(", ")
                ),
            }
        }
    };
    timeout_error(&format!(
        "The main function has ended without finishing the render, and was not repeated with success. {missing} Its log says \
         more; raise `[function] timeout_s` or `memory_mb` in remotion.toml and run `rmx apply`."
    ))
}

/// The error of an orchestrator that had no time left. Clients know its name.
pub fn timeout_error(message: &str) -> ErrorInfo {
    ErrorInfo::fatal("TimeoutError", message.to_owned())
}

fn shown(error: ErrorInfo) -> ShownError {
    let says = |needles: &[&str]| needles.iter().any(|needle| error.stack.contains(needle));
    let explanation = if says(&["TooManyRequestsException"]) {
        Some("the account's limit of concurrent executions is used up: ask AWS for a higher one")
    } else if says(&["ENOSPC", "o space left on device"]) {
        Some("the disk of the function is full: raise `[function] disk_mb` and run `rmx apply`")
    } else if says(&["net::ERR_INSUFFICIENT_RESOURCES"]) {
        Some("the function is out of memory: raise `[function] memory_mb` and run `rmx apply`")
    } else if says(&["Target closed", "Session closed", "page crashed"]) {
        Some("the browser crashed: raise `[function] memory_mb` and run `rmx apply`")
    } else {
        None
    };
    ShownError {
        error,
        explanation,
        s3_location: "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(now_ms: u64) -> Surroundings<'static> {
        Surroundings {
            render_id: "abc",
            bucket: "bucket",
            place: None,
            now_ms,
            rates: Rates::default(),
        }
    }

    fn json(progress: &Progress, now_ms: u64) -> serde_json::Value {
        serde_json::to_value(StatusReply::new(progress, around(now_ms))).unwrap()
    }

    /// The official function says for ever that such a render goes on.
    #[test]
    fn the_death_of_an_orchestrator_is_told_even_if_it_died_before_it_knew_anything() {
        let progress = Progress::begun(false, 100_000);
        let alive = json(&progress, 200_000);
        assert_eq!(alive["fatalErrorEncountered"], false);
        assert_eq!(alive["errors"], serde_json::json!([]));
        let dead = json(&progress, 100_000 + REPEAT_MS + 1);
        assert_eq!(dead["fatalErrorEncountered"], true);
        assert_eq!(dead["errors"][0]["name"], "TimeoutError");
        assert_eq!(dead["errors"][0]["s3Location"], "");
        assert!(
            dead["errors"][0]["message"]
                .as_str()
                .unwrap()
                .contains("composition"),
            "{dead}"
        );
    }

    #[test]
    fn a_render_that_failed_has_its_own_error_alone() {
        let mut progress = Progress::begun(false, 0);
        progress.errors.push(ErrorInfo {
            name: "Error".to_owned(),
            ..timeout_error("ENOSPC")
        });
        let reply = json(&progress, u64::MAX / 2);
        assert_eq!(reply["errors"].as_array().unwrap().len(), 1);
        assert_eq!(reply["errors"][0]["type"], "stitcher");
        assert!(
            reply["errors"][0]["explanation"]
                .as_str()
                .unwrap()
                .contains("disk_mb")
        );
        assert_eq!(reply["fatalErrorEncountered"], true);
    }

    #[test]
    fn progress_grows_with_what_is_known() {
        let mut progress = Progress::begun(false, u64::MAX / 2);
        let now = |progress: &Progress| json(progress, 1)["overallProgress"].as_f64().unwrap();
        assert!(now(&progress).abs() < 1e-9);
        progress.serve_url_opened = Some(1);
        progress.composition_validated = Some(1);
        assert!((now(&progress) - 0.2 / 3.0).abs() < 1e-9);
    }
}
