//! Failures of a task, each with its kind, a sentence that names the subject and the next step, and whether
//! another try may help.

use std::fmt::Display;

use crate::cloud::CloudError;
use crate::protocol::{FailureKind, TaskFailure};

/// What every step of a task returns.
pub(super) type TaskResult<T> = Result<T, TaskFailure>;

/// A failure that another try would only repeat.
pub(super) fn permanent(kind: FailureKind, message: impl Into<String>) -> TaskFailure {
    TaskFailure {
        kind,
        message: message.into(),
        frame: None,
        stack: None,
        retryable: false,
    }
}

/// A failure that another try may not meet.
pub(super) fn retryable(kind: FailureKind, message: impl Into<String>) -> TaskFailure {
    TaskFailure {
        retryable: true,
        ..permanent(kind, message)
    }
}

/// A fault of the worker's own surroundings: disk, pipes.
pub(super) fn internal(operation: &str, error: impl Display) -> TaskFailure {
    retryable(FailureKind::Internal, format!("{operation}: {error}"))
}

/// Reading from or writing to S3 failed.
pub(super) fn storage(error: &CloudError) -> TaskFailure {
    retryable(FailureKind::Storage, error.to_string())
}

/// Why something from outside could not be had: what lies on another server, or what another program makes of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(super) struct Cause {
    pub(super) reason: String,
    /// Whether it may pass: another try, a while later or on another machine, may help.
    pub(super) passing: bool,
}

impl Cause {
    /// One that may pass.
    pub(super) fn passing(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            passing: true,
        }
    }

    /// One that stays.
    pub(super) fn lasting(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            passing: false,
        }
    }

    /// The failure of a task for which this is the cause; `operation` says what was done with what.
    pub(super) fn failure(self, kind: FailureKind, operation: &str) -> TaskFailure {
        TaskFailure {
            retryable: self.passing,
            ..permanent(kind, format!("{operation}: {}", self.reason))
        }
    }
}

/// The longest text of a failure: a page may throw megabytes, and a message to the client has an end.
const TEXT_CHARS_MAX: usize = 65_536;

/// A failure that fits into a message.
pub(super) fn short(failure: TaskFailure) -> TaskFailure {
    let cut = |text: String| match text.char_indices().nth(TEXT_CHARS_MAX) {
        Some((end, _)) => format!("{}\n(and {} bytes more)", &text[..end], text.len() - end),
        None => text,
    };
    TaskFailure {
        message: cut(failure.message),
        stack: failure.stack.map(cut),
        ..failure
    }
}

/// Names the frame a failure happened at, unless it already names one.
pub(super) fn at_frame(frame: u32) -> impl Fn(TaskFailure) -> TaskFailure {
    move |failure| TaskFailure {
        frame: failure.frame.or(Some(frame)),
        ..failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_fits_into_a_message() {
        let long = "é".repeat(9_000_000);
        let failure = TaskFailure {
            stack: Some(long.clone()),
            ..permanent(FailureKind::PageError, long)
        };
        let short = short(failure);
        assert!(serde_json::to_string(&short).unwrap().len() < 300_000);
        assert!(short.message.ends_with("é\n(and 17868928 bytes more)"));
        let usual = permanent(FailureKind::PageError, "é");
        assert_eq!(super::short(usual.clone()), usual);
    }
}
