//! Going back to a version that was live before, and what the next plan says about it.

use std::sync::Mutex;

use rmx::apply::{Rollback, roll_back};
use rmx::cloud::FunctionSettings;
use rmx::local::{Fault, FaultKind, Moment};
use rmx::plan::rollback::Standing;
use rmx::resource::Address;
use rmx::state::State;
use serde_json::Value;

use crate::plan::{CONFIG, apply, changes, project};
use crate::recovery::behind_its_back;
use crate::support::TestProject;
use crate::support::farm::Farm;

fn with_memory(project: &TestProject, memory_mb: u32) {
    let function = format!("[function]\nmemory_mb = {memory_mb}");
    project.write("remotion.toml", &CONFIG.replace("[function]", &function));
}

/// Three versions: 2048, 1024 and 3008 MB.
fn released() -> TestProject {
    let project = project();
    apply(&project);
    for memory_mb in [1024, 3008] {
        with_memory(&project, memory_mb);
        apply(&project);
    }
    project
}

/// `3 live, 2 released, 1 released`.
#[track_caller]
fn versions(project: &TestProject) -> String {
    let output = project.rmx(&["versions", "--json"]).expect_status(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let versions = document["functions"][0]["versions"].as_array().unwrap();
    let versions = versions.iter().map(|version| {
        let status = version["status"].as_str().unwrap();
        format!("{} {status}", version["version"])
    });
    versions.collect::<Vec<_>>().join(", ")
}

#[test]
fn live_goes_back_and_the_next_apply_goes_forward() {
    let project = released();
    assert_eq!(versions(&project), "3 live, 2 released, 1 released");
    let listed = project.rmx(&["versions"]).expect_status(0).stdout;
    assert!(
        listed.starts_with("# function.worker\n    3  live "),
        "{listed}"
    );
    assert!(listed.contains("  1024 MB  240 s  code "), "{listed}");

    // No prompt without a terminal, and nothing done.
    let asked = project.rmx(&["rollback"]).expect_status(64);
    assert!(asked.stderr.contains("--auto-approve"), "{asked}");
    assert_eq!(versions(&project), "3 live, 2 released, 1 released");

    let output = project
        .rmx(&["rollback", "--auto-approve"])
        .expect_status(0);
    assert_eq!(output.stdout, "function.worker: live points to version 2\n");
    for words in [
        "function.worker: live moves from version 3 to 2",
        "the next `rmx apply` releases it again",
    ] {
        assert!(
            output.stderr.contains(words),
            "{words} is missing in\n{output}"
        );
    }
    assert_eq!(versions(&project), "3 withdrawn, 2 live, 1 released");
    let shown = project.rmx(&["state", "show", "function.worker"]);
    let shown = shown.expect_status(0).stdout;
    assert!(
        shown.contains("version                          = \"2\"\n"),
        "{shown}"
    );

    // rmx did it, so it is no drift; and it is not what is declared, so it is a change.
    let plan = changes(&project);
    assert!(!plan.contains("changed outside of rmx"), "{plan}");
    for line in [
        "      ~ memory_mb = 1024 -> 3008\n",
        "      ~ published = false -> true\n",
        "      ~ version   = \"2\" -> (known after apply)\n",
        "Plan: 0 to add, 1 to change, 0 to destroy.",
    ] {
        assert!(plan.contains(line), "{line} is missing in\n{plan}");
    }
    let planned = project.rmx(&["plan", "--json"]).expect_status(0).stdout;
    let planned: Value = serde_json::from_str(&planned).unwrap();
    let changes = planned["resource_changes"].as_array().unwrap();
    let function = changes
        .iter()
        .find(|change| change["address"] == "function.worker");
    let function = &function.unwrap()["change"];
    let cost = |side: &str| planned["cost"][side].as_f64().unwrap();
    assert!(cost("before_usd") * 2.0 < cost("after_usd"), "{planned:#}");
    let memory = (
        &function["before"]["memory_mb"],
        &function["after"]["memory_mb"],
    );
    assert_eq!(memory, (&1024.into(), &3008.into()));
    let comment = project.rmx(&["plan", "--format", "markdown"]);
    let comment = comment.expect_status(0).stdout;
    assert!(comment.contains("memory_mb = 1024 -> 3008"), "{comment}");
    // What is recorded is not what is live: there is nothing to be recorded anew.
    let refresh = ["plan", "--refresh-only", "--detailed-exitcode"];
    drop(project.rmx(&refresh).expect_status(0));

    let output = project.rmx(&["rollback", "--auto-approve", "--json"]);
    let told: Value = serde_json::from_str(&output.expect_status(0).stdout).unwrap();
    assert_eq!(
        (&told["moved"][0]["from"], &told["moved"][0]["to"]),
        (&2.into(), &1.into())
    );
    assert_eq!(told["next_apply_releases"][0], "function.worker");
    let output = project
        .rmx(&["rollback", "--auto-approve"])
        .expect_status(1);
    assert!(
        output.stderr.contains("no release before version 1"),
        "{output}"
    );

    apply(&project);
    assert_eq!(versions(&project), "3 live, 2 withdrawn, 1 released");
    drop(
        project
            .rmx(&["rollback", "--auto-approve"])
            .expect_status(0),
    );
    assert_eq!(versions(&project), "3 withdrawn, 2 withdrawn, 1 live");

    // With the configuration of that time, nothing is left to be done.
    project.write("remotion.toml", CONFIG);
    apply(&project);
    let output = project.rmx(&["rollback", "--auto-approve", "--to", "2"]);
    drop(output.expect_status(0));
    let same = project.rmx(&["rollback", "--auto-approve", "--to", "2"]);
    let same = same.expect_status(0);
    assert!(
        same.stderr.contains("points to version 2 already"),
        "{same}"
    );
}

#[test]
fn what_does_not_exist_or_is_not_ours_is_refused_by_name() {
    let project = project();
    let output = project
        .rmx(&["rollback", "--auto-approve"])
        .expect_status(1);
    assert!(output.stderr.contains("run `rmx apply` first"), "{output}");
    apply(&project);
    with_memory(&project, 1024);
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let name = "rmx-hello".parse().unwrap();
        let now = cloud.function(&name).await.unwrap().unwrap();
        let other = FunctionSettings {
            timeout_s: 7,
            ..now.settings.clone()
        };
        cloud
            .update_function_configuration(&name, &other, &now.revision_id)
            .await
            .unwrap();
        let now = cloud.settled_function(&name).await.unwrap().unwrap();
        let code = now.settings.code_sha256.unwrap();
        let published = cloud.publish_version(&name, &code, &now.revision_id).await;
        assert_eq!(published.unwrap(), "3");
    });
    assert_eq!(versions(&project), "3 unreleased, 2 live, 1 released");
    for (to, words) in [
        ("3", "this deployment never released it; it released: 1, 2"),
        (
            "9",
            "has no version 9; released versions that are there: 1, 2",
        ),
    ] {
        let output = project
            .rmx(&["rollback", "--auto-approve", "--to", to])
            .expect_status(1);
        for words in [words, "`rmx versions`"] {
            assert!(
                output.stderr.contains(words),
                "{words} is missing in\n{output}"
            );
        }
    }
    // What somebody else changed stays to be seen.
    drop(
        project
            .rmx(&["rollback", "--auto-approve"])
            .expect_status(0),
    );
    let plan = changes(&project);
    assert!(plan.contains("changed outside of rmx"), "{plan}");
    assert!(plan.contains("      ~ timeout_s = 240 -> 7\n"), "{plan}");
}

#[test]
fn replicas_go_together_or_one_by_one() {
    let project = project();
    let replicas = CONFIG.replace("[function]", "[function]\nreplicas = 2");
    project.write("remotion.toml", &replicas);
    apply(&project);
    project.write(
        "remotion.toml",
        &replicas.replace("[function]", "[function]\nmemory_mb = 1024"),
    );
    apply(&project);
    let output = project
        .rmx(&[
            "rollback",
            "--auto-approve",
            "--function",
            "function.worker-2",
        ])
        .expect_status(0);
    assert_eq!(
        output.stdout,
        "function.worker-2: live points to version 1\n"
    );
    let output = project
        .rmx(&["rollback", "--auto-approve", "--to", "1"])
        .expect_status(0);
    assert_eq!(output.stdout, "function.worker: live points to version 1\n");
    let output = project
        .rmx(&[
            "rollback",
            "--auto-approve",
            "--function",
            "function.worker-3",
        ])
        .expect_status(1);
    assert!(output.stderr.contains("`function.worker-3`"), "{output}");
}

const FUNCTION: &str = "function.worker";

/// What `rmx rollback` decides and does. `disk` is what it saves, and can save `saves_max` times.
async fn roll_back_once(farm: &Farm, disk: &Mutex<State>, saves_max: usize) -> Result<(), String> {
    let address: Address = FUNCTION.parse().unwrap();
    let name = "rmx-test".parse().unwrap();
    let mut state = disk.lock().unwrap().clone();
    let there = farm.cloud.function_versions(&name).await;
    let there = there.map_err(|error| error.to_string())?;
    let there: Vec<u64> = there.iter().map(|version| version.number).collect();
    let alias = farm.cloud.live_alias(&name).await;
    let alias = alias.map_err(|error| error.to_string())?.unwrap();
    let standing = Standing {
        address: &address,
        record: &state.records[&address],
        live: alias.version.parse().ok(),
        there: &there,
        of_remotion: &[],
    };
    let rollbacks = [Rollback {
        version: standing.target(None).map_err(|error| error.to_string())?,
        address: address.clone(),
        revision_id: alias.revision_id,
    }];
    let identity = state.deployed_to.clone().unwrap();
    let mut saves = 0;
    let mut save = async |state: &mut State| {
        saves += 1;
        if saves > saves_max {
            return Err("killed".into());
        }
        *disk.lock().unwrap() = state.clone();
        Ok(())
    };
    let done = roll_back(&rollbacks, &farm.cloud, &identity, &mut state, &mut save).await;
    done.map_err(|error| error.to_string())
}

async fn three_versions() -> Farm {
    let mut farm = Farm::new().await;
    farm.apply().await;
    for memory_mb in [1024, 3008] {
        farm.function().memory_mb = memory_mb;
        farm.apply().await;
    }
    farm
}

async fn live(farm: &Farm) -> String {
    let alias = farm.cloud.live_alias(&"rmx-test".parse().unwrap()).await;
    alias.unwrap().unwrap().version
}

/// Whatever goes wrong at whichever call or save: the next rollback ends where the first one wanted to be and no
/// further, and the next apply makes it what is declared.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_that_was_cut_off_goes_on_to_the_same_version() {
    let start = three_versions().await;
    let whole = Farm::copy_of(&start).await;
    whole.test_cloud.faults().schedule(None);
    let disk = Mutex::new(start.state.clone());
    roll_back_once(&whole, &disk, usize::MAX).await.unwrap();
    let calls = whole.test_cloud.faults().calls();
    assert!(calls >= 5, "{calls}");
    let kinds = [
        (Moment::Before, FaultKind::Silence),
        (Moment::After, FaultKind::Silence),
        (Moment::After, FaultKind::Lost),
    ];
    let faults = (1..=calls).flat_map(|call| {
        kinds.map(|(moment, kind)| (Some(Fault { call, moment, kind }), usize::MAX))
    });
    for (fault, saves_max) in faults.chain([(None, 0), (None, 1)]) {
        let mut farm = Farm::copy_of(&start).await;
        let faults = farm.test_cloud.faults().clone();
        faults.schedule(fault);
        let disk = Mutex::new(start.state.clone());
        let first = tokio::select! {
            () = faults.struck() => Err("killed".to_owned()),
            done = roll_back_once(&farm, &disk, saves_max) => done,
        };
        faults.schedule(None);
        if first.is_err() {
            let journalled = *disk.lock().unwrap() != start.state;
            let moved = live(&farm).await == "2";
            assert!(
                journalled || !moved,
                "{fault:?}: moved without a record of it"
            );
            roll_back_once(&farm, &disk, usize::MAX).await.unwrap();
        }
        assert_eq!(live(&farm).await, "2", "{fault:?}, {saves_max} saves");
        farm.state = disk.into_inner().unwrap();
        let record = &farm.state.records[&FUNCTION.parse().unwrap()];
        assert_eq!(record.outputs["version"], "2");
        assert_eq!(farm.apply().await, ["Update function.worker"]);
    }
}
