//! One file a log stream: a header line, then one line a batch of events.
//!
//! Appending takes the file's kernel lock and is a single write. A line that a crash has cut short is skipped by
//! readers. A file that outgrows its bound is written anew with its later half; the lock is then on a file that is
//! no longer there, which is why whoever has waited for the lock looks whether the file is still the one at the path.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A stream's file. Older events make way for newer ones beyond it.
pub(super) const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// How often a lock may turn out to be on a file that has been replaced meanwhile.
const REPLACED_MAX: usize = 16;

/// The first line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) name: String,
    pub(super) created_ms: u64,
    /// Bytes of batches that have made way. Positions count them, so that an event keeps its position.
    dropped_bytes: u64,
}

/// Every further line.
#[derive(Debug, Serialize, Deserialize)]
struct Batch {
    ingested_ms: u64,
    events: Vec<(u64, String)>,
}

/// Where an event stands in its stream: by time, and in order of arrival among those of the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Position {
    pub(super) timestamp_ms: u64,
    /// Of the batch, counted from the stream's beginning.
    pub(super) offset: u64,
    /// Within the batch.
    pub(super) index: usize,
}

impl Position {
    /// Before every event.
    pub(super) const START: Self = Self {
        timestamp_ms: 0,
        offset: 0,
        index: 0,
    };

    /// The first position behind this one.
    pub(super) fn next(self) -> Self {
        Self {
            index: self.index + 1,
            ..self
        }
    }

    /// 56 digits, the form of AWS's event ids.
    pub(super) fn text(self) -> String {
        format!(
            "{:018}{:020}{:018}",
            self.timestamp_ms, self.offset, self.index
        )
    }

    /// Reads what [`Position::text`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        if text.len() != 56 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            timestamp_ms: text[..18].parse().ok()?,
            offset: text[18..38].parse().ok()?,
            index: text[38..].parse().ok()?,
        })
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) position: Position,
    pub(super) ingested_ms: u64,
    pub(super) message: String,
}

/// When things happened in a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) first_event_ms: u64,
    pub(super) last_event_ms: u64,
    pub(super) last_ingested_ms: u64,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placed {
    /// It is in the file, which now ends here.
    Written {
        /// Bytes of batches since the stream's beginning.
        end: u64,
    },
    /// There is no such stream.
    NoStream,
}

/// A log stream's file, whether it exists or not.
#[derive(Debug, Clone)]
pub(super) struct StreamFile {
    path: PathBuf,
}

impl StreamFile {
    /// The file of stream `name`. Names hold `/` and `[$LATEST]`, so files are named by the name's hash.
    pub(super) fn new(folder: &Path, name: &str) -> Self {
        Self::at(folder.join(Digest::of(name.as_bytes()).to_string()))
    }

    /// The stream that has this file.
    pub(super) fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Creates the stream; `false` when it exists, or when its group does not any more.
    pub(super) fn create(&self, name: &str, now_ms: u64) -> io::Result<bool> {
        let header = Header {
            name: name.to_owned(),
            created_ms: now_ms,
            dropped_bytes: 0,
        };
        let Some(folder) = self.path.parent() else {
            return Ok(false);
        };
        let written = (|| {
            let mut file = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
            file.write_all(&line(&header)?)?;
            // A hard link or rename that refuses to replace: one of two creators wins.
            file.persist_noclobber(&self.path)
                .map_err(|error| error.error)
        })();
        match written {
            Ok(_file) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Deletes the stream; `false` when there is none.
    pub(super) fn delete(&self) -> io::Result<bool> {
        match std::fs::remove_file(&self.path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Appends a batch.
    pub(super) fn append(&self, events: &[(u64, String)], now_ms: u64) -> io::Result<Placed> {
        let Some(mut file) = self.open_locked()? else {
            return Ok(Placed::NoStream);
        };
        let mut bytes = line(&Batch {
            ingested_ms: now_ms,
            events: events.to_vec(),
        })?;
        let size = file.metadata()?.len();
        if size > 0 {
            let mut last = [0];
            file.seek(SeekFrom::End(-1))?;
            file.read_exact(&mut last)?;
            if last != *b"\n" {
                bytes.insert(0, b'\n');
            }
        }
        let added = bytes.len() as u64;
        if size + added > FILE_BYTES_MAX {
            return self.rewrite(&mut file, &bytes);
        }
        file.seek(SeekFrom::End(0))?;
        file.write_all(&bytes)?;
        Ok(Placed::Written {
            end: self.header_and_start(&mut file)?.0.dropped_bytes + size + added,
        })
    }

    /// The header, and every event in order; `None` when there is no such stream.
    pub(super) fn read(&self) -> io::Result<Option<(Header, Vec<Event>)>> {
        let Some((header, lines)) = self.lines()? else {
            return Ok(None);
        };
        let mut events = Vec::new();
        for (offset, text) in split(&lines) {
            let Ok(batch) = serde_json::from_slice::<Batch>(text) else {
                continue;
            };
            let offset = header.dropped_bytes + offset;
            events.extend(batch.events.into_iter().enumerate().map(
                |(index, (timestamp_ms, message))| Event {
                    position: Position {
                        timestamp_ms,
                        offset,
                        index,
                    },
                    ingested_ms: batch.ingested_ms,
                    message,
                },
            ));
        }
        events.sort_by_key(|event| event.position);
        Ok(Some((header, events)))
    }

    /// The header, and the times of the first and last batch; cheaper than reading every event.
    pub(super) fn times(&self) -> io::Result<Option<(Header, Option<Times>)>> {
        let Some((header, lines)) = self.lines()? else {
            return Ok(None);
        };
        let batch = |(_, text): (u64, &[u8])| {
            serde_json::from_slice::<Batch>(text)
                .ok()
                .filter(|batch| !batch.events.is_empty())
        };
        let first = split(&lines).find_map(batch);
        let last = lines
            .rsplit(|byte| *byte == b'\n')
            .find_map(|text| batch((0, text)));
        let times = first.zip(last).map(|(first, last)| {
            let times = |batch: &Batch| {
                batch
                    .events
                    .iter()
                    .map(|(time, _)| *time)
                    .collect::<Vec<_>>()
            };
            Times {
                first_event_ms: times(&first).into_iter().min().unwrap_or_default(),
                last_event_ms: times(&last).into_iter().max().unwrap_or_default(),
                last_ingested_ms: last.ingested_ms,
            }
        });
        Ok(Some((header, times)))
    }

    /// The file's size; zero when it is gone.
    pub(super) fn size_bytes(&self) -> io::Result<u64> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// When the file was last written to, in milliseconds since the epoch.
    pub(super) fn written_ms(&self) -> io::Result<u64> {
        let metadata = std::fs::metadata(&self.path)?;
        let ms = metadata.mtime() * 1000 + metadata.mtime_nsec() / 1_000_000;
        Ok(u64::try_from(ms).unwrap_or(0))
    }

    /// The header and what follows it.
    fn lines(&self) -> io::Result<Option<(Header, Vec<u8>)>> {
        let mut file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.lock_shared()?;
        let (header, start) = self.header_and_start(&mut file)?;
        file.seek(SeekFrom::Start(start))?;
        let mut lines = Vec::new();
        file.take(FILE_BYTES_MAX * 2).read_to_end(&mut lines)?;
        Ok(Some((header, lines)))
    }

    fn header_and_start(&self, file: &mut File) -> io::Result<(Header, u64)> {
        // A name has at most 512 characters, at most 6 bytes each in JSON.
        let mut bytes = Vec::new();
        file.seek(SeekFrom::Start(0))?;
        file.take(8192).read_to_end(&mut bytes)?;
        let text = bytes
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or_default();
        let header = serde_json::from_slice(text).map_err(|error| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} is damaged ({error}); delete it to start the log stream afresh",
                    self.path.display()
                ),
            )
        })?;
        Ok((header, text.len() as u64 + 1))
    }

    /// The file at the path, locked; `None` when there is none.
    fn open_locked(&self) -> io::Result<Option<File>> {
        for _ in 0..REPLACED_MAX {
            let file = match File::options().read(true).write(true).open(&self.path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            file.lock()?;
            match std::fs::metadata(&self.path) {
                Ok(current) if current.ino() == file.metadata()?.ino() => return Ok(Some(file)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other(format!(
            "{} is being replaced again and again",
            self.path.display()
        )))
    }

    /// Puts a file in place that has the later half of the lines and `bytes` behind them.
    fn rewrite(&self, file: &mut File, bytes: &[u8]) -> io::Result<Placed> {
        let (mut header, start) = self.header_and_start(file)?;
        file.seek(SeekFrom::Start(start))?;
        let mut lines = Vec::new();
        file.take(FILE_BYTES_MAX * 2).read_to_end(&mut lines)?;
        let half = lines.len() / 2;
        let cut = lines[half..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(lines.len(), |newline| half + newline + 1);
        header.dropped_bytes += cut as u64;
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut fresh = tempfile::Builder::new().prefix(".").tempfile_in(folder)?;
        fresh.write_all(&line(&header)?)?;
        fresh.write_all(&lines[cut..])?;
        fresh.write_all(bytes)?;
        fresh.persist(&self.path).map_err(|error| error.error)?;
        Ok(Placed::Written {
            end: header.dropped_bytes + (lines.len() - cut + bytes.len()) as u64,
        })
    }
}

/// The streams of a group's folder, in no order. None when the folder is gone.
pub(super) fn streams(folder: &Path) -> io::Result<Vec<StreamFile>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut streams = Vec::new();
    for entry in entries {
        let entry = entry?;
        // Files that are being written have a name that begins with a dot.
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            streams.push(StreamFile::at(entry.path()));
        }
    }
    Ok(streams)
}

fn line(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Lines with their offsets.
fn split(bytes: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    let mut offset = 0;
    bytes.split(|byte| *byte == b'\n').map(move |text| {
        let start = offset;
        offset += text.len() as u64 + 1;
        (start, text)
    })
}
