//! A function's processes: started together, ended together, whatever happens to us.
//!
//! All processes of an environment share a process group whose leader is a watchdog: a shell that waits for
//! the end of a pipe only this process holds. If this process dies without a word (`kill -9`), the pipe ends
//! and the watchdog kills its own group. As the leader is not waited for before the group is killed, its
//! number cannot come to mean another group. Processes that moved to a group of their own, as browsers of Node.js programs do, are
//! found through the environment variable that names their Runtime API, and by us through their parents too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read as _};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::net::unix::pipe;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::local::isolation::{Isolation, MemoryWatch, Relay, Room};

/// Reads until its input ends, which it does when the holder of the other end is gone; then kills what carries the mark, which is its
/// name, and its group: that in any case, also where a look into another process hangs. Each may have forked while it was looked for.
/// Polite signals sent to the group must not end it early.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
read -r line
{ sleep 5; kill -KILL 0; } &
for pass in 1 2 3; do
  for found in $(grep -lzxF -- "$0" /proc/[0-9]*/environ 2>/dev/null); do
    found=${found#/proc/}
    kill -KILL "${found%/environ}" 2>/dev/null
  done
done
kill -KILL 0
"#;

/// How often a program that another thread's fork still holds open for writing is tried again.
const BUSY_ATTEMPTS_MAX: u32 = 50;

/// Passes over the process table until no process of the environment is left: each may have forked again
/// while it was looked at.
const SWEEPS_MAX: u32 = 50;

/// A killed process takes a moment to go.
const SWEEP_PAUSE: Duration = Duration::from_millis(2);

/// What to start.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) program: &'a Path,
    pub(super) folder: &'a Path,
    /// The whole environment: nothing is inherited.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// An entry `NAME=VALUE` of `environment` that no other process has.
    pub(super) mark: String,
    /// If it is kept from this machine.
    pub(super) isolated: Option<Isolated<'a>>,
}

/// How it is kept from this machine.
#[derive(Debug)]
pub(super) struct Isolated<'a> {
    pub(super) isolation: &'a Isolation,
    pub(super) room: Room<'a>,
    /// It is killed when it uses more.
    pub(super) memory_mb: Option<u32>,
}

/// Running processes. Dropping them kills them.
#[derive(Debug)]
pub(super) struct Process {
    group: Pid,
    program: Pid,
    mark: String,
    exit: watch::Receiver<Option<ExitStatus>>,
    memory: Option<MemoryWatch>,
    _relay: Option<Relay>,
    _supervisor: JoinSet<()>,
    _watchdog: Child,
}

impl Process {
    /// Starts `bootstrap` and returns it with what it writes (stdout and stderr in one, so that their order
    /// is kept).
    pub(super) async fn start(start: Start<'_>) -> io::Result<(Self, pipe::Receiver)> {
        let watchdog = Command::new("/bin/sh")
            .args(["-c", WATCHDOG, &start.mark])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let group = watchdog
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .ok_or_else(|| io::Error::other("the watchdog has ended"))?;
        let (reader, writer) = io::pipe()?;
        let (mut command, socket) = match &start.isolated {
            Some(isolated) => isolated.isolation.command(&isolated.room)?,
            None => {
                let mut command = Command::new(start.program);
                command.stdin(Stdio::null());
                (command, None)
            }
        };
        command
            .current_dir(start.folder)
            .env_clear()
            .envs(start.environment)
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(group)
            .kill_on_drop(true);
        let mut attempts = 0;
        let mut child = loop {
            match command.spawn() {
                Err(error)
                    if error.kind() == io::ErrorKind::ExecutableFileBusy
                        && attempts < BUSY_ATTEMPTS_MAX =>
                {
                    attempts += 1;
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                other => break other?,
            }
        };
        // The command holds the writing end: the pipe must end when the processes do.
        drop(command);
        let program = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the process has no id"))?;
        let (sender, exit) = watch::channel(None);
        let mut supervisor = JoinSet::new();
        supervisor.spawn(async move {
            if let Ok(status) = child.wait().await {
                sender.send_replace(Some(status));
            }
        });
        let group = Pid::from_raw(group).ok_or_else(|| io::Error::other("the group has no id"))?;
        let mut process = Self {
            group,
            program,
            mark: start.mark,
            exit,
            memory: None,
            _relay: None,
            _supervisor: supervisor,
            _watchdog: watchdog,
        };
        if let Some(isolated) = start.isolated {
            if let Some(socket) = socket {
                process._relay = Some(Relay::start(socket, isolated.room.reachable).await?);
            }
            let memory = isolated.memory_mb;
            process.memory = memory.map(|memory_mb| process.watch_memory(memory_mb));
        }
        Ok((process, pipe::Receiver::from_owned_fd(reader.into())?))
    }

    /// Whether `bootstrap` still runs.
    pub(super) fn is_running(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// Waits for `bootstrap` to end.
    pub(super) async fn exited(&self) -> ExitStatus {
        let mut exit = self.exit.clone();
        match exit.wait_for(Option::is_some).await.map(|status| *status) {
            Ok(Some(status)) => status,
            // The supervisor ends without a status only when this is dropped.
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }

    /// Kills the group. The drop sees to the rest.
    pub(super) fn kill(&self) {
        // A failure means that it is gone already.
        let _ = kill_process_group(self.group, Signal::KILL);
    }

    /// Kills it when its processes together use more than `memory_mb`, as the kernel does on Lambda.
    fn watch_memory(&self, memory_mb: u32) -> MemoryWatch {
        let (program, group, mark) = (self.program, self.group, self.mark.clone());
        MemoryWatch::start(
            memory_mb,
            move || members(program, group, &mark),
            move || {
                // A failure means that it is gone already.
                let _ = kill_process_group(group, Signal::KILL);
            },
        )
    }

    /// The most memory that was used, in MiB, as far as the kernel tells: by `bootstrap`; by all its processes if it is isolated.
    pub(super) fn memory_peak_mb(&self) -> Option<u64> {
        if let Some(memory) = &self.memory {
            return Some(memory.peak_mb());
        }
        let status =
            fs::read_to_string(format!("/proc/{}/status", self.program.as_raw_pid())).ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
        Some(kib.div_ceil(1024))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        for _ in 0..SWEEPS_MAX {
            let members = members(self.program, self.group, &self.mark);
            self.kill();
            for pid in &members {
                // A failure means that it is gone already.
                let _ = kill_process(*pid, Signal::KILL);
            }
            if members.is_empty() {
                break;
            }
            std::thread::sleep(SWEEP_PAUSE);
        }
    }
}

/// Living processes that belong to an environment: those of its group, their children, and those that carry
/// its mark.
fn members(program: Pid, group: Pid, mark: &str) -> Vec<Pid> {
    let mut parents: BTreeMap<i32, i32> = BTreeMap::new();
    let mut found: BTreeSet<i32> = BTreeSet::from([program.as_raw_pid()]);
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let Some((parent, pgrp)) = parent_and_group(pid).filter(|_| pid != own) else {
            continue;
        };
        parents.insert(pid, parent);
        if pgrp == group.as_raw_pid() || carries(pid, mark) {
            found.insert(pid);
        }
    }
    loop {
        let before = found.len();
        for (pid, parent) in &parents {
            if found.contains(parent) {
                found.insert(*pid);
            }
        }
        if found.len() == before {
            break;
        }
    }
    found
        .into_iter()
        .filter(|pid| parents.contains_key(pid))
        .filter_map(Pid::from_raw)
        .collect()
}

/// Parent and process group of a process that is not a zombie.
fn parent_and_group(pid: i32) -> Option<(i32, i32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

fn carries(pid: i32, mark: &str) -> bool {
    let mut environment = Vec::new();
    let Ok(file) = fs::File::open(format!("/proc/{pid}/environ")) else {
        return false;
    };
    if file.take(128 * 1024).read_to_end(&mut environment).is_err() {
        return false;
    }
    environment
        .split(|byte| *byte == 0)
        .any(|entry| entry == mark.as_bytes())
}

/// Why `bootstrap` cannot be started on the declared architecture, in AWS's words; `None` if it may.
pub(super) fn entrypoint_problem(program: &Path, architecture: &str) -> Option<String> {
    let mut head = Vec::new();
    match fs::File::open(program) {
        Ok(file) => file.take(20).read_to_end(&mut head).ok()?,
        Err(_) => {
            return Some(
                "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned(),
            );
        }
    };
    // ELF, little endian: the machine is the 16 bit number at 18.
    let machine = match head.as_slice() {
        [0x7f, b'E', b'L', b'F', _, 1, .., low, high] if head.len() == 20 => {
            u16::from_le_bytes([*low, *high])
        }
        _ => return None,
    };
    let fits = match architecture {
        "arm64" => machine == 183,
        _ => machine == 62,
    };
    (!fits).then(|| "fork/exec /var/task/bootstrap: exec format error".to_owned())
}

/// A failed start in AWS's words.
pub(super) fn start_problem(error: &io::Error) -> String {
    let what = match error.raw_os_error() {
        Some(8) => "exec format error".to_owned(),
        Some(13) => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("fork/exec /var/task/bootstrap: {what}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_alive(pid: i32) -> bool {
        parent_and_group(pid).is_some()
    }

    async fn gone(pids: &[i32]) -> bool {
        for _ in 0..200 {
            if pids.iter().all(|pid| !is_alive(*pid)) {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    /// Starts a script that leaves a child in the group and one in a session of its own, and names them.
    async fn family(folder: &Path) -> (Process, Vec<i32>) {
        use std::os::unix::fs::PermissionsExt as _;
        let program = folder.join("bootstrap");
        let script =
            "#!/bin/sh\nsleep 300 & echo $!\nsetsid sleep 300 & echo $!\necho $$\nexec sleep 300\n";
        fs::write(&program, script).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let mark = format!("RMX_TEST_MARK={}", uuid::Uuid::new_v4());
        let (name, value) = mark.split_once('=').unwrap();
        let environment = BTreeMap::from([
            (name.to_owned(), value.to_owned()),
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
        ]);
        let start = Start {
            program: &program,
            folder,
            environment: &environment,
            mark: mark.clone(),
            isolated: None,
        };
        let (process, output) = Process::start(start).await.unwrap();
        let mut text = String::new();
        while text.lines().count() < 3 {
            output.readable().await.unwrap();
            let mut buffer = [0; 256];
            if let Ok(count) = output.try_read(&mut buffer) {
                text.push_str(std::str::from_utf8(&buffer[..count]).unwrap());
            }
        }
        (
            process,
            text.lines()
                .map(|line| line.trim().parse().unwrap())
                .collect(),
        )
    }

    #[tokio::test]
    async fn nobody_survives_the_drop() {
        let folder = tempfile::tempdir().unwrap();
        let (process, pids) = family(folder.path()).await;
        assert!(pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
        drop(process);
        assert!(gone(&pids).await, "{pids:?}");
    }

    #[tokio::test]
    async fn the_group_dies_when_our_end_of_the_pipe_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (mut process, pids) = family(folder.path()).await;
        // What the kernel does when this process is killed.
        drop(process._watchdog.stdin.take());
        assert!(gone(&[pids[0], pids[2]]).await, "{pids:?}");
        drop(process);
        assert!(gone(&pids).await, "{pids:?}");
    }
}
