//! Drives the scheduler: commands become invocations, their messages become events.
//!
//! Everything a worker can be asked goes through here, a whole render as well as a single question, so all of it has
//! the same retries and deadlines.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::names::BucketName;
use crate::protocol::{Answer, HEARTBEAT_INTERVAL_MS, WorkerMessage, WorkerTask};

use super::invocation::{Invocation, Refusal, WorkerFunction};
use super::invoked::{Invoked, Made};
use super::scheduler::{
    ChunkFailure, Command, CopyId, Event, Limits, Note, RenderFailure, Scheduler,
};
use super::texts::Texts;

/// Messages of all workers that may wait to be taken up; senders wait beyond that.
const MESSAGES_MAX: usize = 1_024;

/// From an invocation to its first message: Lambda's own start (10 s for the runtime to come up), a cold package, a
/// busy machine.
const FIRST_MESSAGE_MS: u64 = 90_000;

/// A worker that has not been heard of for this many heartbeats is given up.
const SILENT_HEARTBEATS: u64 = 20;

/// What a function's timeout is exceeded by before the worker is given up: the way there and back.
const TIMEOUT_GRACE_MS: u64 = 15_000;

/// For how long the cloud may refuse every invocation: throttled accounts come free sooner, functions that are changed or
/// woken are there sooner.
const REFUSED_MS: u64 = 10 * 60 * 1_000;

/// Time a render has beyond what its chunks can take at worst.
const RENDER_GRACE_MS: u64 = 10 * 60 * 1_000;

/// Who does the work, and where results lie.
#[derive(Debug, Clone)]
pub struct Workers {
    /// Identical functions, at least one; copies are dealt out to them in turn.
    pub functions: Vec<WorkerFunction>,
    /// Where segments and images are left.
    pub bucket: BucketName,
    /// The functions' timeout.
    pub timeout_s: u32,
    /// Invocations at the same time.
    pub concurrency_max: u32,
}

impl Workers {
    /// The scheduler's limits for `chunks` chunks with so many retries each.
    pub(super) fn limits(&self, chunks: u32, retries_per_chunk: u32) -> Limits {
        let chunk_ms = u64::from(self.timeout_s) * 1_000 + TIMEOUT_GRACE_MS;
        let retry_budget = match retries_per_chunk {
            0 => 0,
            _ => 10 + chunks / 5,
        };
        Limits {
            concurrency_max: self.concurrency_max,
            retries_per_chunk,
            retry_budget,
            backup_budget: 1 + chunks / 20,
            first_message_ms: FIRST_MESSAGE_MS,
            silence_ms: SILENT_HEARTBEATS * HEARTBEAT_INTERVAL_MS,
            chunk_ms,
            refused_ms: REFUSED_MS,
            // One after another, with all retries: no healthy render takes longer.
            render_ms: RENDER_GRACE_MS + chunk_ms * u64::from(chunks + retry_budget),
        }
    }
}

/// What a render works with, and how it is told to stop.
#[derive(Debug, Clone, Copy)]
pub struct Session<'a> {
    /// The cloud.
    pub cloud: &'a Cloud,
    /// The workers.
    pub workers: &'a Workers,
    /// Cancelled when the user has had enough.
    pub cancel: &'a CancellationToken,
}

/// A unit of work: one invocation's worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit {
    /// Frames in it; 1 where nothing is counted.
    pub(super) frame_count: u32,
    /// Whether its result is there already.
    pub(super) done: bool,
}

/// What happens while the work is being done.
#[derive(Debug)]
pub(super) enum DispatchEvent<'a> {
    /// A worker said something.
    Message {
        unit: u32,
        message: &'a WorkerMessage,
    },
    /// A unit is done. `took_ms` counts from its invocation.
    Done { unit: u32, took_ms: u64 },
    /// An invocation is over. One that the cloud did not take was none.
    Ended(Invoked),
    /// See [`Note`].
    Note(Note),
    /// Sent with every change.
    Status {
        running: u32,
        retries: u32,
        backups: u32,
    },
}

/// A message on its way from an invocation to the scheduler.
enum Report {
    Message(WorkerMessage),
    End(Result<Box<Answer>, Refusal>),
}

/// A copy that runs.
struct Running {
    invocation: AbortHandle,
    invoked_ms: u64,
    /// Whether its environment was warm, and when it said so.
    started: Option<(bool, u64)>,
}

impl Running {
    /// What is known of it now that it is over; `answer` is its answer, if that counts.
    fn ended(&self, now_ms: u64, answer: Option<&Answer>) -> Invoked {
        let since = |then_ms: u64| then_ms - self.invoked_ms;
        Invoked {
            warm: self.started.map(|(warm, _)| warm),
            started_ms: self.started.map(|(_, started_ms)| since(started_ms)),
            took_ms: since(now_ms),
            segment: match answer {
                Some(Answer::Segment(segment)) => Some(Made {
                    frame_count: segment.frame_count,
                    timings: segment.timings,
                }),
                _ => None,
            },
        }
    }
}

/// Does all units of work that are not done, and returns their answers in their places.
///
/// # Errors
/// Why the scheduler gave up. All invocations have been let go by then.
pub(super) async fn run(
    session: Session<'_>,
    limits: Limits,
    units: &[Unit],
    task: impl Fn(u32, u32) -> WorkerTask,
    on_event: impl FnMut(DispatchEvent<'_>),
) -> Result<Vec<Option<Answer>>, RenderFailure> {
    let texts = Arc::new(Texts::new(session.cloud, &session.workers.bucket));
    // Before any copy's time runs: a slow line may take minutes for them. What goes wrong with them is told by the copies.
    if let Some((_, first)) = units.iter().zip(0..).find(|(unit, _)| !unit.done) {
        let task = task(first, 1);
        tokio::select! {
            biased;
            () = session.cancel.cancelled() => {}
            _ = texts.payload(&task) => {}
        }
    }
    let outcome = drive(session, limits, units, &texts, task, on_event).await;
    texts.remove().await;
    outcome
}

async fn drive(
    session: Session<'_>,
    limits: Limits,
    units: &[Unit],
    texts: &Arc<Texts>,
    task: impl Fn(u32, u32) -> WorkerTask,
    mut on_event: impl FnMut(DispatchEvent<'_>),
) -> Result<Vec<Option<Answer>>, RenderFailure> {
    let Session {
        cloud,
        workers,
        cancel,
    } = session;
    let began = Instant::now();
    let elapsed_ms = || u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut scheduler = Scheduler::new(limits, units.iter().map(|u| (u.frame_count, u.done)));
    let mut answers: Vec<Option<Answer>> = vec![None; units.len()];
    let mut copies: HashMap<CopyId, Running> = HashMap::new();
    // Dropping the set ends whatever still runs in it.
    let mut invocations = JoinSet::new();
    let mut dealt = 0;
    let (reports, mut inbox) = mpsc::channel(MESSAGES_MAX);
    let mut event = Event::Tick;
    loop {
        let mut wake_ms = None;
        for command in scheduler.handle(elapsed_ms(), event) {
            match command {
                Command::Invoke {
                    copy,
                    chunk,
                    attempt,
                } => {
                    let function = workers.functions[dealt % workers.functions.len()].clone();
                    dealt += 1;
                    let work = (task(chunk, attempt), Arc::clone(texts));
                    let (cloud, reports) = (cloud.clone(), reports.clone());
                    let running = Running {
                        invocation: invocations.spawn(invoke(cloud, function, work, copy, reports)),
                        invoked_ms: elapsed_ms(),
                        started: None,
                    };
                    copies.insert(copy, running);
                }
                Command::Cancel(copy) => {
                    if let Some(running) = copies.remove(&copy) {
                        running.invocation.abort();
                        on_event(DispatchEvent::Ended(running.ended(elapsed_ms(), None)));
                    }
                }
                Command::WakeAt(time_ms) => wake_ms = Some(time_ms),
                Command::Note(note) => on_event(DispatchEvent::Note(note)),
                Command::Finished => return Ok(answers),
                Command::Failed(failure) => return Err(failure),
            }
        }
        on_event(DispatchEvent::Status {
            running: scheduler.running(),
            retries: scheduler.retries(),
            backups: scheduler.backups(),
        });
        while invocations.try_join_next().is_some() {}
        let wake_ms = wake_ms.expect("the scheduler says when it wants to be woken");
        let wake = began + Duration::from_millis(wake_ms);
        event = tokio::select! {
            biased;
            () = cancel.cancelled() => Event::Cancel,
            Some((copy, report)) = inbox.recv() => {
                // Of a copy that was let go, late messages may still lie in the inbox.
                let unit = scheduler.chunk_of(copy);
                note_times(copy, unit, &report, elapsed_ms(), &mut copies, &mut on_event);
                take(copy, unit, report, &mut answers, &mut on_event)
            }
            () = tokio::time::sleep_until(wake) => Event::Tick,
        };
    }
}

/// When a copy was first heard of, and what is known of it at its end.
fn note_times(
    copy: CopyId,
    unit: Option<u32>,
    report: &Report,
    now_ms: u64,
    copies: &mut HashMap<CopyId, Running>,
    on_event: &mut impl FnMut(DispatchEvent<'_>),
) {
    let end = match report {
        Report::Message(WorkerMessage::Started { warm }) => {
            if let Some(running) = copies.get_mut(&copy) {
                running.started.get_or_insert((*warm, now_ms));
            }
            return;
        }
        Report::Message(_) => return,
        Report::End(end) => end,
    };
    let Some(running) = copies.remove(&copy) else {
        return;
    };
    let answer = end.as_deref().ok().filter(|_| unit.is_some());
    let invoked = running.ended(now_ms, answer);
    if let (Some(unit), Some(_)) = (unit, answer) {
        let took_ms = invoked.took_ms;
        on_event(DispatchEvent::Done { unit, took_ms });
    }
    if !matches!(end, Err(Refusal::NotTaken(_))) {
        on_event(DispatchEvent::Ended(invoked));
    }
}

/// Turns a report into an event for the scheduler.
fn take(
    copy: CopyId,
    unit: Option<u32>,
    report: Report,
    answers: &mut [Option<Answer>],
    on_event: &mut impl FnMut(DispatchEvent<'_>),
) -> Event {
    let Some(unit) = unit else { return Event::Tick };
    match report {
        Report::Message(message) => {
            on_event(DispatchEvent::Message {
                unit,
                message: &message,
            });
            match message {
                WorkerMessage::Started { .. } => Event::Started(copy),
                WorkerMessage::Progress { rendered, .. } => Event::Alive {
                    copy,
                    rendered: Some(rendered),
                },
                WorkerMessage::Log { .. }
                | WorkerMessage::Done { .. }
                | WorkerMessage::Failed { .. } => Event::Alive {
                    copy,
                    rendered: None,
                },
            }
        }
        Report::End(Ok(answer)) => {
            answers[unit as usize] = Some(*answer);
            Event::Done(copy)
        }
        Report::End(Err(Refusal::NotTaken(why))) => Event::Refused { copy, why },
        Report::End(Err(Refusal::Failed(failure))) => Event::Failed { copy, failure },
    }
}

/// One invocation, from its task to its end. Nobody listening any more is no error.
async fn invoke(
    cloud: Cloud,
    function: WorkerFunction,
    (task, texts): (WorkerTask, Arc<Texts>),
    copy: CopyId,
    reports: mpsc::Sender<(CopyId, Report)>,
) {
    let end = match texts.payload(&task).await {
        Ok(payload) => converse(&cloud, &function, payload, copy, &reports).await,
        Err(error) => Err(error.into()),
    };
    let end = Report::End(end);
    drop(reports.send((copy, end)).await);
}

async fn converse(
    cloud: &Cloud,
    function: &WorkerFunction,
    payload: Vec<u8>,
    copy: CopyId,
    reports: &mpsc::Sender<(CopyId, Report)>,
) -> Result<Box<Answer>, Refusal> {
    let mut invocation = Invocation::begin(cloud, function, payload).await?;
    loop {
        match invocation.next().await? {
            WorkerMessage::Done { answer } => return Ok(answer),
            WorkerMessage::Failed { failure } => {
                return Err(Refusal::Failed(ChunkFailure::Task(failure)));
            }
            message @ (WorkerMessage::Started { .. }
            | WorkerMessage::Progress { .. }
            | WorkerMessage::Log { .. }) => {
                drop(reports.send((copy, Report::Message(message))).await);
            }
        }
    }
}
