//! Samples → an encoded sound, by ffmpeg.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::{Child, ChildStdin};
use tokio::task::JoinSet;

use crate::media::AudioCodec;
use crate::protocol::{FailureKind, SoundSettings};
use crate::worker::failure::{TaskResult, internal, retryable};
use crate::worker::tools::Tools;
use crate::worker::words::words_of;

const STDERR_BYTES_MAX: u64 = 64 * 1024;

/// AAC above this frequency costs bits and is hardly heard; the official renderer's figure.
const CUTOFF_HZ: u32 = 18_000;

/// A running encoder.
#[derive(Debug)]
pub(super) struct SoundEncoder {
    child: Child,
    stdin: ChildStdin,
    words: JoinSet<String>,
    path: PathBuf,
}

fn arguments(settings: &SoundSettings, path: &Path) -> Vec<String> {
    let SoundSettings {
        codec,
        container,
        sample_rate,
        bitrate,
    } = settings;
    let encoder = match codec {
        AudioCodec::Aac => {
            let cutoff = CUTOFF_HZ.min(sample_rate / 2);
            format!("aac -b:a {bitrate} -cutoff {cutoff}")
        }
        AudioCodec::Mp3 => format!("libmp3lame -b:a {bitrate}"),
        AudioCodec::Opus => format!("libopus -b:a {bitrate}"),
        AudioCodec::Pcm16 => "pcm_s16le".to_owned(),
    };
    let text = format!(
        "-v error -nostdin -f s16le -ac 2 -ar {sample_rate} -i - \
         -c:a {encoder} -map_metadata -1 -f {} -y",
        container.muxer()
    );
    let mut arguments: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
    arguments.push(path.display().to_string());
    arguments
}

impl SoundEncoder {
    /// Starts an encoder whose file will lie in `folder`.
    pub(super) async fn start(
        tools: &Tools,
        settings: &SoundSettings,
        folder: &Path,
    ) -> TaskResult<Self> {
        let path = folder.join(format!("sound.{}", settings.container));
        let mut child = tools
            .ffmpeg_command()
            .await?
            .args(arguments(settings, &path))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| internal("starting the encoder of the sound", error))?;
        let missing = || internal("encoding sound", "a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let mut words = JoinSet::new();
        words.spawn(words_of(stderr, STDERR_BYTES_MAX));
        Ok(Self {
            child,
            stdin,
            words,
            path,
        })
    }

    /// Where samples go: two channels of 16 bit.
    pub(super) fn input(&mut self) -> &mut ChildStdin {
        &mut self.stdin
    }

    /// Ends the stream and waits for the file. What went wrong with the encoder goes before `mixed`, which fails for
    /// the same reason.
    pub(super) async fn finish(mut self, mixed: TaskResult<()>) -> TaskResult<PathBuf> {
        drop(self.stdin);
        let status = self.child.wait().await;
        let status =
            status.map_err(|error| internal("waiting for the encoder of the sound", error))?;
        if status.success() {
            return mixed.map(|()| self.path);
        }
        let words = self.words.join_all().await.concat();
        let message = format!("encoding sound: ffmpeg ended with {status}\n{words}");
        Err(retryable(FailureKind::Encoder, message))
    }
}
