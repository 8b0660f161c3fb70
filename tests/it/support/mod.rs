//! What integration tests are written with: a project in a folder of its own, and what `rmx` said in it.

pub(crate) mod aws;
pub(crate) mod cloud;
pub(crate) mod farm;
pub(crate) mod signed;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

/// No command of a test may run longer than this.
const RUN_TIME_MAX: Duration = Duration::from_secs(120);

/// A project in a temporary folder that goes away with it.
#[derive(Debug)]
pub(crate) struct TestProject {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

impl TestProject {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    /// The folder.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes `text` to the file `name`, making folders as needed.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The text of the file `name`.
    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Makes every file of another project one of this, in place of what was there.
    pub(crate) fn copy_from(&self, other: &Self) {
        cloud::copy_folder(other.path(), self.path());
    }

    /// Sets an environment variable for every later [`TestProject::rmx`].
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), value.to_owned()));
    }

    /// `rmx` as [`TestProject::rmx`] runs it, to be started.
    pub(crate) fn command(&self, arguments: &[&str]) -> std::process::Command {
        let surroundings = rmx::env::Env::read().unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rmx"));
        command
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", &surroundings.variables["PATH"])
            .env("HOME", self.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts `rmx` as [`TestProject::rmx`] runs it. What it says on standard error goes
    /// to `stderr`. Wait for it, or kill it.
    pub(crate) fn spawn(
        &self,
        arguments: &[&str],
        stderr: std::process::Stdio,
    ) -> std::process::Child {
        self.command(arguments)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .stderr(stderr)
            .spawn()
            .unwrap()
    }

    /// Runs `rmx` in the folder with an environment of its own: `PATH` as it is, `HOME` in the folder, and
    /// what [`TestProject::set_variable`] added. Standard input is empty.
    pub(crate) fn rmx(&self, arguments: &[&str]) -> Output {
        let surroundings = rmx::env::Env::read().unwrap();
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_rmx"))
            .args(arguments)
            .current_dir(self.path())
            .env_clear()
            .env("PATH", &surroundings.variables["PATH"])
            .env("HOME", self.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .timeout(RUN_TIME_MAX)
            .output()
            .unwrap();
        Output {
            status: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

/// What a run of `rmx` ended with. Its text form shows all of it, for snapshots and failed assertions.
#[must_use = "look at the text or assert the status"]
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Output {
    /// The exit code; `None` if a signal ended it, as the time limit does.
    pub(crate) status: Option<i32>,
    /// Standard output.
    pub(crate) stdout: String,
    /// Standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// Requires exit code `status`, and gives the output back.
    #[track_caller]
    pub(crate) fn expect_status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.stdout)?;
        if !self.stderr.is_empty() {
            write!(f, "--- stderr\n{}", self.stderr)?;
        }
        match self.status {
            Some(0) => Ok(()),
            Some(code) => write!(f, "--- exit code {code}"),
            None => write!(f, "--- ended by a signal"),
        }
    }
}

/// What `ask` yields, asked again and again for at most half a minute.
#[track_caller]
pub(crate) fn eventually<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    for _ in 0..600 {
        if let Some(answer) = ask() {
            return answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nothing came of it within half a minute");
}
