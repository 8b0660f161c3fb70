//! What rmx writes for programs is what its JSON Schemas say.

use std::time::Duration;

use rmx::local::{Fault, FaultKind, Moment};
use serde_json::Value;

use crate::plan::{CONFIG, apply, project};
use crate::recovery::behind_its_back;
use crate::support::TestProject;
use crate::support::aws::AwsProject;

fn schema(project: &TestProject, of: &str) -> jsonschema::Validator {
    let text = project.rmx(&["schema", of]).expect_status(0).stdout;
    let schema: Value = serde_json::from_str(&text).unwrap();
    jsonschema::meta::validate(&schema).unwrap();
    jsonschema::validator_for(&schema).unwrap()
}

/// What a command writes, after the schema has found nothing wrong with it.
#[track_caller]
fn valid(project: &TestProject, schema: &jsonschema::Validator, arguments: &[&str]) -> Value {
    let text = project.rmx(arguments).expect_status(0).stdout;
    let document: Value = serde_json::from_str(&text).unwrap();
    let wrong: Vec<String> = schema
        .iter_errors(&document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}\n{text}");
    document
}

#[test]
fn plans_and_states_are_what_their_schemas_say() {
    let project = project();
    let (plan, state) = (schema(&project, "plan"), schema(&project, "state"));
    let actions = |document: &Value| -> Vec<String> {
        let changes = document["resource_changes"].as_array().unwrap();
        let actions = changes
            .iter()
            .map(|change| change["change"]["actions"].to_string());
        actions.collect()
    };

    valid(&project, &state, &["show", "--json"]);
    let document = valid(&project, &plan, &["plan", "--json"]);
    assert_eq!(actions(&document), [r#"["create"]"#; 5]);
    assert_eq!(
        document["planned_values"]["root_module"]["resources"][2]["values"]["name"],
        "rmx-hello-000000000000-us-east-1"
    );
    apply(&project);
    let document = valid(&project, &state, &["show", "--json"]);
    assert_eq!(
        document["values"]["root_module"]["resources"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    let document = valid(&project, &plan, &["plan", "--format", "json"]);
    assert_eq!(actions(&document), [r#"["no-op"]"#; 5]);
    assert_eq!(document["applyable"], false);

    // A replacement, an update, a delete, and drift.
    behind_its_back(&project, async |cloud| {
        cloud
            .delete_log_group(&"/aws/lambda/rmx-hello".parse().unwrap())
            .await
            .unwrap();
        let name = "rmx-hello".parse().unwrap();
        let now = cloud.function(&name).await.unwrap().unwrap();
        let mut other = now.settings.clone();
        other.timeout_s = 7;
        cloud
            .update_function_configuration(&name, &other, &now.revision_id)
            .await
            .unwrap();
    });
    let without_site = CONFIG.split("[[site]]").next().unwrap();
    project.write(
        "remotion.toml",
        &format!("{without_site}[bucket]\nname = \"my-own-bucket\"\n"),
    );
    drop(project.rmx(&["plan", "--out", "p"]).expect_status(0));
    let document = valid(&project, &plan, &["show", "--json", "p"]);
    assert_eq!(
        actions(&document),
        [
            r#"["create"]"#,
            r#"["update"]"#,
            r#"["delete","create"]"#,
            r#"["update"]"#,
            r#"["delete"]"#
        ]
    );
    assert_eq!(
        document["resource_changes"][2]["change"]["replace_paths"],
        serde_json::json!([["name"]])
    );
    assert_eq!(
        document["resource_drift"][0]["change"]["actions"],
        serde_json::json!(["delete"])
    );
    assert_eq!(
        document["resource_drift"][1]["change"]["after"]["timeout_s"],
        7
    );
    valid(&project, &plan, &["plan", "--destroy", "--json"]);
    valid(&project, &plan, &["plan", "--refresh-only", "--json"]);

    // The schemas are no open doors.
    for spoil in [
        "/resource_changes/3/change/after/memory_mb",
        "/resource_changes/3/change/actions",
        "/account",
    ] {
        let mut wrong = document.clone();
        *wrong.pointer_mut(spoil).unwrap() = "something else".into();
        assert!(!plan.is_valid(&wrong), "{spoil}");
    }
    let mut wrong = document;
    wrong["resource_changes"][3]["change"]["after"]["new"] = 1.into();
    assert!(!plan.is_valid(&wrong));
}

/// The lines that a command writes, each as the schema says; how it ends is `status`.
#[track_caller]
fn stream(project: &TestProject, arguments: &[&str], status: i32) -> Vec<Value> {
    let schema = schema(project, "events");
    let text = project.rmx(arguments).expect_status(status).stdout;
    conforming(&schema, &text)
}

#[track_caller]
fn conforming(schema: &jsonschema::Validator, text: &str) -> Vec<Value> {
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for line in &lines {
        let kind = schema.iter_errors(line).next().is_none();
        assert!(kind, "{line:#} is not in the schema");
    }
    lines
}

#[test]
fn every_line_of_a_stream_is_what_its_schema_says() {
    let project = project();
    let lines = stream(&project, &["apply", "--auto-approve", "--json"], 0);
    for kind in ["cost", "apply_start", "apply_complete", "outputs"] {
        assert!(lines.iter().any(|line| line["type"] == kind), "no {kind}");
    }
    behind_its_back(&project, async |cloud| {
        let group = "/aws/lambda/rmx-hello".parse().unwrap();
        cloud.delete_log_group(&group).await.unwrap();
        let bucket = "rmx-hello-000000000000-us-east-1".parse().unwrap();
        cloud.set_block_public_access(&bucket, false).await.unwrap();
        let video = "video".into();
        let options = rmx::cloud::PutOptions::default();
        cloud
            .put_object(&bucket, "renders/1/out.mp4", video, &options)
            .await
            .unwrap();
    });
    let other = format!("{CONFIG}[bucket]\nname = \"my-own-bucket\"\n");
    project.write("remotion.toml", &other);
    let lines = stream(&project, &["apply", "--auto-approve", "--json"], 13);
    for kind in [
        "version",
        "resource_drift",
        "planned_change",
        "data_loss",
        "change_summary",
    ] {
        assert!(lines.iter().any(|line| line["type"] == kind), "no {kind}");
    }
    let arguments = ["destroy", "--auto-approve", "--delete-data", "--json"];
    let lines = stream(&project, &arguments, 0);
    assert_eq!(
        lines.last().unwrap()["outputs"],
        serde_json::json!({}),
        "nothing is left"
    );

    // The schema is no open door.
    let schema = schema(&project, "events");
    let mut line = stream(&project, &["destroy", "--auto-approve", "--json"], 0)[0].clone();
    assert!(schema.is_valid(&line));
    line["more"] = 1.into();
    assert!(!schema.is_valid(&line));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_fails_is_told_as_the_schema_says() {
    let aws = AwsProject::start("").await;
    let schema = schema(&aws.project, "events");
    // Every call from the one that makes the bucket on.
    let trace = aws.test_cloud.faults().trace().clone();
    trace.begin(Duration::ZERO);
    drop(aws.rmx(&["apply", "--auto-approve"]).expect_status(0));
    let calls = trace.end();
    let makes_bucket = calls.iter().position(|call| {
        let mut permissions = call.permissions.iter();
        permissions.any(|permission| permission.action == "s3:CreateBucket")
    });
    drop(aws.rmx(&["destroy", "--auto-approve"]).expect_status(0));
    let first = u64::try_from(makes_bucket.unwrap()).unwrap() + 1;
    let denied = (first..first + 1_000).map(|call| Fault {
        call,
        moment: Moment::Before,
        kind: FaultKind::Denied,
    });
    aws.test_cloud.faults().schedule(denied);
    let failed = aws
        .rmx(&["apply", "--auto-approve", "--json"])
        .expect_status(15);
    aws.test_cloud.faults().schedule(None);
    let lines = conforming(&schema, &failed.stdout);
    let errored = lines.iter().find(|line| line["type"] == "apply_errored");
    assert!(errored.is_some(), "{failed}");
}

#[test]
fn the_sample_and_the_template_are_what_the_config_schema_says() {
    let project = TestProject::new();
    let schema = schema(&project, "config");
    drop(project.rmx(&["init"]).expect_status(0));
    for text in [project.read("remotion.toml"), CONFIG.to_owned()] {
        let table: toml::Table = text.parse().unwrap();
        assert!(schema.is_valid(&serde_json::to_value(table).unwrap()));
    }
    let table: toml::Table = CONFIG.replace("folder", "folders").parse().unwrap();
    assert!(!schema.is_valid(&serde_json::to_value(table).unwrap()));
}
