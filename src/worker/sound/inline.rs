//! Samples that pages made themselves, frame by frame → files on the disk, one for each of the page's names.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::decode::SAMPLE_BYTES;
use super::timeline::Timeline;
use crate::protocol::{FailureKind, SoundSamples};
use crate::worker::failure::{TaskResult, internal, permanent};

/// The samples of one name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Inline {
    pub(super) id: String,
    pub(super) path: PathBuf,
    /// When they are heard.
    pub(super) samples: Range<u64>,
    pub(super) tone_frequency: f64,
}

/// Files while they are written.
#[derive(Debug)]
pub(super) struct Collector {
    timeline: Timeline,
    folder: PathBuf,
    /// No file stays open: a page may name more of them than a function may have open.
    files: BTreeMap<String, Inline>,
}

impl Collector {
    pub(super) fn new(timeline: Timeline, folder: &Path) -> Self {
        Self {
            timeline,
            folder: folder.to_owned(),
            files: BTreeMap::new(),
        }
    }

    /// Takes the samples of a frame. Frames of one name come in order; where two overlap, the later one is heard.
    pub(super) fn add(&mut self, samples: SoundSamples) -> TaskResult<()> {
        let SoundSamples {
            id,
            frame,
            tone_frequency,
            data,
        } = samples;
        let data = STANDARD.decode(data).map_err(|_| {
            let message = format!("the samples of {id} at frame {frame} are not base64");
            permanent(FailureKind::PageContract, message)
        })?;
        if !self.timeline.frames.contains(frame) {
            let message =
                format!("the samples of {id} are for frame {frame}, which is not rendered");
            return Err(permanent(FailureKind::PageContract, message));
        }
        let writing = |error| internal(&format!("keeping the samples of {id}"), error);
        let at = self.timeline.before(frame);
        if !self.files.contains_key(&id) {
            let path = self.folder.join(format!("inline-{}", self.files.len()));
            let inline = Inline {
                id: id.clone(),
                path,
                samples: at..at,
                tone_frequency,
            };
            self.files.insert(id.clone(), inline);
        }
        let Some(inline) = self.files.get_mut(&id) else {
            return Ok(());
        };
        let mut options = File::options();
        let options = options.write(true).create(true).truncate(false);
        let file = options.open(&inline.path).map_err(writing)?;
        let since = at.saturating_sub(inline.samples.start);
        file.write_all_at(&data, since * SAMPLE_BYTES as u64)
            .map_err(writing)?;
        let end = at + (data.len() / SAMPLE_BYTES) as u64;
        inline.samples.end = inline.samples.end.max(end);
        Ok(())
    }

    pub(super) fn finish(self) -> Vec<Inline> {
        self.files.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Fps, FrameRange};

    /// Files in `folder` that this process has open.
    fn open_files_below(folder: &Path) -> usize {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        let targets = open.filter_map(|entry| std::fs::read_link(entry.path()).ok());
        targets.filter(|path| path.starts_with(folder)).count()
    }

    #[test]
    fn more_sounds_than_files_may_be_open_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let timeline = Timeline {
            frames: FrameRange::new(0, 10).unwrap(),
            fps: Fps::new(4, 1).unwrap(),
            sample_rate: 10,
        };
        let mut collector = Collector::new(timeline, folder.path());
        for number in 0..2_000 {
            let samples = SoundSamples {
                id: number.to_string(),
                frame: 0,
                tone_frequency: 1.0,
                data: STANDARD.encode([1; SAMPLE_BYTES]),
            };
            collector.add(samples).unwrap();
            assert_eq!(open_files_below(folder.path()), 0);
        }
        assert_eq!(collector.finish().len(), 2_000);
    }

    #[test]
    fn frames_lie_where_they_are_heard() {
        let folder = tempfile::tempdir().unwrap();
        let timeline = Timeline {
            frames: FrameRange::new(5, 100).unwrap(),
            fps: Fps::new(4, 1).unwrap(),
            sample_rate: 10,
        };
        let mut collector = Collector::new(timeline, folder.path());
        // A frame has two and a half samples: frame 6 begins within sample 2, frame 8 within sample 7.
        for (frame, value) in [(6, 1_u8), (7, 2), (9, 3)] {
            let data = STANDARD.encode([value; 3 * SAMPLE_BYTES]);
            let samples = SoundSamples {
                id: "a".to_owned(),
                frame,
                tone_frequency: 1.0,
                data,
            };
            collector.add(samples).unwrap();
        }
        let late = SoundSamples {
            id: "a".to_owned(),
            frame: u32::MAX,
            tone_frequency: 1.0,
            data: String::new(),
        };
        assert!(collector.add(late).is_err());
        let found = collector.finish();
        assert_eq!(found[0].samples, 2..13);
        assert_eq!(open_files_below(folder.path()), 0);
        let content = std::fs::read(&found[0].path).unwrap();
        let first_bytes: Vec<u8> = content.iter().step_by(SAMPLE_BYTES).copied().collect();
        assert_eq!(first_bytes, [1, 1, 1, 2, 2, 2, 0, 0, 3, 3, 3]);
    }
}
