//! The Lambda side: handlers, browser, page, capture, encode, upload.

use std::process::ExitCode;

/// Runs the Lambda runtime loop until the environment is shut down.
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
