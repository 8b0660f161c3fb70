//! A project with one site, applied on the embedded cloud, and the processes it leaves behind.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rmx::cloud::{Cloud, Connection, StaticCredentials};
use rmx::local::{Faults, LocalOptions, Running};

use crate::failures::kill;
use crate::peer;

/// A deployed project in a folder of its own.
pub(crate) struct Farm {
    folder: tempfile::TempDir,
    /// What clients call its function and its bucket.
    pub(crate) names: (&'static str, &'static str),
}

impl Farm {
    /// Applies a project whose only site is the folder `site`.
    pub(crate) fn of(site: &Path) -> Self {
        Self::with_workers(site, "")
    }

    /// The farm's embedded cloud within this process, with `faults`.
    pub(crate) async fn cloud(&self, faults: &Faults) -> Running {
        let passed_on = |name: &str| name == "PATH" || name == "HOME" || name.starts_with("RMX_");
        let options = LocalOptions {
            directory: self.path(".rmx/local"),
            account: "000000000000".parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
            worker_environment: std::env::vars()
                .filter(|(name, _)| passed_on(name))
                .collect(),
            isolation: None,
            node: None,
            faults: faults.clone(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        rmx::local::start(options, listener).await.unwrap()
    }

    /// As [`Farm::of`], with workers of two browsers each.
    pub(crate) fn with_two_browsers(site: &Path) -> Self {
        Self::with_workers(site, "function.memory_mb = 4096\n")
    }

    /// As [`Farm::of`], with functions that run so long at most.
    pub(crate) fn with_timeout(site: &Path, timeout_s: u32) -> Self {
        Self::with_workers(site, &format!("function.timeout_s = {timeout_s}\n"))
    }

    /// As [`Farm::of`], with names of its own for function and bucket.
    pub(crate) fn called(site: &Path, names: (&'static str, &'static str)) -> Self {
        let (function, bucket) = names;
        let config = format!("function.name = {function:?}\nbucket.name = {bucket:?}\n");
        let mut farm = Self::with_workers(site, &config);
        farm.names = names;
        farm
    }

    fn with_workers(site: &Path, function: &str) -> Self {
        let farm = Self::configured(site, function);
        farm.rmx(&["apply", "--auto-approve"]);
        farm
    }

    /// The same project before anything is applied.
    pub(crate) fn declared(site: &Path) -> Self {
        Self::configured(site, "")
    }

    fn configured(site: &Path, function: &str) -> Self {
        let folder = peer::folder();
        let config = format!(
            "project = \"farm\"\n{function}\n[[site]]\nname = \"site\"\nfolder = {:?}\n",
            site.to_str().unwrap()
        );
        std::fs::write(folder.path().join("remotion.toml"), config).unwrap();
        Self {
            folder,
            names: ("rmx-farm:live", "rmx-farm-000000000000-us-east-1"),
        }
    }

    /// A file of the project.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where the embedded cloud keeps an object with the content of `file`.
    pub(crate) fn cloud_file_like(&self, file: &Path) -> PathBuf {
        let content = std::fs::read(file).unwrap();
        let found = self.all_cloud_files().into_iter();
        let mut found = found.filter(|path| std::fs::read(path).unwrap() == content);
        let shown = file.display();
        found
            .next()
            .unwrap_or_else(|| panic!("no object has the content of {shown}"))
    }

    /// Files of the embedded cloud's objects whose names have `part`: what it writes of their keys.
    pub(crate) fn cloud_files(&self, part: &str) -> Vec<PathBuf> {
        let has_part = |path: &PathBuf| path.file_name().unwrap().to_str().unwrap().contains(part);
        self.all_cloud_files()
            .into_iter()
            .filter(has_part)
            .collect()
    }

    /// The content of the one object whose file has `part` in its name, see [`Farm::cloud_files`]; nothing if there is none.
    pub(crate) fn cloud_object(&self, part: &str) -> Option<PathBuf> {
        let record = std::fs::read(self.cloud_files(part).first()?).ok()?;
        let record: serde_json::Value = serde_json::from_slice(&record).ok()?;
        let blob = record["blob"].as_str()?;
        let mut files = self.all_cloud_files().into_iter();
        files.find(|path| path.ends_with(blob))
    }

    fn all_cloud_files(&self) -> Vec<PathBuf> {
        let mut folders = vec![self.path(".rmx/local/s3")];
        let mut files = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => files.push(path),
                }
            }
        }
        files
    }

    /// `rmx` with these arguments, to be run in the project.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_rmx"));
        command.args(arguments).current_dir(self.folder.path());
        command
    }

    /// Runs `rmx`, which must succeed.
    pub(crate) fn rmx(&self, arguments: &[&str]) -> Output {
        peer::run(&mut self.command(arguments))
    }

    /// Runs `rmx`, which must fail; returns its exit code and what it said.
    pub(crate) fn refused(&self, arguments: &[&str]) -> (i32, String) {
        let output = peer::run_to_end(&mut self.command(arguments));
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{arguments:?} succeeded:\n{said}");
        assert!(!said.contains("panicked"), "{said}");
        let code = output.status.code();
        (code.unwrap_or_else(|| panic!("{said}")), said)
    }

    /// Starts `rmx` and does not wait for it.
    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// Processes that know this project's folder, and whose command line has `part`: its workers and their browsers.
    pub(crate) fn processes(&self, part: &str) -> Vec<u32> {
        let folder = self.folder.path().to_str().unwrap();
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|id| id.parse().ok()) else {
                continue;
            };
            let read = |name| {
                let bytes = std::fs::read(entry.path().join(name)).unwrap_or_default();
                String::from_utf8_lossy(&bytes).into_owned()
            };
            let line = read("cmdline");
            if line.contains(part) && (line.contains(folder) || read("environ").contains(folder)) {
                found.push(id);
            }
        }
        found
    }

    /// Kills its environments, and waits until they are gone: whoever asks the function then meets none that is still dying.
    pub(crate) fn kill_workers(&self) {
        let killed = self.processes("bootstrap");
        kill(&killed);
        let is_gone = |id: &u32| !Path::new("/proc").join(id.to_string()).exists();
        self.wait_until("they are gone", |_| killed.iter().all(is_gone));
    }

    /// Waits until `holds`, a minute at most.
    pub(crate) fn wait_until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < Duration::from_secs(60), "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// How a command that [`Farm::start`] started ends.
    pub(crate) fn ended(&self, child: &mut Child) -> ExitStatus {
        let mut status = None;
        self.wait_until("the command ends", |_| {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// No worker and no browser of this project is left.
    pub(crate) fn assert_quiet(&self) {
        self.wait_until("every process is gone", |farm| {
            farm.processes("").is_empty()
        });
        let scratch = std::fs::read_dir(self.path(".rmx/local/lambda-scratch"));
        let left: Vec<_> = scratch.into_iter().flatten().flatten().collect();
        assert!(left.is_empty(), "temporary files are left: {left:?}");
    }
}

impl Drop for Farm {
    fn drop(&mut self) {
        for id in self.processes("") {
            let _ = Command::new("kill").arg("-9").arg(id.to_string()).status();
        }
    }
}

/// A client of an embedded cloud that [`Farm::cloud`] started.
pub(crate) async fn connected(running: &Running) -> Cloud {
    let credentials = running.credentials();
    Cloud::connect(&Connection {
        region: "us-east-1".parse().unwrap(),
        endpoint_url: Some(running.endpoint_url().to_owned()),
        credentials: Some(StaticCredentials {
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.clone(),
            session_token: None,
        }),
        timeouts: Default::default(),
    })
    .await
}
