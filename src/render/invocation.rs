//! One invocation of a worker: a task goes in, messages come out a line at a time, and there is one outcome.

use std::collections::VecDeque;

use crate::cloud::{Cloud, CloudError, CloudErrorKind, InvokeEvent, InvokeStream};
use crate::names::FunctionName;
use crate::protocol::{WorkerMessage, WorkerTask};

use super::scheduler::{ChunkFailure, Refused};

/// The longest line a worker may send. The longest real ones have the props that a composition resolves to.
pub(crate) const LINE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// The largest task, just below Lambda's limit of 6 MB for the payload of an invocation.
pub const TASK_BYTES_MAX: usize = 6_000_000;

/// How much of an answer that is not ours is shown.
const EXCERPT_CHARS: usize = 300;

/// A function that runs rmx's worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFunction {
    /// AWS name.
    pub name: FunctionName,
    /// The published version that is invoked; a render stays with the one it began with.
    pub version: String,
}

/// How an invocation ended without an answer.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The cloud takes no more at the moment.
    NotTaken(Refused),
    /// Anything else.
    Failed(ChunkFailure),
}

impl From<CloudError> for Refusal {
    fn from(error: CloudError) -> Self {
        let retryable = match error.kind {
            CloudErrorKind::Throttled => return Self::NotTaken(Refused::Throttled),
            // Lambda says so of a function that is being made, changed or woken (`ResourceConflictException`).
            CloudErrorKind::Conflict => return Self::NotTaken(Refused::NotReady),
            CloudErrorKind::Unavailable | CloudErrorKind::Other => true,
            CloudErrorKind::NotFound
            | CloudErrorKind::AlreadyExists
            | CloudErrorKind::AccessDenied
            | CloudErrorKind::PreconditionFailed
            | CloudErrorKind::Invalid
            | CloudErrorKind::RoleNotReady
            | CloudErrorKind::Credentials => false,
        };
        Self::Failed(ChunkFailure::Cloud { error, retryable })
    }
}

/// The bytes of a task.
pub(super) fn payload(task: &WorkerTask) -> Vec<u8> {
    serde_json::to_vec(task).expect("a task has string keys only, so it can be written as JSON")
}

/// A running invocation. No deadlines are kept here: who waits for it keeps them.
#[derive(Debug)]
pub(super) struct Invocation {
    stream: InvokeStream,
    lines: Lines,
}

impl Invocation {
    /// Invokes `function` with a task.
    pub(super) async fn begin(
        cloud: &Cloud,
        function: &WorkerFunction,
        payload: Vec<u8>,
    ) -> Result<Self, Refusal> {
        let stream = cloud
            .invoke_stream(&function.name, &function.version, payload)
            .await?;
        Ok(Self {
            stream,
            lines: Lines::default(),
        })
    }

    /// The next message. The last one is [`WorkerMessage::Done`] or [`WorkerMessage::Failed`]; asking for one after
    /// it, or a stream that ends before it, is an error.
    pub(super) async fn next(&mut self) -> Result<WorkerMessage, Refusal> {
        self.next_message().await.map_err(Refusal::Failed)
    }

    async fn next_message(&mut self) -> Result<WorkerMessage, ChunkFailure> {
        loop {
            if let Some(line) = self.lines.pop() {
                if is_preamble(&line) {
                    continue;
                }
                return parse(&line);
            }
            let event = self
                .stream
                .next()
                .await
                .map_err(|error| ChunkFailure::Cloud {
                    error,
                    retryable: true,
                })?;
            match event {
                Some(InvokeEvent::Payload(bytes)) => self.lines.push(&bytes)?,
                Some(InvokeEvent::Complete {
                    error_code: Some(code),
                    error_details,
                }) => {
                    return Err(ChunkFailure::Crashed {
                        code,
                        details: error_details,
                    });
                }
                // Whatever came so far may end in the middle of a line.
                None => return Err(ChunkFailure::CutOff),
                Some(InvokeEvent::Complete {
                    error_code: None, ..
                }) => {
                    let rest = self.lines.rest().ok_or(ChunkFailure::CutOff)?;
                    return parse(&rest);
                }
            }
        }
    }
}

/// Lambda's Rust runtime begins every stream with the status and headers of an HTTP answer, ended by eight NUL
/// bytes; the worker puts a line end behind them.
fn is_preamble(line: &[u8]) -> bool {
    line.trim_ascii_end().ends_with(&[0; 8])
}

fn parse(line: &[u8]) -> Result<WorkerMessage, ChunkFailure> {
    serde_json::from_slice(line).map_err(|error| {
        let text = String::from_utf8_lossy(line);
        let excerpt: String = text.chars().take(EXCERPT_CHARS).collect();
        ChunkFailure::Protocol(format!("{error} in `{excerpt}`"))
    })
}

/// Bytes, cut anywhere → lines.
#[derive(Debug, Default)]
struct Lines {
    complete: VecDeque<Vec<u8>>,
    partial: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8]) -> Result<(), ChunkFailure> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.partial.len() + part.len() > LINE_BYTES_MAX {
                return Err(ChunkFailure::Protocol(format!(
                    "a line longer than {LINE_BYTES_MAX} bytes"
                )));
            }
            self.partial.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.complete.push_back(std::mem::take(&mut self.partial));
            }
        }
        Ok(())
    }

    /// The next complete line that is not blank.
    fn pop(&mut self) -> Option<Vec<u8>> {
        std::iter::from_fn(|| self.complete.pop_front()).find(|line| !line.trim_ascii().is_empty())
    }

    /// What is left when the stream has ended: a last line without a line break.
    fn rest(&mut self) -> Option<Vec<u8>> {
        let rest = std::mem::take(&mut self.partial);
        (!rest.trim_ascii().is_empty()).then_some(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_do_not_depend_on_where_the_stream_is_cut() {
        let text = b"{\"a\":1}\n\n  \n{\"b\":2}\r\nrest";
        for cut in 0..text.len() {
            let mut lines = Lines::default();
            lines.push(&text[..cut]).unwrap();
            lines.push(&text[cut..]).unwrap();
            let found: Vec<_> = std::iter::from_fn(|| lines.pop()).collect();
            assert_eq!(
                found,
                [&b"{\"a\":1}\n"[..], b"{\"b\":2}\r\n"],
                "cut at {cut}"
            );
            assert_eq!(lines.rest().as_deref(), Some(&b"rest"[..]));
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let megabyte = vec![b'x'; 1024 * 1024];
        let refused = (0..200).find_map(|_| lines.push(&megabyte).err());
        assert!(refused.is_some_and(|failure| !failure.is_retryable()));
    }

    #[test]
    fn what_is_not_our_protocol_is_shown() {
        let failure = parse(b"{\"statusCode\":200}").unwrap_err();
        assert!(failure.to_string().contains("statusCode"), "{failure}");
        assert!(!failure.is_retryable());
        let message = parse(b"{\"type\":\"started\",\"warm\":true}\n").unwrap();
        assert_eq!(message, WorkerMessage::Started { warm: true });
    }
}
