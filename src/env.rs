//! Everything ambient, read once at the start of the process and passed on from there.
//!
//! Nothing else in the crate reads environment variables, the working directory or whether a stream is a
//! terminal. The clock is the one exception to "passed on": [`now`] is the only place that reads it.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::SystemTime;

use time::OffsetDateTime;

/// The surroundings of this process.
#[derive(Debug, Clone)]
pub struct Env {
    /// Environment variables whose name and value are UTF-8.
    pub variables: BTreeMap<String, String>,
    /// The working directory at start.
    pub working_directory: PathBuf,
    /// The path of this executable; `rmx-worker` is looked for next to it.
    pub executable: PathBuf,
    /// Whether standard input is a terminal, so that a question can be asked.
    pub stdin_is_terminal: bool,
    /// Whether standard output is a terminal.
    pub stdout_is_terminal: bool,
    /// Whether standard error is a terminal, so that progress bars make sense.
    pub stderr_is_terminal: bool,
}

impl Env {
    /// Reads the surroundings.
    ///
    /// # Errors
    /// The working directory is gone, or the executable's path cannot be told.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads them"
    )]
    pub fn read() -> std::io::Result<Self> {
        Ok(Self {
            variables: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            working_directory: std::env::current_dir()?,
            executable: std::env::current_exe()?,
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// The value of a variable, unless it is missing or empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// The current time, UTC.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub fn now() -> OffsetDateTime {
    SystemTime::now().into()
}

/// Milliseconds since the Unix epoch, the form of time in Remotion's documents.
pub fn now_ms() -> u64 {
    u64::try_from(now().unix_timestamp_nanos() / 1_000_000).unwrap_or(0)
}

/// `time` as RFC 3339 in whole seconds, for files and people: `2026-11-23T08:00:00Z`.
pub fn timestamp(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0)
        .unwrap_or(time)
        .format(&time::format_description::well_known::Rfc3339)
        .unwrap_or_default()
}
