//! Farms whose function is Remotion's own: what is planned and applied around its zip, whatever is in that.

use serde_json::{Value, json};

use crate::plan::apply;
use crate::preflight::fewest_round_trips;
use crate::recovery::behind_its_back;
use crate::renders::progress;
use crate::support::TestProject;
use crate::support::aws::{AwsProject, allow};

const PACKAGE: &str = "node_modules/@remotion/lambda";
const BUCKET: &str = "remotionlambda-useast1-0123456789";

fn config(worker: &str) -> String {
    format!(
        "project = \"official\"\n[function]\nworker = \"{worker}\"\nname = \"remotion-render-mine\"\n\
         [bucket]\nname = \"{BUCKET}\"\n[[site]]\nname = \"page\"\nfolder = \"page\"\n"
    )
}

/// A zip with one empty file, as any tool writes it.
fn zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    zip.start_file("index.js", options).unwrap();
    zip.finish().unwrap().into_inner()
}

fn project() -> TestProject {
    let project = TestProject::new();
    project.write("remotion.toml", &config("remotion"));
    project.write("page/index.html", "<p>1</p>");
    install(&project);
    project
}

/// The package of npm, with a zip in which nothing runs.
fn install(project: &TestProject) {
    let version = json!({ "name": "@remotion/lambda", "version": "4.0.527" });
    project.write(&format!("{PACKAGE}/package.json"), &version.to_string());
    let path = format!("{PACKAGE}/remotionlambda-arm64.zip");
    std::fs::write(project.path().join(path), zip()).unwrap();
}

fn planned(project: &TestProject) -> Vec<Value> {
    let plan = project.rmx(&["plan", "--format", "json"]).expect_status(0);
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    let changes = plan["resource_changes"].as_array().unwrap();
    let changed = changes
        .iter()
        .filter(|change| change["change"]["actions"] != json!(["no-op"]));
    changed.cloned().collect()
}

#[test]
fn what_is_made_around_it_is_what_its_own_tool_makes() {
    let project = project();
    let made = planned(&project);
    let after = |kind: &str| {
        let found = made.iter().find(|change| change["type"] == kind);
        found.unwrap()["change"]["after"].clone()
    };
    let function = after("function");
    assert_eq!(function["runtime"], "nodejs24.x");
    assert_eq!(function["handler"], "index.handler");
    assert_eq!(function["architecture"], "arm64");
    let pinned = function["runtime_version_arn"].as_str().unwrap();
    assert!(
        pinned.starts_with("arn:aws:lambda:us-east-1::runtime:58a37e84"),
        "{pinned}"
    );
    assert_eq!(function["layers"].as_array().unwrap().len(), 4);
    assert_eq!(after("role")["name"], "remotion-lambda-role");
    let bucket = after("bucket");
    for (field, wanted) in [
        ("block_public_access", false),
        ("owner_enforced", false),
        ("public_read", true),
    ] {
        assert_eq!(bucket[field], wanted, "{field}");
    }
    apply(&project);
    assert_eq!(planned(&project), [] as [Value; 0]);

    // A rule that says so keeps it from being made.
    let guarded = format!(
        "{}[policy]\ndeny = [\"public-bucket\"]\n",
        config("remotion")
    );
    project.write("remotion.toml", &guarded);
    behind_its_back(&project, async |cloud| {
        cloud
            .set_public_read(&BUCKET.parse().unwrap(), false)
            .await
            .unwrap();
    });
    let refused = project.rmx(&["plan"]).expect_status(16).to_string();
    assert!(refused.contains("`public-bucket` forbids"), "{refused}");
}

#[test]
fn drift_of_what_is_its_own_is_seen_and_mended() {
    let project = project();
    apply(&project);
    behind_its_back(&project, async |cloud| {
        cloud
            .set_public_read(&BUCKET.parse().unwrap(), false)
            .await
            .unwrap();
    });
    let changes = planned(&project);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!(changes[0]["address"], "bucket.main");
    assert_eq!(changes[0]["change"]["before"]["public_read"], false);
    apply(&project);
    assert_eq!(planned(&project), [] as [Value; 0]);

    let name = "remotion-render-mine".parse().unwrap();
    behind_its_back(&project, async |cloud| {
        cloud.keep_runtime_version(&name, None).await.unwrap();
    });
    let changes = planned(&project);
    assert_eq!(changes[0]["address"], "function.worker");
    assert_eq!(
        changes[0]["change"]["before"]["runtime_version_arn"],
        Value::Null
    );
    apply(&project);
    assert_eq!(planned(&project), [] as [Value; 0]);
    assert_eq!(
        versions(&project),
        ["1 live"],
        "code and configuration are the same"
    );
}

/// `2 live`, the newest first.
fn versions(project: &TestProject) -> Vec<String> {
    let versions = project.rmx(&["versions", "--json"]).expect_status(0);
    let versions: Value = serde_json::from_str(&versions.stdout).unwrap();
    let versions = versions["functions"][0]["versions"].as_array().unwrap();
    let versions = versions.iter().map(|version| {
        let status = version["status"].as_str().unwrap();
        format!("{} {status}", version["version"])
    });
    versions.collect()
}

/// With a worker of rmx's that does nothing.
fn own_config(project: &TestProject) -> String {
    project.write("function/bootstrap", "#!/bin/sh\nexit 1\n");
    config("rmx").replace(
        "worker = \"rmx\"",
        "worker = \"rmx\"\npackage = \"function\"\narchitecture = \"arm64\"",
    )
}

#[test]
fn what_is_half_way_between_the_workers_is_not_rendered_with() {
    let project = project();
    apply(&project);
    project.write("remotion.toml", &own_config(&project));
    let smoke = ["apply", "--auto-approve", "--smoke"];
    drop(project.rmx(&smoke).expect_status(15));
    assert_eq!(versions(&project), ["2 unreleased", "1 live"]);
    let refused = project.rmx(&["render", "Any"]).expect_status(1).to_string();
    assert!(
        refused.contains("function.worker is missing, or its last change did not come to its end"),
        "{refused}"
    );
    // Who only looks, or ends or deletes one, is not kept from it.
    drop(project.rmx(&["renders", "list"]).expect_status(0));
    for arguments in [
        &["renders", "cancel", "nosuch"][..],
        &["renders", "watch", "nosuch"],
        &["renders", "delete", "nosuch"],
        &["logs", "--render", "nosuch"],
    ] {
        let said = project.rmx(arguments).expect_status(1).to_string();
        let looked = said.contains("There is no render nosuch")
            || said.contains("Nothing of it is in the log");
        assert!(looked, "{said}");
    }
    project.write("remotion.toml", &config("remotion"));
    apply(&project);
    assert_eq!(planned(&project), [] as [Value; 0]);
}

/// Its workers write on for some time after somebody has cancelled a render.
#[test]
fn a_render_that_is_still_written_to_is_deleted_when_that_is_over() {
    let project = project();
    apply(&project);
    let write = |frames: u32| {
        behind_its_back(&project, async |cloud| {
            let (key, text) = progress("ended", |document| {
                document["errors"] = json!([{
                    "type": "renderer", "message": "renderMedia() got cancelled", "name": "Error", "stack": "", "frame": null,
                    "chunk": 1, "isFatal": true, "attempt": 1, "willRetry": false, "totalAttempts": 1, "tmpDir": null,
                }]);
                document["framesRendered"] = frames.into();
            });
            let options = rmx::cloud::PutOptions::default();
            let bucket = BUCKET.parse().unwrap();
            let put = cloud.put_object(&bucket, &key, text.into(), &options);
            put.await.unwrap();
        });
    };
    write(0);
    let listed = || project.rmx(&["renders", "list"]).expect_status(0).stdout;
    assert!(listed().contains("ended  cancelled"), "{}", listed());
    let delete = ["renders", "delete", "ended", "--auto-approve"];
    let log = project.path().join("log");
    let mut deleting = project.spawn(&delete, std::fs::File::create(&log).unwrap().into());
    let said = || std::fs::read_to_string(&log).unwrap();
    crate::support::eventually(|| said().contains("waiting").then_some(()));
    for frames in 1..4 {
        std::thread::sleep(std::time::Duration::from_millis(500));
        write(frames);
        assert!(deleting.try_wait().unwrap().is_none(), "{}", said());
    }
    let status = crate::support::eventually(|| deleting.try_wait().unwrap());
    assert_eq!(status.code(), Some(0), "{}", said());
    assert_eq!(listed(), "");
}

#[test]
fn a_farm_moves_to_rmxs_worker_in_place_and_back() {
    let project = project();
    // Another name would be another role.
    let role = "[role]\nname = \"renderer\"\n";
    let remotions = config("remotion") + role;
    project.write("remotion.toml", &remotions);
    apply(&project);
    project.write("remotion.toml", &(own_config(&project) + role));
    let changes = planned(&project);
    let of = |address: &str| {
        let found = changes.iter().find(|change| change["address"] == address);
        found.unwrap()["change"].clone()
    };
    assert_eq!(of("role.main")["actions"], json!(["update"]));
    let function = of("function.worker");
    assert_eq!(function["actions"], json!(["update"]));
    assert_eq!(function["after"]["runtime"], "provided.al2023");
    let bucket = of("bucket.main");
    assert_eq!(bucket["actions"], json!(["update"]));
    assert_eq!(bucket["after"]["public_read"], false);
    apply(&project);
    assert_eq!(planned(&project), [] as [Value; 0]);
    behind_its_back(&project, async |cloud| {
        assert!(!cloud.public_read(&BUCKET.parse().unwrap()).await.unwrap());
        let name = "remotion-render-mine".parse().unwrap();
        assert_eq!(cloud.runtime_version_arn(&name).await.unwrap(), None);
        assert_eq!(cloud.retries(&name, "$LATEST").await.unwrap(), Some(2));
    });
    let refused = project
        .rmx(&["rollback", "--auto-approve"])
        .expect_status(1);
    let refused = refused.to_string();
    assert!(
        refused.contains("version 1 of function.worker is Remotion's own function"),
        "{refused}"
    );

    project.write("remotion.toml", &remotions);
    apply(&project);
    assert_eq!(planned(&project), [] as [Value; 0]);
    behind_its_back(&project, async |cloud| {
        let name = "remotion-render-mine".parse().unwrap();
        assert_eq!(cloud.retries(&name, "$LATEST").await.unwrap(), Some(0));
    });
}

#[test]
fn what_does_not_go_with_it_is_refused_where_it_stands() {
    let project = project();
    for (line, says) in [
        ("architecture = \"x86_64\"", "it is for arm64"),
        ("replicas = 2", "by its own name"),
        ("package = \"page\"", "node_modules/@remotion/lambda"),
        ("smoke = true", "the built-in composition"),
    ] {
        let worker = "worker = \"remotion\"";
        let config = config("remotion").replace(worker, &format!("{worker}\n{line}"));
        project.write("remotion.toml", &config);
        let refused = project.rmx(&["validate"]).expect_status(1).to_string();
        assert!(refused.contains(says), "{line}: {refused}");
    }
    for (name, says) in [
        ("remotion-render-mine", "begins with remotion-render-"),
        (BUCKET, "begins with remotionlambda-"),
    ] {
        project.write("remotion.toml", &config("remotion").replace(name, "mine"));
        let refused = project.rmx(&["validate"]).expect_status(1).to_string();
        assert!(refused.contains(says), "{name}: {refused}");
    }
    project.write("remotion.toml", &config("remotion"));
    let smoke = ["apply", "--auto-approve", "--smoke"];
    let refused = project.rmx(&smoke).expect_status(64).to_string();
    assert!(refused.contains("the built-in composition"), "{refused}");
    project.write(
        "remotion.toml",
        &format!(
            "{}remotion_version = \"4.0.526\"\n",
            "project = \"official\"\n[function]\nworker = \"remotion\"\n"
        ),
    );
    for verb in ["plan", "validate"] {
        let refused = project.rmx(&[verb]).expect_status(1).to_string();
        assert!(
            refused.contains("4.0.527") && refused.contains("4.0.526"),
            "{refused}"
        );
    }
    project.write(
        "remotion.toml",
        &format!("region = \"ca-west-1\"\n{}", config("remotion")),
    );
    let refused = project.rmx(&["plan"]).expect_status(1).to_string();
    assert!(
        refused.contains("no layers in the region ca-west-1"),
        "{refused}"
    );
    std::fs::remove_dir_all(project.path().join("node_modules")).unwrap();
    for verb in ["plan", "validate"] {
        let refused = project.rmx(&[verb]).expect_status(1).to_string();
        assert!(refused.contains("npm install"), "{refused}");
    }
    let told = project.rmx(&["validate", "--json"]).expect_status(1);
    let told: Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["error_count"], 1, "{told}");
}

/// Both configurations, in a cloud that enforces policies.
async fn on_aws() -> (AwsProject, [String; 2]) {
    let aws = AwsProject::start("").await;
    install(&aws.project);
    let configs = [config("remotion"), own_config(&aws.project)];
    let on_aws = |config: String| format!("target = \"aws\"\nregion = \"eu-central-1\"\n{config}");
    (aws, configs.map(on_aws))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_permissions_lead_from_one_worker_to_the_other_and_back() {
    let (mut aws, [remotions, own]) = on_aws().await;
    let calling = json!([allow(&["sts:GetCallerIdentity"])]);
    let arn = aws.role("deploy", "/ci/", calling).await;
    let mut statements = Vec::new();
    for config in [&remotions, &own] {
        aws.project.write("remotion.toml", config);
        let printed = aws
            .rmx(&["policies", "deployer", "--principal", &arn])
            .expect_status(0);
        let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
        statements.extend(printed["Statement"].as_array().unwrap().clone());
    }
    aws.allow("deploy", statements.into()).await;
    aws.become_role(&arn).await;
    for config in [&remotions, &own, &remotions] {
        aws.project.write("remotion.toml", config);
        let applied = aws.rmx(&["apply", "--auto-approve"]).expect_status(0);
        assert!(
            applied.stdout.contains("ok          permissions"),
            "{applied}"
        );
        drop(aws.rmx(&["plan", "--detailed-exitcode"]).expect_status(0));
    }
    drop(
        aws.rmx(&["destroy", "--auto-approve", "--delete-data"])
            .expect_status(0),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_without_changes_takes_three_round_trips_at_most_here_too() {
    let (aws, [remotions, _]) = on_aws().await;
    aws.project.write("remotion.toml", &remotions);
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let fewest = fewest_round_trips(&aws);
    assert!(fewest <= 3, "{fewest} round trips one after the other");
}
