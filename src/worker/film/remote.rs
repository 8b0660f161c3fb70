//! A film on another server, read piece by piece. ffmpeg reads it through the page's server, which keeps pieces for when
//! they are wanted again.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::worker::blocks::{BLOCK_BYTES, Blocks};
use crate::worker::failure::Cause;
use crate::worker::fetch::{Fetcher, Part};

/// Tells apart files whose server does not say which version it has.
static UNKNOWN_VERSIONS: AtomicU64 = AtomicU64::new(0);

/// See the module's documentation.
#[derive(Debug)]
pub(in crate::worker) struct RemoteFile {
    fetcher: Fetcher,
    blocks: Blocks,
    pub(super) address: String,
    /// Address and version: what its blocks are kept under.
    name: Arc<str>,
    version: Option<String>,
    pub(in crate::worker) size_bytes: u64,
    /// Why a piece could not be read. ffmpeg takes that for the end of the file.
    failure: OnceLock<Cause>,
}

impl RemoteFile {
    /// The file at `address`; nothing if its server sends whole files only.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) async fn open(
        fetcher: &Fetcher,
        blocks: &Blocks,
        address: &str,
    ) -> Result<Option<Self>, Cause> {
        let Some(first) = fetcher.part(address, 0..BLOCK_BYTES).await? else {
            return Ok(None);
        };
        let version = match &first.version {
            Some(version) => version.clone(),
            None => UNKNOWN_VERSIONS.fetch_add(1, Ordering::Relaxed).to_string(),
        };
        let file = Self {
            fetcher: fetcher.clone(),
            blocks: blocks.clone(),
            address: address.to_owned(),
            name: format!("{address} {version} {}", first.size_bytes).into(),
            version: first.version,
            size_bytes: first.size_bytes,
            failure: OnceLock::new(),
        };
        let first = first.bytes;
        blocks.block(&file.name, 0, async { Ok(first) }).await?;
        Ok(Some(file))
    }

    /// What could not be read, if anything: what ffmpeg made of the rest does not count.
    pub(super) fn check(&self) -> Result<(), Cause> {
        self.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// Bytes from `range.start` on, as many as lie in one block and in `range`; none at the end.
    pub(in crate::worker) async fn read(&self, range: Range<u64>) -> Result<Bytes, Cause> {
        let end = range.end.min(self.size_bytes);
        if range.start >= end {
            return Ok(Bytes::new());
        }
        let number = range.start / BLOCK_BYTES;
        let block_start = number * BLOCK_BYTES;
        let block = self
            .blocks
            .block(&self.name, number, self.fetch(block_start));
        let block = block.await.inspect_err(|reason| {
            let _ = self.failure.set(reason.clone());
        })?;
        let within = |at: u64| usize::try_from(at - block_start).unwrap_or(usize::MAX);
        let end = within(end).min(block.len());
        Ok(block.slice(within(range.start).min(end)..end))
    }

    async fn fetch(&self, start: u64) -> Result<Bytes, Cause> {
        let end = start.saturating_add(BLOCK_BYTES).min(self.size_bytes);
        let part = self.fetcher.part(&self.address, start..end).await?;
        match part {
            Some(Part {
                bytes,
                size_bytes,
                version,
            }) if size_bytes == self.size_bytes && version == self.version => Ok(bytes),
            _ => Err(Cause::lasting("it was changed while it was read")),
        }
    }
}
