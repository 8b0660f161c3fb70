//! What was asked of an embedded cloud, for tests: each request, what it needed to be allowed, and which requests were
//! under way at the same time.
//!
//! Nothing is kept unless [`Trace::begin`] was called.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::permission::Permission;

/// Requests that are kept at most.
const CALLS_MAX: usize = 10_000;

/// A record of requests. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Trace(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    on: bool,
    /// Counts beginnings and ends, in the order in which they happened.
    clock: u64,
    calls: Vec<TracedCall>,
    latency: Duration,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedCall {
    /// The role whose credentials signed it; nothing if the one user's did.
    pub role: Option<String>,
    /// What it needed; nothing for one that everybody may make.
    pub permissions: Vec<Permission>,
    /// When it began, on a clock that counts beginnings and ends.
    pub began: u64,
    /// When it ended.
    pub ended: Option<u64>,
}

impl Trace {
    /// Forgets what was recorded, and records from now on. Every answer takes `latency` longer.
    pub fn begin(&self, latency: Duration) {
        *self.lock() = Record {
            on: true,
            latency,
            ..Record::default()
        };
    }

    /// Ends recording and hands over what was recorded, in the order in which requests began.
    pub fn end(&self) -> Vec<TracedCall> {
        std::mem::take(&mut *self.lock()).calls
    }

    pub(super) fn began(&self, role: Option<&str>, permissions: Vec<Permission>) -> Option<usize> {
        let mut record = self.lock();
        if !record.on || record.calls.len() >= CALLS_MAX {
            return None;
        }
        record.clock += 1;
        let began = record.clock;
        record.calls.push(TracedCall {
            role: role.map(str::to_owned),
            permissions,
            began,
            ended: None,
        });
        Some(record.calls.len() - 1)
    }

    pub(super) async fn ended(&self, call: Option<usize>) {
        let Some(call) = call else { return };
        let latency = self.lock().latency;
        tokio::time::sleep(latency).await;
        let mut record = self.lock();
        record.clock += 1;
        let ended = record.clock;
        if let Some(call) = record.calls.get_mut(call) {
            call.ended = Some(ended);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The most requests of which each began after the one before had ended. What depends on an answer cannot begin before
/// it, so no chain of dependent requests is longer.
pub fn longest_chain(calls: &[TracedCall]) -> usize {
    let mut spans: Vec<(u64, u64)> = calls
        .iter()
        .map(|call| (call.ended.unwrap_or(u64::MAX), call.began))
        .collect();
    spans.sort_unstable();
    let mut end = 0;
    let mut length = 0;
    for (ended, began) in spans {
        if began > end {
            length += 1;
            end = ended;
        }
    }
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_chain_is_what_cannot_happen_at_once() {
        let trace = Trace::default();
        assert_eq!(trace.began(None, Vec::new()), None, "it is off");
        trace.begin(Duration::ZERO);
        let first = trace.began(None, Vec::new());
        let beside = trace.began(None, Vec::new());
        trace.ended(first).await;
        let second = trace.began(None, Vec::new());
        trace.ended(second).await;
        trace.ended(beside).await;
        let calls = trace.end();
        assert_eq!((calls.len(), longest_chain(&calls)), (3, 2));
        assert_eq!(trace.began(None, Vec::new()), None, "it is off again");
    }
}
