//! The Chrome DevTools Protocol over a pair of pipes: JSON messages, each ended by a NUL byte.
//!
//! Answers go to whoever asked; events go into one bounded queue. Every command has a deadline.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Events that may wait to be read. A page that logs faster than we read loses log lines beyond this.
const EVENTS_MAX: usize = 4096;
/// Largest message: a lossless frame of 8192 x 8192 pixels in base64.
const MESSAGE_BYTES_MAX: usize = 512 * 1024 * 1024;

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CdpError {
    /// The browser went away.
    #[error("the browser closed its pipe")]
    Closed,
    /// No answer in time.
    #[error("no answer to {method} within {} ms", timeout.as_millis())]
    Timeout {
        /// The command.
        method: &'static str,
        /// How long it was waited for.
        timeout: Duration,
    },
    /// The browser refused the command.
    #[error("{method}: {message}")]
    Refused {
        /// The command.
        method: &'static str,
        /// The browser's words.
        message: String,
    },
}

/// Something the browser says unasked.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) method: String,
    pub(super) params: Value,
}

type Waiting = Arc<Mutex<HashMap<u64, oneshot::Sender<Result<Value, String>>>>>;

/// A connection to one browser.
#[derive(Debug)]
pub(super) struct Cdp {
    writer: tokio::sync::Mutex<pipe::Sender>,
    waiting: Waiting,
    next_id: AtomicU64,
    _reader: JoinSet<()>,
}

#[derive(Deserialize)]
struct Incoming {
    id: Option<u64>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

impl Cdp {
    /// Takes our ends of the two pipes.
    pub(super) fn new(to: pipe::Sender, from: pipe::Receiver) -> (Self, mpsc::Receiver<Event>) {
        let (events, queue) = mpsc::channel(EVENTS_MAX);
        let waiting = Waiting::default();
        let mut reader = JoinSet::new();
        reader.spawn(read(from, Arc::clone(&waiting), events));
        let cdp = Self {
            writer: tokio::sync::Mutex::new(to),
            waiting,
            next_id: AtomicU64::new(1),
            _reader: reader,
        };
        (cdp, queue)
    }

    /// Sends a command and waits for its answer, at most `timeout`.
    pub(super) async fn call(
        &self,
        session: Option<&str>,
        method: &'static str,
        params: Value,
        timeout: Duration,
    ) -> Result<Value, CdpError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id, sender);
        let _forget = Forget {
            waiting: &self.waiting,
            id,
        };
        let answer = async {
            self.writer
                .lock()
                .await
                .write_all(&bytes)
                .await
                .map_err(|_| CdpError::Closed)?;
            receiver.await.map_err(|_| CdpError::Closed)
        };
        match tokio::time::timeout(timeout, answer).await {
            Err(_) => Err(CdpError::Timeout { method, timeout }),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Err(message))) => Err(CdpError::Refused { method, message }),
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    /// Sends a command whose answer nobody waits for.
    pub(super) async fn post(
        &self,
        session: &str,
        method: &'static str,
        params: Value,
    ) -> Result<(), CdpError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let message = json!({"id": id, "method": method, "params": params, "sessionId": session});
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.writer
            .lock()
            .await
            .write_all(&bytes)
            .await
            .map_err(|_| CdpError::Closed)
    }

    fn lock(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<u64, oneshot::Sender<Result<Value, String>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes an entry whose caller no longer waits.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
    }
}

async fn read(from: pipe::Receiver, waiting: Waiting, events: mpsc::Sender<Event>) {
    let mut reader = BufReader::with_capacity(256 * 1024, from);
    let mut message = Vec::new();
    loop {
        message.clear();
        match next(&mut reader, &mut message).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                tracing::debug!("the browser's pipe: {error}");
                break;
            }
        }
        let Ok(incoming) = serde_json::from_slice::<Incoming>(&message) else {
            tracing::warn!("the browser sent something that is not a message");
            continue;
        };
        if let Some(id) = incoming.id {
            let caller = waiting
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .remove(&id);
            if let Some(caller) = caller {
                let answer = match incoming.error {
                    Some(refusal) => Err(refusal.message),
                    None => Ok(incoming.result),
                };
                let _ = caller.send(answer);
            }
        } else if let Some(method) = incoming.method {
            let event = Event {
                method,
                params: incoming.params,
            };
            if events.try_send(event).is_err() {
                tracing::warn!("an event of the browser was dropped: too many wait to be read");
            }
        }
    }
    // Whoever still waits learns that nothing will come: their senders are dropped here.
    waiting
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
}

async fn next(reader: &mut BufReader<pipe::Receiver>, message: &mut Vec<u8>) -> io::Result<bool> {
    let length = reader.read_until(0, message).await?;
    if length == 0 {
        return Ok(false);
    }
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(io::Error::other("a message is too long"));
    }
    message.pop();
    // A single huge frame must not keep its memory for ever.
    Ok(true)
}
