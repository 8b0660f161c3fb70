//! The bytes of one track, in the order of the video, from as many objects as they lie in.

use std::ops::Range;
use std::path::Path;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{OpenRange, StitchError};
use crate::cloud::{CloudError, ObjectReader};

/// Reads that are opened ahead of the one being copied, so that their answers are on the way.
const READS_AHEAD: usize = 4;

/// Attempts at going on where a connection broke, without a byte in between.
const READ_ATTEMPTS_MAX: u32 = 4;

pub(super) const COPY_BUFFER_BYTES: usize = 256 * 1024;

/// A part of an object that is being read.
struct Reading {
    key: String,
    /// What is left of it.
    range: Range<u64>,
    reader: ObjectReader,
}

/// See the module's documentation.
pub(super) struct Feed<'a, 'o> {
    parts: BoxStream<'a, (String, Range<u64>, Result<ObjectReader, CloudError>)>,
    open: &'a OpenRange<'o>,
    reading: Option<Reading>,
    buffer: Vec<u8>,
}

impl<'a, 'o> Feed<'a, 'o> {
    /// A feed of these ranges of objects.
    pub(super) fn new(
        parts: impl Iterator<Item = (&'a str, &'a Range<u64>)> + Send + 'a,
        open: &'a OpenRange<'o>,
    ) -> Self
    where
        'o: 'a,
    {
        let parts =
            futures::stream::iter(parts.map(|(key, range)| (key.to_owned(), range.clone())))
                .map(move |(key, range)| async move {
                    let reader = open(key.clone(), range.clone()).await;
                    (key, range, reader)
                })
                .buffered(READS_AHEAD);
        Self {
            parts: parts.boxed(),
            open,
            reading: None,
            buffer: vec![0; COPY_BUFFER_BYTES],
        }
    }

    /// Copies the next `length` bytes, going on where a broken connection left off. There must be so many.
    pub(super) async fn copy(
        &mut self,
        length: u64,
        output: &mut (impl AsyncWrite + Unpin),
        path: &Path,
    ) -> Result<(), StitchError> {
        let mut left = length;
        let mut attempt = 1;
        while left > 0 {
            let mut part = match self.reading.take() {
                Some(part) if part.range.start < part.range.end => part,
                _ => self.next_part().await?,
            };
            let most = left.min(part.range.end - part.range.start);
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let buffer = &mut self.buffer[..most.min(COPY_BUFFER_BYTES)];
            let broken = match part.reader.body.read(buffer).await {
                Ok(0) => Some(std::io::Error::from(std::io::ErrorKind::UnexpectedEof)),
                Err(error) => Some(error),
                Ok(read) => {
                    let written = output.write_all(&buffer[..read]).await;
                    written.map_err(|error| StitchError::Output {
                        path: path.to_owned(),
                        error,
                    })?;
                    part.range.start += read as u64;
                    left -= read as u64;
                    attempt = 1;
                    None
                }
            };
            if let Some(error) = broken {
                if attempt == READ_ATTEMPTS_MAX {
                    let key = part.key;
                    return Err(StitchError::Read { key, error });
                }
                attempt += 1;
                tracing::debug!(key = part.key, %error, "reading on from {}", part.range.start);
                part.reader = (self.open)(part.key.clone(), part.range.clone()).await?;
            }
            self.reading = Some(part);
        }
        Ok(())
    }

    async fn next_part(&mut self) -> Result<Reading, StitchError> {
        let Some((key, range, reader)) = self.parts.next().await else {
            return Err(StitchError::Read {
                key: "(none left)".to_owned(),
                error: std::io::ErrorKind::UnexpectedEof.into(),
            });
        };
        let reader = reader?;
        Ok(Reading { key, range, reader })
    }
}
