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
mod runtime_api;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::env;
use crate::local::credentials::Credentials;
use crate::local::logs::LogsHandle;
use crate::local::store::Store;
use crate::names::FunctionName;

use super::reference::Place;
use super::settings::CONCURRENCY_MAX;
pub(super) use environment::Target;
use environment::{Environment, Initialised};
pub(super) use failure::Failure;
pub(super) use runtime_api::RESPONSE_BYTES_MAX;
use runtime_api::{Job, Reply};

/// How long an environment waits for its next invocation before it is given up.
const IDLE_MAX: Duration = Duration::from_secs(5 * 60);

const REAP_EVERY: Duration = Duration::from_secs(10);

/// How long a function may take to ask for its first job before the attempt is repeated within the
/// invocation's own timeout (developer guide, "Lambda execution environment lifecycle").
const INITIALISATION_MAX: Duration = Duration::from_secs(10);

/// Environments tried where one ends between two invocations before it has taken the second.
const ENVIRONMENTS_TRIED_MAX: u32 = 3;

/// How long the rest of a response is waited for when its process has ended.
const REST_MAX: Duration = Duration::from_millis(500);

/// How long a shutdown waits for log lines to be stored.
const SHUTDOWN_MAX: Duration = Duration::from_secs(3);

/// Pieces of an answer that may wait for the client.
const PIECES_MAX: usize = 16;

/// What running functions needs.
pub(crate) struct ExecutorSettings {
    /// Where zips are and scratch folders are made.
    pub(crate) store: Store,
    /// The embedded cloud's own address, for the function's clients.
    pub(crate) endpoint_url: String,
    /// What the function signs with.
    pub(crate) credentials: Credentials,
    /// Variables every function gets, for example where Chromium is.
    pub(crate) worker_environment: BTreeMap<String, String>,
    /// Where log lines go.
    pub(crate) logs: LogsHandle,
}

impl fmt::Debug for ExecutorSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecutorSettings")
            .field("store", &self.store)
            .field("endpoint_url", &self.endpoint_url)
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
        if self.stop.is_cancelled() || !environment.process.is_running() {
            return;
        }
        environment.idle_since = Instant::now();
        let mut pool = self.pool();
        pool.idle.push(environment);
        let running: u32 = pool.running.values().sum();
        let most = CONCURRENCY_MAX.saturating_sub(running) as usize;
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
            let run = Run {
                shared: &shared,
                invocation: &invocation,
                pieces: &pieces,
            };
            let end = run.finish().await;
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

/// One invocation on its way.
struct Run<'a> {
    shared: &'a Shared,
    invocation: &'a Invocation,
    pieces: &'a mpsc::Sender<Piece>,
}

/// How an attempt in one environment ended.
enum Attempt {
    Answered,
    Failed {
        failure: Failure,
        status: &'static str,
        environment_lives: bool,
    },
    /// The environment ended without having taken the job.
    NeverTaken(Failure),
}

impl Run<'_> {
    async fn finish(&self) -> Piece {
        let mut failure = None;
        for _ in 0..ENVIRONMENTS_TRIED_MAX {
            let (environment, cold_start) = match self.environment().await {
                Ok(found) => found,
                Err((failure, log_tail)) => {
                    return Piece::End {
                        failure: Some(failure),
                        log_tail,
                    };
                }
            };
            if cold_start.is_none() {
                environment.output.restart_tail();
            }
            let request_id = &self.invocation.request_id;
            let version = &self.invocation.target.version;
            let start_line = format!("START RequestId: {request_id} Version: {version}");
            environment.output.line(start_line).await;
            let began = Instant::now();
            let attempt = self.attempt(&environment).await;
            let duration = began.elapsed();
            let (attempt_failure, status, lives) = match attempt {
                Attempt::NeverTaken(never) => {
                    failure = Some(never);
                    continue;
                }
                Attempt::Answered => (None, None, true),
                Attempt::Failed {
                    failure,
                    status,
                    environment_lives,
                } => (Some(failure), Some(status), environment_lives),
            };
            let report = Report {
                duration,
                cold_start,
                status,
                failure: attempt_failure.as_ref(),
            };
            self.report(&environment, report).await;
            let log_tail = environment.output.tail();
            if lives {
                self.shared.put_back(environment);
            } else {
                drop(environment);
            }
            return Piece::End {
                failure: attempt_failure,
                log_tail,
            };
        }
        Piece::End {
            failure,
            log_tail: String::new(),
        }
    }

    /// A warm environment, or a new one that has asked for work and how long that took.
    async fn environment(&self) -> Result<(Environment, Option<Duration>), (Failure, String)> {
        let target = &self.invocation.target;
        if let Some(environment) = self.shared.take_warm(target) {
            return Ok((environment, None));
        }
        let request_id = &self.invocation.request_id;
        let timeout_s = target.configuration.timeout_s;
        let own_timeout = Duration::from_secs(u64::from(timeout_s));
        let began = Instant::now();
        for limit in [INITIALISATION_MAX, own_timeout] {
            let environment = Environment::start(self.shared, target, request_id)
                .await
                .map_err(|failure| (failure, String::new()))?;
            let initialised = tokio::select! {
                initialised = environment.initialise(limit, request_id) => initialised,
                () = self.shared.stop.cancelled() => Initialised::Failed(Failure::shut_down(request_id)),
            };
            match initialised {
                Initialised::Ready => return Ok((environment, Some(began.elapsed()))),
                Initialised::Failed(failure) => {
                    let report = Report {
                        duration: began.elapsed(),
                        cold_start: None,
                        status: Some("error"),
                        failure: Some(&failure),
                    };
                    self.report(&environment, report).await;
                    return Err((failure, environment.output.tail()));
                }
                Initialised::TimedOut => {
                    let line = format!(
                        "INIT_REPORT Init Duration: {:.2} ms\tPhase: init\tStatus: timeout",
                        milliseconds(limit)
                    );
                    environment.output.line(line).await;
                }
            }
        }
        Err((Failure::timed_out(request_id, timeout_s), String::new()))
    }

    /// Hands the job to the environment and passes its replies on.
    async fn attempt(&self, environment: &Environment) -> Attempt {
        let invocation = self.invocation;
        let request_id = invocation.request_id.as_str();
        let timeout_s = invocation.target.configuration.timeout_s;
        let timeout = Duration::from_secs(u64::from(timeout_s));
        let deadline = tokio::time::Instant::now() + timeout;
        let deadline_ms = env::now_ms() + u64::from(timeout_s) * 1000;
        let mut taken = false;
        let dead = |failure: Failure, status| Attempt::Failed {
            failure,
            status,
            environment_lives: false,
        };
        let conversation = async {
            let mut replies = environment
                .runtime
                .give(|replies| Job {
                    request_id: request_id.to_owned(),
                    deadline_ms,
                    function_arn: invocation.invoked_arn.clone(),
                    trace_id: invocation.trace_id.clone(),
                    client_context: invocation.client_context.clone(),
                    payload: invocation.payload.clone(),
                    replies,
                })
                .await;
            let mut exited = None;
            loop {
                let reply = tokio::select! {
                    biased;
                    reply = replies.recv() => reply,
                    status = environment.process.exited(), if exited.is_none() => {
                        exited = Some(status);
                        environment.runtime.abandon();
                        continue;
                    }
                    () = tokio::time::sleep(REST_MAX), if exited.is_some() => None,
                };
                match (reply, exited) {
                    (Some(Reply::Taken), _) => taken = true,
                    (Some(Reply::Chunk(bytes)), _) => {
                        let _ = self.pieces.send(Piece::Chunk(bytes)).await;
                    }
                    (Some(Reply::End(Ok(()))), _) => return Attempt::Answered,
                    (Some(Reply::End(Err(failure))), _) if failure.code == Failure::TRUNCATED => {
                        // A process that dies in the middle of its answer is told by how it died.
                        let exit =
                            tokio::time::timeout(REST_MAX, environment.process.exited()).await;
                        let failure =
                            exit.map_or(failure, |status| Failure::exited(request_id, status));
                        return dead(failure, "error");
                    }
                    (Some(Reply::End(Err(failure))), _) => {
                        return Attempt::Failed {
                            failure,
                            status: "error",
                            environment_lives: true,
                        };
                    }
                    (None, Some(status)) if taken => {
                        return dead(Failure::exited(request_id, status), "error");
                    }
                    (None, Some(status)) => {
                        return Attempt::NeverTaken(Failure::exited(request_id, status));
                    }
                    (None, None) => return dead(Failure::shut_down(request_id), "error"),
                }
            }
        };
        tokio::select! {
            attempt = conversation => attempt,
            () = tokio::time::sleep_until(deadline) => {
                dead(Failure::timed_out(request_id, timeout_s), "timeout")
            }
            () = self.shared.stop.cancelled() => dead(Failure::shut_down(request_id), "error"),
        }
    }

    /// Writes the lines that end an invocation's log.
    async fn report(&self, environment: &Environment, report: Report<'_>) {
        let request_id = &self.invocation.request_id;
        let configuration = &self.invocation.target.configuration;
        environment.pipe.settle().await;
        if let Some(failure) = report.failure {
            let message = serde_json::from_slice::<serde_json::Value>(&failure.document)
                .ok()
                .and_then(|document| Some(document.get("errorMessage")?.as_str()?.to_owned()));
            if let Some(message) = message.filter(|_| failure.code != Failure::UNHANDLED) {
                environment.output.line(message).await;
            }
        }
        environment
            .output
            .line(format!("END RequestId: {request_id}"))
            .await;
        let duration = milliseconds(report.duration);
        let mut line = format!(
            "REPORT RequestId: {request_id}\tDuration: {duration:.2} ms\tBilled Duration: {:.0} ms\t\
             Memory Size: {} MB\tMax Memory Used: {} MB\t",
            duration.ceil(),
            configuration.memory_mb,
            environment.process.memory_peak_mb().unwrap_or(0),
        );
        if let Some(initialisation) = report.cold_start {
            line.push_str(&format!(
                "Init Duration: {:.2} ms\t",
                milliseconds(initialisation)
            ));
        }
        if let Some(status) = report.status {
            line.push_str(&format!("Status: {status}\t"));
            if let Some(failure) = report.failure.filter(|_| status == "error") {
                line.push_str(&format!("Error Type: {}\t", failure.code));
            }
        }
        environment.output.line(line).await;
    }
}

/// What the last line of an invocation's log says.
struct Report<'a> {
    duration: Duration,
    cold_start: Option<Duration>,
    status: Option<&'static str>,
    failure: Option<&'a Failure>,
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}
