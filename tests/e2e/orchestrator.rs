//! Renders that an orchestrator in a Lambda drives, while its workers die, fall silent or are refused: each ends finished, or failed
//! with a reason, and what failed is finished by a resume.

use std::process::Command;

use rmx::local::Faults;

use crate::clients::{Serve, chunks_done};
use crate::failures::{kill, nasty, numbers};
use crate::farm::Farm;

const SLOW: [&str; 5] = [
    "render",
    "Slow",
    "slow.mp4",
    "--frames-per-lambda=10",
    "--detach",
];

/// Runs `rmx`, which must succeed, and gives back what it printed.
fn said(farm: &Farm, arguments: &[&str]) -> String {
    let output = farm.rmx(arguments);
    let said = String::from_utf8(output.stdout).unwrap();
    said.trim_end().to_owned()
}

fn detached(farm: &Farm, more: &[&str]) -> String {
    said(farm, &[&SLOW[..], more].concat())
}

/// The film of a render that is done.
#[track_caller]
fn assert_whole(farm: &Farm, id: &str) {
    let film = farm.cloud_object(&format!("{id}%2Fslow%2Emp4")).unwrap();
    assert_eq!(numbers(&film), Vec::from_iter(0..80));
}

/// The function processes that encode: those that are within a chunk. A browser is no sign of it: one stays with a worker that waits
/// for work, and with an orchestrator that was a worker before.
fn workers(farm: &Farm) -> Vec<u32> {
    let functions = farm.processes("bootstrap");
    let mut found = Vec::new();
    for mut process in farm.processes("-progress") {
        // An encoder may be started by way of others.
        for _ in 0..4 {
            let status = std::fs::read_to_string(format!("/proc/{process}/status"));
            let status = status.unwrap_or_default();
            let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
            let Some(parent) = parent.and_then(|parent| parent.trim().parse().ok()) else {
                break;
            };
            process = parent;
            if functions.contains(&process) {
                found.push(process);
                break;
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The workers that render, somewhere within their chunks.
fn busy_workers(farm: &Farm, id: &str) -> Vec<u32> {
    let mut busy = Vec::new();
    let mut wait = || {
        farm.wait_until("a worker encodes", |farm| {
            busy = workers(farm);
            !busy.is_empty()
        });
    };
    wait();
    // None of the eight is done sooner than this, and the eight have two cores or so.
    let random = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), id);
    std::thread::sleep(std::time::Duration::from_millis(random % 400));
    wait();
    busy
}

#[test]
fn a_worker_that_is_killed_or_falls_silent_is_replaced_and_a_failure_is_finished_later() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);

    let id = detached(&farm, &[]);
    kill(&busy_workers(&farm, &id)[..1]);
    said(&farm, &["renders", "watch", &id]);
    assert_whole(&farm, &id);

    let id = detached(&farm, &[]);
    let silent = busy_workers(&farm, &id)[0].to_string();
    assert!(
        Command::new("kill")
            .args(["-STOP", &silent])
            .status()
            .unwrap()
            .success()
    );
    said(&farm, &["renders", "watch", &id]);
    assert_whole(&farm, &id);
    kill(&[silent.parse().unwrap()]);

    let id = detached(&farm, &["--max-retries=0"]);
    kill(&busy_workers(&farm, &id));
    let (code, failed) = farm.refused(&["renders", "watch", &id]);
    assert_eq!(code, 1);
    assert!(failed.contains("is failed"), "{failed}");
    let before = chunks_done(&farm, &id);
    assert!(before.len() < 8, "{before:?}");
    said(&farm, &["renders", "resume", &id]);
    said(&farm, &["renders", "watch", &id]);
    assert_whole(&farm, &id);
    drop(serve);
    farm.assert_quiet();
}

/// The official function ends a render at the first such answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_render_of_which_every_third_invocation_is_refused_is_finished() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let faults = Faults::default();
    let running = farm.cloud(&faults).await;
    running.announce().unwrap();
    let id = detached(&farm, &[]);
    faults.throttle_invocations(3);
    said(&farm, &["renders", "watch", &id]);
    assert_whole(&farm, &id);
    // The lookup and eight chunks, and for every two that were taken one that was not.
    assert!(faults.invocations() >= 11, "{}", faults.invocations());
    running.shutdown().await;
    farm.assert_quiet();
}
