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
use tokio::io::{
    AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader,
};
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// Events that may wait to be read.
const EVENTS_MAX: usize = 4096;
/// Room in that queue which lines of the console leave free: a page that logs faster than we read loses lines of its
/// log, and nothing else.
const EVENTS_RESERVED: usize = 1024;
/// Events of which a page can cause any number, and that are only told: what it says, and what the browser says of it.
const EXPENDABLE: [&str; 2] = ["Runtime.consoleAPICalled", "Log.entryAdded"];
/// What the browser answers to a command for a page that has crashed. Scripts that wait when it crashes are not answered at all.
pub(super) const CRASHED: &str = "Target crashed";
/// Commands that may wait to be written.
const COMMANDS_MAX: usize = 64;
/// Largest message: a lossless frame of 8192 x 8192 pixels in base64.
const MESSAGE_BYTES_MAX: u64 = 512 * 1024 * 1024;
/// A buffer that one huge message made larger than this is given back.
const BUFFER_BYTES_MAX: usize = 16 * 1024 * 1024;

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
    /// Whole messages for the task that writes: a caller that gives up cannot leave half of one in the pipe.
    commands: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    next_id: AtomicU64,
    _tasks: JoinSet<()>,
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
        let (commands, outgoing) = mpsc::channel(COMMANDS_MAX);
        let mut tasks = JoinSet::new();
        let callers = Arc::clone(&waiting);
        tasks.spawn(async move {
            // When either end is gone, both are: no later command is taken, and whoever waits learns of it.
            tokio::select! {
                () = write(to, outgoing) => {}
                () = read(from, &callers, events) => {}
            }
            callers
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clear();
        });
        let cdp = Self {
            commands,
            waiting,
            next_id: AtomicU64::new(1),
            _tasks: tasks,
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
        let (sender, receiver) = oneshot::channel();
        self.lock().insert(id, sender);
        let _forget = Forget {
            waiting: &self.waiting,
            id,
        };
        let answer = async {
            self.send(id, session, method, params).await?;
            receiver.await.map_err(|_| CdpError::Closed)
        };
        match tokio::time::timeout(timeout, answer).await {
            Err(_) => Err(CdpError::Timeout { method, timeout }),
            Ok(Err(error)) => Err(error),
            Ok(Ok(Err(message))) => Err(CdpError::Refused { method, message }),
            Ok(Ok(Ok(result))) => Ok(result),
        }
    }

    /// Sends a command whose answer nobody waits for. A browser that reads nothing any more may keep it waiting.
    pub(super) async fn post(
        &self,
        session: &str,
        method: &'static str,
        params: Value,
        timeout: Duration,
    ) -> Result<(), CdpError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let sent = tokio::time::timeout(timeout, self.send(id, Some(session), method, params));
        sent.await
            .unwrap_or(Err(CdpError::Timeout { method, timeout }))
    }

    async fn send(
        &self,
        id: u64,
        session: Option<&str>,
        method: &str,
        params: Value,
    ) -> Result<(), CdpError> {
        let mut message = json!({"id": id, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.commands
            .send(bytes)
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

async fn write(mut to: pipe::Sender, mut outgoing: mpsc::Receiver<Vec<u8>>) {
    while let Some(message) = outgoing.recv().await {
        if let Err(error) = to.write_all(&message).await {
            tracing::debug!("the browser's pipe: {error}");
            break;
        }
    }
}

async fn read(from: impl AsyncRead + Unpin, waiting: &Waiting, events: mpsc::Sender<Event>) {
    let mut reader = BufReader::with_capacity(256 * 1024, from);
    let mut message = Vec::new();
    loop {
        if message.capacity() > BUFFER_BYTES_MAX {
            message = Vec::new();
        }
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
            if method == "Inspector.targetCrashed" {
                refuse_all(waiting, CRASHED);
            }
            let event = Event {
                method,
                params: incoming.params,
            };
            let expendable = EXPENDABLE.contains(&event.method.as_str());
            if expendable && events.capacity() <= EVENTS_RESERVED {
                continue;
            }
            if events.try_send(event).is_err() {
                tracing::warn!("the browser says more than can be read: its pipe is closed");
                break;
            }
        }
    }
}

fn refuse_all(waiting: &Waiting, why: &str) {
    let mut waiting = waiting.lock().unwrap_or_else(PoisonError::into_inner);
    for (_, caller) in waiting.drain() {
        let _ = caller.send(Err(why.to_owned()));
    }
}

async fn next(
    reader: &mut BufReader<impl AsyncRead + Unpin>,
    message: &mut Vec<u8>,
) -> io::Result<bool> {
    let length = reader
        .take(MESSAGE_BYTES_MAX)
        .read_until(0, message)
        .await?;
    if length == 0 {
        return Ok(false);
    }
    if message.pop() != Some(0) {
        return Err(io::Error::other("a message is too long or cut short"));
    }
    Ok(true)
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// What comes out of a browser's pipe: what is a message is taken, whatever stands before it.
    pub(crate) fn browsers(case: crate::fuzzing::Case<'_>) {
        // More events than can wait close the pipe.
        let said = &case.0[..case.0.len().min(EVENTS_MAX * 8)];
        let said = [said, b"\0{\"id\":1}\0{\"method\":\"Page.last\"}\0"].concat();
        let (events, mut queue) = mpsc::channel(EVENTS_MAX);
        let (caller, mut answer) = oneshot::channel();
        let waiting = Waiting::new(Mutex::new(HashMap::from([(1, caller)])));
        futures::executor::block_on(read(&said[..], &waiting, events));
        let events = std::iter::from_fn(|| queue.try_recv().ok());
        let last = events.last().map(|event| event.method);
        assert_eq!(last.as_deref(), Some("Page.last"));
        assert!(answer.try_recv().is_ok(), "the caller has an answer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (pipe::Sender, pipe::Receiver) {
        let (from, to) = std::io::pipe().unwrap();
        (
            pipe::Sender::from_owned_fd(to.into()).unwrap(),
            pipe::Receiver::from_owned_fd(from.into()).unwrap(),
        )
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_leaves_whole_messages_behind() {
        let ((to_browser, at_browser), (from_browser, to_us)) = (pair(), pair());
        let (cdp, _events) = Cdp::new(to_browser, to_us);
        // Larger than the pipe: it is half written when its caller gives up.
        let large = json!({"text": "x".repeat(1 << 20)});
        let given_up = cdp
            .call(None, "Large", large, Duration::from_millis(20))
            .await;
        assert!(matches!(given_up, Err(CdpError::Timeout { .. })));
        let limit = Duration::from_secs(60);
        cdp.post("page", "Small", json!({}), limit).await.unwrap();
        let mut reader = BufReader::new(at_browser);
        for method in ["Large", "Small"] {
            let mut message = Vec::new();
            assert!(next(&mut reader, &mut message).await.unwrap());
            let message: Value = serde_json::from_slice(&message).unwrap();
            assert_eq!(message["method"], method);
        }
        drop(from_browser);
    }

    #[tokio::test]
    async fn a_page_that_crashes_answers_whoever_waits_for_it() {
        let ((to_browser, _at_browser), (mut from_browser, to_us)) = (pair(), pair());
        let (cdp, mut events) = Cdp::new(to_browser, to_us);
        let limit = Duration::from_secs(60);
        let waits = cdp.call(Some("page"), "Runtime.evaluate", json!({}), limit);
        let crash = async {
            while cdp.lock().is_empty() {
                tokio::task::yield_now().await;
            }
            let said = b"{\"method\":\"Inspector.targetCrashed\"}\0";
            from_browser.write_all(said).await.unwrap();
        };
        let (answer, ()) = tokio::join!(waits, crash);
        assert!(
            matches!(&answer, Err(CdpError::Refused { message, .. }) if message == CRASHED),
            "{answer:?}"
        );
        let event = events.recv().await.unwrap();
        assert_eq!(event.method, "Inspector.targetCrashed");
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_out_of_the_browsers_pipe_what_is_a_message_is_taken(
            before in "([\\x01-\\x7f]|\\{\"(id|method|params|error|result)\":(null|-?[0-9e.]{1,30}|\"a\"|\\{\\})\\}){0,9}",
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let methods = runtime.unwrap().block_on(async {
                let ((to_browser, _at_browser), (mut from_browser, to_us)) = (pair(), pair());
                let (_cdp, mut events) = Cdp::new(to_browser, to_us);
                let said = format!("{before}\0{{\"method\":\"Page.last\"}}\0");
                from_browser.write_all(said.as_bytes()).await.unwrap();
                drop(from_browser);
                let mut methods = Vec::new();
                while let Some(event) = events.recv().await {
                    methods.push(event.method);
                }
                methods
            });
            proptest::prop_assert_eq!(methods.last().map(String::as_str), Some("Page.last"));
        }
    }

    #[tokio::test]
    async fn a_flood_of_lines_drops_lines_and_no_signal() {
        for method in EXPENDABLE {
            flood(method).await;
        }
    }

    async fn flood(method: &str) {
        let ((to_browser, _at_browser), (mut from_browser, to_us)) = (pair(), pair());
        let (_cdp, mut events) = Cdp::new(to_browser, to_us);
        let mut flood = Vec::new();
        for _ in 0..2 * EVENTS_MAX {
            flood.extend_from_slice(format!("{{\"method\":\"{method}\"}}\0").as_bytes());
        }
        flood.extend_from_slice(b"{\"method\":\"Runtime.bindingCalled\"}\0");
        from_browser.write_all(&flood).await.unwrap();
        drop(from_browser);
        let mut methods = Vec::new();
        while let Some(event) = events.recv().await {
            methods.push(event.method);
        }
        let last = methods.last().map(String::as_str);
        assert_eq!(last, Some("Runtime.bindingCalled"), "{method}");
    }
}
