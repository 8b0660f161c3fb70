//! What is heard, frame by frame → tracks. A chunk writes its tracks into its report; the tracks of all reports are
//! joined where a cut went through them, so that the cuts leave no trace.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};

use crate::media::FrameRange;
use crate::protocol::{MediaSource, Playback, SoundLine, SoundSamples, SoundTrack};

/// What is heard during one frame.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::worker) struct FrameSound {
    pub(in crate::worker) heard: Vec<Heard>,
    pub(in crate::worker) samples: Vec<SoundSamples>,
}

/// A file that is heard during one frame.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::worker) struct Heard {
    pub(in crate::worker) id: String,
    pub(in crate::worker) source: MediaSource,
    pub(in crate::worker) volume: f64,
    pub(in crate::worker) media_frame: f64,
    pub(in crate::worker) playback: Playback,
}

/// Tracks that grow with every frame.
#[derive(Debug, Default)]
struct Tracks {
    /// Heard in the latest frame.
    open: BTreeMap<String, SoundTrack>,
    ended: Vec<SoundTrack>,
}

impl Tracks {
    /// Takes what is heard in `frame`, which follows the one before. What is named twice in a frame is heard once, as
    /// the official renderer has it.
    fn add(&mut self, frame: u32, heard: Vec<Heard>) {
        let mut before = std::mem::take(&mut self.open);
        for Heard {
            id,
            source,
            volume,
            media_frame,
            playback,
        } in heard
        {
            let Ok(frames) = FrameRange::new(frame, frame.saturating_add(1)) else {
                continue;
            };
            let now = SoundTrack {
                id: id.clone(),
                source,
                playback,
                frames,
                media_frame,
                volumes: vec![(1, volume)],
            };
            if self.open.contains_key(&id) {
                continue;
            }
            let track = match before.remove(&id) {
                Some(mut track) => match extend(&mut track, now) {
                    None => track,
                    Some(other) => {
                        self.ended.push(track);
                        other
                    }
                },
                None => now,
            };
            self.open.insert(id, track);
        }
        self.ended.extend(before.into_values());
    }

    fn finish(mut self) -> Vec<SoundTrack> {
        self.ended.extend(self.open.into_values());
        self.ended
    }
}

/// Puts `next` at the end of `track` if it goes on there; otherwise gives it back.
fn extend(track: &mut SoundTrack, next: SoundTrack) -> Option<SoundTrack> {
    let joined = FrameRange::new(track.frames.start(), next.frames.end());
    let goes_on = track.id == next.id
        && track.source == next.source
        && track.frames.end() == next.frames.start();
    let Some(frames) = joined.ok().filter(|_| goes_on) else {
        return Some(next);
    };
    track.frames = frames;
    for (count, volume) in next.volumes {
        match track.volumes.last_mut() {
            Some((run, last)) if last.total_cmp(&volume).is_eq() => {
                *run = run.saturating_add(count);
            }
            _ => track.volumes.push((count, volume)),
        }
    }
    None
}

/// Joins tracks of consecutive chunks, given in the order of the chunks; returns them in the order in which they begin.
pub(super) fn join(tracks: impl IntoIterator<Item = SoundTrack>) -> Vec<SoundTrack> {
    let mut latest: BTreeMap<String, SoundTrack> = BTreeMap::new();
    let mut joined = Vec::new();
    let mut tracks: Vec<_> = tracks.into_iter().collect();
    tracks.sort_by_key(|track| track.frames.start());
    for track in tracks {
        let id = track.id.clone();
        let Some(before) = latest.get_mut(&id) else {
            latest.insert(id, track);
            continue;
        };
        if let Some(other) = extend(before, track) {
            joined.push(std::mem::replace(before, other));
        }
    }
    joined.extend(latest.into_values());
    joined.sort_by(|a, b| (a.frames.start(), &a.id).cmp(&(b.frames.start(), &b.id)));
    joined
}

/// A chunk's report while it is written. Samples go to the disk at once.
#[derive(Debug)]
pub(in crate::worker) struct Report {
    tracks: Tracks,
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Report {
    /// A report that will be the file at `path`.
    pub(in crate::worker) fn new(path: &Path) -> Self {
        Self {
            tracks: Tracks::default(),
            path: path.to_owned(),
            file: None,
        }
    }

    /// Takes the sound of `frame`; frames come in order.
    pub(in crate::worker) fn add(&mut self, frame: u32, sound: FrameSound) -> io::Result<()> {
        self.tracks.add(frame, sound.heard);
        for samples in sound.samples {
            self.write(&SoundLine::Samples(samples))?;
        }
        Ok(())
    }

    /// The finished file; nothing if nothing was heard.
    pub(in crate::worker) fn finish(mut self) -> io::Result<Option<PathBuf>> {
        for track in std::mem::take(&mut self.tracks).finish() {
            self.write(&SoundLine::Track(track))?;
        }
        match self.file {
            Some(mut file) => file.flush().map(|()| Some(self.path)),
            None => Ok(None),
        }
    }

    fn write(&mut self, line: &SoundLine) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(BufWriter::new(File::create(&self.path)?)),
        };
        serde_json::to_writer(&mut *file, line)?;
        file.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(id: u8, volume: u8, media_frame: u32) -> Heard {
        Heard {
            id: format!("audio-{id}"),
            source: MediaSource::Site(format!("{id}.mp3")),
            volume: f64::from(volume) / 4.0,
            media_frame: f64::from(media_frame),
            playback: Playback {
                rate: 1.0,
                tone_frequency: 1.0,
                start_frame: 0.0,
                stream: 0,
            },
        }
    }

    fn tracks(frames: &[Vec<Heard>], first: u32) -> Vec<SoundTrack> {
        let mut tracks = Tracks::default();
        for (frame, heard) in (first..).zip(frames) {
            tracks.add(frame, heard.clone());
        }
        tracks.finish()
    }

    #[test]
    fn a_track_is_one_for_as_long_as_it_is_heard() {
        let frames = vec![
            vec![heard(1, 4, 0), heard(1, 2, 7)],
            vec![heard(1, 4, 1), heard(2, 4, 0)],
            vec![],
            vec![heard(1, 2, 3)],
        ];
        let joined = join(tracks(&frames, 10));
        let shown: Vec<_> = joined
            .iter()
            .map(|t| {
                (
                    &t.id[..],
                    t.frames.to_string(),
                    t.media_frame,
                    t.volumes.clone(),
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("audio-1", "10-11".to_owned(), 0.0, vec![(2, 1.0)]),
                ("audio-2", "11-11".to_owned(), 0.0, vec![(1, 1.0)]),
                ("audio-1", "13-13".to_owned(), 3.0, vec![(1, 0.5)]),
            ]
        );
    }

    proptest! {
        #[test]
        fn cuts_leave_no_trace(
            frames in prop::collection::vec(prop::collection::vec((0_u8..3, 0_u8..3), 0..4), 1..40),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let frames: Vec<Vec<Heard>> = (0..)
                .zip(frames)
                .map(|(frame, heards)| heards.iter().map(|(id, volume)| heard(*id, *volume, frame)).collect())
                .collect();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(frames.len())).collect();
            cuts.extend([0, frames.len()]);
            cuts.sort_unstable();
            let cut = cuts.windows(2).flat_map(|pair| {
                tracks(&frames[pair[0]..pair[1]], u32::try_from(pair[0]).unwrap())
            });
            prop_assert_eq!(join(cut), join(tracks(&frames, 0)));
        }
    }

    #[test]
    fn a_silent_chunk_has_no_report() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report");
        let mut report = Report::new(&path);
        report.add(0, FrameSound::default()).unwrap();
        assert_eq!(report.finish().unwrap(), None);
        assert!(!path.exists());

        let mut report = Report::new(&path);
        let sound = FrameSound {
            heard: vec![heard(1, 4, 0)],
            samples: vec![SoundSamples {
                id: "inline".to_owned(),
                frame: 3,
                tone_frequency: 1.0,
                data: String::new(),
            }],
        };
        report.add(3, sound).unwrap();
        let written = std::fs::read_to_string(report.finish().unwrap().unwrap()).unwrap();
        let lines: Vec<SoundLine> = written
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert!(
            matches!(&lines[..], [SoundLine::Samples(_), SoundLine::Track(_)]),
            "{lines:?}"
        );
    }
}
