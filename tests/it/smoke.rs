//! The smoke render as a gate: what does not pass it does not go live.

use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::plan::project;
use crate::support::{TestProject, eventually};

const WORKER: &str = include_str!("smoke/worker.py");

/// A farm whose worker answers the smoke render as `mode` says.
fn declare(project: &TestProject, mode: &str, gate: bool) {
    let config = format!(
        "project = \"hello\"\n[function]\npackage = \"function\"\nsmoke = {gate}\n\
         environment = {{ SMOKE = \"{mode}\" }}\n[[site]]\nname = \"page\"\nfolder = \"page\"\n"
    );
    project.write("remotion.toml", &config);
}

fn farm(mode: &str, gate: bool) -> TestProject {
    let project = project();
    project.write("function/bootstrap", WORKER);
    declare(&project, mode, gate);
    project
}

#[track_caller]
fn refused(project: &TestProject, arguments: &[&str], words: &[&str]) -> String {
    let output = project.rmx(arguments).expect_status(15);
    for words in words {
        let told = output.stderr.contains(words);
        assert!(told, "{words} is missing in\n{output}");
    }
    output.stderr
}

#[track_caller]
fn passes(project: &TestProject, arguments: &[&str]) {
    drop(project.rmx(arguments).expect_status(0));
    let again = project.rmx(&["plan", "--detailed-exitcode"]);
    drop(again.expect_status(0));
}

/// The version that `live` points to.
fn live(project: &TestProject) -> Value {
    let output = project.rmx(&["versions", "--json"]).expect_status(0);
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    document["functions"][0]["live"].clone()
}

const APPLY: &[&str] = &["apply", "--auto-approve"];

#[test]
fn a_first_version_that_does_not_pass_gets_no_alias_and_is_tried_again() {
    let project = farm("fails", true);
    let words = [
        "version 1 of `rmx-hello` did not pass its smoke render; there is no `live` alias yet",
        "starting the browser: there is none",
        "Not done: function.worker, site.page.",
        "the version is tried again",
    ];
    let said = refused(&project, APPLY, &words);
    let waits = "function.worker: Waiting for version 1 to pass its smoke render...";
    assert!(said.contains(waits), "{said}");
    assert_eq!(live(&project), Value::Null);
    refused(&project, APPLY, &words);
    assert_eq!(live(&project), Value::Null);

    declare(&project, "right", true);
    passes(&project, APPLY);
    assert_eq!(live(&project), 2);
}

#[test]
fn what_follows_a_version_that_did_not_pass_has_to_pass_also_where_nobody_asks() {
    let project = farm("right", false);
    passes(&project, APPLY);
    declare(&project, "fails", true);
    let words = [
        "did not pass its smoke render",
        "`live` still points to version 1",
    ];
    refused(&project, APPLY, &words);
    declare(&project, "fails", false);
    let planned = project.rmx(&["plan"]).expect_status(0);
    let owed = "Version 2 of function.worker has not passed its smoke render: the one that goes live next has to pass";
    assert!(planned.stdout.contains(owed), "{planned}");
    let planned = project.rmx(&["plan", "--json"]).expect_status(0);
    let document: Value = serde_json::from_str(&planned.stdout).unwrap();
    let changes = document["resource_changes"].as_array().unwrap().iter();
    let owing: Vec<&Value> = changes
        .map(|change| &change["change"]["failed_smoke_version"])
        .filter(|version| !version.is_null())
        .collect();
    assert_eq!(owing, ["2"], "{planned}");
    let planned = project
        .rmx(&["plan", "--format", "markdown"])
        .expect_status(0);
    let warned = format!("> [!WARNING]\n> {owed}");
    assert!(planned.stdout.contains(&warned), "{planned}");
    refused(&project, APPLY, &words);
    let record_only = ["apply", "--refresh-only", "--auto-approve"];
    drop(project.rmx(&record_only).expect_status(0));
    refused(&project, APPLY, &words);
    drop(
        project
            .rmx(&["rollback", "--to", "1", "--auto-approve"])
            .expect_status(0),
    );
    refused(&project, APPLY, &words);
    assert_eq!(live(&project), 1);

    // What passes pays the debt.
    declare(&project, "crashes", false);
    refused(&project, APPLY, &words);
    declare(&project, "right", false);
    passes(&project, APPLY);
    declare(&project, "fails", false);
    let planned = project.rmx(&["plan"]).expect_status(0);
    assert!(!planned.stdout.contains("smoke render"), "{planned}");
    passes(&project, APPLY);
}

#[test]
fn what_is_wrong_with_a_later_version_leaves_live_where_it_is() {
    let project = farm("right", true);
    passes(&project, APPLY);
    for (mode, words) in [
        (
            "drops a frame",
            "the video has 29 frames and should have 30",
        ),
        (
            "doubles a frame",
            "frame 17 of the video shows something else",
        ),
        (
            "draws something else",
            "frame 12 of the video shows something else",
        ),
        ("crashes", "the function ended with"),
    ] {
        declare(&project, mode, true);
        refused(
            &project,
            APPLY,
            &[words, "`live` still points to version 1"],
        );
        assert_eq!(live(&project), 1, "{mode}");
        // Renders go on with what is live; a rollback knows no release that never was one.
        let nothing = project.rmx(&["rollback", "--auto-approve", "--to", "2"]);
        let nothing = nothing.expect_status(1);
        assert!(nothing.stderr.contains("never released it"), "{nothing}");
    }
    let plan = project
        .rmx(&["plan", "--detailed-exitcode"])
        .expect_status(2);
    // What `live` serves is what changes, and not what was tried last.
    let told = "~ environment.SMOKE = \"right\" -> \"crashes\"";
    assert!(plan.stdout.contains(told), "{plan}");
    declare(&project, "right", true);
    passes(&project, APPLY);
    assert_eq!(live(&project), 6);
}

#[test]
fn a_smoke_render_that_is_interrupted_is_no_failure() {
    let project = farm("right", true);
    passes(&project, APPLY);
    declare(&project, "hangs", true);
    let log = project.path().join("log");
    let mut apply = project.spawn(APPLY, Stdio::from(std::fs::File::create(&log).unwrap()));
    let said = || std::fs::read_to_string(&log).unwrap();
    eventually(|| {
        let waits = said().contains("Waiting for version 2 to pass its smoke render");
        let ended = apply.try_wait().unwrap().is_some();
        (waits || ended).then_some(())
    });
    let id = Pid::from_raw(i32::try_from(apply.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    let status = eventually(|| apply.try_wait().unwrap());
    assert_eq!(status.code(), Some(14), "{}", said());
    let told = "Not done: function.worker. function.worker is changed in part.";
    assert!(said().contains(told), "{}", said());
    assert_eq!(live(&project), 1);

    // It is no proof either: who goes on without being asked for one has to give it.
    declare(&project, "crashes", false);
    let owed = "Version 2 of function.worker has not passed its smoke render";
    let plan = project.rmx(&["plan"]).expect_status(0).to_string();
    assert!(plan.contains(owed), "{plan}");
    refused(&project, APPLY, &["did not pass its smoke render"]);
    assert_eq!(live(&project), 1);
    declare(&project, "right", false);
    passes(&project, APPLY);
    let plan = project.rmx(&["plan"]).expect_status(0).to_string();
    assert!(!plan.contains("smoke"), "{plan}");
}

/// Whose environment has `text` in it.
fn processes_with(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        // One that has ended meanwhile has none.
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        if String::from_utf8_lossy(&environment).contains(text) {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn an_apply_that_is_killed_leaves_no_process_of_its_workers() {
    let project = farm("hangs", true);
    let log = project.path().join("log");
    let mut apply = project.spawn(APPLY, Stdio::from(std::fs::File::create(&log).unwrap()));
    let folder = project.path().join(".rmx/local");
    let folder = folder.to_str().unwrap();
    eventually(|| {
        let ended = apply.try_wait().unwrap().is_some();
        assert!(!ended, "{}", std::fs::read_to_string(&log).unwrap());
        // The worker and what it has started.
        (processes_with(folder).len() >= 2).then_some(())
    });
    apply.kill().unwrap();
    apply.wait().unwrap();
    eventually(|| processes_with(folder).is_empty().then_some(()));
}

#[test]
fn a_plan_beside_an_apply_says_who_is_at_it() {
    let project = farm("right", true);
    passes(&project, APPLY);
    declare(&project, "hangs", true);
    let log = project.path().join("log");
    let mut apply = project.spawn(APPLY, Stdio::from(std::fs::File::create(&log).unwrap()));
    let said = || std::fs::read_to_string(&log).unwrap();
    eventually(|| {
        let waits = said().contains("Waiting for version 2 to pass its smoke render");
        let ended = apply.try_wait().unwrap().is_some();
        (waits || ended).then_some(())
    });
    for plan in [
        &["plan", "--detailed-exitcode"][..],
        &["plan", "--refresh-only", "--detailed-exitcode"],
    ] {
        let told = project.rmx(plan).expect_status(11).to_string();
        assert!(told.contains("`rmx apply` of "), "{told}");
    }
    let id = Pid::from_raw(i32::try_from(apply.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    let status = eventually(|| apply.try_wait().unwrap());
    assert_eq!(status.code(), Some(14), "{}", said());
    // Nobody is at it any more.
    let plan = project.rmx(&["plan", "--detailed-exitcode"]);
    assert!(plan.expect_status(2).stdout.contains("function.worker"));
}

#[test]
fn the_gate_is_asked_for_by_the_flag_or_not_at_all() {
    let project = farm("fails", false);
    passes(&project, APPLY);
    assert_eq!(live(&project), 1);
    declare(&project, "crashes", false);
    refused(
        &project,
        &["apply", "--auto-approve", "--smoke"],
        &[
            "version 2 of `rmx-hello`",
            "`live` still points to version 1",
        ],
    );
    // A saved plan is under the same gate.
    drop(project.rmx(&["plan", "--out", "saved"]).expect_status(0));
    refused(
        &project,
        &["apply", "saved", "--smoke"],
        &["version 2", "make a new plan with `rmx plan --out FILE`"],
    );
    assert_eq!(live(&project), 1);
    declare(&project, "right", false);
    passes(&project, APPLY);
    // What is live already has nothing to prove.
    passes(&project, &["apply", "--auto-approve", "--smoke"]);
    assert_eq!(live(&project), 3);
}
