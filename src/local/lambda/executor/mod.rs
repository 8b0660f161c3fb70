//! Runs functions: which environment takes an invocation, what it may not exceed, and how it ends.
//!
//! ```text
//! admit ─→ Permit ─→ start ─→ [warm environment, or a new one] ─Job→ Runtime API ─Reply→ Piece… End
//! ```
//!
//! Nothing waits for a free environment: what exceeds a limit is refused at once, as AWS does. An invocation
//! goes on when its caller has gone; it ends with an answer, its timeout, the end of its process, or the
//! shutdown of the cloud.

mod environment;
mod failure;
mod output;
mod process;
mod prompt;
mod run;
mod runtime_api;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::local::isolation::{Isolation, NodeRuntime};
use crate::local::logs::LogsHandle;
use crate::local::sessions::SessionCredentials;
use crate::local::store::Store;
use crate::names::FunctionName;

use super::reference::Place;
use environment::Environment;
pub(super) use environment::Target;
pub(super) use failure::Failure;
use run::Run;
pub(super) use runtime_api::RESPONSE_BYTES_MAX;

/// How the names of Node.js's runtimes begin.
const NODE_RUNTIMES: &str = "nodejs";

/// Environments that are kept at most, running ones included: AWS's default concurrency.
const ENVIRONMENTS_MAX: u32 = 1_000;

/// How long an environment waits for its next invocation before it is given up.
const IDLE_MAX: Duration = Duration::from_secs(5 * 60);

/// How long an environment is used again at most. AWS ends them every few hours; this is within what its credentials last.
const ENVIRONMENT_AGE_MAX: Duration = Duration::from_secs(5 * 60 * 60);

const REAP_EVERY: Duration = Duration::from_secs(10);

/// How long a shutdown waits for log lines to be stored.
const SHUTDOWN_MAX: Duration = Duration::from_secs(3);

/// Pieces of an answer that may wait for the client.
const PIECES_MAX: usize = 16;

/// Credentials of the role with this ARN for that function; nothing where Lambda may not assume the role.
pub(crate) type RoleCredentials =
    Box<dyn Fn(&str, &FunctionName) -> io::Result<Option<SessionCredentials>> + Send + Sync>;

/// What running functions needs.
pub(crate) struct ExecutorSettings {
    /// Where zips are and scratch folders are made.
    pub(crate) store: Store,
    /// The embedded cloud's own address, for the function's clients.
    pub(crate) address: SocketAddr,
    /// What a function signs with.
    pub(crate) role_credentials: RoleCredentials,
    /// Variables every function gets, for example where Chromium is.
    pub(crate) worker_environment: BTreeMap<String, String>,
    /// How functions are kept from this machine.
    pub(crate) isolation: Option<Isolation>,
    /// What runs functions with a `nodejs` runtime, and how they are given a root of their own.
    pub(crate) node: Option<(Isolation, NodeRuntime)>,
    /// Where log lines go.
    pub(crate) logs: LogsHandle,
}

impl fmt::Debug for ExecutorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorSettings")
            .field("store", &self.store)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// One invocation to be run.
#[derive(Debug, Clone)]
pub(super) struct Invocation {
    pub(super) target: Target,
    /// The ARN the client used, with its qualifier.
    pub(super) invoked_arn: String,
    pub(super) request_id: String,
    pub(super) trace_id: String,
    pub(super) client_context: Option<String>,
    pub(super) payload: Bytes,
}

/// A piece of an answer. Exactly one [`Piece::End`] comes, last.
#[derive(Debug)]
pub(super) enum Piece {
    Chunk(Bytes),
    End {
        failure: Option<Failure>,
        log_tail: String,
    },
}

/// Which limit an invocation would exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Throttle {
    Account,
    Reserved,
}

/// What bounds a function's concurrency.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// Its own reservation.
    Reserved(u32),
    /// What all functions without a reservation share.
    Shared(u32),
}

/// The environments of this process.
#[derive(Debug, Clone)]
pub(super) struct Executor {
    shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    settings: ExecutorSettings,
    pool: Mutex<Pool>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Debug, Default)]
struct Pool {
    idle: Vec<Environment>,
    running: HashMap<(Place, FunctionName), u32>,
    running_shared: u32,
    reaping: bool,
}

/// The right to run one invocation now.
#[derive(Debug)]
pub(super) struct Permit {
    shared: Arc<Shared>,
    key: (Place, FunctionName),
    limit: Limit,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut pool = self.shared.pool();
        if let Some(running) = pool.running.get_mut(&self.key) {
            *running -= 1;
            if *running == 0 {
                pool.running.remove(&self.key);
            }
        }
        if let Limit::Shared(_) = self.limit {
            pool.running_shared -= 1;
        }
    }
}

impl Shared {
    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a warm environment for `target`. Those of the same version that are out of date are ended.
    fn take_warm(&self, target: &Target) -> Option<Environment> {
        let mut pool = self.pool();
        let (kept, outdated): (Vec<_>, Vec<_>) = std::mem::take(&mut pool.idle)
            .into_iter()
            .partition(|environment| {
                let other = &environment.target;
                let same = (&other.place, &other.function, &other.version)
                    == (&target.place, &target.function, &target.version);
                environment.process.is_running() && (!same || other == target)
            });
        pool.idle = kept;
        // The one used last is the warmest; the others may reach their end.
        let found = pool
            .idle
            .iter()
            .rposition(|environment| environment.target == *target);
        let found = found.map(|index| pool.idle.remove(index));
        drop(pool);
        drop(outdated);
        found
    }

    fn put_back(&self, mut environment: Environment) {
        let over = environment.started.elapsed() > ENVIRONMENT_AGE_MAX;
        if self.stop.is_cancelled() || over || !environment.process.is_running() {
            return;
        }
        environment.idle_since = Instant::now();
        let mut pool = self.pool();
        pool.idle.push(environment);
        let running: u32 = pool.running.values().sum();
        let most = ENVIRONMENTS_MAX.saturating_sub(running) as usize;
        let excess = pool.idle.len().saturating_sub(most.max(1));
        let evicted: Vec<Environment> = pool.idle.drain(..excess).collect();
        drop(pool);
        drop(evicted);
    }

    /// Ends the idle environments for which `is_over` holds.
    fn end_idle(&self, is_over: impl Fn(&Environment) -> bool) {
        let mut pool = self.pool();
        let (over, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut pool.idle)
            .into_iter()
            .partition(is_over);
        pool.idle = kept;
        drop(pool);
        // All at once, then one by one: killed processes take a moment to go.
        for environment in &over {
            environment.process.kill();
        }
        drop(over);
    }
}

impl Executor {
    pub(super) fn new(settings: ExecutorSettings) -> Self {
        let shared = Arc::new(Shared {
            settings,
            pool: Mutex::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        });
        environment::sweep_scratch(&shared);
        Self { shared }
    }

    /// Why functions with that runtime cannot be run here; `None` if they can.
    pub(super) fn runtime_problem(&self, runtime: &str) -> Option<String> {
        if runtime.starts_with("provided") {
            return None;
        }
        match &self.shared.settings.node {
            Some(_) if runtime.starts_with(NODE_RUNTIMES) => None,
            None if runtime.starts_with(NODE_RUNTIMES) => Some(format!(
                "the embedded cloud runs functions with the runtime {runtime} by this machine's `node`, and there is none in PATH"
            )),
            _ => Some(format!(
                "the embedded cloud runs functions with a `bootstrap` of their own (runtimes provided, \
                 provided.al2, provided.al2023) and those for Node.js, not {runtime}"
            )),
        }
    }

    /// Admits one more invocation of a function, unless that exceeds a limit.
    pub(super) fn admit(&self, target: &Target, limit: Limit) -> Result<Permit, Throttle> {
        let key = (target.place.clone(), target.function.clone());
        let mut pool = self.shared.pool();
        let running = pool.running.get(&key).copied().unwrap_or(0);
        match limit {
            Limit::Reserved(reserved) if running >= reserved => return Err(Throttle::Reserved),
            Limit::Shared(available) if pool.running_shared >= available => {
                return Err(Throttle::Account);
            }
            Limit::Shared(_) => pool.running_shared += 1,
            Limit::Reserved(_) => {}
        }
        *pool.running.entry(key.clone()).or_default() += 1;
        drop(pool);
        Ok(Permit {
            shared: self.shared.clone(),
            key,
            limit,
        })
    }

    /// Runs an invocation in the background; its answer arrives piece by piece.
    pub(super) fn start(&self, permit: Permit, invocation: Invocation) -> mpsc::Receiver<Piece> {
        let (pieces, receiver) = mpsc::channel(PIECES_MAX);
        let shared = self.shared.clone();
        self.reap();
        self.shared.tasks.spawn(async move {
            let end = Run::new(&shared, &invocation, &pieces).finish().await;
            drop(permit);
            // A client that has gone does not mind.
            let _ = pieces.send(end).await;
        });
        receiver
    }

    /// Runs `task` until it ends or the cloud shuts down.
    pub(super) fn background(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.shared.stop.clone();
        self.shared.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    /// Ends the idle environments of a function that has been deleted.
    pub(super) fn retire(&self, place: &Place, function: &FunctionName) {
        self.shared.end_idle(|environment| {
            environment.target.place == *place && environment.target.function == *function
        });
    }

    /// Ends every environment and waits, within bounds, until log lines are stored.
    pub(super) async fn shutdown(&self) {
        self.end();
        self.shared.tasks.close();
        // Whatever is left is killed when it is dropped.
        let _ = tokio::time::timeout(SHUTDOWN_MAX, self.shared.tasks.wait()).await;
    }

    /// Ends every environment without waiting.
    pub(super) fn end(&self) {
        self.shared.stop.cancel();
        self.shared.end_idle(|_| true);
    }

    /// Starts the task that ends environments nobody needs, unless it runs.
    fn reap(&self) {
        if std::mem::replace(&mut self.shared.pool().reaping, true) {
            return;
        }
        let shared = Arc::downgrade(&self.shared);
        self.background(async move {
            loop {
                tokio::time::sleep(REAP_EVERY).await;
                let Some(shared) = shared.upgrade() else {
                    break;
                };
                shared.end_idle(|environment| environment.idle_since.elapsed() > IDLE_MAX);
            }
        });
    }
}
