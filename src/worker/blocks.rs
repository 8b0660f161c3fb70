//! Pieces of large files of other servers, on the disk: at most so many, the least recently used one makes room, and
//! nothing is left of them when the worker ends, however it ends: their file has no name.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::failure::Cause;

/// Size of a piece; the last one of a file may be smaller.
pub(super) const BLOCK_BYTES: u64 = 1 << 20;
/// Fetches of one file that go on at the same time at most; two of one block never do.
const STRIPES: usize = 8;

/// One of them for each fetch.
type Stripes = [tokio::sync::Mutex<()>; STRIPES];

/// Which block: of what, and its number.
type Key = (Arc<str>, u64);

/// The pieces. Clones are the same store.
#[derive(Debug, Clone)]
pub(super) struct Blocks(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    scratch: PathBuf,
    blocks_max: usize,
    kept: Mutex<Kept>,
    /// By file: a server that is slow keeps nobody waiting for another one's.
    fetching: Mutex<HashMap<Arc<str>, Arc<Stripes>>>,
}

#[derive(Debug, Default)]
struct Kept {
    /// Made when the first block is kept.
    file: Option<File>,
    places: HashMap<Key, Place>,
    /// Slots of blocks that made room.
    free: Vec<u64>,
    /// Counts uses.
    now: u64,
}

/// Where in the file a block lies.
#[derive(Debug, Clone, Copy)]
struct Place {
    slot: u64,
    length: usize,
    used_at: u64,
}

impl Blocks {
    /// A store of `blocks_max` blocks in an unnamed file in the folder `scratch`.
    pub(super) fn new(scratch: &Path, blocks_max: usize) -> Self {
        Self(Arc::new(Shared {
            scratch: scratch.to_owned(),
            blocks_max: blocks_max.max(1),
            kept: Mutex::default(),
            fetching: Mutex::default(),
        }))
    }

    /// The block `number` of the file `name`; fetched if it is not there.
    ///
    /// # Errors
    /// What `fetch` says, or that the disk is full.
    pub(super) async fn block(
        &self,
        name: &Arc<str>,
        number: u64,
        fetch: impl Future<Output = Result<Bytes, Cause>>,
    ) -> Result<Bytes, Cause> {
        let key = (Arc::clone(name), number);
        let disk = |error: io::Error| Cause::lasting(format!("it cannot be kept: {error}"));
        if let Some(block) = self.get(key.clone()).await.map_err(disk)? {
            return Ok(block);
        }
        let stripe = usize::try_from(number % STRIPES as u64).unwrap_or_default();
        let stripes = self.stripes(name);
        let _one_at_a_time = stripes[stripe].lock().await;
        if let Some(block) = self.get(key.clone()).await.map_err(disk)? {
            return Ok(block);
        }
        let block = fetch.await?;
        self.put(key, block.clone()).await.map_err(disk)?;
        Ok(block)
    }

    fn stripes(&self, name: &Arc<str>) -> Arc<Stripes> {
        let fetching = self.0.fetching.lock();
        let mut fetching = fetching.unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses any more.
        fetching.retain(|_, stripes| Arc::strong_count(stripes) > 1);
        Arc::clone(fetching.entry(Arc::clone(name)).or_default())
    }

    async fn get(&self, key: Key) -> io::Result<Option<Bytes>> {
        self.on_disk(move |kept, _| {
            let now = kept.tick();
            let Some(place) = kept.places.get_mut(&key) else {
                return Ok(None);
            };
            place.used_at = now;
            let mut block = vec![0; place.length];
            let file = kept.file.as_ref().expect("a kept block has a file");
            file.read_exact_at(&mut block, place.slot * BLOCK_BYTES)?;
            Ok(Some(block.into()))
        })
        .await
    }

    /// Keeps a block that is not there.
    async fn put(&self, key: Key, block: Bytes) -> io::Result<()> {
        self.on_disk(move |kept, shared| {
            let used_at = kept.tick();
            if kept.places.len() == shared.blocks_max {
                let oldest = kept.places.iter().min_by_key(|(_, place)| place.used_at);
                let oldest = oldest.map(|(key, _)| key.clone());
                let oldest = oldest.and_then(|key| kept.places.remove(&key));
                kept.free.extend(oldest.map(|place| place.slot));
            }
            let fresh = kept.places.len() as u64;
            let slot = kept.free.last().copied().unwrap_or(fresh);
            if kept.file.is_none() {
                kept.file = Some(tempfile::tempfile_in(&shared.scratch)?);
            }
            let file = kept.file.as_ref().expect("it was just made");
            file.write_all_at(&block, slot * BLOCK_BYTES)?;
            // Only now: a full disk must not lose a slot.
            kept.free.pop();
            let length = block.len();
            let place = Place {
                slot,
                length,
                used_at,
            };
            kept.places.insert(key, place);
            Ok(())
        })
        .await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Kept, &Shared) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let shared = Arc::clone(&self.0);
        let work = move || {
            let mut kept = shared.kept.lock().unwrap_or_else(PoisonError::into_inner);
            work(&mut kept, &shared)
        };
        tokio::task::spawn_blocking(work).await?
    }
}

impl Kept {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Reads blocks; returns the numbers of those that had to be fetched.
    async fn fetched(blocks: &Blocks, name: &Arc<str>, numbers: &[u64]) -> Vec<u64> {
        let mut fetched = Vec::new();
        for number in numbers {
            let content = Bytes::from(format!("{name} {number}"));
            let fetch = async {
                fetched.push(*number);
                Ok(content.clone())
            };
            let block = blocks.block(name, *number, fetch).await;
            assert_eq!(block, Ok(content));
        }
        fetched
    }

    #[tokio::test]
    async fn the_least_recently_used_block_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = Blocks::new(folder.path(), 3);
        let (one, two) = (Arc::from("one"), Arc::from("two"));
        assert_eq!(fetched(&blocks, &one, &[0, 1, 2, 0, 2]).await, [0, 1, 2]);
        assert_eq!(fetched(&blocks, &two, &[0]).await, [0], "another file");
        assert_eq!(fetched(&blocks, &one, &[0, 2, 1]).await, [1]);
        assert_eq!(fetched(&blocks, &two, &[0]).await, [0], "it made room");
        let file = blocks.0.kept.lock().unwrap();
        let size_bytes = file.file.as_ref().unwrap().metadata().unwrap().len();
        assert!(size_bytes <= 3 * BLOCK_BYTES, "{size_bytes}");
        let names = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 0, "nothing is left if the worker is killed");
    }

    #[tokio::test]
    async fn a_slow_file_holds_up_no_other_one() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = Blocks::new(folder.path(), 3);
        let (slow, other) = (Arc::from("slow"), Arc::from("other"));
        let fetching = tokio::sync::Notify::new();
        let never = async {
            fetching.notify_one();
            std::future::pending().await
        };
        let others = async {
            fetching.notified().await;
            fetched(&blocks, &other, &[0, 8]).await
        };
        tokio::select! {
            _ = blocks.block(&slow, 0, never) => panic!("it is never there"),
            fetched = others => assert_eq!(fetched, [0, 8]),
        }
    }

    #[tokio::test]
    async fn a_block_is_fetched_once_and_a_failed_one_again() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = Blocks::new(folder.path(), 3);
        let (name, count) = (Arc::from("film"), AtomicU32::new(0));
        let fetch = || async {
            count.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Ok(Bytes::from("content"))
        };
        let failing = blocks.block(&name, 7, async { Err(Cause::passing("no such host")) });
        assert_eq!(failing.await, Err(Cause::passing("no such host")));
        let (first, second) = tokio::join!(
            blocks.block(&name, 7, fetch()),
            blocks.block(&name, 7, fetch())
        );
        assert_eq!(
            (first.unwrap(), second.unwrap()),
            ("content".into(), "content".into())
        );
        assert_eq!(count.into_inner(), 1);
    }
}
