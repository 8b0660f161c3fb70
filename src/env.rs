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

/// Variables that one part of rmx sets for another.
pub mod variable {
    /// The bucket in which a function's renders lie. Set by the plan.
    pub const BUCKET: &str = "RMX_BUCKET";
    /// The version of Remotion that a function claims to be of. Set by the plan.
    pub const REMOTION_VERSION: &str = "RMX_REMOTION_VERSION";
    /// How many workers may run at the same time, where that is known. Set by the embedded cloud for its functions.
    pub const CONCURRENCY_MAX: &str = "RMX_CONCURRENCY_MAX";
    /// A folder with programs for this machine's processor, which the embedded cloud lays over those in the zips of functions for Node.js.
    /// Set by the user.
    pub const FUNCTION_PROGRAMS: &str = "RMX_FUNCTION_PROGRAMS";
}

/// A program that rmx runs and does not bring along.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Chromium's headless shell: the full browser lacks the frame control that the worker draws with.
    Chromium,
    /// ffmpeg.
    Ffmpeg,
    /// ffprobe.
    Ffprobe,
}

impl Tool {
    /// Every tool.
    pub const ALL: [Self; 3] = [Self::Chromium, Self::Ffmpeg, Self::Ffprobe];

    /// The variable that names the program where it is not found by itself.
    pub fn variable(self) -> &'static str {
        match self {
            Self::Chromium => "RMX_CHROMIUM",
            Self::Ffmpeg => "RMX_FFMPEG",
            Self::Ffprobe => "RMX_FFPROBE",
        }
    }

    /// The names it goes by, in the order in which they are looked for in `PATH`.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::Chromium => &[
                "chromium-headless-shell",
                "chrome-headless-shell",
                "headless_shell",
            ],
            Self::Ffmpeg => &["ffmpeg"],
            Self::Ffprobe => &["ffprobe"],
        }
    }
}

impl Env {
    /// Where `tool` is: what its variable says, else the first of its names in `PATH`.
    ///
    /// A variable that names nothing that can be run finds nothing: what was asked for is not replaced in silence.
    pub fn find_tool(&self, tool: Tool) -> Option<PathBuf> {
        if let Some(given) = self.variable(tool.variable()) {
            return if given.contains('/') {
                Some(self.working_directory.join(given)).filter(|path| is_program(path))
            } else {
                self.find_in_path(given)
            };
        }
        tool.names().iter().find_map(|name| self.find_in_path(name))
    }

    /// The first program of that name in `PATH`.
    pub fn find_in_path(&self, name: &str) -> Option<PathBuf> {
        self.variable("PATH")?
            .split(':')
            .filter(|folder| !folder.is_empty())
            .map(|folder| self.working_directory.join(folder).join(name))
            .find(|path| is_program(path))
    }
}

/// Whether `path` is a file that somebody may run.
pub fn is_program(path: &std::path::Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
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
