//! What the scheduler promises, tried on imaginary workers.

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn a_render_ends_whatever_happens(
        seed in any::<u64>(),
        chunks in 1_u32..400,
        concurrency_max in prop_oneof![1_u32..20, Just(1_000)],
        capacity in prop_oneof![1_usize..30, Just(usize::MAX)],
        chances in prop::array::uniform7(prop_oneof![Just(0_u64), 0_u64..30, 0_u64..400]),
        poisoned in prop::option::weighted(0.1, 0_u32..400),
    ) {
        let [crash, stall, never_starts, lost_answer, slow, throttled_at_random, page_error] = chances;
        let world = World {
            seed, chunks, concurrency_max, capacity,
            crash, stall, never_starts, lost_answer, slow, throttled_at_random,
            page_error: page_error / 20,
            poisoned,
            ..KIND
        };
        let history = simulate(&world);
        match history.end {
            Command::Finished => prop_assert_eq!(history.segments.len(), chunks as usize),
            Command::Failed(reason) => prop_assert!(
                !matches!(reason, RenderFailure::Cancelled),
                "nobody cancelled"
            ),
            other => prop_assert!(false, "ended with {:?}", other),
        }
    }
}

#[test]
fn the_same_events_give_the_same_commands() {
    let world = World {
        crash: 50,
        stall: 20,
        slow: 50,
        capacity: 20,
        seed: 9,
        ..KIND
    };
    assert_eq!(simulate(&world).log, simulate(&world).log);
}

#[test]
fn misfortune_is_survived() {
    for seed in 0..20 {
        let world = World {
            seed,
            chunks: 400,
            crash: 10,
            stall: 5,
            never_starts: 5,
            lost_answer: 10,
            slow: 30,
            throttled_at_random: 300,
            ..KIND
        };
        let history = simulate(&world);
        assert_eq!(history.end, Command::Finished, "seed {seed}");
        assert!(history.retries > 0);
    }
}

#[test]
fn a_page_error_ends_the_render_at_once_and_is_handed_on() {
    let world = World {
        page_error: 1_000,
        ..KIND
    };
    let history = simulate(&world);
    let Command::Failed(reason) = history.end else {
        panic!("{:?}", history.end)
    };
    let RenderFailure::Chunk {
        attempts, failure, ..
    } = reason
    else {
        panic!("{reason:?}")
    };
    assert_eq!((attempts, failure), (1, Box::new(page_error())));
    assert_eq!(history.retries, 0);
}

#[test]
fn a_chunk_that_always_crashes_is_tried_a_bounded_number_of_times() {
    let history = simulate(&World {
        poisoned: Some(3),
        ..KIND
    });
    let Command::Failed(reason) = history.end else {
        panic!("{:?}", history.end)
    };
    let RenderFailure::Chunk {
        chunk,
        attempts,
        failure,
    } = reason
    else {
        panic!("{reason:?}")
    };
    assert_eq!((chunk, failure), (3, Box::new(crashed())));
    assert!(attempts <= 4 + history.backups, "{attempts} attempts");
}

#[test]
fn when_everything_crashes_the_budget_of_the_whole_render_ends_it() {
    let world = World {
        crash: 1_000,
        concurrency_max: 10,
        ..KIND
    };
    let limits = limits(&world);
    let history = simulate(&world);
    let Command::Failed(_) = history.end else {
        panic!("{:?}", history.end)
    };
    assert!(history.retries <= limits.retry_budget);
}

#[test]
fn a_cloud_that_takes_ten_is_given_ten() {
    let world = World {
        capacity: 10,
        chunks: 600,
        concurrency_max: 600,
        ..KIND
    };
    let history = simulate(&world);
    assert_eq!(history.end, Command::Finished);
    let free = simulate(&World {
        capacity: usize::MAX,
        concurrency_max: 10,
        ..world.clone()
    });
    assert!(
        history.took_ms * 100 <= free.took_ms * 115,
        "{} ms throttled, {} ms without throttling",
        history.took_ms,
        free.took_ms
    );
    // The first burst finds the limit; after it, one step up now and then is refused.
    let refused_later = history.throttled - 590;
    assert!(
        refused_later * 4 < history.invocations,
        "{refused_later} refused later"
    );
}

#[test]
fn a_cloud_that_takes_nothing_is_given_up_in_minutes() {
    let history = simulate(&World {
        capacity: 0,
        ..KIND
    });
    let expected = RenderFailure::Deadline {
        waited_ms: 600_000,
        refused: Some(Refused::Throttled),
    };
    assert_eq!(history.end, Command::Failed(expected));
    assert!(history.took_ms <= 600_000, "{} ms", history.took_ms);
    assert!(
        history.invocations < 1_200,
        "{} invocations",
        history.invocations
    );
}

/// Whoever is heard of holds the deadline off, however long others are refused.
#[test]
fn refusals_end_no_render_of_which_something_is_heard() {
    let limits = Limits {
        concurrency_max: 2,
        ..limits(&KIND)
    };
    let mut scheduler = Scheduler::new(limits, [(20, false), (20, false)]);
    scheduler.handle(0, Event::Tick);
    scheduler.handle(100, Event::Started(CopyId(0)));
    let refused = |copy| Event::Refused {
        copy,
        why: Refused::NotReady,
    };
    let noted = Command::Note(Note::Refused(Refused::NotReady));
    assert!(scheduler.handle(200, refused(CopyId(1))).contains(&noted));
    let done = scheduler.handle(60_000, Event::Done(CopyId(0)));
    // The second chunk is refused from now on, each time it is tried again.
    let (mut now_ms, mut wake_ms) = (60_000, 60_000);
    let mut commands = std::collections::VecDeque::from(done);
    let failure = loop {
        match commands.pop_front() {
            Some(Command::Invoke { copy, .. }) => {
                commands.extend(scheduler.handle(now_ms, refused(copy)));
            }
            Some(Command::WakeAt(time_ms)) => wake_ms = time_ms,
            Some(Command::Failed(failure)) => break failure,
            Some(command) => assert!(!matches!(command, Command::Note(Note::Retrying { .. }))),
            None => {
                now_ms = wake_ms;
                assert!(now_ms <= 700_000, "never given up");
                commands.extend(scheduler.handle(now_ms, Event::Tick));
            }
        }
    };
    assert_eq!(now_ms, 660_000);
    let expected = RenderFailure::Deadline {
        waited_ms: 600_000,
        refused: Some(Refused::NotReady),
    };
    assert_eq!(failure, expected);
}

#[test]
fn stragglers_get_one_twin_and_cost_little_time() {
    let seeds = 0..30;
    let clean: u64 = seeds
        .clone()
        .map(|seed| simulate(&World { seed, ..KIND }).took_ms)
        .sum();
    let mut backups = 0;
    let slow: u64 = seeds
        .map(|seed| {
            let history = simulate(&World {
                seed,
                slow: 20,
                ..KIND
            });
            assert_eq!(history.end, Command::Finished);
            backups += history.backups;
            history.took_ms
        })
        .sum();
    assert!(backups > 0);
    // Without twins a copy ten times slower than the others makes the render several times longer.
    assert!(
        slow < clean * 3,
        "{slow} ms with stragglers, {clean} ms without"
    );
}

#[test]
fn a_cancelled_render_cancels_all_copies() {
    let mut scheduler = Scheduler::new(limits(&KIND), [(20, false), (20, true), (20, false)]);
    let commands = scheduler.handle(0, Event::Tick);
    assert_eq!(
        commands[..2],
        [
            Command::Invoke {
                copy: CopyId(0),
                chunk: 0,
                attempt: 1
            },
            Command::Invoke {
                copy: CopyId(1),
                chunk: 2,
                attempt: 1
            },
        ]
    );
    assert_eq!(
        scheduler.handle(5, Event::Cancel),
        [
            Command::Cancel(CopyId(0)),
            Command::Cancel(CopyId(1)),
            Command::Failed(RenderFailure::Cancelled),
        ]
    );
    assert_eq!(scheduler.handle(6, Event::Done(CopyId(0))), []);
}

#[test]
fn a_backup_that_was_refused_is_asked_for_again() {
    let limits = Limits {
        concurrency_max: 3,
        backup_budget: 1,
        ..limits(&KIND)
    };
    let mut scheduler = Scheduler::new(limits, [(20, false), (20, false), (20, false)]);
    scheduler.handle(0, Event::Tick);
    for copy in [0, 1, 2] {
        scheduler.handle(100, Event::Started(CopyId(copy)));
    }
    // The first is done; the second one falls silent; the third goes on.
    scheduler.handle(200, Event::Done(CopyId(0)));
    let alive = Event::Alive {
        copy: CopyId(2),
        rendered: Some(19),
    };
    let backed_up = Command::Note(Note::BackedUp { chunk: 1 });
    for tick in 1..=6 {
        scheduler.handle(tick * 500, Event::Tick);
    }
    assert!(scheduler.handle(4_000, alive).contains(&backed_up));
    let (copy, why) = (CopyId(3), Refused::Throttled);
    scheduler.handle(4_010, Event::Refused { copy, why });
    assert_eq!(scheduler.backups(), 0, "it never ran");
    let again = scheduler.handle(5_000, Event::Done(CopyId(2)));
    assert!(again.contains(&backed_up), "{again:?}");
    assert_eq!((scheduler.backups(), scheduler.running()), (1, 2));
}

#[test]
fn a_render_without_work_is_finished_at_once() {
    let mut scheduler = Scheduler::new(limits(&KIND), [(20, true)]);
    assert_eq!(scheduler.handle(0, Event::Tick), [Command::Finished]);
}

#[test]
fn simulations_reach_the_limit_they_are_given() {
    assert_eq!(
        simulate(&World {
            concurrency_max: 7,
            ..KIND
        })
        .running_max,
        7
    );
}

/// The process was stopped for a minute (Ctrl-Z) while its workers went on: what they said lies unread, and none of them was
/// silent.
#[test]
fn a_minute_of_its_own_absence_is_no_silence_of_workers() {
    let mut scheduler = Scheduler::new(limits(&KIND), [(20, false); 8]);
    let copies: Vec<CopyId> = scheduler
        .handle(0, Event::Tick)
        .into_iter()
        .filter_map(|command| match command {
            Command::Invoke { copy, .. } => Some(copy),
            _ => None,
        })
        .collect();
    assert_eq!(copies.len(), 8);
    for copy in &copies {
        scheduler.handle(100, Event::Started(*copy));
    }
    let awake = scheduler.handle(60_000, Event::Tick);
    assert!(matches!(awake[..], [Command::WakeAt(_)]), "{awake:?}");
    for copy in &copies {
        let rendered = Some(10);
        let alive = scheduler.handle(
            60_001,
            Event::Alive {
                copy: *copy,
                rendered,
            },
        );
        assert!(matches!(alive[..], [Command::WakeAt(_)]), "{alive:?}");
    }
    // Silence counts again from then on.
    let mut silent = Vec::new();
    for second in 61..90 {
        silent.extend(scheduler.handle(second * 1_000, Event::Tick));
    }
    assert!(
        silent
            .iter()
            .any(|command| matches!(command, Command::Cancel(_))),
        "{silent:?}"
    );
}
