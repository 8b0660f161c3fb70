//! A running decoder: the frames of a film from some place on, one after another, as images.

use std::process::Stdio;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinSet;

use super::Wanted;
use super::index::Index;
use super::input::Input;
use crate::worker::failure::Cause;
use crate::worker::tools::Tools;
use crate::worker::words::{ended, words_of};

/// How colours are converted: with this, an opaque frame has the official renderer's very pixels.
const SCALING: &str = "bicubic";

const STDERR_BYTES_MAX: u64 = 16 * 1024;
/// How long ffmpeg may take to end once it has nothing more to say.
const END_MAX: Duration = Duration::from_secs(10);
/// The largest image that is believed: 16384 x 16384 with transparency.
const IMAGE_BYTES_MAX: usize = 16_384 * 16_384 * 4 + 1_024;

/// Bright films as a usual screen shows them. To RGB at once, and not by way of fewer colours: an HLG film then has the
/// official renderer's very pixels. (That leaves PQ as it is.)
const TONE_MAP: &str = "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0,\
                        zscale=t=bt709:m=bt709:r=pc";

/// See the module's documentation.
#[derive(Debug)]
pub(super) struct FrameStream {
    images: BufReader<ChildStdout>,
    /// PNG instead of BMP.
    png: bool,
    /// The latest image that was read.
    image: Option<Bytes>,
    /// The number of the frame that is read next.
    next: usize,
    /// What ffmpeg said when it ended before a frame that was asked for.
    fault: Option<String>,
    words: JoinSet<String>,
    child: Child,
}

/// What stands before the input.
fn decoding(index: &Index, wanted: &Wanted, first: usize) -> Vec<String> {
    let mut arguments = ["-v", "error"].map(str::to_owned).to_vec();
    let mut add = |words: [&str; 2]| arguments.extend(words.map(str::to_owned));
    // ffmpeg's own decoders leave transparency out.
    match &index.codec[..] {
        "vp8" if wanted.transparent => add(["-c:v", "libvpx"]),
        "vp9" if wanted.transparent => add(["-c:v", "libvpx-vp9"]),
        _ => {}
    }
    if first > 0 {
        add(["-ss", &format!("{:.6}", index.before(first))]);
    }
    arguments
}

/// What stands behind it.
fn encoding(index: &Index, wanted: &Wanted) -> Vec<&'static str> {
    let mut arguments = vec!["-map", "0:v:0", "-fps_mode", "passthrough"];
    if index.is_hdr && wanted.tone_mapped {
        arguments.extend(["-vf", TONE_MAP]);
    }
    if wanted.transparent {
        arguments.extend(["-pix_fmt", "rgba", "-c:v", "png", "-compression_level", "1"]);
    } else {
        arguments.extend(["-pix_fmt", "bgr24", "-c:v", "bmp"]);
    }
    arguments.extend(["-sws_flags", SCALING, "-f", "image2pipe", "-"]);
    arguments
}

impl FrameStream {
    /// Starts decoding at the frame `first`.
    pub(super) async fn start(
        tools: &Tools,
        input: &Input,
        index: &Index,
        wanted: &Wanted,
        first: usize,
    ) -> std::io::Result<Self> {
        let mut child = input
            .ffmpeg(tools, &decoding(index, wanted, first))
            .await?
            .args(encoding(index, wanted))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(std::io::Error::other("a pipe is missing"));
        };
        let mut words = JoinSet::new();
        words.spawn(words_of(stderr, STDERR_BYTES_MAX));
        Ok(Self {
            images: BufReader::with_capacity(256 * 1024, stdout),
            png: wanted.transparent,
            image: None,
            next: first,
            fault: None,
            words,
            child,
        })
    }

    /// The number of the frame that can be had without decoding, or that comes first.
    pub(super) fn latest(&self) -> usize {
        match self.image {
            Some(_) => self.next - 1,
            None => self.next,
        }
    }

    /// Why there is no frame behind the latest one, if ffmpeg said so.
    pub(super) fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// The frame `number`, which is not before [`FrameStream::latest`]. A film that ends before it shows its last one.
    ///
    /// # Errors
    /// The decoder did not end well, or it has no frame at all.
    pub(super) async fn frame(&mut self, number: usize) -> Result<Bytes, Cause> {
        while self.next <= number {
            match next(&mut self.images, self.png).await {
                Ok(Some(image)) => {
                    self.image = Some(image);
                    self.next += 1;
                }
                Ok(None) => {
                    let words = self.end().await?;
                    let said = Some(words.trim()).filter(|words| !words.is_empty());
                    if let Some(line) = said.and_then(|words| words.lines().next()) {
                        self.fault = Some(line.to_owned());
                    }
                    let nothing = || Cause::lasting(said.unwrap_or("ffmpeg has no frame there"));
                    return self.image.clone().ok_or_else(nothing);
                }
                Err(error) => {
                    if error.kind() == std::io::ErrorKind::UnexpectedEof {
                        self.end().await?;
                    }
                    return Err(Cause::lasting(error.to_string()));
                }
            }
        }
        let none = || Cause::lasting("ffmpeg has no frame there");
        self.image.clone().ok_or_else(none)
    }

    /// The pipe has ended, and so has ffmpeg, or it is ended now: was it well? Returns what it said.
    async fn end(&mut self) -> Result<String, Cause> {
        let status = match tokio::time::timeout(END_MAX, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => self.child.kill().await.and(self.child.wait().await),
        };
        let status = status.map_err(|error| Cause::passing(error.to_string()))?;
        let words = std::mem::take(&mut self.words).join_all().await.concat();
        ended(status, &words)?;
        Ok(words)
    }
}

/// The next image, a PNG or a BMP; nothing at the end.
async fn next(images: &mut (impl AsyncRead + Unpin), png: bool) -> std::io::Result<Option<Bytes>> {
    let mut image = vec![0; 8];
    match images.read_exact(&mut image).await {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    };
    if png {
        read_png(images, &mut image).await?;
    } else {
        // A BMP begins with `BM` and its size.
        let size = u32::from_le_bytes([image[2], image[3], image[4], image[5]]);
        let left = size_of(size)?.saturating_sub(image.len());
        read_more(images, &mut image, left).await?;
    }
    Ok(Some(image.into()))
}

/// A PNG is its signature and chunks: length, kind, content, checksum; the last one is `IEND`.
async fn read_png(
    images: &mut (impl AsyncRead + Unpin),
    image: &mut Vec<u8>,
) -> std::io::Result<()> {
    loop {
        let at = image.len();
        read_more(images, image, 8).await?;
        let length = [image[at], image[at + 1], image[at + 2], image[at + 3]];
        let is_last = &image[at + 4..at + 8] == b"IEND";
        let length = size_of(u32::from_be_bytes(length))?;
        read_more(images, image, length + 4).await?;
        if is_last {
            return Ok(());
        }
    }
}

/// Room is made for what is announced, up to this; for more when it comes.
const ROOM_BYTES_MAX: usize = 64 << 20;

async fn read_more(
    images: &mut (impl AsyncRead + Unpin),
    image: &mut Vec<u8>,
    length: usize,
) -> std::io::Result<()> {
    size_of(u32::try_from(image.len() + length).unwrap_or(u32::MAX))?;
    image.reserve(length.min(ROOM_BYTES_MAX));
    let read = images.take(length as u64).read_to_end(image).await?;
    if read < length {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

/// A size that can be one of an image.
fn size_of(bytes: u32) -> std::io::Result<usize> {
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= IMAGE_BYTES_MAX => Ok(bytes),
        _ => Err(std::io::Error::other("ffmpeg sent no image")),
    }
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// What a decoder writes: images are parts of it, one behind the other.
    pub(crate) fn film_images(mut case: crate::fuzzing::Case<'_>) {
        let png = case.byte() % 2 == 1;
        let written = case.0;
        let mut left = written;
        while let Ok(Some(image)) = futures::executor::block_on(next(&mut left, png)) {
            let read = written.len() - left.len();
            assert!(image.len() >= 8 && written[..read].ends_with(&image));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_decoder_writes_images_are_parts_of_it(
            parts in prop::collection::vec(
                prop_oneof![
                    prop::collection::vec(any::<u8>(), 0..40),
                    (0_u32..40).prop_map(|size| [&b"BM"[..], &size.to_le_bytes(), &[0; 2]].concat()),
                    (0_u32..20).prop_map(|size| [&size.to_be_bytes()[..], b"IDAT"].concat()),
                    Just(b"\0\0\0\0IEND\0\0\0\0".to_vec()),
                ],
                0..12,
            ),
            png in any::<bool>(),
        ) {
            let written = parts.concat();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut left = &written[..];
            while let Ok(Some(image)) = runtime.block_on(next(&mut left, png)) {
                let read = written.len() - left.len();
                prop_assert_eq!(&written[read - image.len()..read], &image[..]);
            }
        }
    }
}
