//! Plans that are refused by policy: shown, named, and nothing done.

use rmx::cloud::Cloud;
use rmx::names::RoleName;
use serde_json::{Value, json};

use crate::plan::{CONFIG, apply, project};
use crate::recovery::behind_its_back;
use crate::support::TestProject;

#[track_caller]
fn refused(project: &TestProject, arguments: &[&str], why: &[&str]) {
    let output = project.rmx(arguments).expect_status(16);
    for why in why {
        assert!(output.stderr.contains(why), "{why} is missing in\n{output}");
    }
    assert!(!output.stderr.contains("complete after"), "{output}");
    assert!(
        output.stdout.contains("Plan: "),
        "it is shown all the same: {output}"
    );
}

#[test]
fn destruction_and_replacement_can_be_denied() {
    let project = project();
    let guarded = format!("{CONFIG}[policy]\ndeny = [\"replace\"]\n");
    project.write("remotion.toml", &guarded);
    apply(&project);
    project.write(
        "remotion.toml",
        &format!("{guarded}[bucket]\nname = \"my-own-bucket\"\n"),
    );
    let why = [
        "`replace` forbids that bucket.main is replaced because of name",
        "`replace` forbids that site.page is replaced because of bucket",
    ];
    refused(&project, &["plan", "--out", "p"], &why);
    refused(&project, &["apply", "--auto-approve"], &why);
    refused(&project, &["apply", "p"], &why);
    project.write("remotion.toml", &guarded);
    let why = ["`destroy` forbids that function.worker is destroyed"];
    refused(
        &project,
        &["destroy", "--auto-approve", "--deny", "destroy"],
        &why,
    );
    drop(
        project
            .rmx(&["plan", "--deny", "destruction"])
            .expect_status(64),
    );
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode", "--deny", "destroy"])
            .expect_status(0),
    );
}

#[test]
fn a_role_that_may_do_more_is_told_and_can_be_denied() {
    let project = project();
    apply(&project);
    let role: RoleName = "rmx-hello-us-east-1".parse().unwrap();
    let rewrite = |cut: fn(&mut Vec<Value>)| {
        let name = role.clone();
        behind_its_back(&project, async move |cloud: Cloud| {
            let found = cloud.role(&name).await.unwrap().unwrap();
            let mut policy = found.policy.unwrap();
            cut(policy["Statement"].as_array_mut().unwrap());
            cloud.put_role_policy(&name, &policy).await.unwrap();
        });
    };

    rewrite(|statements| drop(statements.pop()));
    let planned = project.rmx(&["plan", "--json"]).expect_status(0);
    let document: Value = serde_json::from_str(&planned.stdout).unwrap();
    let iam = &document["resource_changes"][1]["change"]["iam"];
    assert_eq!(
        *iam,
        json!({ "policy": "widened", "trust_policy": "equal", "widened": ["policy"] })
    );
    let planned = project.rmx(&["plan"]).expect_status(0);
    assert_eq!(
        planned.stdout.matches(" # widened\n").count(),
        1,
        "{planned}"
    );
    let planned = project
        .rmx(&["plan", "--format", "markdown"])
        .expect_status(0);
    assert!(
        planned
            .stdout
            .contains("> This plan widens what a role may do.\n"),
        "{planned}"
    );
    refused(
        &project,
        &["plan", "--deny", "iam-widen"],
        &["`iam-widen` forbids that role.main is widened: policy"],
    );

    // Taking away what somebody else granted is no such thing.
    apply(&project);
    rewrite(|statements| {
        statements.push(json!({ "Effect": "Allow", "Action": "s3:*", "Resource": "*" }));
    });
    let planned = project
        .rmx(&["plan", "--deny", "iam-widen"])
        .expect_status(0);
    assert!(
        planned.stdout.contains("- Allow s3:* on * # narrowed\n"),
        "{planned}"
    );
}

#[test]
fn a_public_bucket_is_not_recorded_as_wanted() {
    let project = project();
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let bucket = "rmx-hello-000000000000-us-east-1".parse().unwrap();
        cloud.set_block_public_access(&bucket, false).await.unwrap();
    });
    refused(
        &project,
        &[
            "apply",
            "--refresh-only",
            "--auto-approve",
            "--deny",
            "public-bucket",
        ],
        &["`public-bucket` forbids that bucket.main may be public"],
    );
    drop(
        project
            .rmx(&["plan", "--deny", "public-bucket"])
            .expect_status(0),
    );
}
