//! Files that a page hands out beside its pictures: written down while a chunk is drawn, uploaded before its segment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use tokio::io::AsyncWriteExt as _;

use super::colour::Yuv;
use super::encode::Input;
use super::failure::{TaskResult, internal, permanent};
use super::task::Worker;
use super::tools::Tools;
use super::words::words_of;
use crate::names::{ArtifactName, BucketName};
use crate::protocol::FailureKind;

const STDERR_BYTES_MAX: u64 = 4 * 1024;

/// A file of a page, as the driver tells of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Artifact {
    pub(super) name: String,
    pub(super) content: Content,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    Text(String),
    /// As the page contract encodes bytes: they are taken for UTF-8, and each character of that, which must be one of
    /// the first 256, becomes a byte in base64.
    Binary(String),
    /// The picture of the frame.
    Thumbnail,
}

/// How a picture gets a format that everybody knows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Picture {
    /// It has one.
    Image,
    /// None is taken.
    Nothing,
    /// It is I420, of this width and height.
    Planes(u32, u32, Yuv),
}

impl Picture {
    /// What the encoder takes.
    pub(super) fn of(input: Input, space: Yuv) -> Self {
        match input {
            Input::Images(..) => Self::Image,
            Input::Planes(width, height) => Self::Planes(width, height, space),
        }
    }
}

/// The artifacts of one chunk.
#[derive(Debug)]
pub(super) struct Artifacts {
    folder: PathBuf,
    picture: Picture,
    /// Name → the frame that emitted it, and its file.
    kept: BTreeMap<String, (u32, PathBuf)>,
}

impl Artifacts {
    /// Artifacts to be kept in `folder`.
    pub(super) fn new(folder: &Path, picture: Picture) -> Self {
        Self {
            folder: folder.to_owned(),
            picture,
            kept: BTreeMap::new(),
        }
    }

    /// Takes what `frame` emits, whose picture is `picture`.
    pub(super) async fn add(
        &mut self,
        tools: &Tools,
        frame: u32,
        artifacts: Vec<Artifact>,
        picture: &Bytes,
    ) -> TaskResult<()> {
        for Artifact { name, content } in artifacts {
            check_name(&name)?;
            if let Some((before, _)) = self.kept.get(&name) {
                let message = format!(
                    "the artifact {name} was emitted at frame {before} and again at frame {frame}: names must be unique"
                );
                return Err(permanent(FailureKind::PageError, message));
            }
            let content = match content {
                Content::Text(text) => text.into(),
                Content::Binary(encoded) => decoded(&encoded).ok_or_else(|| {
                    let message = format!("the artifact {name} is not encoded in base64");
                    permanent(FailureKind::PageContract, message)
                })?,
                Content::Thumbnail => match self.picture {
                    Picture::Image => picture.clone(),
                    Picture::Planes(width, height, space) => {
                        jpeg(tools, picture, (width, height), space).await?
                    }
                    // As the official renderer has it when only sound is wanted.
                    Picture::Nothing => continue,
                },
            };
            let file = self.folder.join(format!("artifact-{}", self.kept.len()));
            let written = tokio::fs::write(&file, content).await;
            written.map_err(|error| internal(&format!("keeping the artifact {name}"), error))?;
            self.kept.insert(name, (frame, file));
        }
        Ok(())
    }

    /// Name, frame and file of each.
    pub(super) fn finish(self) -> Vec<(String, u32, PathBuf)> {
        let kept = self.kept.into_iter();
        kept.map(|(name, (frame, file))| (name, frame, file))
            .collect()
    }
}

impl Worker {
    /// Uploads what the page emitted; returns how many files that are.
    pub(super) async fn put_artifacts(
        &self,
        bucket: &BucketName,
        prefix: &str,
        artifacts: Vec<(String, u32, PathBuf)>,
    ) -> TaskResult<u32> {
        let mut count = 0;
        for (name, frame, file) in artifacts {
            let key = format!("{prefix}{frame:07}/{name}");
            let media_type = mime_guess::from_path(&name).first_or_octet_stream();
            self.put(bucket, &key, &file, media_type.as_ref()).await?;
            count += 1;
        }
        Ok(count)
    }
}

fn check_name(name: &str) -> TaskResult<()> {
    if name.parse::<ArtifactName>().is_ok() {
        return Ok(());
    }
    let message = format!(
        "the artifact {name:.300?} cannot be kept under this name: it must be {}",
        ArtifactName::RULE
    );
    Err(permanent(FailureKind::PageError, message))
}

fn decoded(encoded: &str) -> Option<Bytes> {
    let bytes = STANDARD.decode(encoded).ok()?;
    let text: String = bytes.into_iter().map(char::from).collect();
    Some(text.into())
}

/// A JPEG of a frame of the framebuffer.
async fn jpeg(
    tools: &Tools,
    planes: &Bytes,
    (width, height): (u32, u32),
    space: Yuv,
) -> TaskResult<Bytes> {
    let from = match space {
        Yuv::Bt601Full => "in_range=full:in_color_matrix=bt601",
        Yuv::Bt601Limited => "in_range=limited:in_color_matrix=bt601",
        Yuv::Bt709Limited => "in_range=limited:in_color_matrix=bt709",
    };
    let scale = format!("scale={from}:out_range=full:out_color_matrix=bt601");
    let failed = |error: String| internal("making a thumbnail", error);
    let size = format!("{width}x{height}");
    let mut child = tools
        .ffmpeg_command()
        .await?
        .args([
            "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size, "-i", "-",
        ])
        .args(["-vf", &scale, "-pix_fmt", "yuvj420p"])
        .args(["-q:v", "2", "-f", "mjpeg", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    let (Some(mut input), Some(errors)) = (child.stdin.take(), child.stderr.take()) else {
        return Err(failed("a pipe is missing".to_owned()));
    };
    let feed = async move {
        // Whoever does not read to the end says why on the other side.
        let _ = input.write_all(planes).await;
    };
    let (output, (), words) = tokio::join!(
        child.wait_with_output(),
        feed,
        words_of(errors, STDERR_BYTES_MAX)
    );
    let output = output.map_err(|error| failed(error.to_string()))?;
    if output.status.success() && !output.stdout.is_empty() {
        Ok(output.stdout.into())
    } else {
        Err(failed(format!("{}: {}", output.status, words.trim())))
    }
}

#[cfg(any(test, fuzzing))]
impl Artifact {
    /// What may be kept has a name below its folder, and no more bytes than were written for it.
    pub(super) fn check(&self) {
        if check_name(&self.name).is_ok() {
            let mut parts = Path::new(&self.name).components();
            let is_below = parts.all(|part| matches!(part, std::path::Component::Normal(_)));
            assert!(is_below, "{}", self.name);
        }
        if let Content::Binary(encoded) = &self.content {
            assert!(decoded(encoded).is_none_or(|bytes| bytes.len() <= 2 * encoded.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools(folder: &Path) -> Tools {
        Tools::without_browser(PathBuf::from("ffmpeg"), folder, 1)
    }

    #[tokio::test]
    async fn artifacts_of_each_kind_are_kept_and_a_name_counts_once() {
        let folder = tempfile::tempdir().unwrap();
        let tools = tools(folder.path());
        let mut artifacts = Artifacts::new(folder.path(), Picture::Planes(16, 8, Yuv::Bt601Full));
        let artifact = |name: &str, content| Artifact {
            name: name.to_owned(),
            content,
        };
        let grey = Bytes::from(vec![128; 16 * 8 * 3 / 2]);
        let emitted = vec![
            artifact("words.txt", Content::Text("hello".to_owned())),
            // "é" in UTF-8 is the character U+00E9, a byte of its own here.
            artifact("sub/bytes", Content::Binary(STANDARD.encode([b'a', 0xe9]))),
            artifact("still.jpg", Content::Thumbnail),
        ];
        artifacts.add(&tools, 3, emitted, &grey).await.unwrap();
        let twice = vec![artifact("words.txt", Content::Text("again".to_owned()))];
        let failure = artifacts.add(&tools, 5, twice, &grey).await.unwrap_err();
        assert_eq!(
            failure.message,
            "the artifact words.txt was emitted at frame 3 and again at frame 5: names must be unique"
        );
        let kept: BTreeMap<_, _> = artifacts
            .finish()
            .into_iter()
            .map(|(name, frame, file)| (name, (frame, std::fs::read(file).unwrap())))
            .collect();
        assert_eq!(kept["words.txt"], (3, b"hello".to_vec()));
        assert_eq!(kept["sub/bytes"], (3, "a\u{e9}".as_bytes().to_vec()));
        assert_eq!(kept["still.jpg"].1[..2], [0xff, 0xd8], "a JPEG");
    }
}
