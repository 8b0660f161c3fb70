//! Taking over what exists: by name or ARN, never from another deployment by accident, and what the next plan says.

use rmx::cloud::{Cloud, FunctionCode, FunctionSettings, STACK_TAG, Tags};
use serde_json::Value;

use crate::plan::{CONFIG, apply, changes, project};
use crate::recovery::behind_its_back;
use crate::support::TestProject;

const BUCKET: &str = "rmx-hello-000000000000-us-east-1";
const LOG_GROUP: &str = "/aws/lambda/rmx-hello";
const ROLE: &str = "rmx-hello-us-east-1";

/// What somebody made by hand: a bucket, a log group as Lambda makes it, a role.
async fn by_hand(cloud: &Cloud, tags: &Tags) {
    cloud.create_bucket(&BUCKET.parse().unwrap()).await.unwrap();
    let kept = Tags::from([("team".to_owned(), "video".to_owned())]);
    cloud
        .tag_bucket(&BUCKET.parse().unwrap(), &kept)
        .await
        .unwrap();
    if !tags.is_empty() {
        cloud
            .tag_bucket(&BUCKET.parse().unwrap(), tags)
            .await
            .unwrap();
    }
    let group = LOG_GROUP.parse().unwrap();
    cloud.create_log_group(&group, tags).await.unwrap();
    let role = rmx::resource::RoleSpec {
        name: ROLE.parse().unwrap(),
        path: "/".to_owned(),
        permissions_boundary: None,
        trust_policy: rmx::resource::role::trust_policy(),
        policy: Value::Null,
        other_policies: std::collections::BTreeMap::new(),
        attached_policies: std::collections::BTreeSet::new(),
    };
    cloud.create_role(&role, tags).await.unwrap();
}

#[track_caller]
fn import(project: &TestProject, arguments: &[&str], status: i32) -> crate::support::Output {
    let arguments: Vec<&str> = ["import"].iter().chain(arguments).copied().collect();
    project.rmx(&arguments).expect_status(status)
}

#[test]
fn what_was_made_by_hand_is_taken_over_and_changed_in_place() {
    let project = project();
    behind_its_back(&project, async |cloud| by_hand(&cloud, &Tags::new()).await);
    let output = import(&project, &["bucket.main", BUCKET], 0);
    assert_eq!(output.stdout, format!("bucket.main: imported {BUCKET}\n"));
    let arn = format!("arn:aws:logs:us-east-1:000000000000:log-group:{LOG_GROUP}:*");
    drop(import(&project, &["log_group.main", &arn], 0));
    let arn = format!("arn:aws:iam::000000000000:role/{ROLE}");
    drop(import(&project, &["role.main", &arn, "--json"], 0));

    let plan = changes(&project);
    for line in [
        "  # log_group.main will be updated in-place\n",
        "      + retention_days = 14\n",
        "  # role.main will be updated in-place\n",
        "  # bucket.main will be updated in-place\n",
        "Plan: 2 to add, 3 to change, 0 to destroy.",
    ] {
        assert!(plan.contains(line), "{line} is missing in\n{plan}");
    }
    assert!(!plan.contains("changed outside of rmx"), "{plan}");
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let found = cloud.bucket(&BUCKET.parse().unwrap()).await.unwrap();
        let rmx::cloud::BucketPresence::Present(found) = found else {
            panic!("{found:?}")
        };
        assert_eq!(found.tags["team"], "video", "other tags stay");
        assert!(found.tags.contains_key(STACK_TAG));
    });

    // A function, once nobody records it any more.
    let output = import(&project, &["function.worker", "rmx-hello"], 1);
    assert!(output.stderr.contains("records that already"), "{output}");
    std::fs::remove_dir_all(project.path().join(".rmx/state")).unwrap();
    let output = import(&project, &["function.worker", "rmx-hello"], 1);
    assert!(
        output.stderr.contains("belongs to the deployment"),
        "{output}"
    );
    let output = import(&project, &["function.worker", "rmx-hello", "--force"], 0);
    assert!(
        output.stdout.contains("(it belonged to the deployment "),
        "{output}"
    );
    let listed = project.rmx(&["versions", "--json"]).expect_status(0);
    let document: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(document["functions"][0]["versions"][0]["status"], "live");
}

#[test]
fn what_belongs_to_others_is_refused_by_their_name() {
    let project = project();
    let tags = Tags::from([(STACK_TAG.to_owned(), "somebody-else".to_owned())]);
    let theirs = tags.clone();
    behind_its_back(&project, async move |cloud| by_hand(&cloud, &theirs).await);
    for (address, id) in [
        ("bucket.main", BUCKET),
        ("log_group.main", LOG_GROUP),
        ("role.main", ROLE),
    ] {
        let output = import(&project, &[address, id], 1);
        for words in ["belongs to the deployment somebody-else", "--force"] {
            assert!(
                output.stderr.contains(words),
                "{words} is missing in\n{output}"
            );
        }
    }
    assert!(!project.path().join(".rmx/state/default.json").exists());
    for (address, id) in [
        ("bucket.main", BUCKET),
        ("log_group.main", LOG_GROUP),
        ("role.main", ROLE),
    ] {
        drop(import(&project, &[address, id, "--force"], 0));
    }
    apply(&project);
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_touched() {
    let project = project();
    for (arguments, status, words) in [
        (
            &["bucket.main", "another-bucket"][..],
            64,
            "set `name = \"another-bucket\"` under [bucket]",
        ),
        (&["bucket.main", BUCKET], 1, "there is no such object"),
        (
            &["role.main", "arn:aws:s3:::x"],
            64,
            "is not the ARN of a role",
        ),
        (&["site.page", "page"], 64, "sites are not imported"),
        (
            &["function.worker-2", "rmx-hello_2"],
            64,
            "declares no `function.worker-2`",
        ),
        (&["function", "x"], 64, "is not a resource address"),
    ] {
        let output = import(&project, arguments, status);
        assert!(
            output.stderr.contains(words),
            "{words} is missing in\n{output}"
        );
    }
    assert!(!project.path().join(".rmx/state/default.json").exists());
}

/// The tag is there, the record is not: killed between the two, or the state was put back from a backup.
#[test]
fn what_is_ours_by_its_tag_is_adopted() {
    let project = project();
    apply(&project);
    let path = project.path().join(".rmx/state/default.json");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut document: Value = serde_json::from_str(&text).unwrap();
    let records = document["state"]["records"].as_object_mut().unwrap();
    records.shift_remove("bucket.main").unwrap();
    records.shift_remove("function.worker").unwrap();
    let checksum = rmx::digest::Digest::of(document["state"].to_string());
    document["checksum"] = checksum.to_string().into();
    std::fs::write(&path, document.to_string()).unwrap();

    let plan = changes(&project);
    for line in [
        "  # bucket.main will be recorded: it exists and is ours\n",
        "  # function.worker will be recorded: it exists and is ours\n",
        "Plan: 2 to adopt, 0 to add, 0 to change, 0 to destroy.",
    ] {
        assert!(plan.contains(line), "{line} is missing in\n{plan}");
    }
    let output = import(&project, &["bucket.main", BUCKET], 0);
    assert!(output.stdout.contains("(it was ours already)"), "{output}");
    apply(&project);
    project.write("remotion.toml", CONFIG);
    drop(project.rmx(&["destroy", "--auto-approve"]).expect_status(0));
}

const OFFICIAL_FUNCTION: &str = "remotion-render-4-0-526-mem3008mb-disk10240mb-120sec";
const OFFICIAL_BUCKET: &str = "remotionlambda-useast1-abcdefghij";

/// What `npx remotion lambda policies role | functions deploy | sites create` leave, by their names and settings.
async fn by_remotion(cloud: &Cloud, function: &str) {
    let role = rmx::resource::RoleSpec {
        name: "remotion-lambda-role".parse().unwrap(),
        path: "/".to_owned(),
        permissions_boundary: None,
        trust_policy: rmx::resource::role::trust_policy(),
        policy: Value::Null,
        other_policies: std::collections::BTreeMap::new(),
        attached_policies: std::collections::BTreeSet::new(),
    };
    match cloud.create_role(&role, &Tags::new()).await {
        Err(error) if error.kind != rmx::cloud::CloudErrorKind::AlreadyExists => panic!("{error}"),
        _ => {}
    }
    let group = format!("/aws/lambda/{function}").parse().unwrap();
    cloud.create_log_group(&group, &Tags::new()).await.unwrap();
    cloud.set_retention(&group, Some(30)).await.unwrap();
    let settings = FunctionSettings {
        role_arn: "arn:aws:iam::000000000000:role/remotion-lambda-role".to_owned(),
        runtime: "nodejs24.x".to_owned(),
        handler: "index.handler".to_owned(),
        architecture: "arm64".to_owned(),
        memory_mb: 3008,
        timeout_s: 120,
        disk_mb: 10_240,
        environment: std::collections::BTreeMap::new(),
        layers: vec![
            "arn:aws:lambda:us-east-1:678892195805:layer:remotion-binaries-chromium-arm64:39"
                .to_owned(),
        ],
        subnet_ids: Vec::new(),
        security_group_ids: Vec::new(),
        log_group: format!("/aws/lambda/{function}"),
        code_sha256: None,
    };
    let tags = [("remotion-lambda", "true"), ("remotion-version", "4.0.526")];
    let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let code = FunctionCode::Inline(crate::support::farm::function_zip("exports.handler").into());
    let name = function.parse().unwrap();
    cloud
        .create_function(&name, &settings, &code, &tags.into())
        .await
        .unwrap();
}

/// What was rendered there stays, and so does the role: other functions have it, too.
#[test]
fn a_deployment_of_remotion_lambda_is_found_and_taken_over_in_one_go() {
    let project = project();
    let nothing = import(&project, &["remotion", "--auto-approve"], 1);
    assert!(
        nothing.stderr.contains("begins with `remotion-render-`"),
        "{nothing}"
    );
    behind_its_back(&project, async |cloud| {
        by_remotion(&cloud, OFFICIAL_FUNCTION).await;
        let bucket = OFFICIAL_BUCKET.parse().unwrap();
        cloud.create_bucket(&bucket).await.unwrap();
        let body = bytes::Bytes::from_static(b"film");
        let options = rmx::cloud::PutOptions::default();
        let put = cloud.put_object(&bucket, "renders/a/out.mp4", body, &options);
        put.await.unwrap();
    });
    let asked = import(&project, &["remotion"], 64);
    assert!(asked.stdout.contains("memory_mb = 3008"), "{asked}");
    assert!(asked.stderr.contains("--auto-approve"), "{asked}");
    assert_eq!(project.read("remotion.toml"), CONFIG);

    let output = import(&project, &["remotion", "--auto-approve"], 0);
    for line in [
        "remotion-lambda-role, which is left alone",
        &format!("log_group.main: imported /aws/lambda/{OFFICIAL_FUNCTION}\n"),
        &format!("bucket.main: imported {OFFICIAL_BUCKET}\n"),
        &format!("function.worker: imported {OFFICIAL_FUNCTION}\n"),
    ] {
        assert!(
            output.stdout.contains(line),
            "{line} is missing in\n{output}"
        );
    }
    let config = project.read("remotion.toml");
    for line in [
        &format!("name = \"{OFFICIAL_FUNCTION}\"\n")[..],
        "package = \"function\"\n",
        "timeout_s = 120\n",
        "disk_mb = 10240\n",
        "remotion_version = \"4.0.526\"\n",
        &format!("[bucket]\nname = \"{OFFICIAL_BUCKET}\"\n"),
        "[logs]\nretention_days = 30\n",
    ] {
        assert!(config.contains(line), "{line} is missing in\n{config}");
    }
    // Done again it finds it done.
    let again = import(&project, &["remotion", "--auto-approve"], 0);
    assert!(!again.stdout.contains("imported"), "{again}");
    assert_eq!(project.read("remotion.toml"), config);

    let plan = changes(&project);
    for line in [
        "  # role.main will be created\n",
        "  # bucket.main will be updated in-place\n",
        "  # function.worker will be updated in-place\n",
        "layers",
        "Plan: 2 to add, 2 to change, 0 to destroy.",
    ] {
        assert!(plan.contains(line), "{line} is missing in\n{plan}");
    }
    assert!(!plan.contains("# log_group.main"), "{plan}");
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let bucket = OFFICIAL_BUCKET.parse().unwrap();
        let kept = cloud
            .get_object(&bucket, "renders/a/out.mp4")
            .await
            .unwrap();
        assert_eq!(&kept[..], b"film");
        let role = "remotion-lambda-role".parse().unwrap();
        let role = cloud.role(&role).await.unwrap().unwrap();
        assert!(role.tags.is_empty(), "{role:?}");
        let name = OFFICIAL_FUNCTION.parse().unwrap();
        let function = cloud.function(&name).await.unwrap().unwrap();
        let settings = function.settings;
        assert_eq!(
            (&settings.runtime[..], settings.layers.len()),
            ("provided.al2023", 0)
        );
    });
}

/// Whatever it is called: what keeps the runtime that it had does not stay with another.
#[test]
fn a_function_of_node_that_is_taken_over_gives_up_the_runtime_version_it_keeps() {
    let project = project();
    let function = "rmx-hello";
    behind_its_back(&project, async |cloud| {
        by_remotion(&cloud, function).await;
        let name = function.parse().unwrap();
        let kept = rmx::resource::remotion::runtime_version_arn(&"us-east-1".parse().unwrap());
        cloud.settled_function(&name).await.unwrap();
        let pinned = cloud.keep_runtime_version(&name, kept.as_deref()).await;
        pinned.unwrap();
    });
    drop(import(&project, &["function.worker", function], 0));
    drop(import(&project, &["log_group.main", LOG_GROUP], 0));
    let same = project.rmx(&["plan", "--refresh-only", "--detailed-exitcode"]);
    drop(same.expect_status(0));
    let plan = changes(&project);
    assert!(plan.contains("runtime_version_arn"), "{plan}");
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let name = function.parse().unwrap();
        assert_eq!(cloud.runtime_version_arn(&name).await.unwrap(), None);
    });
    let again = project.rmx(&["plan", "--detailed-exitcode"]);
    drop(again.expect_status(0));
}

#[test]
fn of_several_deployments_of_remotion_lambda_one_is_named() {
    let project = project();
    let newer = OFFICIAL_FUNCTION.replace("4-0-526", "4-0-527");
    let both = newer.clone();
    behind_its_back(&project, async move |cloud| {
        by_remotion(&cloud, OFFICIAL_FUNCTION).await;
        by_remotion(&cloud, &both).await;
        cloud
            .create_bucket(&OFFICIAL_BUCKET.parse().unwrap())
            .await
            .unwrap();
    });
    let which = import(&project, &["remotion", "--auto-approve"], 64);
    for told in [OFFICIAL_FUNCTION, &newer, "rmx import remotion NAME"] {
        assert!(which.stderr.contains(told), "{told} is missing in\n{which}");
    }
    drop(import(&project, &["remotion", &newer, "--auto-approve"], 0));
    let other = import(
        &project,
        &["remotion", OFFICIAL_FUNCTION, "--auto-approve"],
        1,
    );
    assert!(other.stderr.contains("records another farm"), "{other}");
    assert!(project.read("remotion.toml").contains(&newer));
    let nameless = import(&project, &["bucket.main"], 64);
    assert!(
        nameless.stderr.contains("rmx import bucket.main NAME"),
        "{nameless}"
    );
}
