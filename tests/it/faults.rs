//! The fault sweep: whatever goes wrong at whichever call, the next apply finishes the job.
//!
//! Each scenario is run once undisturbed, to count its calls. Then, for every call, it is run again with that call
//! failing; and after that once more, undisturbed: the cloud must be as in the undisturbed run, the plan empty.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use rmx::local::{Fault, FaultKind, Moment};
use rmx::resource::Address;

use crate::support::farm::Farm;

/// Something a user does to a farm that is there, or not yet.
struct Scenario {
    name: &'static str,
    deployed: bool,
    change: fn(&mut Farm),
}

const SCENARIOS: [Scenario; 6] = [
    Scenario {
        name: "first deploy",
        deployed: false,
        change: |_| {},
    },
    Scenario {
        name: "change memory",
        deployed: true,
        change: |farm| farm.function().memory_mb = 3008,
    },
    Scenario {
        name: "new code",
        deployed: true,
        change: |farm| {
            let code_sha256 = farm.write_code("two");
            farm.function().code_sha256 = code_sha256;
        },
    },
    Scenario {
        name: "other site",
        deployed: true,
        change: |farm| farm.want_site(&[("index.html", "<h1>two</h1>"), ("c.js", "3")]),
    },
    Scenario {
        name: "remove site",
        deployed: true,
        change: |farm| {
            let site: Address = "site.hello".parse().unwrap();
            farm.desired.resources.remove(&site);
        },
    },
    Scenario {
        name: "destroy",
        deployed: true,
        change: |farm| farm.desired.resources.clear(),
    },
];

const KINDS: [(Moment, FaultKind); 5] = [
    (Moment::Before, FaultKind::Silence),
    (Moment::After, FaultKind::Silence),
    (Moment::After, FaultKind::Lost),
    (Moment::Before, FaultKind::Unavailable),
    (Moment::Before, FaultKind::Throttled),
];

/// Runs at the same time: most of each is waiting, as the SDK does between its tries.
const AT_ONCE: usize = 24;

/// What a farm looks like from outside.
#[derive(Debug, PartialEq)]
struct Look {
    recorded: BTreeMap<String, String>,
    keys: Vec<String>,
    /// What nobody recorded would show here.
    inventory: Vec<String>,
}

async fn look(farm: &Farm) -> Look {
    let recorded = farm.state.records.iter().map(|(address, record)| {
        let text = format!("{:?} {:?}", record.status, record.applied);
        (address.to_string(), text)
    });
    let recorded: BTreeMap<_, _> = recorded.collect();
    let keys = match recorded.contains_key("bucket.main") {
        true => farm.keys().await,
        false => Vec::new(),
    };
    Look {
        recorded,
        keys,
        inventory: farm.test_cloud.inventory(),
    }
}

/// What came of a run.
struct Outcome {
    look: Look,
    /// Calls of the first apply.
    calls: u64,
    struck: bool,
}

/// Runs the scenario with `fault`, then to its end.
async fn run(start: &Farm, change: fn(&mut Farm), fault: Option<Fault>) -> Outcome {
    let mut farm = Farm::copy_of(start).await;
    change(&mut farm);
    let faults = farm.test_cloud.faults().clone();
    faults.schedule(fault);
    if fault.is_some_and(|fault| fault.kind == FaultKind::Silence) {
        tokio::select! {
            () = faults.struck() => {}
            _ = farm.try_apply() => {}
        }
        farm.killed();
    } else {
        // The SDK tries again by itself; where that is not enough, the next apply has to do.
        let _ = farm.try_apply().await;
    }
    let (calls, struck) = (faults.calls(), faults.left() == 0);
    faults.schedule(None);
    farm.apply().await;
    Outcome {
        look: look(&farm).await,
        calls,
        struck,
    }
}

async fn sweep(scenario: &Scenario) -> usize {
    let mut start = Farm::new().await;
    if scenario.deployed {
        start.apply().await;
    }
    let Outcome {
        look: expected,
        calls,
        ..
    } = run(&start, scenario.change, None).await;
    let empty = scenario.name == "destroy";
    assert_eq!(expected.inventory.is_empty(), empty, "{expected:?}");
    assert!(calls > 3, "{calls} calls: is anything counted?");
    let faults =
        (1..=calls).flat_map(|call| KINDS.map(|(moment, kind)| Fault { call, moment, kind }));
    let faults: Vec<Fault> = faults.collect();
    let points = faults.len();
    let runs = futures::stream::iter(faults).map(|fault| {
        let run = run(&start, scenario.change, Some(fault));
        async move { (fault, run.await) }
    });
    let mut runs = runs.buffer_unordered(AT_ONCE);
    let mut struck = 0;
    while let Some((fault, found)) = runs.next().await {
        struck += usize::from(found.struck);
        let found = found.look;
        assert_eq!(
            found, expected,
            "{}: {fault:?} of {calls} calls",
            scenario.name
        );
    }
    // How often a phase is asked for depends on how busy the machine is: the last calls may not come.
    assert!(struck * 2 >= points, "{struck} of {points} faults struck");
    struck
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_goes_wrong_the_next_apply_finishes() {
    let mut points = 0;
    for scenario in &SCENARIOS {
        let swept = sweep(scenario).await;
        println!("{}: {swept} points", scenario.name);
        points += swept;
    }
    println!("{points} fault points swept");
    assert!(points >= 150, "{points}");
}
