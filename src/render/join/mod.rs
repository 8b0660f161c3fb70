//! Segments and their sound → the output, whatever kind of file it is. No frame is encoded again.
//!
//! H.264 and HEVC are stitched by our own stitcher, whose timestamps are exact. Other containers than MP4 are then made of
//! its file by ffmpeg, as are all files of other codecs, from segments that lie beside the output meanwhile.

mod ffmpeg;

use std::path::{Path, PathBuf};

use crate::media::{AudioCodec, Codec, Container};

use super::stitch::{self, Header, OpenRange, SegmentSource, SoundSource, StitchError};
use ffmpeg::{Ffmpeg, Remux};

/// How segments become a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// By our own stitcher.
    Stitch,
    /// By our own stitcher, and by ffmpeg into the container.
    Remux,
    /// By ffmpeg.
    Concat,
    /// There are no pictures: the sound is the file.
    Sound,
}

impl Joining {
    /// What codec, container and sound ask for.
    pub fn of(codec: Codec, container: Container, sound: Option<AudioCodec>) -> Self {
        let Some(pictures) = codec.rules().pictures else {
            return Self::Sound;
        };
        let is_stitched = pictures.segment == Container::Mp4;
        match (container, sound) {
            _ if !is_stitched => Self::Concat,
            (Container::Mp4, None | Some(AudioCodec::Aac)) => Self::Stitch,
            _ => Self::Remux,
        }
    }

    /// Whether ffmpeg is needed where segments are joined.
    pub fn needs_ffmpeg(self) -> bool {
        matches!(self, Self::Remux | Self::Concat)
    }
}

/// Why segments could not be joined.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// Our own stitcher says no.
    #[error(transparent)]
    Stitch(#[from] StitchError),
    /// There is none on this machine.
    #[error("joining segments into a .{0} file needs ffmpeg on this machine, and it was not found")]
    NoFfmpeg(Container),
    /// ffmpeg says no.
    #[error("{what}: {cause}")]
    Ffmpeg {
        /// What it was to do.
        what: String,
        /// Its last words.
        cause: String,
    },
    /// A file beside the output cannot be written.
    #[error("`{}` cannot be written", path.display())]
    Scratch {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
}

/// What is joined, and into what.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub(super) codec: Codec,
    pub(super) container: Container,
    pub(super) header: &'a Header,
    /// How often a GIF begins again; for ever where absent.
    pub(super) gif_loops: Option<u32>,
    /// In the order of the video.
    pub(super) segments: &'a [SegmentSource],
    pub(super) sound: Option<&'a SoundSource>,
    pub(super) open: &'a OpenRange<'a>,
    /// The file, written in place.
    pub(super) path: &'a Path,
    /// A folder for what lies beside it meanwhile. What is in it is removed.
    pub(super) scratch: &'a Path,
}

/// Joins `parts` and returns the size of the file. `on_frames` is told how many frames have been dealt with.
pub(super) async fn join(
    joining: Joining,
    parts: Parts<'_>,
    ffmpeg: Option<&Path>,
    on_frames: impl FnMut(u64),
) -> Result<u64, JoinError> {
    match joining {
        Joining::Stitch => {
            let Parts {
                segments,
                sound,
                header,
                open,
                path,
                ..
            } = parts;
            let stitched = stitch::stitch(segments, sound, header, open, path, on_frames).await?;
            return Ok(stitched.size_bytes);
        }
        Joining::Sound => {
            if let Some(sound) = parts.sound {
                stitch::copy_object(&sound.key, sound.size_bytes, parts.open, parts.path).await?;
            }
        }
        Joining::Remux | Joining::Concat => {
            let ffmpeg = ffmpeg.ok_or(JoinError::NoFfmpeg(parts.container))?;
            let scratch = Scratch::new(parts.scratch)?;
            let ffmpeg = Ffmpeg {
                program: ffmpeg,
                folder: scratch.0,
            };
            let pictures = match joining {
                Joining::Concat => concat_list(&ffmpeg, parts, on_frames).await?,
                _ => stitch_pictures(&ffmpeg, parts, on_frames).await?,
            };
            let sound = match parts.sound {
                None => None,
                Some(sound) => {
                    let path = ffmpeg.folder.join("sound");
                    stitch::copy_object(&sound.key, sound.size_bytes, parts.open, &path).await?;
                    Some(path)
                }
            };
            ffmpeg
                .remux(&Remux {
                    codec: parts.codec,
                    container: parts.container,
                    header: parts.header,
                    gif_loops: parts.gif_loops,
                    frame_count: parts
                        .segments
                        .iter()
                        .map(|s| u64::from(s.frame_count))
                        .sum(),
                    is_list: joining == Joining::Concat,
                    pictures: &pictures,
                    sound: sound.as_deref(),
                    output: parts.path,
                })
                .await?;
        }
    }
    let written = parts.path.metadata();
    let written = written.map_err(|error| scratch_error(parts.path, error))?;
    Ok(written.len())
}

/// The pictures alone, as one MP4 file beside the output.
async fn stitch_pictures(
    ffmpeg: &Ffmpeg<'_>,
    parts: Parts<'_>,
    on_frames: impl FnMut(u64),
) -> Result<PathBuf, JoinError> {
    let path = ffmpeg.folder.join("pictures.mp4");
    let Parts {
        segments,
        header,
        open,
        ..
    } = parts;
    stitch::stitch(segments, None, header, open, &path, on_frames).await?;
    Ok(path)
}

/// All segments beside the output, each known to hold its frames, and a list of them.
async fn concat_list(
    ffmpeg: &Ffmpeg<'_>,
    parts: Parts<'_>,
    mut on_frames: impl FnMut(u64),
) -> Result<PathBuf, JoinError> {
    let mut list = String::from("ffconcat version 1.0\n");
    let mut frames = 0;
    for (number, segment) in parts.segments.iter().enumerate() {
        let name = format!("{number:07}");
        let path = ffmpeg.folder.join(&name);
        stitch::copy_object(&segment.key, segment.size_bytes, parts.open, &path).await?;
        ffmpeg.check_frames(&path, segment).await?;
        list += &format!("file {name}\n");
        frames += u64::from(segment.frame_count);
        on_frames(frames);
    }
    let path = ffmpeg.folder.join("list");
    std::fs::write(&path, list).map_err(|error| scratch_error(&path, error))?;
    Ok(path)
}

/// A folder that is removed when it is done with. One that a killed render has left is emptied.
struct Scratch<'a>(&'a Path);

impl<'a> Scratch<'a> {
    fn new(path: &'a Path) -> Result<Self, JoinError> {
        if path.exists() {
            std::fs::remove_dir_all(path).map_err(|error| scratch_error(path, error))?;
        }
        std::fs::create_dir_all(path).map_err(|error| scratch_error(path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        // Nothing more can be done about a folder that cannot be removed.
        drop(std::fs::remove_dir_all(self.0));
    }
}

fn scratch_error(path: &Path, error: std::io::Error) -> JoinError {
    JoinError::Scratch {
        path: path.to_owned(),
        error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_stitcher_can_do_needs_no_ffmpeg() {
        use AudioCodec::{Aac, Mp3, Opus, Pcm16};
        use Container::{Mkv, Mov, Mp4, Wav, Webm};
        for (codec, container, sound, joining) in [
            (Codec::H264, Mp4, Some(Aac), Joining::Stitch),
            (Codec::H264, Mp4, None, Joining::Stitch),
            (Codec::H265, Mp4, Some(Aac), Joining::Stitch),
            (Codec::H264, Mp4, Some(Mp3), Joining::Remux),
            (Codec::H264, Mov, None, Joining::Remux),
            (Codec::H264Mkv, Mkv, Some(Pcm16), Joining::Remux),
            (Codec::Vp9, Webm, Some(Opus), Joining::Concat),
            (Codec::ProRes, Mov, None, Joining::Concat),
            (Codec::Gif, Container::Gif, None, Joining::Concat),
            (Codec::Wav, Wav, Some(Pcm16), Joining::Sound),
        ] {
            assert_eq!(Joining::of(codec, container, sound), joining, "{codec}");
        }
    }
}
