//! Who renders which chunk when: a state machine without IO.
//!
//! Events and the time go in, commands come out. Nothing here waits, sends or reads a clock, so `rmx render` can
//! drive it with tokio and the simulator in `simulation.rs` with a virtual clock and thousands of imaginary workers:
//! what holds there holds here, since it is the same code.
//!
//! ```text
//!            ┌── retry, after a pause ──┐
//!            ▼                          │ a retryable failure, retries left
//! chunk:  pending ──Invoke──▶ running ──┼──▶ done
//!            ▲                          │
//!            └── at once ─── refused ───┘
//! ```
//!
//! An invocation of a chunk is a *copy*. A chunk has one running copy, or two when the first one straggles and
//! nothing else is left to do. Segments are written by conditional put, so whichever copy ends first has won and the
//! other one is harmless; its later messages are ignored.
//!
//! Every copy has three deadlines (first message, silence, whole chunk) and the render has two (refusals, whole render), so
//! a render ends whatever its workers and the cloud do.

mod copies;
mod messages;
#[cfg(test)]
mod simulation;
mod window;

use std::collections::{BTreeMap, BTreeSet};

use copies::Copy;
pub use messages::{ChunkFailure, Command, CopyId, Event, Limits, Note, Refused, RenderFailure};
use window::Window;

/// The pause before a chunk's first retry; it doubles with every further one.
const RETRY_PAUSE_MS: u64 = 250;

/// The longest pause before a retry.
const RETRY_PAUSE_MS_MAX: u64 = 8_000;

/// A wake-up that comes this much too late was slept through; less is a busy machine.
const ABSENCE_MS_MIN: u64 = 1_000;

/// How often running copies are looked at for stragglers when nothing else is left to do.
const STRAGGLER_CHECK_MS: u64 = 500;

/// Where a chunk stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// In [`Scheduler::pending`].
    Pending,
    /// One or two copies are running.
    Running,
    /// Its segment is in the bucket.
    Done,
}

#[derive(Debug)]
struct ChunkState {
    frame_count: u32,
    phase: Phase,
    /// Copies so far.
    copies: u32,
    /// Rounds that failed, a round being a copy and its backup.
    failures: u32,
    backed_up: bool,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Scheduler {
    limits: Limits,
    chunks: Vec<ChunkState>,
    /// Chunks to be invoked: not before this time, lowest index first.
    pending: BTreeSet<(u64, u32)>,
    running: BTreeMap<CopyId, Copy>,
    window: Window,
    pace: copies::Pace,
    next_copy: u32,
    done: u32,
    retries: u32,
    backups: u32,
    began_ms: Option<u64>,
    /// When a copy was heard of last; at first, when the render began.
    heard_ms: u64,
    now_ms: u64,
    /// When it asked to be woken.
    wake_ms: u64,
    ended: bool,
}

impl Scheduler {
    /// A scheduler for chunks of these frame counts; those marked as done are not rendered again.
    pub fn new(limits: Limits, chunks: impl IntoIterator<Item = (u32, bool)>) -> Self {
        let chunks: Vec<ChunkState> = chunks
            .into_iter()
            .map(|(frame_count, done)| ChunkState {
                frame_count,
                phase: if done { Phase::Done } else { Phase::Pending },
                copies: 0,
                failures: 0,
                backed_up: false,
            })
            .collect();
        let pending: BTreeSet<_> = (0..)
            .zip(&chunks)
            .filter(|(_, chunk)| chunk.phase == Phase::Pending)
            .map(|(index, _)| (0, index))
            .collect();
        Self {
            window: Window::new(limits.concurrency_max.max(1)),
            limits,
            done: count(chunks.len() - pending.len()),
            chunks,
            pending,
            running: BTreeMap::new(),
            pace: copies::Pace::default(),
            next_copy: 0,
            retries: 0,
            backups: 0,
            began_ms: None,
            heard_ms: 0,
            now_ms: 0,
            wake_ms: u64::MAX,
            ended: false,
        }
    }

    /// Copies that are running now.
    pub fn running(&self) -> u32 {
        count(self.running.len())
    }

    /// Copies that may run at the same time now: less than the limit while the cloud throttles.
    pub fn window(&self) -> u32 {
        self.window.size()
    }

    /// Retries so far.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Backup copies so far.
    pub fn backups(&self) -> u32 {
        self.backups
    }

    /// The chunk a running copy works on.
    pub fn chunk_of(&self, copy: CopyId) -> Option<u32> {
        self.running.get(&copy).map(|copy| copy.chunk)
    }

    /// Takes an event at the time `now_ms` (of any clock that does not run backwards) and says what to do.
    ///
    /// Events of copies that have been cancelled or have ended are ignored. After [`Command::Finished`] or
    /// [`Command::Failed`] there are no more commands.
    pub fn handle(&mut self, now_ms: u64, event: Event) -> Vec<Command> {
        let mut commands = Vec::new();
        if self.ended {
            return commands;
        }
        self.now_ms = self.now_ms.max(now_ms);
        self.excuse_own_absence();
        if self.began_ms.is_none() {
            self.heard_ms = self.now_ms;
        }
        let began_ms = *self.began_ms.get_or_insert(self.now_ms);
        let outcome = self
            .take(event, &mut commands)
            .and_then(|()| self.enforce_deadlines(began_ms, &mut commands));
        match outcome {
            Err(failure) => self.end(Command::Failed(failure), &mut commands),
            Ok(()) if self.done == count(self.chunks.len()) => {
                self.end(Command::Finished, &mut commands);
            }
            Ok(()) => {
                self.launch(&mut commands);
                self.back_up_stragglers(&mut commands);
                self.wake_ms = self.next_wake(began_ms);
                commands.push(Command::WakeAt(self.wake_ms));
            }
        }
        commands
    }

    /// Whoever is woken late was away: the process was stopped (Ctrl-Z), or its machine slept. What came meanwhile has
    /// not been read yet, so nobody was silent for that long.
    fn excuse_own_absence(&mut self) {
        let absence_ms = self.now_ms.saturating_sub(self.wake_ms);
        if absence_ms < ABSENCE_MS_MIN {
            return;
        }
        for copy in self.running.values_mut() {
            copy.excuse(absence_ms);
        }
        self.began_ms = self.began_ms.map(|began_ms| began_ms + absence_ms);
        self.heard_ms += absence_ms;
    }

    fn take(&mut self, event: Event, commands: &mut Vec<Command>) -> Result<(), RenderFailure> {
        match event {
            Event::Tick => {}
            Event::Started(copy) => self.heard_of(copy, None),
            Event::Alive { copy, rendered } => self.heard_of(copy, rendered),
            Event::Done(copy) => {
                if let Some(copy) = self.running.remove(&copy) {
                    self.heard_ms = self.now_ms;
                    self.window.heard(copy.invoked_ms);
                    self.pace.learn_chunk(&copy, self.now_ms);
                    self.finish_chunk(copy.chunk, commands);
                }
            }
            Event::Refused { copy, why } => {
                if let Some(copy) = self.running.remove(&copy) {
                    let running = count(self.running.len());
                    if self.window.refused(self.now_ms, running, why) {
                        commands.push(Command::Note(Note::Refused(why)));
                    }
                    // It never ran, so it was no attempt.
                    let chunk = &mut self.chunks[copy.chunk as usize];
                    chunk.copies -= 1;
                    // Nor was it a backup.
                    if std::mem::take(&mut chunk.backed_up) {
                        self.backups -= 1;
                    }
                    if !self.is_running(copy.chunk) {
                        self.requeue(copy.chunk, 0);
                    }
                }
            }
            Event::Failed { copy, failure } => return self.fail(copy, failure, commands),
            Event::Cancel => return Err(RenderFailure::Cancelled),
        }
        Ok(())
    }

    fn heard_of(&mut self, copy: CopyId, rendered: Option<u32>) {
        if let Some(copy) = self.running.get_mut(&copy) {
            if copy.started_ms.is_none() {
                self.pace.learn_start(self.now_ms - copy.invoked_ms);
            }
            copy.heard(self.now_ms, rendered);
            self.heard_ms = self.now_ms;
            self.window.heard(copy.invoked_ms);
        }
    }

    /// A copy has ended without a segment.
    fn fail(
        &mut self,
        copy: CopyId,
        failure: ChunkFailure,
        commands: &mut Vec<Command>,
    ) -> Result<(), RenderFailure> {
        let Some(copy) = self.running.remove(&copy) else {
            return Ok(());
        };
        let index = copy.chunk;
        let chunk = &mut self.chunks[index as usize];
        if failure.is_retryable() && self.running.values().any(|other| other.chunk == index) {
            // Its twin may still make it.
            return Ok(());
        }
        chunk.failures += 1;
        let failures = chunk.failures;
        if !failure.is_retryable() || failures > self.limits.retries_per_chunk {
            return Err(RenderFailure::Chunk {
                chunk: index,
                attempts: chunk.copies,
                failure: Box::new(failure),
            });
        }
        if self.retries >= self.limits.retry_budget {
            return Err(RenderFailure::RetryBudget {
                retries: self.retries,
                chunk: index,
                failure: Box::new(failure),
            });
        }
        self.retries += 1;
        let pause_ms = RETRY_PAUSE_MS
            .saturating_mul(1 << failures.saturating_sub(1).min(10))
            .min(RETRY_PAUSE_MS_MAX);
        self.requeue(index, self.now_ms + pause_ms);
        commands.push(Command::Note(Note::Retrying {
            chunk: index,
            failure,
        }));
        Ok(())
    }

    fn finish_chunk(&mut self, index: u32, commands: &mut Vec<Command>) {
        let twins: Vec<CopyId> = self
            .running
            .iter()
            .filter(|(_, copy)| copy.chunk == index)
            .map(|(id, _)| *id)
            .collect();
        for twin in twins {
            self.running.remove(&twin);
            commands.push(Command::Cancel(twin));
        }
        self.chunks[index as usize].phase = Phase::Done;
        self.done += 1;
    }

    fn requeue(&mut self, index: u32, not_before_ms: u64) {
        let chunk = &mut self.chunks[index as usize];
        chunk.phase = Phase::Pending;
        chunk.backed_up = false;
        self.pending.insert((not_before_ms, index));
    }

    fn is_running(&self, index: u32) -> bool {
        self.running.values().any(|copy| copy.chunk == index)
    }

    fn enforce_deadlines(
        &mut self,
        began_ms: u64,
        commands: &mut Vec<Command>,
    ) -> Result<(), RenderFailure> {
        let refused = self.window.refusal();
        let Limits {
            render_ms,
            refused_ms,
            ..
        } = self.limits;
        let overdue = |since_ms: u64, waited_ms: u64| {
            let is_over = self.now_ms >= since_ms.saturating_add(waited_ms);
            is_over.then_some(RenderFailure::Deadline { waited_ms, refused })
        };
        let over = overdue(began_ms, render_ms);
        let over =
            over.or_else(|| overdue(self.heard_ms, refused_ms).filter(|_| refused.is_some()));
        if let Some(failure) = over
            && self.done < count(self.chunks.len())
        {
            return Err(failure);
        }
        let overdue: Vec<(CopyId, ChunkFailure)> = self
            .running
            .iter()
            .filter_map(|(id, copy)| Some((*id, copy.overdue(self.now_ms, &self.limits)?)))
            .collect();
        for (id, failure) in overdue {
            commands.push(Command::Cancel(id));
            self.fail(id, failure, commands)?;
        }
        Ok(())
    }

    fn launch(&mut self, commands: &mut Vec<Command>) {
        self.window.rise(
            self.now_ms,
            count(self.running.len()),
            !self.pending.is_empty(),
        );
        while let Some(&(not_before_ms, index)) = self.pending.first() {
            if not_before_ms > self.now_ms || !self.has_room() {
                return;
            }
            self.pending.remove(&(not_before_ms, index));
            self.invoke(index, commands);
        }
    }

    fn has_room(&self) -> bool {
        self.window.admits(self.now_ms, count(self.running.len()))
    }

    fn invoke(&mut self, index: u32, commands: &mut Vec<Command>) {
        let id = CopyId(self.next_copy);
        self.next_copy += 1;
        let chunk = &mut self.chunks[index as usize];
        chunk.phase = Phase::Running;
        chunk.copies += 1;
        self.running
            .insert(id, Copy::new(index, chunk.frame_count, self.now_ms));
        commands.push(Command::Invoke {
            copy: id,
            chunk: index,
            attempt: chunk.copies,
        });
    }

    /// When nothing waits and there is room, the slowest copies get a twin, each chunk at most one at a time.
    fn back_up_stragglers(&mut self, commands: &mut Vec<Command>) {
        if !self.may_back_up() {
            return;
        }
        let median = self.pace.median_rate(self.running.values());
        while self.may_back_up() {
            let slowest = self
                .running
                .values()
                .filter(|copy| !self.chunks[copy.chunk as usize].backed_up)
                .filter_map(|copy| {
                    let holds_up_ms = self.pace.holds_up_ms(copy, median, self.now_ms)?;
                    Some((holds_up_ms, copy.chunk))
                })
                .max();
            let Some((_, index)) = slowest else { return };
            self.chunks[index as usize].backed_up = true;
            self.backups += 1;
            commands.push(Command::Note(Note::BackedUp { chunk: index }));
            self.invoke(index, commands);
        }
    }

    fn may_back_up(&self) -> bool {
        self.pending.is_empty() && self.backups < self.limits.backup_budget && self.has_room()
    }

    /// The earliest time at which something is to be done even if nothing happens.
    fn next_wake(&self, began_ms: u64) -> u64 {
        let mut wake_ms = began_ms.saturating_add(self.limits.render_ms);
        if self.window.refusal().is_some() {
            wake_ms = wake_ms.min(self.heard_ms.saturating_add(self.limits.refused_ms));
        }
        for copy in self.running.values() {
            wake_ms = wake_ms.min(copy.next_deadline_ms(&self.limits));
        }
        if let Some(&(not_before_ms, _)) = self.pending.first() {
            let room_ms = self.window.room_ms(self.now_ms, count(self.running.len()));
            wake_ms = wake_ms.min(not_before_ms.max(room_ms));
        }
        if self.may_back_up() {
            wake_ms = wake_ms.min(self.now_ms + STRAGGLER_CHECK_MS);
        }
        wake_ms.max(self.now_ms + 1)
    }

    fn end(&mut self, last: Command, commands: &mut Vec<Command>) {
        self.ended = true;
        let running = std::mem::take(&mut self.running);
        commands.extend(running.into_keys().map(Command::Cancel));
        commands.push(last);
    }
}

fn count(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
