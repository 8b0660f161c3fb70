//! What an environment may use of memory, counted from outside.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::process::Pid;
use tokio::task::JoinSet;

/// How often it is counted.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// Counts the memory of an environment until it is dropped.
#[derive(Debug)]
pub(in crate::local) struct MemoryWatch {
    peak_kib: Arc<AtomicU64>,
    _counting: JoinSet<()>,
}

impl MemoryWatch {
    /// Counts what `members` name, and calls `exceeded` once they use more than `limit_mb`.
    pub(in crate::local) fn start(
        limit_mb: u32,
        members: impl Fn() -> Vec<Pid> + Send + Sync + 'static,
        exceeded: impl FnOnce() + Send + 'static,
    ) -> Self {
        let peak_kib = Arc::new(AtomicU64::new(0));
        let limit_kib = u64::from(limit_mb) * 1024;
        let peak = Arc::clone(&peak_kib);
        let members = Arc::new(members);
        let mut counting = JoinSet::new();
        counting.spawn(async move {
            loop {
                tokio::time::sleep(COUNT_EVERY).await;
                let members = Arc::clone(&members);
                let count = move || members().into_iter().map(used_kib).sum::<u64>();
                let Ok(used_kib) = tokio::task::spawn_blocking(count).await else {
                    return;
                };
                // No environment has more than it has.
                peak.fetch_max(used_kib.min(limit_kib), Ordering::Relaxed);
                if used_kib > limit_kib {
                    return exceeded();
                }
            }
        });
        Self {
            peak_kib,
            _counting: counting,
        }
    }

    /// The most that was used, in MiB.
    pub(in crate::local) fn peak_mb(&self) -> u64 {
        self.peak_kib.load(Ordering::Relaxed).div_ceil(1024)
    }
}

/// What a process has for itself and its share of what it has with others. What is read from files is left out: the kernel can read
/// it again, so nobody runs out of memory by it.
fn used_kib(pid: Pid) -> u64 {
    let path = format!("/proc/{}/smaps_rollup", pid.as_raw_pid());
    // It may be gone by now.
    let table = fs::read_to_string(path).unwrap_or_default();
    let lines = table.lines().filter_map(|line| {
        let (name, size) = line.split_once(':')?;
        let counts = ["Pss_Anon", "Pss_Shmem"].contains(&name);
        let size = size.trim().trim_end_matches("kB").trim();
        counts.then(|| size.parse::<u64>().ok())?
    });
    lines.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_is_used_is_counted() {
        let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        let before = used_kib(own);
        let block = vec![7_u8; 64 * 1024 * 1024];
        assert!(used_kib(own) >= before + 60 * 1024, "{}", block[9]);
    }

    #[tokio::test]
    async fn too_much_is_noticed_once() {
        let own = Pid::from_raw(i32::try_from(std::process::id()).unwrap()).unwrap();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let watch = MemoryWatch::start(
            1,
            move || vec![own],
            move || {
                let _ = sender.send(());
            },
        );
        let noticed = tokio::time::timeout(Duration::from_secs(30), receiver).await;
        assert!(matches!(noticed, Ok(Ok(()))), "{noticed:?}");
        assert_eq!(watch.peak_mb(), 1);
    }
}
