//! Imaginary workers on a virtual clock: what the scheduler promises, under every kind of misfortune.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

mod promises;

use super::*;
use crate::protocol::{FailureKind, TaskFailure};

/// SplitMix64: one seed, one history.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1_000) < chance
    }
}

/// How bad the world is. Chances are per thousand copies.
#[derive(Debug, Clone)]
struct World {
    seed: u64,
    chunks: u32,
    frames_per_chunk: u32,
    concurrency_max: u32,
    /// Copies the cloud accepts at the same time.
    capacity: usize,
    crash: u64,
    stall: u64,
    never_starts: u64,
    lost_answer: u64,
    slow: u64,
    throttled_at_random: u64,
    page_error: u64,
    /// A chunk whose every copy crashes.
    poisoned: Option<u32>,
}

const KIND: World = World {
    seed: 1,
    chunks: 100,
    frames_per_chunk: 20,
    concurrency_max: 1_000,
    capacity: usize::MAX,
    crash: 0,
    stall: 0,
    never_starts: 0,
    lost_answer: 0,
    slow: 0,
    throttled_at_random: 0,
    page_error: 0,
    poisoned: None,
};

const FRAME_MS: u64 = 100;

fn limits(world: &World) -> Limits {
    Limits {
        concurrency_max: world.concurrency_max,
        retries_per_chunk: 3,
        retry_budget: 10 + world.chunks / 2,
        backup_budget: 1 + world.chunks / 20,
        first_message_ms: 30_000,
        silence_ms: 10_000,
        chunk_ms: 120_000,
        refused_ms: 600_000,
        render_ms: 3_600_000,
    }
}

/// What became of a simulated render.
#[derive(Debug)]
struct History {
    end: Command,
    took_ms: u64,
    invocations: u32,
    throttled: u32,
    backups: u32,
    retries: u32,
    running_max: usize,
    segments: BTreeSet<u32>,
    log: Vec<String>,
}

fn page_error() -> ChunkFailure {
    ChunkFailure::Task(TaskFailure {
        kind: FailureKind::PageError,
        message: "no such image".to_owned(),
        frame: Some(7),
        stack: None,
        retryable: false,
    })
}

fn crashed() -> ChunkFailure {
    ChunkFailure::Crashed {
        code: "Runtime.ExitError".to_owned(),
        details: None,
    }
}

/// Something that will happen to a copy, besides leaving the cloud.
#[derive(Debug)]
enum Fate {
    Event(Event),
    Leaves(CopyId),
}

struct Simulation<'a> {
    world: &'a World,
    random: Random,
    fates: BTreeMap<u64, Fate>,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    sequence: u64,
    /// Copies that occupy the cloud, cancelled ones included: a cancelled stream does not end an invocation.
    in_cloud: BTreeSet<CopyId>,
    segments: BTreeSet<u32>,
    throttled: u32,
}

impl Simulation<'_> {
    fn at(&mut self, time_ms: u64, fate: Fate) {
        self.sequence += 1;
        self.fates.insert(self.sequence, fate);
        self.queue.push(Reverse((time_ms, self.sequence)));
    }

    fn invoke(&mut self, now_ms: u64, copy: CopyId, chunk: u32) {
        let answered_ms = now_ms + 30 + self.random.below(100);
        if self.in_cloud.len() >= self.world.capacity
            || self.random.per_mille(self.world.throttled_at_random)
        {
            self.throttled += 1;
            let why = Refused::Throttled;
            return self.at(answered_ms, Fate::Event(Event::Refused { copy, why }));
        }
        self.in_cloud.insert(copy);
        let leaves_ms = now_ms + 130_000;
        if self.random.per_mille(self.world.never_starts) {
            return self.at(leaves_ms, Fate::Leaves(copy));
        }
        let mut time_ms = answered_ms + 200 + self.random.below(3_000);
        self.at(time_ms, Fate::Event(Event::Started(copy)));
        let slowness = if self.random.per_mille(self.world.slow) {
            10
        } else {
            1
        };
        let frame_ms = (FRAME_MS / 2 + self.random.below(FRAME_MS)) * slowness;
        let frames = u64::from(self.world.frames_per_chunk);
        let doomed = self.world.poisoned == Some(chunk);
        // The frame at which its misfortune strikes, if one does.
        let crashes = doomed || self.random.per_mille(self.world.crash);
        let stalls = self.random.per_mille(self.world.stall);
        let throws = self.random.per_mille(self.world.page_error);
        let last = if crashes || stalls || throws {
            self.random.below(frames)
        } else {
            frames
        };
        let end_ms = time_ms + last * frame_ms;
        while time_ms + 1_000 < end_ms {
            time_ms += 1_000;
            let rendered = last - (end_ms - time_ms) / frame_ms;
            let rendered = Some(u32::try_from(rendered).unwrap());
            self.at(time_ms, Fate::Event(Event::Alive { copy, rendered }));
        }
        let failed = |failure| Fate::Event(Event::Failed { copy, failure });
        if crashes {
            self.at(end_ms, failed(crashed()));
        } else if throws {
            self.at(end_ms, failed(page_error()));
        } else if stalls {
            return self.at(leaves_ms, Fate::Leaves(copy));
        } else {
            self.segments.insert(chunk);
            if self.random.per_mille(self.world.lost_answer) {
                self.at(end_ms, failed(ChunkFailure::CutOff));
            } else {
                self.at(end_ms, Fate::Event(Event::Done(copy)));
            }
        }
        self.at(end_ms, Fate::Leaves(copy));
    }
}

/// Runs a render to its end and checks, at every step, what must always hold.
fn simulate(world: &World) -> History {
    let limits = limits(world);
    let mut scheduler = Scheduler::new(
        limits.clone(),
        (0..world.chunks).map(|_| (world.frames_per_chunk, false)),
    );
    let mut simulation = Simulation {
        world,
        random: Random(world.seed),
        fates: BTreeMap::new(),
        queue: BinaryHeap::new(),
        sequence: 0,
        in_cloud: BTreeSet::new(),
        segments: BTreeSet::new(),
        throttled: 0,
    };
    let mut now_ms = 0;
    let mut wake_ms = 0;
    let mut heard = BTreeMap::new();
    let mut running_max = 0;
    let mut invocations = 0;
    let mut log = Vec::new();
    let mut next = Event::Tick;
    let end = 'render: loop {
        for command in scheduler.handle(now_ms, next) {
            log.push(format!("{now_ms} {command:?}"));
            match command {
                Command::Invoke {
                    copy,
                    chunk,
                    attempt,
                } => {
                    assert!(attempt >= 1);
                    invocations += 1;
                    assert!(
                        heard.insert(copy, chunk).is_none(),
                        "a copy's name is used twice"
                    );
                    let twins = heard.values().filter(|other| **other == chunk).count();
                    assert!(twins <= 2, "chunk {chunk} runs {twins} times");
                    simulation.invoke(now_ms, copy, chunk);
                }
                Command::Cancel(copy) => {
                    assert!(heard.remove(&copy).is_some(), "cancels what does not run");
                }
                Command::Note(_) => {}
                Command::WakeAt(time_ms) => {
                    assert!(time_ms > now_ms);
                    wake_ms = time_ms;
                }
                end @ (Command::Finished | Command::Failed(_)) => break 'render end,
            }
            running_max = running_max.max(heard.len());
        }
        assert!(heard.len() <= limits.concurrency_max as usize);
        assert_eq!(scheduler.running() as usize, heard.len());
        assert!(log.len() < 1_000_000, "does not end");
        // The next thing to happen: a fate, or the wake-up the scheduler asked for.
        next = match simulation.queue.peek() {
            Some(Reverse((time_ms, _))) if *time_ms <= wake_ms => {
                let Reverse((time_ms, key)) = simulation.queue.pop().unwrap();
                now_ms = time_ms;
                match simulation.fates.remove(&key).unwrap() {
                    Fate::Leaves(copy) => {
                        simulation.in_cloud.remove(&copy);
                        Event::Tick
                    }
                    Fate::Event(event) => {
                        match &event {
                            Event::Done(copy)
                            | Event::Refused { copy, .. }
                            | Event::Failed { copy, .. } => {
                                heard.remove(copy);
                            }
                            Event::Tick
                            | Event::Cancel
                            | Event::Started(_)
                            | Event::Alive { .. } => {}
                        }
                        event
                    }
                }
            }
            _ => {
                now_ms = wake_ms;
                Event::Tick
            }
        };
    };
    assert!(now_ms <= limits.render_ms, "ended at {now_ms} ms");
    assert!(heard.is_empty(), "copies are left running");
    // Whatever still arrives is ignored.
    for (_, fate) in std::mem::take(&mut simulation.fates) {
        if let Fate::Event(event) = fate {
            assert_eq!(scheduler.handle(now_ms, event), []);
        }
    }
    assert_eq!(scheduler.handle(u64::MAX, Event::Tick), []);
    History {
        end,
        took_ms: now_ms,
        invocations,
        throttled: simulation.throttled,
        backups: scheduler.backups(),
        retries: scheduler.retries(),
        running_max,
        segments: simulation.segments,
        log,
    }
}
