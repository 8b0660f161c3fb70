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
    // Whoever reads the saved plan is told as well.
    let shown = |format: &[&str]| {
        let arguments: Vec<&str> = ["show", "p"].iter().chain(format).copied().collect();
        project.rmx(&arguments).expect_status(0).stdout
    };
    let text = shown(&[]);
    let comment = shown(&["--format", "markdown"]);
    for why in why {
        assert!(text.contains(&format!("  - {why}\n")), "{text}");
        assert!(comment.contains(&format!("\n> - {why}\n")), "{comment}");
    }
    assert!(
        comment.contains("\n> [!CAUTION]\n> This plan is refused:\n"),
        "{comment}"
    );
    let document: Value = serde_json::from_str(&shown(&["--json"])).unwrap();
    assert_eq!(document["applyable"], false);
    assert_eq!(
        document["refusals"][0],
        json!({ "rule": "replace", "address": "bucket.main", "detail": "is replaced because of name" })
    );
    let planned = project.rmx(&["plan", "--out", "p"]).expect_status(16);
    assert!(
        !planned.stdout.contains("run the following command"),
        "{planned}"
    );
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

/// The rules were of the command that made the plan, and the one that applies it does not repeat them.
#[test]
fn a_plan_that_was_refused_stays_refused() {
    let project = project();
    apply(&project);
    let plan = ["plan", "--out", "p", "--replace", "site.page"];
    let why = ["`replace` forbids that site.page is replaced"];
    let denied = [&plan[..], &["--deny", "replace"]].concat();
    refused(&project, &denied, &why);
    refused(&project, &["apply", "p"], &why);
    drop(project.rmx(&plan).expect_status(0));
    drop(project.rmx(&["apply", "p"]).expect_status(0));
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
        json!({ "policy": "widened", "trust_policy": "equal", "other_policies": "equal",
            "attached_policies": "equal", "widened": ["policy"] })
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
            .contains("> This plan widens what a role may do, or gives a function another role.\n"),
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

/// What the other role may do is not looked up: it may be everything.
#[test]
fn another_role_of_a_function_counts_as_wider() {
    let project = project();
    apply(&project);
    let role = "arn:aws:iam::000000000000:role/Admin";
    project.write(
        "remotion.toml",
        &format!("{CONFIG}[role]\narn = \"{role}\"\n"),
    );
    let plan = ["plan", "--skip-preflight"];
    let planned = project.rmx(&plan).expect_status(0);
    let line = format!("-> \"{role}\" # widened: roles are not compared\n");
    assert!(planned.stdout.contains(&line), "{planned}");
    let arguments = [&plan[..], &["--format", "markdown"]].concat();
    let planned = project.rmx(&arguments).expect_status(0);
    assert!(
        planned
            .stdout
            .contains("> This plan widens what a role may do, or gives a function another role.\n"),
        "{planned}"
    );
    let planned = project
        .rmx(&[&plan[..], &["--json"]].concat())
        .expect_status(0);
    let document: Value = serde_json::from_str(&planned.stdout).unwrap();
    let changes = document["resource_changes"].as_array().unwrap().iter();
    let widened: Vec<(&Value, &Value)> = changes
        .map(|change| (&change["address"], &change["change"]["iam"]["widened"]))
        .filter(|(_, widened)| !widened.is_null())
        .collect();
    assert_eq!(widened, [(&json!("function.worker"), &json!(["role"]))]);
    refused(
        &project,
        &[&plan[..], &["--deny", "iam-widen"]].concat(),
        &["`iam-widen` forbids that function.worker gets another role, and roles are not compared"],
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

#[test]
fn a_minute_of_video_may_have_its_price() {
    let project = project();
    let config = |function: &str, more: &str| {
        let text = CONFIG.replace("[function]\n", &format!("[function]\n{function}\n"));
        project.write("remotion.toml", &format!("{text}{more}"));
    };
    let cost = || -> Value {
        let planned = project.rmx(&["plan", "--json"]);
        let document: Value = serde_json::from_str(&planned.stdout).unwrap();
        document["cost"].clone()
    };
    config("architecture = \"x86_64\"", "");
    let planned = project.rmx(&["plan"]).expect_status(0);
    // 240 s of 2 GB and 1.5 GB of disk, 82 requests.
    for told in [
        "  $0.0080 on AWS in us-east-1; nothing on the local target\n",
        "at 240 seconds of workers (assumed; measure yours",
        "150 workers at once; the account runs 1000: 6 such renders at once",
        "list prices of 2026-11",
    ] {
        assert!(
            planned.stdout.contains(told),
            "{told} is missing in\n{planned}"
        );
    }
    apply(&project);
    let measured = "[render]\nworker_seconds_per_minute = 100\nconcurrency = 20\n";
    config("architecture = \"x86_64\"\nmemory_mb = 4096", measured);
    let planned = project.rmx(&["plan"]).expect_status(0);
    assert!(
        planned
            .stdout
            .contains("$0.0033 -> $0.0067 (+100 %) on AWS"),
        "{planned}"
    );
    assert!(planned.stdout.contains("20 workers at once"), "{planned}");
    let markdown = project
        .rmx(&["plan", "--format", "markdown"])
        .expect_status(0);
    assert!(
        markdown
            .stdout
            .contains("\nCost of a minute of video: $0.0033 -> $0.0067"),
        "{markdown}"
    );
    let told = cost();
    assert_eq!(
        told["shape"],
        json!({ "worker_seconds_per_minute": 100, "assumed": false,
        "requests_per_minute": 20, "workers_per_render": 20 })
    );
    let difference = told["after_usd"].as_f64().unwrap() - 4.0 * 100.0 * 0.000_016_666_7;
    assert!((0.0..0.000_01).contains(&difference), "{told}");

    let limit = "[policy]\nmax_cost_per_minute_usd = 0.005\n";
    config(
        "architecture = \"x86_64\"\nmemory_mb = 4096",
        &format!("{measured}{limit}"),
    );
    let why =
        ["`max_cost_per_minute_usd` forbids that function.worker costs $0.0067 a minute of video"];
    refused(&project, &["plan"], &why);
    refused(&project, &["apply", "--auto-approve"], &why);
    config("architecture = \"x86_64\"", &format!("{measured}{limit}"));
    drop(project.rmx(&["plan"]).expect_status(0));
    // What is there already at that price may stay, and become cheaper; only dearer it may not become.
    let shape = |memory_mb| format!("architecture = \"x86_64\"\nmemory_mb = {memory_mb}");
    config(&shape(4096), measured);
    drop(project.rmx(&["apply", "--auto-approve"]).expect_status(0));
    config(&shape(4096), &format!("{measured}{limit}"));
    drop(project.rmx(&["plan"]).expect_status(0));
    config(&shape(3584), &format!("{measured}{limit}"));
    drop(project.rmx(&["plan"]).expect_status(0));
    config(&shape(4608), &format!("{measured}{limit}"));
    refused(&project, &["plan"], &["`max_cost_per_minute_usd`"]);
    // What nobody knows is not agreed to, and what goes costs nothing.
    project.write(
        "remotion.toml",
        &format!("region = \"mars-north-1\"\n{CONFIG}{limit}")
            .replace("[function]", "[function]\narchitecture = \"x86_64\""),
    );
    std::fs::remove_dir_all(project.path().join(".rmx")).unwrap();
    refused(
        &project,
        &["plan"],
        &["no list price in USD is known for mars-north-1"],
    );
}
