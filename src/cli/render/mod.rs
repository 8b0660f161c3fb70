//! `rmx render`: a composition becomes a video on this machine.

pub(super) mod artifacts;
pub(super) mod deployed;
mod detach;
mod driven;
mod failure;
pub(super) mod options;
mod refused;
pub(super) mod view;
pub(super) mod workers;

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args as _, FromArgMatches as _};
use serde_json::json;

use crate::config::{RenderDefaults, WorkerKind};
use crate::env::Tool;
use crate::media::{
    AudioCodec, CaptureMethod, Codec, ColorSpace, Container, FrameRange, FrameSelection,
    ImageFormat, PixelFormat, ProResProfile, X264Preset,
};
use crate::names::RenderId;
use crate::render::chunks::ChunkLength;
use crate::render::dispatch::Session;
use crate::render::output::OutputFile;
use crate::render::request::{
    CaptureOptions, EncodeOptions, RenderOptions, RenderRequest, SoundOptions,
};
use crate::render::{self, ArtifactFile, RenderJob, RenderOutput, new_render_id};
use crate::state::Holder;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use artifacts::ArtifactArgs;
use deployed::Deployed;
use options::{OverrideArgs, PageArgs};
use view::View;

pub(super) use failure::shown as failure_shown;

/// Render a composition into a video
///
/// The frames are cut into chunks, rendered by many workers at the same time, and joined without encoding again.
/// Options have the names they have in `npx remotion lambda render`. What an option does not say comes from `[render]` in
/// remotion.toml, then from the composition.
#[derive(Debug, clap::Args)]
pub(crate) struct RenderArgs {
    /// The composition's id
    composition: String,
    /// The file to write; its ending chooses the codec where --codec does not [default: out/COMPOSITION.mp4]
    out: Option<PathBuf>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    overrides: OverrideArgs,
    /// The frames to render: A-B, both included; A-, to the end; or a single one
    #[arg(long, value_name = "A-B")]
    frames: Option<FrameSelection>,
    /// Show every n-th frame only, at the n-th part of the frame rate
    #[arg(long, value_name = "N", default_value_t = 1)]
    every_nth_frame: u32,
    /// Frames in a chunk
    #[arg(long, value_name = "N", conflicts_with = "concurrency")]
    frames_per_lambda: Option<u32>,
    /// Cut into this many chunks, all rendered at the same time; on the embedded cloud no more than it has processors for
    #[arg(long, value_name = "N")]
    concurrency: Option<u32>,
    /// Codec: h264, h264-mkv, h265, vp8, vp9, prores, gif, or mp3, aac, wav for sound alone [default: what OUT's ending means, else h264]
    #[arg(long, value_parser = options::parse_codec)]
    codec: Option<Codec>,
    /// Constant rate factor: less is better and larger [default: 16 for h264 and 18 with --x264-preset, 23 for h265, 9 for vp8,
    /// 28 for vp9]
    #[arg(long, value_name = "N")]
    crf: Option<u8>,
    /// Bits a second instead of a constant rate factor, such as 1500K
    #[arg(long, value_name = "RATE")]
    video_bitrate: Option<String>,
    /// The encoder's buffer, such as 3M
    #[arg(long, value_name = "SIZE")]
    buffer_size: Option<String>,
    /// The most bits a second over the length of that buffer, such as 2M
    #[arg(long, value_name = "RATE")]
    max_rate: Option<String>,
    /// libx264's preset [default: veryfast, at a rate factor that makes it as good as Remotion's medium at 18]
    #[arg(long, value_name = "PRESET", value_parser = options::parse_preset)]
    x264_preset: Option<X264Preset>,
    /// Kind of ProRes: proxy, light, standard, hq, 4444 or 4444-xq [default: hq]
    #[arg(long, value_name = "PROFILE", value_parser = options::parse_profile)]
    prores_profile: Option<ProResProfile>,
    /// Pixel format of the video; yuva420p and yuva444p10le are transparent [default: yuv420p; yuv422p10le for prores]
    #[arg(long, value_name = "FORMAT", value_parser = options::parse_pixel_format)]
    pixel_format: Option<PixelFormat>,
    /// Matrix and range of the video: default (BT.601, full range as in JPEG), bt601, bt709 or bt2020-ncl
    #[arg(long, value_name = "SPACE", default_value = "default", value_parser = options::parse_color_space)]
    color_space: ColorSpace,
    /// Keyframe distance in frames
    #[arg(long, value_name = "FRAMES")]
    gop: Option<u32>,
    /// How often a GIF begins again after its end; 0 shows it once [default: for ever]
    #[arg(long, value_name = "N")]
    number_of_gif_loops: Option<u32>,
    /// What the file says of itself, such as title=Hello; may be given several times
    #[arg(long, value_name = "NAME=TEXT", value_parser = options::parse_tag)]
    metadata: Vec<(String, String)>,
    /// Times as many pixels a side as the composition has
    #[arg(long, value_name = "FACTOR")]
    scale: Option<f64>,
    /// How frames are taken from the browser: framebuffer or screenshot [default: framebuffer where it serves]
    #[arg(long, value_name = "METHOD", value_parser = options::parse_capture_method)]
    capture_method: Option<CaptureMethod>,
    /// Format of screenshots: jpeg or png
    #[arg(long, value_name = "FORMAT", value_parser = options::parse_image_format)]
    image_format: Option<ImageFormat>,
    /// Quality of JPEG screenshots, 0 to 100
    #[arg(long, value_name = "N")]
    jpeg_quality: Option<u8>,
    /// Leave sound out
    #[arg(long)]
    muted: bool,
    /// Give the video a sound track even if nothing is heard in it
    #[arg(long, conflicts_with = "muted")]
    enforce_audio_track: bool,
    /// Codec of the sound: aac, mp3, opus or pcm-16 [default: what goes with codec and container]
    #[arg(long, value_name = "CODEC", value_parser = options::parse_audio_codec)]
    audio_codec: Option<AudioCodec>,
    /// Bit rate of the sound, such as 128K [default: 320k]
    #[arg(long, value_name = "RATE")]
    audio_bitrate: Option<String>,
    /// Samples of sound a second [default: the composition's own, else 48000]
    #[arg(long, value_name = "HERTZ")]
    sample_rate: Option<u32>,
    /// Whether a file that is there may be replaced
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value_t = true,
        default_missing_value = "true",
        action = clap::ArgAction::Set
    )]
    overwrite: bool,
    /// Take up a render that did not end, with the same options: what it has rendered is not rendered again
    #[arg(long, value_name = "ID")]
    resume: Option<RenderId>,
    /// Have the function drive the render, and return as soon as it has an id: `rmx renders watch ID` follows it. The file stays
    /// in the bucket, below renders/ID/, with the files that the page emits; `[function] timeout_s` is all the time there is
    #[arg(
        long,
        conflicts_with_all = ["resume", "keep_segments", "artifacts_folder", "capture_method", "enforce_audio_track"]
    )]
    detach: bool,
    #[command(flatten)]
    artifacts: ArtifactArgs,
    /// Leave the segments in the bucket
    #[arg(long)]
    keep_segments: bool,
}

impl RenderArgs {
    /// As `rmx render COMPOSITION` without further options, but for the page's.
    pub(super) fn plain(composition: &str, page: PageArgs) -> Result<Self, CommandError> {
        let command = Self::augment_args(clap::Command::new("render"));
        let words = ["render", "--", composition];
        let parsed = command
            .try_get_matches_from(words)
            .and_then(|matches| Self::from_arg_matches(&matches));
        Ok(Self {
            page,
            ..parsed.map_err(|error| CommandError::from_clap(&error))?
        })
    }

    /// Renders `frames` in so many chunks, all at the same time.
    pub(super) fn set_extent(&mut self, frames: FrameRange, chunks: u32) {
        self.frames = Some(frames.into());
        self.concurrency = Some(chunks);
    }

    pub(super) fn page(&self) -> &PageArgs {
        &self.page
    }

    /// What is asked of the farm.
    pub(super) fn request(
        &self,
        context: &Context,
        deployed: &Deployed,
    ) -> Result<RenderRequest, CommandError> {
        let format = Format::new(self, &deployed.config.render)?;
        request(context, self, deployed, format)
    }
}

pub(crate) async fn cmd_render(
    context: &Context,
    args: &RenderArgs,
) -> Result<ExitStatus, CommandError> {
    let deployed = Deployed::of_any_worker(context, &args.page).await?;
    let format = Format::new(args, &deployed.config.render)?;
    let request = request(context, args, &deployed, format)?;
    if args.detach {
        let name = args.out.as_deref().and_then(Path::file_name);
        return detach::detach(context, &deployed, request.options(), name).await;
    }
    let path = output_path(context, args, format);
    if deployed.worker() == WorkerKind::Remotion {
        let output = OutputFile::create(&path, args.overwrite)?;
        return driven::render(context, args, &deployed, request.options(), output).await;
    }
    let shown = shown_path(context, &path);
    let job = RenderJob {
        id: args.resume.clone().unwrap_or_else(new_render_id),
        resume: args.resume.is_some(),
        keep_segments: args.keep_segments,
        output: OutputFile::create(&path, args.overwrite)?,
        ffmpeg: context.env.find_tool(Tool::Ffmpeg),
        artifacts_folder: args.artifacts.folder(context, &args.composition),
    };
    let id = job.id.clone();
    let cancel = context.interrupt.stop().child_token();
    let mut view = View::new(context, &args.page, &cancel);
    let began = Instant::now();
    let (farm, ()) = tokio::join!(
        farm::connect(context, &deployed.config),
        deployed.note_edits(context, &request.options().page),
    );
    let farm = farm?;
    // Nothing in this block returns before the embedded cloud has been shut down.
    let outcome = async {
        let asked = args.concurrency.or(match args.frames_per_lambda {
            Some(_) => None,
            None => deployed.config.render.concurrency,
        });
        let concurrency_max = deployed.concurrency_max(&farm.cloud, asked).await?;
        let workers = deployed.workers(concurrency_max)?;
        let session = Session {
            cloud: &farm.cloud,
            workers: &workers,
            cancel: &cancel,
        };
        view.begin(&args.composition, &id, args.resume.is_some());
        let holder = Holder::new(&context.env, "rmx render").to_string();
        let rendered = render::render(&request, job, &holder, session, |event| view.show(&event));
        let outcome = rendered.await;
        view.end()?;
        outcome.map_err(|error| failure::shown(error, &args.composition, view.resumable(&id)))
    }
    .await;
    farm.shutdown().await;
    let output = outcome?;
    summary(context, args, &id, &output, &shown, began)?;
    Ok(ExitStatus::Success)
}

fn request(
    context: &Context,
    args: &RenderArgs,
    deployed: &Deployed,
    format: Format,
) -> Result<RenderRequest, CommandError> {
    let defaults = &deployed.config.render;
    // What is configured of an encoder counts for the configured codec alone.
    let configured = format.codec == defaults.codec.unwrap_or(Codec::H264);
    let encoder = configured.then_some(defaults);
    // A length on the command line takes the place of either one in the configuration.
    let chunk_length = match (args.frames_per_lambda, args.concurrency) {
        (Some(frames), _) => ChunkLength::Frames(frames),
        (None, Some(chunks)) => ChunkLength::Chunks(chunks),
        (None, None) => match (defaults.frames_per_lambda, defaults.concurrency) {
            (Some(frames), _) => ChunkLength::Frames(frames),
            (None, Some(chunks)) => ChunkLength::Chunks(chunks),
            (None, None) => deployed.chunk_length(),
        },
    };
    let request = RenderRequest::new(RenderOptions {
        composition: args.composition.clone(),
        page: deployed.page(context, &args.page)?,
        overrides: args.overrides.overrides(),
        frames: args.frames,
        every_nth_frame: args.every_nth_frame,
        chunk_length,
        capture: CaptureOptions {
            method: args.capture_method,
            image_format: args.image_format.or(defaults.image_format),
            jpeg_quality: args.jpeg_quality.unwrap_or(defaults.jpeg_quality),
            scale: args.scale.unwrap_or(defaults.scale),
            muted: args.muted,
        },
        encode: EncodeOptions {
            codec: format.codec,
            container: format.container,
            crf: match &args.video_bitrate {
                None => args.crf.or(encoder.and_then(|defaults| defaults.crf)),
                Some(_) => args.crf,
            },
            video_bitrate: args.video_bitrate.clone(),
            buffer_size: args.buffer_size.clone(),
            max_rate: args.max_rate.clone(),
            x264_preset: args
                .x264_preset
                .or(encoder.and_then(|defaults| defaults.x264_preset)),
            pro_res_profile: args.prores_profile,
            pixel_format: args
                .pixel_format
                .or(encoder.and_then(|defaults| defaults.pixel_format)),
            color_space: args.color_space,
            gop_size: args.gop,
            gif_loops: args.number_of_gif_loops,
            metadata: args.metadata.iter().cloned().collect(),
        },
        sound: SoundOptions {
            codec: args.audio_codec,
            sample_rate: args.sample_rate,
            bitrate: args.audio_bitrate.clone(),
            always: args.enforce_audio_track,
        },
        retries_per_chunk: deployed.retries(&args.page),
    });
    Ok(request?)
}

/// What kind of file it is to be.
#[derive(Debug, Clone, Copy)]
struct Format {
    codec: Codec,
    container: Container,
}

impl Format {
    /// By --codec and the file's ending; either may say nothing.
    fn new(args: &RenderArgs, defaults: &RenderDefaults) -> Result<Self, CommandError> {
        let ending = args.out.as_ref().and_then(|out| out.extension());
        let ending = ending.map(|ending| ending.to_string_lossy().to_lowercase());
        let named = match ending.as_deref() {
            None => None,
            Some(ending) => Some(Container::of_ending(ending).ok_or_else(|| no_such(ending))?),
        };
        let meant = named.map(Codec::of_container);
        let codec = match (args.codec, meant, defaults.codec) {
            (Some(codec), _, _) => codec,
            (None, Some(possible), Some(codec)) if possible.contains(&codec) => codec,
            (None, Some(possible), _) => possible[0],
            (None, None, codec) => codec.unwrap_or(Codec::H264),
        };
        Ok(Self {
            codec,
            container: named.unwrap_or_else(|| codec.container_with(args.audio_codec)),
        })
    }
}

fn no_such(ending: &str) -> CommandError {
    let possible: Vec<String> = Container::ALL.iter().map(|c| format!(".{c}")).collect();
    CommandError::usage("The output file's ending is not that of a file rmx can write").detail(
        format!("It is .{ending}; possible are {}.", possible.join(", ")),
    )
}

/// The file to write.
fn output_path(context: &Context, args: &RenderArgs, format: Format) -> PathBuf {
    match &args.out {
        Some(out) => context.path(out),
        None => context.path(&default_output(
            &args.composition,
            format.container.as_str(),
        )),
    }
}

/// `out/COMPOSITION.EXTENSION`, with nothing in it that leads out of the folder.
pub(super) fn default_output(composition: &str, extension: &str) -> PathBuf {
    Path::new("out").join(format!("{}.{extension}", file_name(composition)))
}

/// A composition's id as the name of a file or a folder.
fn file_name(composition: &str) -> String {
    composition
        .chars()
        .map(|c| {
            if c.is_alphanumeric() || "-_".contains(c) {
                c
            } else {
                '-'
            }
        })
        .collect()
}

/// A path as the user would write it.
pub(super) fn shown_path(context: &Context, path: &Path) -> String {
    let working_directory = &context.env.working_directory;
    match path.strip_prefix(working_directory) {
        Ok(relative) if context.global.directory.is_none() => relative.display().to_string(),
        _ => path.display().to_string(),
    }
}

fn summary(
    context: &Context,
    args: &RenderArgs,
    id: &RenderId,
    output: &RenderOutput,
    shown: &str,
    began: Instant,
) -> Result<(), CommandError> {
    let RenderOutput {
        path,
        size_bytes,
        frame_count,
        timings,
        chunks,
        chunks_resumed,
        retries,
        backups,
        slowest,
        captured,
        artifacts,
    } = output;
    let ui = &context.ui;
    let wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    if ui.json() {
        return ui.print_json(&view::event(
            "render_complete",
            format!("Rendered {shown}"),
            json!({
                "render_id": id,
                "output": path,
                "size_bytes": size_bytes,
                "frames": frame_count,
                "chunks": chunks,
                "chunks_resumed": chunks_resumed,
                "retries": retries,
                "backups": backups,
                "capture_method": captured.word(),
                "capture_reason": captured.reason,
                "wall_ms": wall_ms,
                "resolve_ms": timings.resolve_ms,
                "render_ms": timings.render_ms,
                "sound_ms": timings.sound_ms,
                "stitch_ms": timings.stitch_ms,
                "artifacts": artifacts::as_json(artifacts),
                "slowest_chunk": slowest.map(|(frames, took_ms)| {
                    json!({ "frames": frames.to_string(), "took_ms": took_ms })
                }),
            }),
        ));
    }
    if !args.page.quiet {
        let mut line = format!(
            "{}, {} in {} (composition {}, frames {}, sound {}, stitching {})",
            view::counted(*frame_count, "frame", "frames"),
            view::size(*size_bytes),
            view::duration(wall_ms),
            view::duration(timings.resolve_ms),
            view::duration(timings.render_ms),
            view::duration(timings.sound_ms),
            view::duration(timings.stitch_ms),
        );
        line += &format!(
            "\n{}, {}, {}",
            view::counted(u64::from(*chunks), "chunk", "chunks"),
            view::counted(u64::from(*retries), "retry", "retries"),
            view::counted(u64::from(*backups), "backup copy", "backup copies"),
        );
        if *chunks_resumed > 0 {
            line += &format!(
                ", {} from before",
                view::counted(u64::from(*chunks_resumed), "chunk", "chunks")
            );
        }
        if let Some((frames, took_ms)) = slowest {
            line += &format!(
                "; the slowest chunk, {frames}, took {}",
                view::duration(*took_ms)
            );
        }
        line += &view::captured(captured);
        ui.say(line);
        say_what_is_there(context, artifacts, shown);
    }
    ui.print(shown)
}

/// Tells people what files a render has left.
fn say_what_is_there(context: &Context, artifacts: &[ArtifactFile], shown: &str) {
    let ui = &context.ui;
    for artifact in artifacts {
        ui.say(format!("Artifact: {}", shown_path(context, &artifact.path)));
    }
    ui.say(format!("Watch it in any player or browser: {shown}"));
}
