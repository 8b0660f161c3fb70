//! What functions write: lines on their way to the log group, and the tail that `LogType=Tail` shows.
//!
//! One task an environment gathers lines and appends them in batches, since every append is a write to disk.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::env;
use crate::local::logs::LogsHandle;
use crate::names::Region;

/// What `X-Amz-Log-Result` holds at most: the last 4 KB of the log.
const TAIL_BYTES_MAX: usize = 4096;

/// A longer line is cut into several events (the limit of a CloudWatch event is 1 MB).
const LINE_BYTES_MAX: usize = 64 * 1024;

/// Lines that may wait to be stored. A function that writes faster waits.
const LINES_WAITING_MAX: usize = 4096;

/// Lines stored at once.
const BATCH_LINES_MAX: usize = 1000;

/// How long lines are gathered before they are stored.
const BATCH_WAIT: Duration = Duration::from_millis(100);

/// How long the end of an invocation waits for lines the function has written before its answer.
const SETTLE_MAX: Duration = Duration::from_millis(500);

/// The log stream of one environment.
#[derive(Debug, Clone)]
pub(super) struct Output {
    lines: mpsc::Sender<(u64, String)>,
    tail: Arc<Mutex<String>>,
}

/// The pipe a function writes to, shared between the task that reads it and whoever waits for it to be empty.
#[derive(Debug, Clone)]
pub(super) struct Pipe {
    receiver: Arc<pipe::Receiver>,
    /// Held while bytes that have been read are not yet lines.
    reading: Arc<tokio::sync::Mutex<()>>,
}

impl Output {
    /// Opens a stream; its task ends when the last clone is gone and everything is stored.
    pub(super) fn open(
        tasks: &TaskTracker,
        logs: LogsHandle,
        region: Region,
        group: String,
        stream: String,
    ) -> Self {
        let (lines, receiver) = mpsc::channel(LINES_WAITING_MAX);
        tasks.spawn(store(receiver, logs, region, group, stream));
        Self {
            lines,
            tail: Arc::default(),
        }
    }

    /// Adds one line.
    pub(super) async fn line(&self, text: String) {
        {
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.push_str(&text);
            tail.push('\n');
            let mut cut = tail.len().saturating_sub(TAIL_BYTES_MAX);
            while !tail.is_char_boundary(cut) {
                cut += 1;
            }
            tail.drain(..cut);
        }
        // The receiver lives as long as a sender does.
        let _ = self.lines.send((env::now_ms(), text)).await;
    }

    /// Begins a new tail.
    pub(super) fn restart_tail(&self) {
        self.tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    pub(super) fn tail(&self) -> String {
        self.tail
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Pipe {
    pub(super) fn new(receiver: pipe::Receiver) -> Self {
        Self {
            receiver: Arc::new(receiver),
            reading: Arc::default(),
        }
    }

    /// Turns what is written into lines until every writer is gone.
    pub(super) async fn read(self, output: Output) {
        let mut pending = Vec::new();
        let mut buffer = vec![0; 16 * 1024];
        loop {
            if self.receiver.readable().await.is_err() {
                break;
            }
            let _reading = self.reading.lock().await;
            match self.receiver.try_read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => pending.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
                Err(_) => break,
            }
            while let Some(end) = pending.iter().position(|byte| *byte == b'\n') {
                let rest = pending.split_off(end + 1);
                pending.pop();
                output.line(text(&pending)).await;
                pending = rest;
            }
            if pending.len() > LINE_BYTES_MAX {
                output.line(text(&pending)).await;
                pending.clear();
            }
        }
        if !pending.is_empty() {
            output.line(text(&pending)).await;
        }
    }

    /// Waits, within bounds, until everything written so far has become lines.
    pub(super) async fn settle(&self) {
        let empty = async {
            loop {
                if matches!(rustix::io::ioctl_fionread(&*self.receiver), Ok(0) | Err(_)) {
                    let _reading = self.reading.lock().await;
                    if matches!(rustix::io::ioctl_fionread(&*self.receiver), Ok(0) | Err(_)) {
                        return;
                    }
                }
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        // Somebody who never stops writing does not hold the answer up.
        let _ = tokio::time::timeout(SETTLE_MAX, empty).await;
    }
}

fn text(line: &[u8]) -> String {
    String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned()
}

/// Takes lines until a batch is full or the stream has ended: who waits for its end does not wait for lines that will
/// not come.
async fn gather(receiver: &mut mpsc::Receiver<(u64, String)>, lines: &mut Vec<(u64, String)>) {
    while lines.len() < BATCH_LINES_MAX {
        let room = BATCH_LINES_MAX - lines.len();
        if receiver.recv_many(lines, room).await == 0 {
            return;
        }
    }
}

async fn store(
    mut receiver: mpsc::Receiver<(u64, String)>,
    logs: LogsHandle,
    region: Region,
    group: String,
    stream: String,
) {
    let mut lines = Vec::new();
    while receiver.recv_many(&mut lines, BATCH_LINES_MAX).await > 0 {
        let _ = tokio::time::timeout(BATCH_WAIT, gather(&mut receiver, &mut lines)).await;
        let batch = std::mem::take(&mut lines);
        let (logs, region) = (logs.clone(), region.clone());
        let (group, stream) = (group.clone(), stream.clone());
        let stored =
            tokio::task::spawn_blocking(move || logs.append(&region, &group, &stream, batch)).await;
        if let Ok(Err(error)) = stored {
            tracing::warn!(%error, "log lines of a function could not be stored");
        }
    }
}
