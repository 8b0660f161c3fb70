//! The fault sweep: whatever goes wrong at whichever call, the next apply finishes the job.
//!
//! Each scenario is run once undisturbed, to count its calls. Then, for every call, it is run again with that call
//! failing; and after that once more, undisturbed: the cloud must be as in the undisturbed run, the plan empty. What fails
//! once and not again is made good by rmx itself, so that only a kill needs a second apply.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use rmx::apply::{Rollback, roll_back};
use rmx::local::{Fault, FaultKind, Moment};
use rmx::plan::change::Desired;
use rmx::resource::{Address, Resource, RoleReference};
use rmx::state::State;

use crate::support::farm::{Farm, Smoke};

/// Something a user does to a farm that is there, or not yet.
struct Scenario {
    name: &'static str,
    /// What is deployed before that, of the farm that is declared; `None`: nothing is there yet.
    before: Option<fn(&mut Farm)>,
    /// Every how many calls something goes wrong.
    step: usize,
    change: fn(&mut Farm),
}

const SCENARIOS: [Scenario; 10] = [
    Scenario {
        name: "first deploy",
        before: None,
        step: 1,
        change: |_| {},
    },
    Scenario {
        name: "change memory",
        before: Some(nothing),
        step: 1,
        change: |farm| farm.function().memory_mb = 3008,
    },
    Scenario {
        name: "new code",
        before: Some(nothing),
        step: 1,
        change: |farm| {
            let code_sha256 = farm.write_code("two");
            farm.function().code_sha256 = code_sha256;
        },
    },
    Scenario {
        name: "a role with more policies",
        before: Some(nothing),
        step: 1,
        change: |farm| {
            let cloud = &farm.test_cloud;
            let granted = cloud.grant_more("rmx-test-role");
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(granted));
        },
    },
    Scenario {
        name: "rename",
        before: Some(nothing),
        step: 3,
        change: rename,
    },
    Scenario {
        name: "other site",
        before: Some(nothing),
        step: 1,
        change: |farm| farm.want_site(&[("index.html", "<h1>two</h1>"), ("c.js", "3")]),
    },
    Scenario {
        name: "remove site",
        before: Some(nothing),
        step: 1,
        change: |farm| {
            let site: Address = "site.hello".parse().unwrap();
            farm.desired.resources.remove(&site);
        },
    },
    Scenario {
        name: "to Remotion's worker",
        before: Some(Farm::named_for_remotion),
        step: 1,
        change: remotions,
    },
    Scenario {
        name: "from Remotion's worker",
        before: Some(remotions),
        step: 1,
        change: Farm::named_for_remotion,
    },
    Scenario {
        name: "destroy",
        before: Some(nothing),
        step: 1,
        change: |farm| farm.desired.resources.clear(),
    },
];

fn nothing(_: &mut Farm) {}

/// Remotion's function in place of rmx's.
fn remotions(farm: &mut Farm) {
    farm.want_remotions();
    let code_sha256 = farm.write_code("remotion's");
    farm.function().code_sha256 = code_sha256;
}

/// Everything that has a name gets another, as with another name of the project.
fn rename(farm: &mut Farm) {
    for resource in farm.desired.resources.values_mut() {
        match resource {
            Resource::LogGroup(spec) => spec.name = "/aws/lambda/rmx-other".parse().unwrap(),
            Resource::Role(spec) => spec.name = "rmx-other-role".parse().unwrap(),
            Resource::Bucket(spec) => spec.name = "rmx-other-bucket".parse().unwrap(),
            Resource::Site(spec) => spec.bucket = "rmx-other-bucket".parse().unwrap(),
            Resource::Function(spec) => {
                spec.name = "rmx-other".parse().unwrap();
                spec.log_group = "/aws/lambda/rmx-other".parse().unwrap();
                spec.role = RoleReference::Managed {
                    name: "rmx-other-role".parse().unwrap(),
                    path: "/".to_owned(),
                };
            }
        }
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    /// The process is gone.
    Killed(Moment),
    /// No answer comes, and the client gives up waiting.
    TimedOut(Moment),
    /// The cloud says something else than it should, or nothing.
    Failed(Moment, FaultKind),
}

/// What happens at every call.
const EVERYWHERE: [Trouble; 5] = [
    Trouble::Killed(Moment::Before),
    Trouble::Killed(Moment::After),
    Trouble::Failed(Moment::After, FaultKind::Lost),
    Trouble::Failed(Moment::Before, FaultKind::Unavailable),
    Trouble::Failed(Moment::Before, FaultKind::Throttled),
];

/// What happens at every call in turn: to the client these are like one of the others, and a timeout takes its time.
const IN_TURN: [Trouble; 4] = [
    Trouble::TimedOut(Moment::After),
    Trouble::Failed(Moment::After, FaultKind::Unavailable),
    Trouble::TimedOut(Moment::Before),
    Trouble::Failed(Moment::Before, FaultKind::Lost),
];

fn troubles(call: u64) -> impl Iterator<Item = (Trouble, u64)> {
    let in_turn = IN_TURN[usize::try_from(call).unwrap() % IN_TURN.len()];
    let all = EVERYWHERE.into_iter().chain([in_turn]);
    all.map(move |trouble| (trouble, call))
}

impl Trouble {
    fn at(self, call: u64) -> Fault {
        let (moment, kind) = match self {
            Self::Killed(moment) | Self::TimedOut(moment) => (moment, FaultKind::Silence),
            Self::Failed(moment, kind) => (moment, kind),
        };
        Fault { call, moment, kind }
    }
}

/// Runs at the same time: most of each is waiting, as the SDK does between its tries.
const AT_ONCE: usize = 24;

/// How long an answer is waited for where none comes: long enough for every other call on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a farm looks like from outside.
#[derive(Debug, PartialEq)]
struct Look {
    recorded: BTreeMap<String, String>,
    keys: Vec<String>,
    /// What nobody recorded would show here.
    inventory: Vec<String>,
    /// Whether everybody may read the bucket, the version of its runtime that the function keeps, and how often events for its name alone
    /// are repeated: nothing says so of the farms whose plans do not look.
    beside: (bool, Option<String>, Option<u32>),
}

async fn look(farm: &Farm) -> Look {
    let recorded = farm.state.records.iter().map(|(address, record)| {
        let text = format!("{:?} {:?}", record.status, record.applied);
        (address.to_string(), text)
    });
    let bucket = farm
        .state
        .records
        .values()
        .find_map(|record| match &record.applied {
            Resource::Bucket(spec) => Some(spec.name.clone()),
            _ => None,
        });
    let (keys, is_public) = match bucket {
        Some(bucket) => (
            farm.keys_in(&bucket).await,
            farm.cloud.public_read(&bucket).await.unwrap(),
        ),
        None => Default::default(),
    };
    let functions = farm.state.records.values();
    let mut functions = functions.filter_map(|record| match &record.applied {
        Resource::Function(spec) => Some(&spec.name),
        _ => None,
    });
    let (kept, retries) = match functions.next() {
        Some(function) => (
            farm.cloud.runtime_version_arn(function).await.unwrap(),
            farm.cloud.retries(function, "$LATEST").await.unwrap(),
        ),
        None => (None, None),
    };
    Look {
        recorded: recorded.collect(),
        keys,
        inventory: farm.test_cloud.inventory(),
        beside: (is_public, kept, retries),
    }
}

/// What came of a run.
struct Outcome {
    look: Look,
    /// Calls of the first apply.
    calls: u64,
    struck: bool,
}

/// Runs the scenario with the trouble at that call, then to its end.
async fn run(start: &Farm, change: fn(&mut Farm), trouble: Option<(Trouble, u64)>) -> Outcome {
    let mut farm = Farm::copy_of(start).await;
    change(&mut farm);
    let faults = farm.test_cloud.faults().clone();
    faults.schedule(trouble.map(|(trouble, call)| trouble.at(call)));
    match trouble {
        Some((Trouble::Killed(_), _)) => {
            tokio::select! {
                () = faults.struck() => {}
                _ = farm.try_apply() => {}
            }
            farm.killed();
        }
        Some((Trouble::TimedOut(_), _)) => {
            let patient = farm.cloud.clone();
            farm.cloud = farm.test_cloud.connect_impatiently(TIMEOUT).await;
            let applied = farm.try_apply().await;
            assert_eq!(applied, Ok(()), "{trouble:?}");
            farm.cloud = patient;
        }
        Some((Trouble::Failed(..), _)) | None => {
            let applied = farm.try_apply().await;
            assert_eq!(applied, Ok(()), "{trouble:?}");
        }
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
    if let Some(before) = scenario.before {
        before(&mut start);
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
    let points: Vec<(Trouble, u64)> = (1..=calls)
        .step_by(scenario.step)
        .flat_map(troubles)
        .collect();
    let planned = points.len();
    let runs = futures::stream::iter(points).map(|point| {
        let run = run(&start, scenario.change, Some(point));
        async move { (point, run.await) }
    });
    let mut runs = runs.buffer_unordered(AT_ONCE);
    let mut struck = 0;
    while let Some((point, found)) = runs.next().await {
        struck += usize::from(found.struck);
        let found = found.look;
        assert_eq!(
            found, expected,
            "{}: {point:?} of {calls} calls",
            scenario.name
        );
    }
    // How often a phase is asked for depends on how busy the machine is: the last calls may not come.
    assert!(struck * 2 >= planned, "{struck} of {planned} faults struck");
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

/// A function with three versions, the first of them live again: the next one's number does not follow from that.
async fn rolled_back() -> Farm {
    let mut farm = Farm::new().await;
    for memory_mb in [2500, 2501, 2502] {
        farm.function().memory_mb = memory_mb;
        farm.apply().await;
    }
    let live = farm.cloud.live_alias(&"rmx-test".parse().unwrap()).await;
    let back = [Rollback {
        address: "function.worker".parse().unwrap(),
        version: 1,
        revision_id: live.unwrap().unwrap().revision_id,
    }];
    let identity = farm.state.deployed_to.clone().unwrap();
    let mut save = async |_: &mut State| Ok(());
    let done = roll_back(&back, &farm.cloud, &identity, &mut farm.state, &mut save);
    done.await.unwrap();
    farm
}

/// An apply that asks for a smoke render meets the trouble at that call, and somebody who does not ask is next. What was owed in between, and
/// whether the trouble came.
async fn smoke_is_owed(start: &Farm, trouble: Trouble, call: u64) -> (Option<String>, bool) {
    let mut farm = Farm::copy_of(start).await;
    farm.function().memory_mb = 3008;
    let passed: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let smoke = |always| {
        Some(Smoke {
            always,
            passed: Arc::clone(&passed),
        })
    };
    let owed = |farm: &Farm| {
        let record = &farm.state.records[&"function.worker".parse().unwrap()];
        record.outputs.get("failed_smoke_version").cloned()
    };
    let faults = farm.test_cloud.faults().clone();
    let before = contents(&farm);
    farm.smoke = smoke(true);
    faults.schedule([trouble.at(call)]);
    let killed = tokio::select! {
        () = faults.struck(), if matches!(trouble, Trouble::Killed(_)) => true,
        _ = farm.try_apply() => false,
    };
    let struck = faults.left() == 0;
    faults.schedule(None);
    if killed {
        farm.killed();
    }
    let owing = owed(&farm);
    // Ended while it planned, or refused before anything was changed, it is as if nobody had asked.
    let changed = contents(&farm) != before && passed.lock().unwrap().is_empty();
    assert!(owing.is_some() || !changed, "{trouble:?} of call {call}");

    farm.smoke = smoke(false);
    farm.apply().await;
    let live = farm.cloud.live_alias(&"rmx-test".parse().unwrap()).await;
    let live = live.unwrap().unwrap().version;
    let proven = passed.lock().unwrap().contains(&live);
    assert!(
        proven || owing.is_none(),
        "{trouble:?} of call {call}: {live}, {owing:?}"
    );
    assert_eq!(owed(&farm), None, "{trouble:?} of call {call}");
    (owing, struck)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_live_unproven_however_an_apply_with_a_smoke_render_ends() {
    let start = rolled_back().await;
    let troubles = [
        Trouble::Killed(Moment::Before),
        Trouble::Killed(Moment::After),
        Trouble::Failed(Moment::Before, FaultKind::Denied),
    ];
    // More calls than there are: those do not come.
    let points = (1..=60).flat_map(|call| troubles.map(|trouble| (trouble, call)));
    let runs =
        futures::stream::iter(points).map(|(trouble, call)| smoke_is_owed(&start, trouble, call));
    let all: Vec<(Option<String>, bool)> = runs.buffer_unordered(AT_ONCE).collect().await;
    let struck = all.iter().filter(|(_, struck)| *struck).count();
    assert!(struck >= 20 && struck < all.len(), "{struck}");
    for (known, at_least) in [(None, 3), (Some("next"), 3), (Some("4"), 2)] {
        let owed = all.iter().filter(|(owed, _)| owed.as_deref() == known);
        assert!(owed.count() >= at_least, "{known:?}");
    }
    let known = |owed: &str| ["next", "4"].contains(&owed);
    assert!(
        all.iter()
            .all(|(owed, _)| owed.as_deref().is_none_or(known))
    );
}

/// What the cloud holds, file by file.
fn contents(farm: &Farm) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    let mut folders = vec![farm.test_cloud.data()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => drop(all.insert(path.clone(), std::fs::read(path).unwrap())),
            }
        }
    }
    all
}

/// Each call refused in turn: whether something was changed is told exactly.
#[tokio::test(flavor = "multi_thread")]
async fn whether_a_failed_apply_has_changed_anything_is_told() {
    let scenarios: [fn(&mut Farm); 4] = [
        |_| {},
        |farm| {
            farm.function().memory_mb = 3008;
            farm.function().code_sha256 = farm.write_code("another");
        },
        |farm| {
            let role = farm
                .desired
                .resources
                .get_mut(&"role.main".parse().unwrap());
            let Some(Resource::Role(role)) = role else {
                unreachable!()
            };
            role.path = "/elsewhere/".to_owned();
            let role_name = role.name.clone();
            farm.function().role = RoleReference::Managed {
                name: role_name,
                path: "/elsewhere/".to_owned(),
            };
        },
        |farm| farm.desired = Desired::default(),
    ];
    let (mut nothing, mut something) = (0, 0);
    for (number, change) in scenarios.into_iter().enumerate() {
        let mut start = Farm::new().await;
        if number > 0 {
            start.apply().await;
        }
        // Every third, beginning with another one in each scenario.
        for call in (1 + number as u64..).step_by(3) {
            let mut farm = Farm::copy_of(&start).await;
            change(&mut farm);
            let plan = farm.plan().await;
            let before = contents(&farm);
            farm.test_cloud.faults().schedule([Fault {
                call,
                moment: Moment::Before,
                kind: FaultKind::Denied,
            }]);
            let applied = farm.apply_plan(&plan, usize::MAX).await;
            if farm.test_cloud.faults().left() > 0 {
                assert!(applied.is_ok(), "scenario {number}");
                break;
            }
            let Err(error) = applied else { continue };
            let told = error.begun || !error.done.is_empty();
            let changed = contents(&farm) != before;
            assert_eq!(told, changed, "scenario {number}, call {call}: {error:?}");
            *if told { &mut something } else { &mut nothing } += 1;
        }
    }
    assert!(nothing >= 2 && something >= 8, "{nothing} {something}");
}
