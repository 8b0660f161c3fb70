//! The Lambda runtime's loop: a task in, messages out as they happen.

use std::sync::Arc;
use std::time::Duration;

use lambda_runtime::streaming::{Body, Response, channel};
use lambda_runtime::{Diagnostic, Error, FunctionResponse, LambdaEvent, service_fn};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{Instant, interval_at, timeout};
use tokio_util::task::TaskTracker;

use super::failure::{internal, permanent, retryable, short};
use super::invocation::{Kept, note_task};
use super::orchestrator::{Orchestrator, is_streamed};
use super::task::Worker;
use super::tools::Tools;
use crate::cloud::Cloud;
use crate::env::{Env, now_ms};
use crate::protocol::{Answer, FailureKind, HEARTBEAT_INTERVAL_MS, TaskFailure, WorkerMessage};
use crate::render::invocation::LINE_BYTES_MAX;

/// A task ends so long before Lambda would kill it, so that it can say why.
const DEADLINE_MARGIN_MS: u64 = 1_000;
const MESSAGES_MAX: usize = 256;
/// How the types of rmx's own tasks begin.
const OWN_TYPES: &str = "rmx.";

/// Answers invocations until the environment is shut down.
pub(super) async fn run(env: &Env) -> Result<(), Error> {
    let worker = Arc::new(Mutex::new(None::<Worker>));
    let env = Arc::new(env.clone());
    let tasks = TaskTracker::new();
    let orchestrator = Arc::new(Orchestrator::new(&env));
    lambda_runtime::run(service_fn(|event: LambdaEvent<Value>| {
        let (worker, env, tasks) = (Arc::clone(&worker), Arc::clone(&env), tasks.clone());
        let orchestrator = Arc::clone(&orchestrator);
        async move {
            if let Some(routine) = remotion_routine(&event.payload) {
                if is_streamed(&routine, &event.payload) {
                    let (mut to, body) = channel();
                    tasks.spawn(async move {
                        let LambdaEvent { payload, context } = event;
                        if let Err(error) = orchestrator.stream(payload, &context, &mut to).await {
                            tracing::warn!("answering: {error}");
                        }
                    });
                    return Ok(FunctionResponse::StreamingResponse(Response::from(body)));
                }
                let answer = orchestrator.answer(&routine, event.payload, &event.context);
                return Ok(FunctionResponse::BufferedResponse(answer.await?));
            }
            let (mut to, body) = channel();
            tasks.spawn(async move {
                let deadline_ms = event.context.deadline;
                let (messages, mut queue) = mpsc::channel(MESSAGES_MAX);
                let work = answer(&worker, &env, event.payload, deadline_ms, messages);
                tokio::pin!(work);
                let mut heartbeat =
                    interval_at(Instant::now(), Duration::from_millis(HEARTBEAT_INTERVAL_MS));
                let mut progress = WorkerMessage::Progress {
                    rendered: 0,
                    encoded: 0,
                };
                // Behind the runtime's own preamble our messages begin on a line of their own.
                let mut alive = to.send_data("\n".into()).await.is_ok();
                let mut kept = Kept::default();
                let last = loop {
                    tokio::select! {
                        biased;
                        Some(message) = queue.recv() => match message {
                            WorkerMessage::Progress { .. } => progress = message,
                            message => {
                                kept.keep(&message);
                                alive &= send(&mut to, &message).await;
                            }
                        },
                        _ = heartbeat.tick() => alive &= send(&mut to, &progress).await,
                        last = &mut work => break last,
                    }
                };
                while let Ok(message) = queue.try_recv() {
                    kept.keep(&message);
                    alive &= send(&mut to, &message).await;
                }
                kept.keep(&last);
                if alive {
                    send(&mut to, &last).await;
                }
            });
            Ok::<FunctionResponse<Value, Body>, Diagnostic>(FunctionResponse::StreamingResponse(
                Response::from(body),
            ))
        }
    }))
    .await
}

/// The routine that a client of Remotion Lambda asks for; nothing if the event is one of rmx's own.
fn remotion_routine(payload: &Value) -> Option<String> {
    let kind = payload.get("type")?.as_str()?;
    (!kind.starts_with(OWN_TYPES)).then(|| kind.to_owned())
}

async fn send(to: &mut lambda_runtime::streaming::Sender, message: &WorkerMessage) -> bool {
    to.send_data(line(message).into()).await.is_ok()
}

/// A message as a line of the reply; one that the client would not take says so instead.
fn line(message: &WorkerMessage) -> String {
    let mut line = serde_json::to_string(message).unwrap_or_default();
    if line.len() >= LINE_BYTES_MAX {
        let text = format!(
            "the answer has {} bytes and at most {LINE_BYTES_MAX} can be sent: are default props or metadata that long?",
            line.len()
        );
        let failure = permanent(FailureKind::Unsupported, text);
        line = serde_json::to_string(&WorkerMessage::Failed { failure }).unwrap_or_default();
    }
    line.push('\n');
    line
}

/// Carries out the task and returns the last message of the reply.
async fn answer(
    worker: &Mutex<Option<Worker>>,
    env: &Env,
    payload: Value,
    deadline_ms: u64,
    messages: mpsc::Sender<WorkerMessage>,
) -> WorkerMessage {
    let mut worker = worker.lock().await;
    let warm = worker.is_some();
    let _ = messages.try_send(WorkerMessage::Started { warm });
    let left_ms = deadline_ms
        .saturating_sub(now_ms())
        .saturating_sub(DEADLINE_MARGIN_MS);
    let kind = payload["type"].as_str().unwrap_or_default().to_owned();
    let work = perform(&mut worker, env, payload, warm, &messages);
    let result = timeout(Duration::from_millis(left_ms.max(1)), work).await;
    let result = result.unwrap_or_else(|_| Err(out_of_time(&kind)));
    match result {
        Ok(answer) => WorkerMessage::Done {
            answer: Box::new(answer),
        },
        Err(failure) => WorkerMessage::Failed {
            failure: short(failure),
        },
    }
}

/// A task of this kind took longer than its invocation may.
fn out_of_time(kind: &str) -> TaskFailure {
    const RAISE: &str = "raise `[function] timeout_s` in remotion.toml and run `rmx apply`";
    let told = |what: &str, help: &str| {
        let message = format!("{what} takes longer than the function may run: {help}");
        retryable(FailureKind::Internal, message)
    };
    match kind {
        "rmx.chunk" => told(
            "the chunk",
            &format!("make chunks smaller with --frames-per-lambda, or {RAISE}"),
        ),
        // As long as the video is, and as long at every try.
        "rmx.sound" => TaskFailure {
            retryable: false,
            ..told("mixing the sound of the whole video", RAISE)
        },
        "rmx.still" => told("the image", RAISE),
        _ => told("the page's answer", RAISE),
    }
}

async fn perform(
    worker: &mut Option<Worker>,
    env: &Env,
    payload: Value,
    is_warm: bool,
    messages: &mpsc::Sender<WorkerMessage>,
) -> Result<Answer, TaskFailure> {
    // What could not be unpacked is tried again.
    drop(worker.take_if(|worker| worker.tools.ffmpeg.has_failed()));
    if worker.is_none() {
        let cloud = Cloud::connect_ambient(None)
            .await
            .map_err(|error| internal("connecting to the cloud", error))?;
        *worker = Some(Worker::new(Tools::find(env).await?, Some(cloud)));
    }
    let worker = worker
        .as_mut()
        .ok_or_else(|| internal("starting", "no worker"))?;
    let task = worker.read(payload).await?;
    note_task(&task, is_warm);
    worker.perform(task, messages).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smaller_chunks_are_advised_for_chunks_alone() {
        for kind in [
            "rmx.chunk",
            "rmx.sound",
            "rmx.still",
            "rmx.resolve",
            "rmx.compositions",
        ] {
            let failure = out_of_time(kind);
            assert!(failure.message.contains("timeout_s"), "{failure}");
            let advised = failure.message.contains("--frames-per-lambda");
            assert_eq!(advised, kind == "rmx.chunk", "{failure}");
            assert_eq!(failure.retryable, kind != "rmx.sound", "{failure}");
        }
    }

    #[test]
    fn an_answer_that_is_too_long_is_named() {
        let log = |length| WorkerMessage::Log {
            level: "info".to_owned(),
            text: "a".repeat(length),
        };
        assert!(line(&log(10)).contains("aaaaaaaaaa"));
        let too_long = line(&log(LINE_BYTES_MAX));
        assert!(
            too_long.len() < 1_000 && too_long.contains("can be sent"),
            "{too_long}"
        );
    }
}
