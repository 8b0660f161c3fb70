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

/// Names the frame a failure happened at, unless it already names one.
pub(super) fn at_frame(frame: u32) -> impl Fn(TaskFailure) -> TaskFailure {
    move |failure| TaskFailure {
        frame: failure.frame.or(Some(frame)),
        ..failure
    }
}
