//! One writer at a time on one machine: a kernel lock on a file beside the state, which says who holds it.
//!
//! The kernel lets go of the lock when its holder dies, however that happens, so a lock is never left behind and
//! there is nothing to unlock by hand. The file itself stays: whoever removed it could lock a file that nobody
//! else sees.

use std::fmt;
use std::fs::{File, TryLockError};
use std::io::{self, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::StateError;
use crate::env::{self, Env};

/// Who works on a state, as others are told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Identity of the lock, a random UUID.
    pub id: String,
    /// The user's name, or `user` and its number where the environment tells no name.
    pub who: String,
    /// The machine.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Since when, RFC 3339.
    pub since: String,
    /// What it does: `rmx apply`.
    pub command: String,
    /// Address of the CI job it runs in.
    pub ci_job: Option<String>,
}

impl Holder {
    /// This process, busy with `command`.
    pub fn new(env: &Env, command: impl Into<String>) -> Self {
        let named = |names: [&str; 2]| names.into_iter().find_map(|name| env.variable(name));
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            who: match named(["USER", "LOGNAME"]) {
                Some(name) => name.to_owned(),
                // Containers seldom say a name.
                None => format!("user {}", rustix::process::getuid()),
            },
            host: hostname(env),
            pid: std::process::id(),
            since: env::timestamp(env::now()),
            command: command.into(),
            ci_job: ci_job(env),
        }
    }
}

impl Holder {
    /// The same, holding it since now.
    #[must_use]
    pub fn from_now(self) -> Self {
        Self {
            since: env::timestamp(env::now()),
            ..self
        }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            who,
            host,
            pid,
            since,
            command,
            ci_job,
        } = self;
        write!(
            f,
            "`{command}` of {who} on {host} (process {pid}) since {since}"
        )?;
        if let Some(job) = ci_job {
            write!(f, ", CI job {job}")?;
        }
        write!(f, ", lock {id}")
    }
}

fn hostname(env: &Env) -> String {
    let from_file = |path| std::fs::read_to_string(path).ok();
    env.variable("HOSTNAME")
        .map(str::to_owned)
        .or_else(|| from_file("/proc/sys/kernel/hostname"))
        .or_else(|| from_file("/etc/hostname"))
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "unknown host".to_owned())
}

/// The job's page, from the variables that GitHub Actions, GitLab and Jenkins document.
fn ci_job(env: &Env) -> Option<String> {
    let github = || {
        Some(format!(
            "{}/{}/actions/runs/{}",
            env.variable("GITHUB_SERVER_URL")?,
            env.variable("GITHUB_REPOSITORY")?,
            env.variable("GITHUB_RUN_ID")?
        ))
    };
    github().or_else(|| {
        let url = env
            .variable("CI_JOB_URL")
            .or_else(|| env.variable("BUILD_URL"));
        url.map(str::to_owned)
    })
}

/// How often it is tried until somebody else counts as its holder.
const ATTEMPTS_MAX: u32 = 20;

/// From one try to the next.
const PAUSE: Duration = Duration::from_millis(5);

/// A lock that is held; letting go of it is dropping it.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes the lock at `path`, which guards the state at `state`.
    pub(super) fn take(path: &Path, state: &Path, holder: &Holder) -> Result<Self, StateError> {
        let lock = Self::open(path, state)?;
        lock.tell(holder).map_err(|source| StateError::Lock {
            path: path.to_owned(),
            source,
        })?;
        Ok(lock)
    }

    /// The same without saying who has it.
    fn open(path: &Path, state: &Path) -> Result<Self, StateError> {
        let failed = |source| StateError::Lock {
            path: path.to_owned(),
            source,
        };
        let file = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        // Who only looks whether anybody has it holds it for that moment.
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < ATTEMPTS_MAX => {
                    std::thread::sleep(PAUSE);
                }
                Err(TryLockError::WouldBlock) => return Err(locked(path, state)),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
        }
        Ok(Self(file))
    }

    /// Who has it; `None` if nobody has.
    pub(super) fn holder(path: &Path, state: &Path) -> Result<Option<StateError>, StateError> {
        let looked = match File::open(path) {
            Ok(file) => file.try_lock_shared(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => Err(TryLockError::Error(error)),
        };
        match looked {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(locked(path, state))),
            Err(TryLockError::Error(source)) => Err(StateError::Lock {
                path: path.to_owned(),
                source,
            }),
        }
    }

    fn tell(&self, holder: &Holder) -> io::Result<()> {
        let mut file = &self.0;
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&serde_json::to_vec(holder)?)
    }
}

/// That whoever the file at `path` names has it.
fn locked(path: &Path, state: &Path) -> StateError {
    let holder = std::fs::read(path).ok();
    StateError::Locked {
        place: state.display().to_string(),
        holder: holder.and_then(|bytes| Some(Box::new(serde_json::from_slice(&bytes).ok()?))),
        expires: None,
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Nobody holds it any more. That the file cannot be emptied changes nothing: only the kernel's lock counts.
        drop(self.0.set_len(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_whether_somebody_has_it_keeps_nobody_from_it() {
        let folder = tempfile::tempdir().unwrap();
        let (path, state) = (folder.path().join("lock"), folder.path().join("state"));
        let holder = Holder::new(&Env::read().unwrap(), "rmx apply");
        assert!(Lock::holder(&path, &state).unwrap().is_none());
        // As one that was killed has left it.
        std::fs::write(&path, serde_json::to_vec(&holder).unwrap()).unwrap();
        let over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    Lock::holder(&path, &state).unwrap();
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            for _ in 0..200 {
                let lock = Lock::take(&path, &state, &holder).unwrap();
                assert!(Lock::holder(&path, &state).unwrap().is_some());
                drop(lock);
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    #[test]
    fn a_holder_without_a_name_is_told_by_its_number() {
        let mut env = Env::read().unwrap();
        for name in ["USER", "LOGNAME"] {
            env.variables.remove(name);
        }
        let number = Holder::new(&env, "rmx apply").who;
        let number: u32 = number.strip_prefix("user ").unwrap().parse().unwrap();
        assert_eq!(number, rustix::process::getuid().as_raw());
        env.variables.insert("LOGNAME".to_owned(), "ada".to_owned());
        assert_eq!(Holder::new(&env, "rmx apply").who, "ada");
    }
}
