//! Isolation: functions that see what they would see on Lambda, and nothing of this machine.
//!
//! ```text
//! here     unshare ─→ rmx local enter ─→ bootstrap          (one process: each becomes the next)
//!             │             └ makes the root and its network, hands its listeners over ┐
//! listener ←──┴── accepts what the function connects to, and passes it on ←────────────┘
//! ```
//!
//! The function has a root of its own with a minimal system, its unpacked zip and its layers, read-only but for `/tmp`, and a network of its own
//! in which there is only loopback. What it connects to there, the Runtime API and the embedded cloud, are listeners that belong to
//! the function's network and are served from outside of it: nothing of ours runs beside the function. Memory is counted from
//! outside too, as no quota for it can be had without being root.
//!
//! A function with a Node.js runtime of AWS's always has a root of its own, another one: see [`machine`].

mod enter;
mod machine;
mod memory;
mod network;
mod relay;
mod root;

use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

pub use enter::{Entrance, enter};
pub use machine::NodeRuntime;
pub(super) use memory::MemoryWatch;
pub(super) use relay::Relay;
pub use root::LIBRARIES;

/// Where the function's code is, there.
pub(super) const TASK_FOLDER: &str = "/var/task";

/// What may be written, there.
pub(super) const SCRATCH_FOLDER: &str = "/tmp";

/// The program of util-linux that makes namespaces.
const UNSHARE: &str = "unshare";

/// Runs functions in a root and a network of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Isolation {
    /// `rmx` itself, which goes in first and becomes the function.
    pub launcher: PathBuf,
}

/// What one environment is given.
#[derive(Debug)]
pub(super) struct Room<'a> {
    /// The function's unpacked zip.
    pub(super) task: &'a Path,
    /// What its layers bring, unpacked.
    pub(super) layers: Option<&'a Path>,
    /// An empty folder of this machine, for the root.
    pub(super) root: &'a Path,
    /// Size of `/tmp`.
    pub(super) disk_mb: u32,
    /// Addresses here that it may connect to, by the same addresses there; empty if it shares this machine's network.
    pub(super) reachable: &'a [SocketAddr],
    /// What runs it, if it is no program itself.
    pub(super) node: Option<&'a NodeRuntime>,
}

impl Isolation {
    /// Whether this system lets rmx isolate anything.
    ///
    /// # Errors
    /// It does not, or has no `unshare`.
    pub async fn check(&self) -> io::Result<()> {
        Self::try_to(&["--net"]).await
    }

    /// Whether this system lets rmx give a function a root of its own.
    ///
    /// # Errors
    /// It does not, or has no `unshare`.
    pub(super) async fn check_root() -> io::Result<()> {
        Self::try_to(&[]).await
    }

    async fn try_to(more: &[&str]) -> io::Result<()> {
        let tried = unshare().args(more).args(["--", "true"]).output().await;
        let tried = tried.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                io::Error::new(error.kind(), "there is no `unshare` (package util-linux)")
            }
            _ => error,
        })?;
        if tried.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&tried.stderr).trim().to_owned();
        Err(io::Error::other(said))
    }

    /// The command that becomes the function in a room of its own, and the socket on which its listeners come, if it has a network of
    /// its own.
    pub(super) fn command(&self, room: &Room<'_>) -> io::Result<(Command, Option<UnixStream>)> {
        let mut command = unshare();
        if !room.reachable.is_empty() {
            command.arg("--net");
        }
        command
            .arg("--")
            .arg(&self.launcher)
            .args(["local", "enter", "--root"])
            .arg(room.root)
            .arg("--task")
            .arg(room.task)
            .args(["--disk-mb", &room.disk_mb.to_string()]);
        if let Some(layers) = room.layers {
            command.arg("--layers").arg(layers);
        }
        for address in room.reachable {
            command.args(["--listen", &address.to_string()]);
        }
        if let Some(runtime) = room.node {
            command.arg("--node").arg(&runtime.node);
            for (path, target) in &runtime.opt {
                let mut link = OsString::from(format!("{path}="));
                link.push(target);
                command.arg("--opt").arg(link);
            }
            if let Some(programs) = &runtime.programs {
                command.arg("--programs").arg(programs);
            }
        }
        if room.reachable.is_empty() {
            command.stdin(Stdio::null());
            return Ok((command, None));
        }
        let (ours, theirs) = UnixStream::pair()?;
        command.stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)));
        Ok((command, Some(ours)))
    }
}

/// Root may make namespaces as it is; everybody else is root in a user namespace of their own.
fn unshare() -> Command {
    let mut command = Command::new(UNSHARE);
    if !rustix::process::geteuid().is_root() {
        command.args(["--user", "--map-root-user"]);
    }
    command.arg("--mount");
    command
}
