//! ffmpeg, fed with frames while later frames are still being drawn.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::colour;
use super::failure::{TaskResult, internal, permanent, retryable};
use super::tools::Tools;
use super::words::words_of;
use crate::media::{Codec, Container, Fps, ImageFormat, Pictures, PixelFormat, ProResProfile};
use crate::protocol::{EncodeSettings, FailureKind, Quality, TaskFailure};

/// Frames that wait for the encoder; beyond that the capture waits.
const FRAMES_WAITING_MAX: usize = 8;
/// How long the encoder may take for what it still holds once the last frame is in.
const FINISH_TIMEOUT: Duration = Duration::from_secs(600);
/// How long it may take until there is room for one more frame. The slowest presets take seconds for one of 4K.
const PUSH_TIMEOUT: Duration = Duration::from_secs(120);
/// How long it may take to end once it takes no more frames.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(5);
const STDERR_BYTES_MAX: u64 = 64 * 1024;

/// A running encoder.
#[derive(Debug)]
pub(super) struct Encoder {
    frames: mpsc::Sender<Bytes>,
    encoded: watch::Receiver<u32>,
    child: Child,
    tasks: JoinSet<String>,
    output: PathBuf,
}

/// What frames look like when they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Input {
    /// Compressed images.
    Images(ImageFormat),
    /// I420, in the range and by the matrix of [`colour::Yuv::of_planes`]; width and height.
    Planes(u32, u32),
}

impl Input {
    /// What ffmpeg is told of it. Raw frames need no probing, and images of a known kind next to none: by default
    /// ffmpeg would read megabytes of them before it begins.
    fn arguments(self) -> String {
        match self {
            Self::Images(ImageFormat::Jpeg) => {
                "-probesize 32 -analyzeduration 0 -f image2pipe -vcodec mjpeg".to_owned()
            }
            Self::Images(ImageFormat::Png) => {
                "-probesize 32 -analyzeduration 0 -f image2pipe -vcodec png".to_owned()
            }
            Self::Planes(width, height) => {
                format!("-f rawvideo -pix_fmt yuv420p -video_size {width}x{height}")
            }
        }
    }
}

/// Everything ffmpeg is told. The same for every chunk of a render, but for the paths.
fn arguments(
    settings: &EncodeSettings,
    pictures: Pictures,
    input: Input,
    fps: Fps,
    threads: u32,
    output: &Path,
) -> Vec<String> {
    let mut text = format!(
        "-hide_banner -loglevel error -nostats -progress pipe:1 \
         {} -framerate {fps} -i - -an -c:v {}",
        input.arguments(),
        pictures.encoder,
    );
    let mut add = |option: &str, value: &dyn std::fmt::Display| {
        text.push_str(&format!(" {option} {value}"));
    };
    if let Some(format) = settings.pixel_format {
        add("-pix_fmt", &format);
        add("-vf", &colour::filter(settings, input));
        add("-threads", &threads);
    }
    match &settings.quality {
        Some(Quality::Crf(factor)) => add("-crf", factor),
        Some(Quality::Bitrate(rate)) => add("-b:v", rate),
        None => {}
    }
    if let Some(size) = &settings.buffer_size {
        add("-bufsize", size);
    }
    if let Some(rate) = &settings.max_rate {
        add("-maxrate", rate);
    }
    if let Some(gop) = settings.gop_size {
        add("-g", &gop);
    }
    if let Some(preset) = settings.x264_preset {
        add("-preset", &preset);
    }
    if let Some(profile) = settings.pro_res_profile {
        add("-profile:v", &profile_number(profile));
    }
    // Closed groups of pictures and headers that do not depend on the content: segments can be joined.
    // JPEGs say that a colour is that of the middle of its four pixels; planes are made so, and do not say it.
    let middle = match input {
        Input::Planes(..) => ":chromaloc=1",
        Input::Images(..) => "",
    };
    match settings.codec {
        Codec::H264 | Codec::H264Mkv => {
            let parameters = format!("open-gop=0:stitchable=1{middle}");
            add("-x264-params", &parameters);
        }
        Codec::H265 => {
            add(
                "-x265-params",
                &format!("open-gop=0:log-level=error{middle}"),
            );
            add("-tag:v", &"hvc1");
        }
        // libvpx shows nothing of what is transparent in frames that it keeps for reference alone.
        Codec::Vp8 | Codec::Vp9
            if settings
                .pixel_format
                .is_some_and(PixelFormat::is_transparent) =>
        {
            add("-auto-alt-ref", &"0");
        }
        Codec::Vp8
        | Codec::Vp9
        | Codec::ProRes
        | Codec::Gif
        | Codec::Mp3
        | Codec::Aac
        | Codec::Wav => {}
    }
    if matches!(pictures.segment, Container::Mp4 | Container::Mov) {
        add("-video_track_timescale", &fps.timescale());
    }
    add(
        "-fps_mode passthrough -map_metadata -1 -f",
        &pictures.segment.muxer(),
    );
    add("-y", &"");
    let mut arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    arguments.push(output.display().to_string());
    arguments
}

/// prores_ks's number of it.
fn profile_number(profile: ProResProfile) -> u32 {
    match profile {
        ProResProfile::Proxy => 0,
        ProResProfile::Light => 1,
        ProResProfile::Standard => 2,
        ProResProfile::Hq => 3,
        ProResProfile::P4444 => 4,
        ProResProfile::P4444Xq => 5,
    }
}

impl Encoder {
    pub(super) async fn start(
        tools: &Tools,
        settings: &EncodeSettings,
        input: Input,
        fps: Fps,
        output: PathBuf,
    ) -> TaskResult<Self> {
        let pictures = settings.codec.rules().pictures.ok_or_else(|| {
            let message = format!("encoding: {} makes no pictures", settings.codec);
            permanent(FailureKind::BadRequest, message)
        })?;
        let arguments = arguments(settings, pictures, input, fps, tools.cores, &output);
        let mut child = tools
            .ffmpeg_command()
            .await?
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| {
                retryable(
                    FailureKind::Encoder,
                    format!("starting the encoder: {error}"),
                )
            })?;
        let missing = || internal("starting the encoder", "a pipe is missing");
        let mut stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let (frames, mut waiting) = mpsc::channel::<Bytes>(FRAMES_WAITING_MAX);
        let (count, encoded) = watch::channel(0);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(frame) = waiting.recv().await {
                if stdin.write_all(&frame).await.is_err() {
                    break; // ffmpeg ended; its own words say why
                }
            }
            String::new()
        });
        tasks.spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(frame) = line
                    .strip_prefix("frame=")
                    .and_then(|n| n.trim().parse().ok())
                {
                    let _ = count.send(frame);
                }
            }
            String::new()
        });
        tasks.spawn(words_of(stderr, STDERR_BYTES_MAX));
        Ok(Self {
            frames,
            encoded,
            child,
            tasks,
            output,
        })
    }

    /// Hands over a frame; waits while the encoder is behind.
    pub(super) async fn push(&mut self, frame: Bytes) -> TaskResult<()> {
        self.push_within(PUSH_TIMEOUT, frame).await
    }

    async fn push_within(&mut self, limit: Duration, frame: Bytes) -> TaskResult<()> {
        match tokio::time::timeout(limit, self.frames.send(frame)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.last_words().await),
            Err(_) => Err(retryable(
                FailureKind::Encoder,
                format!("encoding: ffmpeg took no frame for {} s", limit.as_secs()),
            )),
        }
    }

    /// Frames encoded so far, to be watched.
    pub(super) fn encoded(&self) -> watch::Receiver<u32> {
        self.encoded.clone()
    }

    /// Ends the stream, waits for the file and returns its path; it holds exactly `frame_count` frames.
    pub(super) async fn finish(self, frame_count: u32) -> TaskResult<PathBuf> {
        self.finish_within(FINISH_TIMEOUT, frame_count).await
    }

    async fn finish_within(mut self, limit: Duration, frame_count: u32) -> TaskResult<PathBuf> {
        drop(self.frames);
        let status = tokio::time::timeout(limit, self.child.wait()).await;
        if status.is_err() {
            // Its pipes stay open for as long as it lives, and the tasks below read them to their end.
            let _ = self.child.kill().await;
        }
        let words: String = self.tasks.join_all().await.concat();
        let failed =
            |what: String| retryable(FailureKind::Encoder, format!("encoding: {what}\n{words}"));
        match status {
            Err(_) => {
                return Err(failed(format!(
                    "ffmpeg did not end within {} s",
                    limit.as_secs()
                )));
            }
            Ok(Err(error)) => return Err(internal("waiting for the encoder", error)),
            Ok(Ok(status)) if !status.success() => return Err(ended_early(status, &words)),
            Ok(Ok(_)) => {}
        }
        let encoded = *self.encoded.borrow();
        if encoded != frame_count {
            return Err(failed(format!(
                "{frame_count} frames went in and {encoded} came out"
            )));
        }
        Ok(self.output)
    }

    /// What became of it. Its input is closed already, so it has ended or is about to.
    async fn last_words(&mut self) -> TaskFailure {
        let status = tokio::time::timeout(LAST_WORDS_TIMEOUT, self.child.wait()).await;
        if status.is_err() {
            let _ = self.child.kill().await;
        }
        let words: String = std::mem::take(&mut self.tasks).join_all().await.concat();
        match status {
            Ok(Ok(status)) => ended_early(status, &words),
            Ok(Err(error)) => internal("waiting for the encoder", error),
            Err(_) => retryable(
                FailureKind::Encoder,
                format!("encoding: ffmpeg took no more frames\n{words}"),
            ),
        }
    }
}

/// Who is killed says nothing: of all processes of a machine without memory left the encoder is one of the largest.
fn ended_early(status: ExitStatus, words: &str) -> TaskFailure {
    let advice = match status.signal() {
        Some(_) => "; most often there is no memory left: give the function more with memory_mb",
        None => "",
    };
    let message = format!("encoding: ffmpeg ended with {status}{advice}\n{words}");
    retryable(FailureKind::Encoder, message.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// An encoder of JPEGs that is no ffmpeg but this shell script.
    async fn instead(script: &str, folder: &Path) -> Encoder {
        let ffmpeg = folder.join("ffmpeg");
        std::fs::write(&ffmpeg, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&ffmpeg, Permissions::from_mode(0o755)).unwrap();
        let tools = Tools::without_browser(ffmpeg, folder, 1);
        let settings = EncodeSettings::default();
        let fps = Fps::from_number(30.0).unwrap();
        let output = folder.join("segment.mp4");
        let input = Input::Images(ImageFormat::Jpeg);
        let encoder = Encoder::start(&tools, &settings, input, fps, output).await;
        encoder.unwrap()
    }

    /// Hands frames over until the encoder fails.
    async fn pushed(mut encoder: Encoder, limit: Duration) -> TaskFailure {
        let until_it_fails = async {
            loop {
                if let Err(failure) = encoder.push_within(limit, vec![0; 1 << 20].into()).await {
                    return failure;
                }
            }
        };
        let failure = tokio::time::timeout(Duration::from_secs(60), until_it_fails).await;
        failure.expect("it came to an end")
    }

    #[tokio::test]
    async fn an_encoder_that_never_ends_is_ended() {
        let folder = tempfile::tempdir().unwrap();
        let encoder = instead("exec sleep 3600", folder.path()).await;
        let finished = encoder.finish_within(Duration::from_millis(50), 1);
        let finished = tokio::time::timeout(Duration::from_secs(60), finished).await;
        let failure = finished.expect("it came to an end").unwrap_err();
        assert!(failure.message.contains("did not end"), "{failure}");
        assert!(failure.retryable);

        let encoder = instead("exec sleep 3600", folder.path()).await;
        let failure = pushed(encoder, Duration::from_millis(50)).await;
        assert!(failure.message.contains("took no frame"), "{failure}");
        assert!(failure.retryable);
    }

    #[tokio::test]
    async fn how_an_encoder_ended_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (script, expected) in [
            ("kill -9 $$", &["signal: 9", "memory_mb"][..]),
            (
                "echo no such preset >&2; exit 3",
                &["status: 3", "no such preset"],
            ),
        ] {
            let encoder = instead(script, folder.path()).await;
            let failure = pushed(encoder, Duration::from_secs(60)).await;
            for part in expected {
                assert!(failure.message.contains(part), "no {part:?} in {failure}");
            }
            assert!(failure.retryable);
        }
    }

    /// Where a browser's framebuffer cannot be read, its chunk is made of screenshots, beside chunks of other browsers.
    #[tokio::test]
    async fn pictures_of_either_kind_are_encoded_with_one_configuration() {
        let folder = tempfile::tempdir().unwrap();
        let tools = Tools::without_browser(PathBuf::from("ffmpeg"), folder.path(), 1);
        let fps = Fps::from_number(30.0).unwrap();
        let jpeg = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "color=red:size=64x48"])
            .args(["-frames:v", "1", "-c:v", "mjpeg", "-f", "image2pipe", "-"])
            .output()
            .unwrap();
        let planes = vec![128; 64 * 48 * 3 / 2];
        for (codec, name) in [(Codec::H264, b"avcC"), (Codec::H265, b"hvcC")] {
            let settings = EncodeSettings {
                codec,
                ..EncodeSettings::default()
            };
            let mut configurations = Vec::new();
            for (input, picture) in [
                (Input::Images(ImageFormat::Jpeg), &jpeg.stdout),
                (Input::Planes(64, 48), &planes),
            ] {
                let output = folder.path().join("segment.mp4");
                let encoder = Encoder::start(&tools, &settings, input, fps, output).await;
                let mut encoder = encoder.unwrap();
                encoder.push(picture.clone().into()).await.unwrap();
                let segment = std::fs::read(encoder.finish(1).await.unwrap()).unwrap();
                let at = segment.windows(4).position(|box_name| box_name == name);
                let at = at.unwrap();
                let size = u32::from_be_bytes(segment[at - 4..at].try_into().unwrap());
                configurations.push(segment[at..at - 4 + size as usize].to_vec());
            }
            assert_eq!(configurations[0], configurations[1], "{codec}");
        }
    }
}
