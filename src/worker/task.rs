//! What a worker does with each kind of task. Browser and page stay open between tasks that can share them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::artifacts::{Artifacts, Picture};
use super::browser::version_line;
use super::colour::Yuv;
use super::encode::{Encoder, Input};
use super::failure::{TaskResult, at_frame, internal, permanent};
use super::lane::{Drawing, Lanes, pass_on_logs};
use super::media::MediaFiles;
use super::milliseconds;
use super::open::{Need, Open};
use super::page::{Capture, Setup, Start};
use super::site::{BucketSite, Site};
use super::sound::{self, Report};
use super::tools::Tools;
use crate::cloud::{Cloud, PutOutcome};
use crate::digest::Digest;
use crate::media::{CaptureMethod, ColorSpace, ImageFormat, device_pixels};
use crate::protocol::{
    Answer, Captured, ChunkTask, ChunkTimings, Composition, EncodeSettings, FailureKind,
    PROTOCOL_VERSION, PageTask, SAMPLE_RATE_DEFAULT, Segment, SiteLocation, SoundTask, WorkerInfo,
    WorkerMessage, WorkerTask,
};

/// A page for a composition lookup has the browser's own default size, as the official renderer opens it.
const LOOKUP_VIEWPORT: (u32, u32, f64) = (1280, 720, 1.0);

/// What outlives a task.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) tools: Tools,
    cloud: Option<Cloud>,
    /// The site whose files are kept.
    kept_site: Option<Arc<BucketSite>>,
    /// The folder of [`SiteLocation::BuiltIn`], while a task uses it.
    pub(super) built_in: Option<PathBuf>,
    /// Long texts of the latest tasks.
    pub(super) texts: Vec<(Digest, String)>,
    /// Pages that stay open: one in each browser.
    pub(super) open: Vec<Open>,
    /// Why the browser's framebuffer cannot be used for this composition. Another page may leave it where it is.
    unreadable: Option<((SiteLocation, String), String)>,
}

/// A chunk's files.
#[derive(Debug)]
pub(super) struct Encoded {
    pub(super) segment: PathBuf,
    /// What is heard meanwhile; nothing if the chunk is silent.
    pub(super) report: Option<PathBuf>,
    /// What the page emitted: name, frame and file.
    pub(super) artifacts: Vec<(String, u32, PathBuf)>,
    /// Nothing if no picture was taken.
    pub(super) captured: Option<Captured>,
    pub(super) timings: ChunkTimings,
    pub(super) digests: Vec<Digest>,
}

/// Where a task says how far it is.
pub(super) type Messages = mpsc::Sender<WorkerMessage>;

impl Worker {
    pub(super) fn new(tools: Tools, cloud: Option<Cloud>) -> Self {
        Self {
            tools,
            cloud,
            kept_site: None,
            built_in: None,
            texts: Vec::new(),
            open: Vec::new(),
            unreadable: None,
        }
    }

    /// Carries out a task.
    pub(super) async fn perform(
        &mut self,
        task: WorkerTask,
        messages: &Messages,
    ) -> TaskResult<Answer> {
        match task {
            WorkerTask::Info(task) => {
                check_protocol(task.protocol)?;
                let tools = &self.tools;
                let ffmpeg = tools.ffmpeg_command().await?;
                Ok(Answer::Info(WorkerInfo {
                    version: env!("CARGO_PKG_VERSION").to_owned(),
                    protocol: PROTOCOL_VERSION,
                    browser: version_line(tools.browser_command(), "--version").await,
                    ffmpeg: version_line(ffmpeg, "-version").await,
                }))
            }
            WorkerTask::Compositions(task) => {
                let compositions = self.lookup(&task, None, messages).await?;
                Ok(Answer::Compositions { compositions })
            }
            WorkerTask::Resolve(task) => {
                let composition = self.resolve(&task.page, &task.composition, messages);
                let composition = composition.await?;
                Ok(Answer::Composition { composition })
            }
            WorkerTask::Chunk(task) => self.chunk(&task, messages).await.map(Answer::Segment),
            WorkerTask::Sound(task) => self.sound(&task).await,
            WorkerTask::Still(task) => self.still(&task, messages).await,
            WorkerTask::Smoke(task) => self.smoke(&task, messages).await.map(Answer::Smoke),
        }
    }

    pub(super) async fn resolve(
        &mut self,
        page: &PageTask,
        composition: &str,
        messages: &Messages,
    ) -> TaskResult<Composition> {
        let mut found = self.lookup(page, Some(composition), messages).await?;
        found.pop().ok_or_else(|| {
            permanent(
                FailureKind::UnknownComposition,
                format!("no composition `{composition}`"),
            )
        })
    }

    async fn lookup(
        &mut self,
        task: &PageTask,
        only: Option<&str>,
        messages: &Messages,
    ) -> TaskResult<Vec<Composition>> {
        check_protocol(task.protocol)?;
        let setup = Setup {
            input_props: task.input_props.clone(),
            environment: task.environment.clone(),
            timeout_ms: task.timeout_ms,
            viewport: LOOKUP_VIEWPORT,
            capture: Capture::Screenshots(ImageFormat::Jpeg, 80),
            muted: false,
            sample_rate: SAMPLE_RATE_DEFAULT,
            initial_frame: 0,
            attempt: 1,
            browser: task.browser.clone(),
        };
        let site = self.site(&task.site)?;
        let need = Need {
            tools: &self.tools,
            location: &task.site,
            site: &site,
            setup: &setup,
            composition: None,
            messages,
        };
        let mut kept = std::mem::take(&mut self.open);
        let usable = kept.iter().position(|open| open.fits(need));
        let usable = usable.or_else(|| kept.iter().position(|open| open.can_be_loaded_anew(need)));
        let usable = usable.map(|place| kept.remove(place));
        for open in kept {
            open.page.close().await;
        }
        let mut open = Open::for_need(usable, need).await?;
        let result = open.page.compositions(only).await;
        pass_on_logs(&mut open.page, messages);
        if result.is_ok() {
            self.open.push(open);
        } else {
            open.page.close().await;
        }
        result
    }

    fn site(&mut self, location: &SiteLocation) -> TaskResult<Site> {
        let objects = match location {
            SiteLocation::Url(url) => {
                return Ok(match url.strip_prefix("file://") {
                    Some(folder) if self.cloud.is_none() => Site::Folder(folder.into()),
                    _ => Site::Url(url.clone()),
                });
            }
            SiteLocation::Bucket(objects) => objects,
            SiteLocation::BuiltIn => {
                let folder = self.built_in.clone().map(Site::Folder);
                return folder.ok_or_else(|| {
                    let message = "the built-in page is for the smoke render alone";
                    permanent(FailureKind::BadRequest, message)
                });
            }
        };
        let kept = match self.kept_site.take() {
            Some(kept) if kept.objects() == objects => kept,
            _ => {
                let cloud = self.cloud()?.clone();
                Arc::new(BucketSite::new(
                    cloud,
                    objects.clone(),
                    &self.tools.scratch,
                )?)
            }
        };
        self.kept_site = Some(Arc::clone(&kept));
        Ok(Site::Bucket(kept))
    }

    pub(super) fn cloud(&self) -> TaskResult<&Cloud> {
        self.cloud
            .as_ref()
            .ok_or_else(|| internal("reaching the bucket", "this worker has no cloud"))
    }

    async fn chunk(&mut self, task: &ChunkTask, messages: &Messages) -> TaskResult<Segment> {
        check_protocol(task.page.protocol)?;
        let folder = self.folder("rmx-chunk-")?;
        let Encoded {
            segment,
            report,
            artifacts,
            captured,
            mut timings,
            digests,
        } = match &task.encode {
            Some(encode) => self.encode(task, encode, folder.path(), messages).await?,
            None => self.listen(task, folder.path(), messages).await?,
        };
        let started = Instant::now();
        self.check_awaited(&task.bucket, &task.segment_key).await?;
        // Who finds a segment must find all that goes with it, so that goes first.
        let (bucket, prefix) = (&task.bucket, &task.artifacts_prefix);
        let emitted = self.put_artifacts(bucket, prefix, artifacts).await?;
        if let Some(report) = report {
            self.put(bucket, &task.sound_key, &report, "application/x-ndjson")
                .await?;
        }
        let pictures = task.encode.as_ref();
        let pictures = pictures.and_then(|encode| encode.codec.rules().pictures);
        let media_type = pictures.map(|pictures| pictures.segment.media_type());
        let media_type = media_type.unwrap_or("application/octet-stream");
        let (size_bytes, outcome) = self
            .put(&task.bucket, &task.segment_key, &segment, media_type)
            .await?;
        timings.upload_ms = milliseconds(started);
        Ok(Segment {
            chunk: task.chunk,
            key: task.segment_key.clone(),
            size_bytes,
            frame_count: task.frames.len().div_ceil(task.every_nth_frame),
            already_there: outcome == PutOutcome::AlreadyThere,
            captured,
            artifacts: emitted,
            timings,
            frame_digests: digests,
        })
    }

    /// Makes one sound of what the chunks' pages want heard.
    async fn sound(&mut self, task: &SoundTask) -> TaskResult<Answer> {
        check_protocol(task.protocol)?;
        let folder = self.folder("rmx-sound-")?;
        let files = MediaFiles::new(self.site(&task.site)?, self.tools.guard, folder.path())?;
        let made = sound::make(&self.tools, self.cloud()?, &files, task, folder.path()).await?;
        self.check_awaited(&task.bucket, &task.key).await?;
        let media_type = task.encode.container.media_type();
        let put = self.put(&task.bucket, &task.key, &made, media_type);
        let (size_bytes, _) = put.await?;
        Ok(Answer::Sound { size_bytes })
    }

    pub(super) fn folder(&self, prefix: &str) -> TaskResult<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&self.tools.scratch)
            .map_err(|error| internal("making a folder for the task", error))
    }

    /// Renders a chunk's frames into a file below `folder`. If they cannot be captured by the method that was asked for,
    /// all of them are captured again as screenshots: no chunk is a mixture.
    pub(super) async fn encode(
        &mut self,
        task: &ChunkTask,
        encode: &EncodeSettings,
        folder: &Path,
        messages: &Messages,
    ) -> TaskResult<Encoded> {
        let asked = task.capture.method;
        let of = (task.page.site.clone(), task.composition.id.clone());
        let known = self.unreadable.clone();
        let mut why_not = known.and_then(|(whose, why)| (whose == of).then_some(why));
        if asked == CaptureMethod::Framebuffer && why_not.is_none() {
            match self.encode_by(asked, task, encode, folder, messages).await {
                Err(failure) if failure.kind == FailureKind::Capture => {
                    tracing::warn!("frames are captured as screenshots: {failure}");
                    // One browser that died says nothing of the next one.
                    self.unreadable = (!failure.retryable).then(|| (of, failure.message.clone()));
                    why_not = Some(failure.message);
                }
                outcome => return outcome,
            }
        }
        let safe = CaptureMethod::Screenshot;
        let mut encoded = self.encode_by(safe, task, encode, folder, messages).await?;
        if let (true, Some(captured)) = (asked != safe, &mut encoded.captured) {
            captured.reason = why_not;
        }
        Ok(encoded)
    }

    async fn encode_by(
        &mut self,
        method: CaptureMethod,
        task: &ChunkTask,
        encode: &EncodeSettings,
        folder: &Path,
        messages: &Messages,
    ) -> TaskResult<Encoded> {
        let started = Instant::now();
        let (composition, capture) = (&task.composition, &task.capture);
        let input = match method {
            CaptureMethod::Screenshot => Input::Images(capture.image_format),
            CaptureMethod::Framebuffer => Input::Planes(
                device_pixels(composition.width, capture.scale),
                device_pixels(composition.height, capture.scale),
            ),
        };
        let fps = composition.fps.of_every_nth(task.every_nth_frame);
        let fps = fps.map_err(|error| permanent(FailureKind::BadRequest, error.to_string()))?;
        let mut report = Report::new(&folder.join("sound.ndjson"));
        let mut artifacts = Artifacts::new(
            folder,
            Picture::of(input, Yuv::of_planes(encode.color_space)),
        );
        let reporting = |error| internal("writing down what is heard", error);
        // The browser starts while the encoder may still be on its way.
        let mut lanes = self.lanes(taken(method, task), task, messages)?;
        let output = folder.join("segment");
        let mut encoder = Encoder::start(&self.tools, encode, input, fps, output).await?;
        let mut open_ms = None;
        let mut digests: Vec<Digest> = Vec::new();
        let mut newest = Bytes::new();
        let mut shown = 0;
        for frame in task.drawn() {
            let drawn = lanes.next().await.map_err(at_frame(frame))?;
            open_ms.get_or_insert_with(|| milliseconds(started));
            let (picture, emitted) = (drawn.picture, drawn.artifacts);
            report.add(frame, drawn.sound).map_err(reporting)?;
            if !task.shows(frame) {
                continue;
            }
            artifacts
                .add(&self.tools, frame, emitted, &picture)
                .await
                .map_err(at_frame(frame))?;
            shown += 1;
            if task.digest_frames {
                let known = digests.last().filter(|_| is_one(&newest, &picture));
                digests.push(known.map_or_else(|| Digest::of(&picture), Clone::clone));
                newest = picture.clone();
            }
            encoder.push(picture).await?;
            let progress = WorkerMessage::Progress {
                rendered: shown,
                encoded: *encoder.encoded().borrow(),
            };
            let _ = messages.try_send(progress);
        }
        self.open = lanes.finish().await?;
        let (open_ms, drawn_ms) = (open_ms.unwrap_or_default(), milliseconds(started));
        let started = Instant::now();
        let segment = encoder.finish(shown).await?;
        let timings = ChunkTimings {
            open_ms,
            capture_ms: drawn_ms - open_ms,
            encode_tail_ms: milliseconds(started),
            upload_ms: 0,
        };
        Ok(Encoded {
            segment,
            report: report.finish().map_err(reporting)?,
            artifacts: artifacts.finish(),
            captured: Some(Captured {
                method,
                reason: None,
            }),
            timings,
            digests,
        })
    }

    /// The chunk's frames, drawn by as many browsers as it takes; the worker's processors bound them.
    pub(super) fn lanes(
        &mut self,
        capture: Capture,
        task: &ChunkTask,
        messages: &Messages,
    ) -> TaskResult<Lanes> {
        let drawing = Drawing {
            tools: self.tools.clone(),
            site: self.site(&task.page.site)?,
            task: Arc::new(task.clone()),
            setup: setup(capture, task),
            messages: messages.clone(),
        };
        let open = std::mem::take(&mut self.open);
        Ok(Lanes::start(drawing, self.tools.browsers, open))
    }

    /// Takes pictures of `task.frames` and hands each to `keep`, in order. Returns where the time went, and how many
    /// pictures were taken: a frame that looks as the one before is that one's picture.
    pub(super) async fn pictures(
        &mut self,
        task: &ChunkTask,
        messages: &Messages,
        mut keep: impl FnMut(u32, &[u8]) -> std::io::Result<()>,
    ) -> TaskResult<(ChunkTimings, u32)> {
        let started = Instant::now();
        let mut open_ms = None;
        let mut newest = None;
        let mut pictures = 0;
        let taken = taken(task.capture.method, task);
        let mut lanes = self.lanes(taken, task, messages)?;
        for frame in task.frames.frames() {
            let drawn = lanes.next().await.map_err(at_frame(frame))?;
            open_ms.get_or_insert_with(|| milliseconds(started));
            keep(frame, &drawn.picture).map_err(|error| internal("writing a frame", error))?;
            let is_newest = newest
                .as_ref()
                .is_some_and(|newest| is_one(newest, &drawn.picture));
            pictures += u32::from(!is_newest);
            newest = Some(drawn.picture);
        }
        let (open_ms, drawn_ms) = (open_ms.unwrap_or_default(), milliseconds(started));
        self.open = lanes.finish().await?;
        let timings = ChunkTimings {
            open_ms,
            capture_ms: drawn_ms - open_ms,
            ..ChunkTimings::default()
        };
        Ok((timings, pictures))
    }

    /// Where the start of the pages went that are open now.
    pub(super) fn starts(&self) -> impl Iterator<Item = Start> {
        self.open.iter().map(|open| open.page.start())
    }

    /// Ends the browsers.
    pub(super) async fn close(&mut self) {
        for open in std::mem::take(&mut self.open) {
            open.page.close().await;
        }
    }
}

/// Whether both are one picture, and not only alike.
fn is_one(picture: &Bytes, other: &Bytes) -> bool {
    (picture.as_ptr(), picture.len()) == (other.as_ptr(), other.len())
}

/// How pictures leave the browser.
pub(super) fn taken(method: CaptureMethod, task: &ChunkTask) -> Capture {
    match method {
        CaptureMethod::Screenshot => {
            Capture::Screenshots(task.capture.image_format, task.capture.jpeg_quality)
        }
        CaptureMethod::Framebuffer => {
            let color_space = task.encode.as_ref().map(|encode| encode.color_space);
            Capture::Framebuffer(Yuv::of_planes(color_space.unwrap_or(ColorSpace::Default)))
        }
    }
}

fn setup(capture: Capture, task: &ChunkTask) -> Setup {
    let composition = &task.composition;
    Setup {
        input_props: task.page.input_props.clone(),
        environment: task.page.environment.clone(),
        timeout_ms: task.page.timeout_ms,
        viewport: (composition.width, composition.height, task.capture.scale),
        capture,
        muted: task.capture.muted,
        sample_rate: task.capture.sample_rate,
        initial_frame: task.frames.start(),
        attempt: task.attempt,
        browser: task.page.browser.clone(),
    }
}

pub(super) fn check_protocol(version: u32) -> TaskResult<()> {
    if version == PROTOCOL_VERSION {
        return Ok(());
    }
    let message = format!(
        "this worker speaks version {PROTOCOL_VERSION} of rmx's protocol and was asked in version {version}; \
         run `rmx apply` with the rmx that renders"
    );
    Err(permanent(FailureKind::BadRequest, message))
}
