//! `rmx-worker capture`: the worker's own work without a Lambda, for comparisons and measurements.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use tokio::sync::mpsc;

use super::failure::{TaskResult, internal, permanent};
use super::task::Worker;
use super::tools::Tools;
use crate::env::Env;
use crate::media::{CaptureMethod, FrameRange, ImageFormat};
use crate::protocol::{
    Answer, CaptureSettings, ChunkTask, EncodeSettings, FailureKind, PROTOCOL_VERSION, PageTask,
    ResolveTask, SAMPLE_RATE_DEFAULT, SiteLocation, WorkerTask,
};

/// The worker of an rmx render farm
///
/// Lambda starts it without arguments, as `rmx render` and the embedded cloud do: nobody has to call it by hand. Outside
/// of a Lambda function it can draw frames of a site, for comparisons and measurements.
#[derive(Debug, Parser)]
#[command(name = "rmx-worker", version)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Draw frames of a site on this machine, into images or a video.
    Capture(Capture),
}

#[derive(Debug, clap::Args)]
struct Capture {
    /// The site's folder.
    #[arg(long)]
    site: PathBuf,
    /// The composition's id.
    #[arg(long)]
    composition: String,
    /// First and last frame, as in 0-59.
    #[arg(long)]
    frames: String,
    /// A file that ends in .mp4, or a folder for one image a frame. Without it, frames are drawn and thrown away.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Input props, JSON.
    #[arg(long, default_value = "{}")]
    props: String,
    /// framebuffer or screenshot. Frames of a folder that are read from the framebuffer are raw I420.
    #[arg(long, default_value = "screenshot")]
    method: CaptureMethod,
    /// jpeg or png: the format of screenshots.
    #[arg(long, default_value = "jpeg")]
    image_format: ImageFormat,
    /// How long a delayRender may take, milliseconds.
    #[arg(long, default_value_t = 30_000)]
    timeout: u32,
    /// Leave sound out.
    #[arg(long)]
    muted: bool,
    /// Device scale factor.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
}

/// Runs the command.
pub(super) async fn run(env: &Env, arguments: Arguments) -> TaskResult<()> {
    let Command::Capture(capture) = arguments.command;
    let frames = parse_frames(&capture.frames)?;
    let mut worker = Worker::new(Tools::find(env).await?, None);
    let result = capture_frames(&mut worker, env, &capture, frames).await;
    worker.close().await;
    result
}

async fn capture_frames(
    worker: &mut Worker,
    env: &Env,
    capture: &Capture,
    frames: FrameRange,
) -> TaskResult<()> {
    let folder = env.working_directory.join(&capture.site);
    let page = PageTask {
        protocol: PROTOCOL_VERSION,
        site: SiteLocation::Url(format!("file://{}", folder.display())),
        input_props: capture.props.clone(),
        environment: Default::default(),
        timeout_ms: capture.timeout,
        browser: Default::default(),
    };
    let (messages, mut queue) = mpsc::channel(16);
    let mut drain = tokio::task::JoinSet::new();
    drain.spawn(async move { while queue.recv().await.is_some() {} });
    let resolve = ResolveTask {
        page: page.clone(),
        composition: capture.composition.clone(),
    };
    let Answer::Composition { composition } = worker
        .perform(WorkerTask::Resolve(resolve), &messages)
        .await?
    else {
        return Err(internal(
            "resolving the composition",
            "another answer came back",
        ));
    };
    if frames.end() > composition.duration_in_frames {
        let message = format!(
            "frames {frames}: `{}` has the frames 0-{}",
            composition.id,
            composition.duration_in_frames - 1
        );
        return Err(permanent(FailureKind::BadRequest, message));
    }
    let bad = |error: crate::names::NameError| internal("naming the task", error);
    let task = ChunkTask {
        page,
        render_id: "capture".parse().map_err(bad)?,
        chunk: 0,
        attempt: 1,
        every_nth_frame: 1,
        composition,
        frames,
        capture: CaptureSettings {
            method: capture.method,
            image_format: capture.image_format,
            jpeg_quality: 80,
            scale: capture.scale,
            muted: capture.muted,
            sample_rate: SAMPLE_RATE_DEFAULT,
        },
        encode: None,
        bucket: "capture".parse().map_err(bad)?,
        segment_key: String::new(),
        sound_key: String::new(),
        artifacts_prefix: String::new(),
        digest_frames: false,
    };
    let out = capture.out.as_deref();
    let (timings, pictures) = match out {
        Some(file) if file.extension().is_some_and(|extension| extension == "mp4") => {
            let writing = |error| internal(&format!("writing {}", file.display()), error);
            let scratch = tempfile::tempdir().map_err(writing)?;
            let encoded = worker
                .encode(&task, &EncodeSettings::default(), scratch.path(), &messages)
                .await?;
            std::fs::copy(encoded.segment, file).map_err(writing)?;
            if let Some(reason) = encoded.captured.and_then(|captured| captured.reason) {
                tracing::warn!("captured as screenshots: {reason}");
            }
            (encoded.timings, None)
        }
        _ => {
            let keep = |frame: u32, picture: &[u8]| match out {
                Some(folder) => keep_picture(folder, capture, frame, picture),
                None => Ok(()),
            };
            let (timings, pictures) = worker.pictures(&task, &messages, keep).await?;
            (timings, Some(pictures))
        }
    };
    let report = serde_json::json!({
        "frames": frames.len(),
        "open_ms": timings.open_ms,
        "capture_ms": timings.capture_ms,
        "pictures": pictures,
        "starts": Vec::from_iter(worker.starts()),
    });
    writeln!(std::io::stdout(), "{report}").map_err(|error| internal("writing the report", error))
}

fn keep_picture(
    folder: &Path,
    capture: &Capture,
    frame: u32,
    picture: &[u8],
) -> std::io::Result<()> {
    let extension = match (capture.method, capture.image_format) {
        (CaptureMethod::Framebuffer, _) => "yuv",
        (CaptureMethod::Screenshot, ImageFormat::Jpeg) => "jpeg",
        (CaptureMethod::Screenshot, ImageFormat::Png) => "png",
    };
    std::fs::create_dir_all(folder)?;
    std::fs::write(
        folder.join(format!("frame-{frame:06}.{extension}")),
        picture,
    )
}

fn parse_frames(text: &str) -> TaskResult<FrameRange> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let range = first
        .parse()
        .ok()
        .zip(last.parse().ok())
        .and_then(|(first, last)| FrameRange::inclusive(first, last).ok());
    range.ok_or_else(|| {
        permanent(
            FailureKind::BadRequest,
            format!("--frames {text}: FIRST-LAST is needed, as in 0-59"),
        )
    })
}
