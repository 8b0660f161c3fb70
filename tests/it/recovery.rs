//! What happens beside the straight way: two at once, kills, interrupts, failures, changes behind rmx's back.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rmx::cloud::{Cloud, Connection, PutOptions, StaticCredentials, Timeouts};
use rmx::local::LocalOptions;
use rmx::state::{Holder, StateStore};

use crate::plan::{CONFIG, apply, changes, project};
use crate::support::TestProject;

const BUCKET: &str = "rmx-hello-000000000000-us-east-1";

pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}

/// Does `work` to the cloud of a project, as another program would.
pub(crate) fn behind_its_back<W: Future<Output = ()>>(
    project: &TestProject,
    work: impl FnOnce(Cloud) -> W,
) {
    let options = LocalOptions {
        directory: project.path().join(".rmx/local"),
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
        faults: Default::default(),
        worker_environment: Default::default(),
        isolation: None,
        node: None,
    };
    block_on(async {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .unwrap();
        let running = rmx::local::start(options, listener).await.unwrap();
        let credentials = running.credentials();
        let connection = Connection {
            region: "us-east-1".parse().unwrap(),
            endpoint_url: Some(running.endpoint_url().to_owned()),
            credentials: Some(StaticCredentials {
                access_key_id: credentials.access_key_id.clone(),
                secret_access_key: credentials.secret_access_key.clone(),
                session_token: None,
            }),
            timeouts: Timeouts::default(),
        };
        work(Cloud::connect(&connection).await).await;
        running.shutdown().await;
    });
}

async fn put(cloud: &Cloud, key: &str, text: &'static str) {
    let body = Bytes::from_static(text.as_bytes());
    let bucket = BUCKET.parse().unwrap();
    cloud
        .put_object(&bucket, key, body, &PutOptions::default())
        .await
        .unwrap();
}

#[test]
fn changes_behind_its_back_are_told_and_put_back() {
    let project = project();
    apply(&project);
    behind_its_back(&project, async |cloud| {
        cloud
            .delete_log_group(&"/aws/lambda/rmx-hello".parse().unwrap())
            .await
            .unwrap();
        let bucket = BUCKET.parse().unwrap();
        cloud.set_block_public_access(&bucket, false).await.unwrap();
        put(&cloud, "sites/page/index.html", "<p>spoiled</p>").await;
        cloud
            .delete_objects(&bucket, &["sites/page/a.js".to_owned()])
            .await
            .unwrap();
        // Renders are not rmx's to put back.
        put(&cloud, "renders/1/out.mp4", "video").await;
    });
    let plan = changes(&project);
    for line in [
        "Note: Objects have changed outside of rmx",
        "  # log_group.main has been deleted",
        "  # bucket.main has changed",
        "      ~ block_public_access = true -> false",
        "  # log_group.main will be created",
        "      ~ block_public_access = false -> true",
        "      + file \"a.js\"",
        "      ~ file \"index.html\"",
        "Plan: 1 to add, 2 to change, 0 to destroy.",
    ] {
        assert!(plan.contains(line), "{line} is missing in\n{plan}");
    }
    apply(&project);

    behind_its_back(&project, async |cloud| {
        cloud
            .delete_function(&"rmx-hello".parse().unwrap())
            .await
            .unwrap();
    });
    assert!(changes(&project).contains("Plan: 1 to add, 0 to change, 0 to destroy."));
    apply(&project);
}

#[test]
fn a_name_that_is_taken_is_not_touched() {
    let project = project();
    behind_its_back(&project, async |cloud| {
        cloud.create_bucket(&BUCKET.parse().unwrap()).await.unwrap();
        put(&cloud, "mine", "untouched").await;
    });
    let output = project.rmx(&["apply", "--auto-approve"]).expect_status(1);
    for words in [BUCKET, "carries no tag `rmx:stack`", "rename the project"] {
        assert!(
            output.stderr.contains(words),
            "{words} is missing in\n{output}"
        );
    }
    assert!(!project.path().join(".rmx/state/default.json").exists());
}

#[test]
fn what_would_be_lost_is_told_before_anything_is_done() {
    let project = project();
    apply(&project);
    let empty = project.rmx(&["plan", "--destroy", "--json"]);
    let empty: serde_json::Value = serde_json::from_str(&empty.expect_status(0).stdout).unwrap();
    assert_eq!(empty["data_loss"], serde_json::json!([]));

    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/1/out.mp4", "video").await;
        put(&cloud, "renders/2/out.mp4", "video 2").await;
    });
    let output = project
        .rmx(&["destroy", "--auto-approve"])
        .expect_status(13);
    for words in [
        "bucket.main holds 2 objects",
        "(12 B), such as `renders/1/out.mp4`",
        "Nothing was done",
        "--delete-data",
        "force_destroy",
    ] {
        assert!(
            output.stderr.contains(words),
            "{words} is missing in\n{output}"
        );
    }
    let left = project.rmx(&["state", "list"]).expect_status(0).stdout;
    assert_eq!(left.lines().count(), 5, "{left}");
    // A plan ends as its apply would, and says where the flag belongs.
    let save = ["plan", "--destroy", "--out", "refused.rmx"];
    let planned = project.rmx(&save).expect_status(13);
    let hint = "`rmx plan --delete-data --out FILE`";
    assert!(planned.stderr.contains(hint), "{planned}");
    assert!(!planned.stdout.contains("rmx apply"), "{planned}");
    let shown = project.rmx(&["show", "refused.rmx", "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown.expect_status(0).stdout).unwrap();
    assert_eq!(shown["applyable"], false);
    assert_eq!(shown["refusals"][0]["rule"], "delete_data");
    let refused = project.rmx(&["apply", "refused.rmx"]).expect_status(13);
    assert!(refused.stderr.contains(hint), "{refused}");
    // Replacing it loses them as well.
    let replace = ["apply", "--auto-approve", "--replace", "bucket.main"];
    drop(project.rmx(&replace).expect_status(13));
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );

    // Agreed to in a saved plan: whoever reads it sees what goes, and that it may.
    let save = ["plan", "--destroy", "--delete-data", "--out", "plan.rmx"];
    drop(project.rmx(&save).expect_status(0));
    let shown = project.rmx(&["show", "plan.rmx"]).expect_status(0);
    assert!(
        shown.stdout.contains("bucket.main holds 2 objects"),
        "{shown}"
    );
    drop(project.rmx(&["apply", "plan.rmx"]).expect_status(0));
    assert_eq!(project.rmx(&["state", "list"]).expect_status(0).stdout, "");
}

#[test]
fn what_the_configuration_gives_away_needs_no_flag() {
    let project = project();
    project.write(
        "remotion.toml",
        &format!("{CONFIG}[bucket]\nforce_destroy = true\n"),
    );
    apply(&project);
    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/1/out.mp4", "video").await;
    });
    drop(project.rmx(&["destroy", "--auto-approve"]).expect_status(0));
    assert_eq!(project.rmx(&["state", "list"]).expect_status(0).stdout, "");
}

#[test]
fn two_at_once_are_one_too_many() {
    let project = project();
    apply(&project);
    let project_name = "hello".parse().unwrap();
    let store = StateStore::new(project.path(), &project_name, None);
    let surroundings = rmx::env::Env::read().unwrap();
    let holder = Holder::new(&surroundings, "rmx destroy");
    let locked = block_on(store.lock(&holder)).unwrap();
    let output = project.rmx(&["apply", "--auto-approve"]).expect_status(11);
    assert!(
        output.stderr.contains("is locked by `rmx destroy` of"),
        "{output}"
    );
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    drop(locked);
    apply(&project);
}

/// Signal 9 at ever later moments, until an apply comes to its end before it. Whatever was under way, the next apply
/// goes on from there.
#[test]
fn a_killed_apply_is_finished_by_the_next_one() {
    for pause_ms in [0, 60, 90, 120, 160, 200, 260, 340, 450, 600] {
        let project = project();
        let mut child = project.spawn(&["apply", "--auto-approve"], Stdio::null());
        std::thread::sleep(Duration::from_millis(pause_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        apply(&project);
        drop(project.rmx(&["destroy", "--auto-approve"]).expect_status(0));
        let left = project
            .rmx(&["plan", "--destroy", "--detailed-exitcode"])
            .expect_status(0);
        assert!(
            left.stdout.contains("No objects need to be destroyed."),
            "{left}"
        );
    }
}

#[test]
fn an_interrupted_apply_ends_with_14_and_goes_on_later() {
    let project = project();
    // Enough that the site cannot be done before the signal arrives.
    for index in 0..600 {
        project.write(&format!("page/{index}.js"), &index.to_string());
    }
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::TERM] {
        let mut child = Reaped(project.spawn(&["apply", "--auto-approve"], Stdio::piped()));
        let mut lines = BufReader::new(child.0.stderr.take().unwrap()).lines();
        let begun = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.contains("Creating..."));
        assert!(begun.is_some());
        let id = rustix::process::Pid::from_child(&child.0);
        rustix::process::kill_process(id, signal).unwrap();
        let said: Vec<String> = lines.map(Result::unwrap).collect();
        assert_eq!(child.0.wait().unwrap().code(), Some(14), "{said:?}");
        assert!(
            said.iter()
                .any(|line| line.contains("run the same command again")),
            "{said:?}"
        );
        assert!(changes(&project).contains("# site.page will be created"));
    }
    apply(&project);
}

/// Killed, if the test fails before its end.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}
