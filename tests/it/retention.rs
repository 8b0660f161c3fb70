//! Which old versions go with an apply, and which stay because something uses them.

use std::time::Duration;

use aws_sdk_lambda::client::Waiters as _;
use bytes::Bytes;
use rmx::cloud::{Cloud, PutOptions};
use serde_json::{Value, json};

use crate::plan::{CONFIG, apply, changes, project};
use crate::recovery::behind_its_back;
use crate::support::aws::AwsProject;
use crate::support::{Output, TestProject};

/// How long Lambda may take to change a function.
const LIMIT: Duration = Duration::from_secs(60);

fn declare(project: &TestProject, timeout_s: u32, keep: u32) {
    let function = format!("[function]\ntimeout_s = {timeout_s}\nkeep_versions = {keep}");
    project.write("remotion.toml", &CONFIG.replace("[function]", &function));
}

/// Numbers of the published versions, newest first.
#[track_caller]
fn versions(project: &TestProject) -> Vec<u64> {
    numbers(&project.rmx(&["versions", "--json"]).expect_status(0))
}

#[track_caller]
fn numbers(output: &Output) -> Vec<u64> {
    let document: Value = serde_json::from_str(&output.stdout).unwrap();
    let versions = document["functions"][0]["versions"].as_array().unwrap();
    let versions = versions.iter().map(|version| version["version"].as_u64());
    versions.collect::<Option<_>>().unwrap()
}

async fn put(cloud: &Cloud, key: &str, document: &Value) {
    let bucket = "rmx-hello-000000000000-us-east-1".parse().unwrap();
    let body = Bytes::from(document.to_string());
    let options = PutOptions::default();
    let written = cloud.put_object(&bucket, key, body, &options).await;
    written.unwrap();
}

/// A render's document, as far as it matters here.
fn running(version: &str, until_ms: u64) -> Value {
    json!({ "running": { "functions": { "rmx-hello": version }, "may_run_until_ms": until_ms } })
}

#[test]
fn old_versions_go_as_the_plan_shows() {
    let project = project();
    for timeout_s in 101..=104 {
        declare(&project, timeout_s, 3);
        apply(&project);
    }
    assert_eq!(versions(&project), [4, 3, 2, 1]);

    declare(&project, 105, 2);
    let plan = changes(&project);
    for line in [
        "      ~ timeout_s    = 104 -> 105\n",
        "      ~ version      = \"4\" -> (known after apply)\n",
        "      ~ old_versions = [1, 2, 3, 4] -> [3, 4]\n",
        "        # (13 unchanged attributes hidden)\n",
    ] {
        assert!(plan.contains(line), "{line} is missing in\n{plan}");
    }
    let planned = project.rmx(&["plan", "--json"]).expect_status(0);
    let document: Value = serde_json::from_str(&planned.stdout).unwrap();
    let function = &document["resource_changes"][3];
    assert_eq!(function["address"], "function.worker");
    assert_eq!(
        function["change"]["old_versions"],
        json!({ "delete": [1, 2], "kept": {} })
    );
    apply(&project);
    assert_eq!(versions(&project), [5, 4, 3]);

    // Keeping fewer is a change of its own, and publishes nothing.
    declare(&project, 105, 1);
    let plan = changes(&project);
    assert!(
        plan.contains("      ~ old_versions = [3, 4] -> [4]\n"),
        "{plan}"
    );
    assert!(!plan.contains("known after apply"), "{plan}");
    apply(&project);
    assert_eq!(versions(&project), [5, 4]);

    // The live one stays, however old, and what it was before it stays too.
    drop(
        project
            .rmx(&["rollback", "--auto-approve"])
            .expect_status(0),
    );
    declare(&project, 106, 1);
    apply(&project);
    assert_eq!(versions(&project), [6, 4]);
    drop(
        project
            .rmx(&["rollback", "--auto-approve"])
            .expect_status(0),
    );
    assert_eq!(versions(&project), [6, 4]);
}

#[test]
fn back_from_a_rollback_no_version_is_made_and_as_many_stay() {
    let project = project();
    for timeout_s in 101..=103 {
        declare(&project, timeout_s, 2);
        apply(&project);
    }
    assert_eq!(versions(&project), [3, 2, 1]);
    drop(
        project
            .rmx(&["rollback", "--auto-approve"])
            .expect_status(0),
    );
    let plan = changes(&project);
    assert!(!plan.contains("old_versions"), "{plan}");
    apply(&project);
    assert_eq!(versions(&project), [3, 2, 1]);
    // Version 3 is live again: another one takes its place, and the oldest goes.
    declare(&project, 104, 2);
    apply(&project);
    assert_eq!(versions(&project), [4, 3, 2]);
}

#[test]
fn what_a_running_render_or_another_alias_uses_stays() {
    let project = project();
    for timeout_s in 101..=106 {
        declare(&project, timeout_s, 10);
        apply(&project);
    }
    let far = 99_999_999_999_999;
    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/going/render.json", &running("1", far)).await;
        put(
            &cloud,
            "renders/going/segments/0000000-0000019.mp4",
            &json!(1),
        )
        .await;
        put(&cloud, "renders/over/render.json", &running("2", 1)).await;
        put(
            &cloud,
            "renders/other/render.json",
            &json!({ "running": { "functions": { "another": "3" }, "may_run_until_ms": far } }),
        )
        .await;
        put(&cloud, "renders/done/out.mp4", &json!(1)).await;
    });
    declare(&project, 106, 2);
    let kept = "Version 1 of function.worker is kept: in use by render going.\n";
    let plan = changes(&project);
    assert!(
        plan.contains("      ~ old_versions = [1, 2, 3, 4, 5] -> [1, 4, 5]\n"),
        "{plan}"
    );
    assert!(plan.contains(kept), "{plan}");
    drop(project.rmx(&["plan", "--out", "saved"]).expect_status(0));

    // A render that begins after the plan was made keeps its version, whatever the plan says.
    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/late/render.json", &running("3", far)).await;
    });
    drop(project.rmx(&["apply", "saved"]).expect_status(0));
    assert_eq!(versions(&project), [6, 5, 4, 3, 1]);
    let nothing = project
        .rmx(&["plan", "--detailed-exitcode"])
        .expect_status(0);
    assert!(nothing.stdout.contains(kept), "{nothing}");

    // The renders end, one of them in a way that nobody can read.
    behind_its_back(&project, async |cloud| {
        let bucket = "rmx-hello-000000000000-us-east-1".parse().unwrap();
        let gone = [
            "renders/going/render.json".to_owned(),
            "renders/going/segments/0000000-0000019.mp4".to_owned(),
        ];
        cloud.delete_objects(&bucket, &gone).await.unwrap();
        put(
            &cloud,
            "renders/late/render.json",
            &json!({ "from": "another rmx" }),
        )
        .await;
    });
    let unclear = project
        .rmx(&["plan", "--detailed-exitcode"])
        .expect_status(0);
    assert!(
        unclear.stdout.contains("in use by render late"),
        "{unclear}"
    );
    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/late/render.json", &running("3", 1)).await;
    });
    assert!(changes(&project).contains("      ~ old_versions = [1, 3, 4, 5] -> [4, 5]\n"));
    apply(&project);
    assert_eq!(versions(&project), [6, 5, 4]);
}

/// Renders begin and end all the time: a plan that waits for its approval is none the worse for it.
#[test]
fn a_saved_plan_deletes_what_it_showed_whichever_renders_ended_since() {
    let project = project();
    for timeout_s in 101..=104 {
        declare(&project, timeout_s, 10);
        apply(&project);
    }
    let far = 99_999_999_999_999;
    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/going/render.json", &running("1", far)).await;
    });
    declare(&project, 104, 1);
    drop(project.rmx(&["plan", "--out", "saved"]).expect_status(0));
    declare(&project, 105, 1);
    drop(project.rmx(&["plan", "--out", "changing"]).expect_status(0));
    let ends = || {
        behind_its_back(&project, async |cloud| {
            put(&cloud, "renders/going/render.json", &running("1", 1)).await;
        });
    };

    declare(&project, 104, 1);
    ends();
    drop(project.rmx(&["apply", "saved"]).expect_status(0));
    assert_eq!(versions(&project), [4, 3, 1], "1 was not shown to go");
    // What somebody else did is another matter.
    declare(&project, 105, 1);
    let stale = project.rmx(&["apply", "changing"]).expect_status(10);
    assert!(stale.stderr.contains("the state was written"), "{stale}");
    apply(&project);
    assert_eq!(versions(&project), [5, 4]);
    // Nothing to do when it was saved is nothing to do now.
    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/going/render.json", &running("4", far)).await;
    });
    declare(&project, 106, 1);
    apply(&project);
    drop(project.rmx(&["plan", "--out", "saved"]).expect_status(0));
    behind_its_back(&project, async |cloud| {
        put(&cloud, "renders/going/render.json", &running("4", 1)).await;
    });
    drop(project.rmx(&["apply", "saved"]).expect_status(0));
    assert_eq!(versions(&project), [6, 5, 4]);
}

/// On the embedded cloud as if it were AWS: a farm with three versions, of which two are to go.
async fn three_versions() -> AwsProject {
    let aws = AwsProject::start("").await;
    for timeout_s in 101..=104 {
        aws.configure(&format!("keep_versions = 10\ntimeout_s = {timeout_s}"));
        drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    }
    aws.configure("keep_versions = 1\ntimeout_s = 104");
    aws
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_may_delete_is_told_and_stays_without_another_plan() {
    let mut aws = three_versions().await;
    let statements =
        json!([{ "Effect": "Allow", "NotAction": "lambda:DeleteFunction", "Resource": "*" }]);
    let role = aws.role("deploy", "/", statements).await;
    aws.become_role(&role).await;
    let applied = aws.rmx(&["apply", "--auto-approve"]).expect_status(0);
    for version in 1..=2 {
        let told =
            format!("function.worker: Version {version} is kept: could not delete a version");
        assert!(
            applied.stderr.contains(&told),
            "{told} is missing in\n{applied}"
        );
    }
    let planned = aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0);
    let told = "Version 1 of function.worker is kept: its deletion was denied.";
    assert!(planned.stdout.contains(told), "{planned}");

    // Neither does what only records or moves `live`.
    drop(aws.rmx(&["rollback", "--auto-approve"]).expect_status(0));
    let forward = ["rollback", "--auto-approve", "--to", "4"];
    drop(aws.rmx(&forward).expect_status(0));
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
    let refresh = ["apply", "--refresh-only", "--auto-approve"];
    drop(aws.rmx(&refresh).expect_status(0));
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));

    // A change that keeps another record does not forget it, and the next version tries again.
    aws.configure("keep_versions = 1\ntimeout_s = 104\nprotect = true");
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
    aws.configure("keep_versions = 1\ntimeout_s = 105");
    let applied = aws
        .rmx(&["apply", "--auto-approve", "--json"])
        .expect_status(0);
    let told = "function.worker: Version 3 is kept: ";
    assert!(applied.stdout.contains(told), "{applied}");
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
    aws.allow(
        "deploy",
        json!([{ "Effect": "Allow", "Action": "*", "Resource": "*" }]),
    )
    .await;
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
    aws.configure("keep_versions = 1\ntimeout_s = 106");
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    assert_eq!(
        numbers(&aws.rmx(&["versions", "--json"]).expect_status(0)),
        [6, 5]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_takes_a_share_of_an_alias_is_in_use() {
    let aws = three_versions().await;
    let routing = aws_sdk_lambda::types::AliasRoutingConfiguration::builder()
        .additional_version_weights("2", 0.1)
        .build();
    let made = aws
        .lambda()
        .create_alias()
        .function_name("rmx-hello")
        .name("canary")
        .function_version("4")
        .routing_config(routing)
        .send();
    made.await.unwrap();
    let planned = aws.rmx(&["plan"]).expect_status(0);
    let told = "Version 2 of function.worker is kept: in use by alias canary.";
    assert!(planned.stdout.contains(told), "{planned}");
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    assert_eq!(
        numbers(&aws.rmx(&["versions", "--json"]).expect_status(0)),
        [4, 3, 2]
    );
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_starts_something_else_is_not_published_again() {
    let aws = three_versions().await;
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    // By hand, and all else is as configured.
    let lambda = aws.lambda();
    let changed = lambda
        .update_function_configuration()
        .function_name("rmx-hello")
        .handler("other")
        .send();
    changed.await.unwrap();
    let updated = lambda.wait_until_function_updated_v2();
    let updated = updated.function_name("rmx-hello").wait(LIMIT).await;
    assert!(updated.is_ok(), "{updated:?}");
    let published = lambda.publish_version().function_name("rmx-hello").send();
    assert_eq!(published.await.unwrap().version.as_deref(), Some("5"));
    let planned = aws.rmx(&["plan"]).expect_status(0);
    let told = "old_versions = [3, 4, 5] -> [4]";
    assert!(planned.stdout.contains(told), "{planned}");
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    assert_eq!(
        numbers(&aws.rmx(&["versions", "--json"]).expect_status(0)),
        [6, 4]
    );
    drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
}
