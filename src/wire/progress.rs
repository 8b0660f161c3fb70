//! `renders/ID/progress.json`: how far a render is. The orchestrator alone writes it; `status` answers from it, and clients read
//! it themselves.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::{DownloadBehavior, InputProps, OutName, Privacy};
use crate::names::RenderId;

/// The document's key.
pub fn key(id: &RenderId) -> String {
    format!("renders/{id}/progress.json")
}

/// The key of an output with this name.
pub fn output_key(id: &RenderId, name: &str) -> String {
    format!("renders/{id}/{name}")
}

/// The key of the object with which clients cancel a render.
pub fn cancel_key(id: &RenderId) -> String {
    format!("renders/{id}/cancel.json")
}

/// A number that may have a part behind the point, which is left out.
fn whole<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let number = serde_json::Number::deserialize(deserializer)?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "frames are few, and what is below 0 is 0"
    )]
    let floor = |number: f64| number as u64;
    Ok(number
        .as_u64()
        .or_else(|| number.as_f64().map(floor))
        .unwrap_or(0))
}

/// What Remotion's own function writes as null where it does not apply, as for a still.
fn or_default<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The document. Times are milliseconds since 1970, durations milliseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// Whether the render looks out for `cancel.json`.
    pub cancellation_enabled: bool,
    /// Chunks that are done, in the order in which they were.
    pub chunks: Vec<u32>,
    /// Frames captured.
    pub frames_rendered: u32,
    /// Frames encoded.
    pub frames_encoded: u32,
    /// Frames joined. Remotion's own function estimates it, and writes parts of frames.
    #[serde(deserialize_with = "whole")]
    pub combined_frames: u64,
    /// Joining and writing the output.
    pub time_to_combine: Option<u64>,
    /// From the beginning until the last frame was encoded.
    pub time_to_encode: Option<u64>,
    /// From the beginning until the last frame was captured.
    pub time_to_render_frames: Option<u64>,
    /// Workers that were invoked.
    pub lambdas_invoked: u32,
    /// Chunks that were tried again.
    pub retries: Vec<Retry>,
    /// There once the render has ended well.
    pub post_render_data: Option<PostRenderData>,
    /// When chunks began and ended.
    pub timings: Vec<Timing>,
    /// There once it is known what is rendered.
    pub render_metadata: Option<RenderMetadata>,
    /// What went wrong.
    pub errors: Vec<ErrorInfo>,
    /// When the render failed.
    pub fatal_error_timestamp: Option<u64>,
    /// When the orchestrator ends at the latest.
    pub timeout_timestamp: u64,
    /// When the orchestrator began.
    pub function_launched: Option<u64>,
    /// When the site was opened.
    pub serve_url_opened: Option<u64>,
    /// When the composition was known.
    pub composition_validated: Option<u64>,
    /// Files that the page emitted.
    pub received_artifact: Vec<Artifact>,
}

/// A chunk that was tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// Its index.
    pub chunk: u32,
    /// How often it was tried before.
    pub attempt: u32,
    /// When.
    pub time: u64,
}

/// A chunk that is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// Its index.
    pub chunk: u32,
    /// When it was begun.
    pub start: u64,
    /// When it was done.
    pub rendered: u64,
}

/// A file that the page emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    /// Its name.
    pub filename: String,
    /// Its size.
    pub size_in_bytes: u64,
    /// Its address.
    pub s3_url: String,
    /// Its key.
    pub s3_key: String,
}

/// What went wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorInfo {
    /// Who met it.
    #[serde(rename = "type")]
    pub kind: ErrorKind,
    /// What.
    pub message: String,
    /// Its kind, for programs.
    pub name: String,
    /// Where in the page, else the message.
    pub stack: String,
    /// At which frame.
    pub frame: Option<u32>,
    /// In which chunk.
    pub chunk: Option<u32>,
    /// Whether it ends the render.
    pub is_fatal: bool,
    /// How often it was tried.
    pub attempt: u32,
    /// Whether it will be tried again.
    pub will_retry: bool,
    /// How often it may be tried.
    pub total_attempts: u32,
    /// What lay on the disk when it was full.
    pub tmp_dir: Option<Value>,
}

/// The name of the error of a render that was cancelled.
pub const CANCELLED: &str = "CancelledError";

impl ErrorInfo {
    /// What ends a render, met by the orchestrator. `name` is its kind, for programs.
    pub fn fatal(name: &str, message: String) -> Self {
        Self {
            kind: ErrorKind::Stitcher,
            stack: format!("{name}: {message}"),
            message,
            name: name.to_owned(),
            frame: None,
            chunk: None,
            is_fatal: true,
            attempt: 1,
            will_retry: false,
            total_attempts: 1,
            tmp_dir: None,
        }
    }
}

/// Who met an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorKind {
    /// A worker.
    Renderer,
    /// The orchestrator.
    Stitcher,
    /// Who told others of the end.
    Webhook,
}

/// What is rendered: the request, completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of renderMediaOnLambda()")]
pub struct RenderMetadata {
    pub site_id: String,
    pub started_date: u64,
    #[serde(default, deserialize_with = "or_default")]
    pub total_chunks: u32,
    #[serde(default, deserialize_with = "or_default")]
    pub estimated_total_lambda_invokations: u32,
    #[serde(default, deserialize_with = "or_default")]
    pub estimated_render_lambda_invokations: u32,
    pub composition_id: String,
    pub codec: Option<String>,
    #[serde(rename = "type")]
    pub kind: MediaKind,
    pub image_format: Option<String>,
    pub input_props: InputProps,
    pub lambda_version: String,
    #[serde(default, deserialize_with = "or_default")]
    pub frames_per_lambda: u32,
    #[serde(default, deserialize_with = "or_default")]
    pub memory_size_in_mb: u32,
    pub region: String,
    pub render_id: String,
    pub out_name: Option<OutName>,
    #[serde(default, deserialize_with = "or_default")]
    pub output_file_is_conditional: bool,
    pub privacy: Privacy,
    #[serde(default, deserialize_with = "or_default")]
    pub every_nth_frame: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame_range: Option<(u32, u32)>,
    pub audio_codec: Option<String>,
    pub delete_after: Option<String>,
    pub number_of_gif_loops: Option<u32>,
    pub download_behavior: DownloadBehavior,
    pub audio_bitrate: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub muted: bool,
    pub metadata: Option<BTreeMap<String, String>>,
    pub function_name: String,
    pub renderer_function_name: String,
    pub dimensions: Dimensions,
    pub scale: f64,
}

/// Whether it moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MediaKind {
    /// It does, or is only heard.
    Video,
    /// It does not.
    Still,
}

/// The size of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dimensions {
    /// In pixels.
    pub width: u32,
    /// In pixels.
    pub height: u32,
}

/// What there is to be said of a render that has ended well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those that clients know")]
pub struct PostRenderData {
    pub cost: FinalCost,
    pub output_file: String,
    pub time_to_finish: u64,
    pub errors: Vec<ErrorInfo>,
    pub start_time: u64,
    pub end_time: u64,
    pub output_size: u64,
    pub render_size: u64,
    pub files_cleaned_up: u32,
    pub time_to_encode: u64,
    pub time_to_clean_up: u64,
    pub time_to_render_chunks: u64,
    pub time_to_render_frames: u64,
    pub time_to_combine: u64,
    pub retries_info: Vec<Retry>,
    pub most_expensive_frame_ranges: Vec<ExpensiveRange>,
    pub estimated_billing_duration_in_milliseconds: u64,
    pub delete_after: Option<String>,
    pub artifact_progress: Vec<Artifact>,
}

/// What a render has cost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those that clients know")]
pub struct FinalCost {
    pub currency: String,
    pub disclaimer: String,
    pub estimated_cost: f64,
    pub estimated_display_cost: String,
}

/// A chunk that took long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExpensiveRange {
    /// Its index.
    pub chunk: u32,
    /// Its frames, both ends included.
    pub frame_range: (u32, u32),
    /// How long it took.
    pub time_in_milliseconds: u64,
}

impl ErrorInfo {
    /// Whether the whole render ran out of time.
    pub fn is_timeout(&self) -> bool {
        self.kind == ErrorKind::Stitcher && self.name == "TimeoutError"
    }
}

impl Progress {
    /// Of a render that was just asked for.
    pub fn begun(cancellation_enabled: bool, timeout_timestamp: u64) -> Self {
        Self {
            cancellation_enabled,
            timeout_timestamp,
            ..Self::default()
        }
    }

    /// Whether it has failed.
    pub fn failed(&self) -> bool {
        let mut errors = self.errors.iter();
        errors.any(|error| error.is_fatal && !error.will_retry)
    }

    /// Whether it has failed because somebody cancelled it: rmx's orchestrator gives that a name, Remotion's only says so.
    pub fn cancelled(&self) -> bool {
        self.failed()
            && self.cause().is_some_and(|error| {
                error.name == CANCELLED || error.message.contains("renderMedia() got cancelled")
            })
    }

    /// What has ended it. What comes after that follows from it: Remotion's orchestrator cancels the other chunks of a render that fails, and
    /// notes that too.
    pub fn cause(&self) -> Option<&ErrorInfo> {
        self.errors.iter().find(|error| error.is_fatal)
    }

    /// Whether nothing more will come of it.
    pub fn is_over(&self) -> bool {
        self.post_render_data.is_some() || self.failed()
    }

    /// Frames of the whole; nothing until they are known.
    pub fn frame_count(&self) -> Option<u32> {
        let metadata = self.render_metadata.as_ref()?;
        let (first, last) = metadata.frame_range?;
        Some((last - first + 1).div_ceil(metadata.every_nth_frame.max(1)))
    }

    /// From the first chunk's begin to the last one's end.
    pub fn chunks_ms(&self) -> u64 {
        let first = self.timings.iter().map(|timing| timing.start).min();
        let last = self.timings.iter().map(|timing| timing.rendered).max();
        last.unwrap_or(0).saturating_sub(first.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_apply_to_a_still_is_null() {
        let written = serde_json::json!({
            "siteId": "s", "startedDate": 1, "totalChunks": 1, "estimatedTotalLambdaInvokations": 1,
            "estimatedRenderLambdaInvokations": 1, "compositionId": "Title", "codec": null, "type": "still",
            "imageFormat": "png", "inputProps": { "type": "payload", "payload": "{}" }, "lambdaVersion": "4.0.527",
            "framesPerLambda": null, "memorySizeInMb": 2048, "region": "us-east-1", "renderId": "r", "outName": "out.png",
            "outputFileIsConditional": null, "privacy": "public", "everyNthFrame": null, "frameRange": [0, 0],
            "audioCodec": null, "deleteAfter": null, "numberOfGifLoops": null,
            "downloadBehavior": { "type": "play-in-browser" }, "audioBitrate": null, "muted": null,
            "metadata": null, "functionName": "f", "rendererFunctionName": "f",
            "dimensions": { "width": 2, "height": 2 }, "scale": 1,
        });
        let read: RenderMetadata = serde_json::from_value(written).unwrap();
        assert_eq!(
            (read.output_file_is_conditional, read.muted),
            (false, false)
        );
        assert_eq!(read.kind, MediaKind::Still);
    }

    #[test]
    fn parts_of_frames_are_left_out() {
        for (written, read) in [("0.6", 0), ("12", 12), ("17.9", 17)] {
            let document = format!(r#"{{"combinedFrames": {written}}}"#);
            let progress: Progress = serde_json::from_str(&document).unwrap();
            assert_eq!(progress.combined_frames, read);
        }
    }

    #[test]
    fn the_document_has_the_official_fields_from_its_first_second_on() {
        let document = serde_json::to_value(Progress::begun(true, 7)).unwrap();
        let fields: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(
            fields,
            [
                "cancellationEnabled",
                "chunks",
                "framesRendered",
                "framesEncoded",
                "combinedFrames",
                "timeToCombine",
                "timeToEncode",
                "timeToRenderFrames",
                "lambdasInvoked",
                "retries",
                "postRenderData",
                "timings",
                "renderMetadata",
                "errors",
                "fatalErrorTimestamp",
                "timeoutTimestamp",
                "functionLaunched",
                "serveUrlOpened",
                "compositionValidated",
                "receivedArtifact"
            ]
        );
        assert_eq!(document["timeoutTimestamp"], 7);
        assert_eq!(document["renderMetadata"], Value::Null);
    }
}
