//! How an invocation fails: the error code and the JSON document a client gets.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use bytes::Bytes;
use serde_json::json;

use super::runtime_api::RESPONSE_BYTES_MAX;

/// Why an invocation has no result. The shapes are those AWS gives out of band: the document goes to the
/// caller as the payload, the code into a stream's last event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::local::lambda) struct Failure {
    /// `Sandbox.Timedout`, `Runtime.ExitError`, ...; `Unhandled` for what the function itself reports.
    pub(in crate::local::lambda) code: String,
    /// `{"errorType": ..., "errorMessage": ...}`.
    pub(in crate::local::lambda) document: Bytes,
}

impl Failure {
    pub(super) const UNHANDLED: &'static str = "Unhandled";
    pub(super) const TRUNCATED: &'static str = "Runtime.TruncatedResponse";

    pub(super) fn new(code: &str, message: &str) -> Self {
        let document = json!({ "errorType": code, "errorMessage": message });
        Self {
            code: code.to_owned(),
            document: document.to_string().into(),
        }
    }

    /// A failure of the environment rather than of the function's own code.
    fn of_environment(code: &str, request_id: &str, what: &str) -> Self {
        Self::new(code, &format!("RequestId: {request_id} Error: {what}"))
    }

    /// More was streamed than an answer that is waited for may hold.
    pub(in crate::local::lambda) fn response_too_large() -> Self {
        Self::new(
            "Function.ResponseSizeTooLarge",
            &format!(
                "Response payload size exceeded maximum allowed payload size ({RESPONSE_BYTES_MAX} bytes)."
            ),
        )
    }

    pub(super) fn timed_out(request_id: &str, timeout_s: u32) -> Self {
        let what = format!("Task timed out after {timeout_s}.00 seconds");
        Self::of_environment("Sandbox.Timedout", request_id, &what)
    }

    pub(super) fn invalid_entrypoint(request_id: &str, what: &str) -> Self {
        Self::of_environment("Runtime.InvalidEntrypoint", request_id, what)
    }

    /// The role is gone, or trusts Lambda no longer.
    pub(super) fn role_not_assumable() -> Self {
        Self::new(
            "AccessDeniedException",
            "The role defined for the function cannot be assumed by Lambda.",
        )
    }

    pub(super) fn shut_down(request_id: &str) -> Self {
        Self::of_environment(
            "Sandbox.Shutdown",
            request_id,
            "the embedded cloud is shutting down",
        )
    }

    pub(super) fn exited(request_id: &str, status: ExitStatus) -> Self {
        let what = match (status.code(), status.signal()) {
            (Some(0), _) => "Runtime exited without providing a reason".to_owned(),
            (Some(code), _) => format!("Runtime exited with error: exit status {code}"),
            (None, Some(signal)) => {
                format!("Runtime exited with error: signal: {}", signal_name(signal))
            }
            (None, None) => "Runtime exited with error".to_owned(),
        };
        Self::of_environment("Runtime.ExitError", request_id, &what)
    }
}

/// Signals in the words AWS's (Go's) messages use.
fn signal_name(signal: i32) -> String {
    match signal {
        4 => "illegal instruction".to_owned(),
        6 => "aborted".to_owned(),
        7 => "bus error".to_owned(),
        8 => "floating point exception".to_owned(),
        9 => "killed".to_owned(),
        11 => "segmentation fault".to_owned(),
        15 => "terminated".to_owned(),
        other => format!("signal {other}"),
    }
}
