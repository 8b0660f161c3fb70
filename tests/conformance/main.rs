//! Other people's clouds and clients. `clouds`: rmx against clouds that others wrote. Here: boto3 and the `aws` command,
//! as they come, against the embedded cloud, with nothing but the environment variables that `rmx local serve` prints. Each script has an embedded cloud of its own.
//!
//! Where Python or boto3 is missing the tests say so and pass; `scripts/test` installs both.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(clippy::print_stdout, reason = "what is skipped is said")]

mod clouds;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rmx::env::Env;
use tempfile::TempDir;

/// No script may run longer than this.
const SCRIPT_TIME_MAX: Duration = Duration::from_secs(120);

/// `rmx local serve` over a folder of its own.
struct Serve {
    child: Child,
    folder: TempDir,
    /// What it tells its clients to set.
    variables: BTreeMap<String, String>,
}

impl Serve {
    fn start(surroundings: &Env) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_rmx"))
            .args(["local", "serve", "--listen", "127.0.0.1:0", "--json"])
            .current_dir(folder.path())
            .env_clear()
            .env("PATH", &surroundings.variables["PATH"])
            .env("HOME", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // It either says where it listens or ends, and then the line is empty.
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let variables = serde_json::from_value(said["environment"].clone()).unwrap();
        Self {
            child,
            folder,
            variables,
        }
    }

    /// Asks it to end, and requires that it ends well.
    fn stop(mut self) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.code(), Some(0));
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("rmx local serve does not end when asked to");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the Python script `name` of this folder against an embedded cloud.
fn run(name: &str) {
    let surroundings = Env::read().unwrap();
    let python = surroundings
        .variable("RMX_TEST_PYTHON")
        .unwrap_or("python3");
    let has_boto3 = Command::new(python)
        .args(["-c", "import boto3"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if !has_boto3 {
        println!("skipped: `{python}` cannot import boto3; scripts/test installs it");
        return;
    }
    let serve = Serve::start(&surroundings);
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/conformance")
        .join(name);
    let output = assert_cmd::Command::new(python)
        .arg(script)
        .env_clear()
        .env("PATH", &surroundings.variables["PATH"])
        .env("HOME", serve.folder.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        // Nobody asks the machine for credentials or configuration.
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("RMX_TEST_AWS", aws(&surroundings))
        .envs(&serve.variables)
        .current_dir(serve.folder.path())
        .timeout(SCRIPT_TIME_MAX)
        .output()
        .unwrap();
    let said = format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{name}: {}\n{said}", output.status);
    println!("{said}");
    serve.stop();
}

/// The `aws` command: `RMX_TEST_AWS`, or the one in `PATH`; empty where there is none.
fn aws(surroundings: &Env) -> PathBuf {
    let path = &surroundings.variables["PATH"];
    let in_path = || {
        path.split(':')
            .map(|folder| Path::new(folder).join("aws"))
            .find(|file| file.is_file())
    };
    surroundings
        .variable("RMX_TEST_AWS")
        .map(PathBuf::from)
        .or_else(in_path)
        .unwrap_or_default()
}

#[test]
fn boto3_s3() {
    run("s3.py");
}

#[test]
fn boto3_iam_and_sts() {
    run("iam_sts.py");
}

#[test]
fn boto3_logs() {
    run("logs.py");
}

#[test]
fn boto3_lambda() {
    run("functions.py");
}

#[test]
fn aws_command() {
    run("aws_command.py");
}

#[test]
fn requests_no_client_would_send() {
    run("junk.py");
}
