//! One invocation from its environment to its last log line.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use crate::env;

use super::environment::{Environment, Initialised};
use super::failure::Failure;
use super::runtime_api::{Job, Reply};
use super::{Invocation, Piece, Shared};

/// How long a function may take to ask for its first job before the attempt is repeated within the
/// invocation's own timeout (developer guide, "Lambda execution environment lifecycle").
const INITIALISATION_MAX: Duration = Duration::from_secs(10);

/// Environments tried where one ends between two invocations before it has taken the second.
const ENVIRONMENTS_TRIED_MAX: u32 = 3;

/// How long the rest of a response is waited for when its process has ended.
const REST_MAX: Duration = Duration::from_millis(500);

/// One invocation on its way.
pub(super) struct Run<'a> {
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

impl<'a> Run<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        invocation: &'a Invocation,
        pieces: &'a mpsc::Sender<Piece>,
    ) -> Self {
        Self {
            shared,
            invocation,
            pieces,
        }
    }

    /// Runs the invocation; its chunks go out on the way, the end is returned.
    pub(super) async fn finish(&self) -> Piece {
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
