//! The smoke render: the built-in composition goes the whole way from page to video, and the video is looked at.
//!
//! Browser, page contract, capture and encoder are those of every render; only site and bucket are left out. The video is
//! decoded and scaled down to a pixel for each cell; whether that is right is for the asker to say.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;

use super::failure::{TaskResult, internal, permanent, retryable};
use super::task::{Messages, Worker, check_protocol};
use super::tools::Tools;
use crate::media::{CaptureMethod, FrameRange, ImageFormat};
use crate::protocol::smoke::{
    self, COLUMNS, COMPOSITION, FRAME_BYTES, FRAMES, ROWS, SmokeTask, SmokeVideo,
};
use crate::protocol::{
    CaptureSettings, ChunkTask, EncodeSettings, FailureKind, PROTOCOL_VERSION, PageTask,
    SAMPLE_RATE_DEFAULT, SiteLocation,
};

const FILES: [(&str, &str); 3] = [
    ("index.html", include_str!("index.html")),
    ("smoke.js", include_str!("smoke.js")),
    (
        "bundle.js",
        include_str!("../../../bundles/hello/bundle.js"),
    ),
];

/// How long the page may take to get ready.
const PAGE_TIMEOUT_MS: u32 = 30_000;
/// How long decoding thirty small frames may take.
const DECODE_TIMEOUT: Duration = Duration::from_secs(60);
const STDERR_BYTES_MAX: u64 = 4 * 1024;
/// More than this is no video of the composition, and need not be read to the end.
const RASTER_BYTES_MAX: u64 = 4 * (FRAME_BYTES as u64) * (FRAMES as u64);

impl Worker {
    /// Renders the built-in composition.
    pub(super) async fn smoke(
        &mut self,
        task: &SmokeTask,
        messages: &Messages,
    ) -> TaskResult<SmokeVideo> {
        check_protocol(task.protocol)?;
        let folder = tempfile::Builder::new()
            .prefix("rmx-smoke-")
            .tempdir_in(&self.tools.scratch);
        let folder = folder.map_err(|error| internal("making a folder for the page", error))?;
        let site = folder.path().join("site");
        write_site(&site).map_err(|error| internal("writing the page", error))?;
        self.built_in = Some(site);
        let rendered = self.render_built_in(folder.path(), messages).await;
        // The page's folder goes away with this task.
        self.close().await;
        self.built_in = None;
        let video = rendered?;
        decode(&self.tools, &video).await
    }

    async fn render_built_in(
        &mut self,
        folder: &Path,
        messages: &Messages,
    ) -> TaskResult<std::path::PathBuf> {
        let page = PageTask {
            protocol: PROTOCOL_VERSION,
            site: SiteLocation::BuiltIn,
            input_props: "{}".to_owned(),
            environment: Default::default(),
            timeout_ms: PAGE_TIMEOUT_MS,
            browser: Default::default(),
        };
        let composition = self.resolve(&page, COMPOSITION, messages).await?;
        if composition != smoke::composition() {
            return Err(permanent(
                FailureKind::PageContract,
                "the built-in page describes another composition than the one it was made for",
            ));
        }
        let bad = |error: crate::names::NameError| internal("naming the task", error);
        let task = ChunkTask {
            page,
            render_id: "smoke".parse().map_err(bad)?,
            chunk: 0,
            attempt: 1,
            every_nth_frame: 1,
            frames: FrameRange::new(0, composition.duration_in_frames)
                .map_err(|error| internal("cutting the frames", error))?,
            composition,
            capture: CaptureSettings {
                // As renders do; a worker that cannot takes screenshots.
                method: CaptureMethod::Framebuffer,
                image_format: ImageFormat::Jpeg,
                jpeg_quality: 80,
                scale: 1.0,
                muted: true,
                sample_rate: SAMPLE_RATE_DEFAULT,
            },
            encode: None,
            bucket: "smoke".parse().map_err(bad)?,
            segment_key: String::new(),
            sound_key: String::new(),
            artifacts_prefix: String::new(),
            digest_frames: false,
        };
        let encoded = self
            .encode(&task, &EncodeSettings::default(), folder, messages)
            .await?;
        Ok(encoded.segment)
    }
}

fn write_site(folder: &Path) -> std::io::Result<()> {
    std::fs::create_dir(folder)?;
    for (name, text) in FILES {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}

/// Every frame of `video`, a pixel for each cell.
async fn decode(tools: &Tools, video: &Path) -> TaskResult<SmokeVideo> {
    let failed = |what: String| {
        retryable(
            FailureKind::Encoder,
            format!("decoding the video of the smoke render: {what}"),
        )
    };
    // To pixels first, each with a colour of its own: scaled down as it is, two cells would share one.
    let scale = format!(
        "scale=flags=full_chroma_int+full_chroma_inp+accurate_rnd,format=gbrp,scale={COLUMNS}:{ROWS}:flags=area"
    );
    let mut child = tools
        .ffmpeg_command()
        .await?
        .args(["-hide_banner", "-loglevel", "error", "-nostdin", "-i"])
        .arg(video)
        .args(["-vf", &scale, "-fps_mode", "passthrough"])
        .args(["-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let missing = || {
        internal(
            "decoding the video of the smoke render",
            "a pipe is missing",
        )
    };
    let stdout = child.stdout.take().ok_or_else(missing)?;
    let stderr = child.stderr.take().ok_or_else(missing)?;
    let (mut raster, mut words) = (Vec::new(), String::new());
    let work = async {
        let (mut stdout, mut stderr) =
            (stdout.take(RASTER_BYTES_MAX), stderr.take(STDERR_BYTES_MAX));
        tokio::try_join!(
            stdout.read_to_end(&mut raster),
            stderr.read_to_string(&mut words)
        )?;
        child.wait().await
    };
    match tokio::time::timeout(DECODE_TIMEOUT, work).await {
        Err(_) => Err(failed(format!(
            "ffmpeg did not end within {} s",
            DECODE_TIMEOUT.as_secs()
        ))),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Ok(Ok(status)) if !status.success() => {
            Err(failed(format!("ffmpeg ended with {status}\n{words}")))
        }
        Ok(Ok(_)) => Ok(SmokeVideo::new(&raster)),
    }
}
