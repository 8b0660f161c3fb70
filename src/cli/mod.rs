//! Words in, words out: one verb a file. The only room that prints.

use std::process::ExitCode;

/// Parses the command line, runs the verb, and turns its result into an exit code.
pub fn main() -> ExitCode {
    ExitCode::FAILURE
}
