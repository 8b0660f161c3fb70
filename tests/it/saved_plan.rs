//! Saved plans: carried out exactly, or not at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use rmx::cloud::PutOptions;

use crate::plan::{CONFIG, apply, project};
use crate::recovery::behind_its_back;
use crate::support::TestProject;

#[track_caller]
fn save(project: &TestProject) {
    let saved = project.rmx(&["plan", "--out", "p"]).expect_status(0);
    assert!(saved.stdout.contains("    rmx apply \"p\"\n"), "{saved}");
}

/// Applies the saved plan and requires that it is refused for `why`, and that nothing was done.
#[track_caller]
fn stale(project: &TestProject, why: &[&str]) -> String {
    let before = project.rmx(&["show", "--json"]).expect_status(0).stdout;
    let output = project.rmx(&["apply", "p"]).expect_status(10);
    for why in why {
        assert!(output.stderr.contains(why), "{why} is missing in\n{output}");
    }
    assert!(!output.stderr.contains("complete after"), "{output}");
    let after = project.rmx(&["show", "--json"]).expect_status(0).stdout;
    assert_eq!(before, after);
    output.to_string()
}

#[test]
fn a_saved_plan_is_carried_out_once_without_a_question() {
    let mut project = project();
    save(&project);
    let path = project.path().join("p");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!project.read("p").contains("a secret of mine"));

    let shown = project.rmx(&["show", "p"]).expect_status(0).stdout;
    assert!(shown.starts_with("Saved plan of 20"), "{shown}");
    assert!(
        shown.contains("\nPlan: 5 to add, 0 to change, 0 to destroy.\n"),
        "{shown}"
    );
    let json = project
        .rmx(&["show", "--json", "p"])
        .expect_status(0)
        .stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["applyable"], true);
    assert_eq!(json["resource_changes"].as_array().unwrap().len(), 5);

    let shown = project
        .rmx(&["show", "p", "--format", "markdown"])
        .expect_status(0);
    let comment = "<!-- rmx:plan project=hello stage=default -->\n## rmx plan: 5 to add,";
    assert!(shown.stdout.starts_with(comment), "{shown}");
    drop(
        project
            .rmx(&["show", "--format", "markdown"])
            .expect_status(64),
    );

    let applied = project.rmx(&["apply", "p"]).expect_status(0);
    assert!(
        applied
            .stdout
            .contains("Apply complete! Resources: 5 added"),
        "{applied}"
    );
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );

    // A file of a format to come does not send anybody to the rmx he has.
    let text = project
        .read("p")
        .replace("\"format\": 1,", "\"format\": 2,");
    project.write("other", &text);
    let refused = project.rmx(&["apply", "other"]).expect_status(10);
    let told = "its format is 2; this rmx reads format 1";
    assert!(refused.stderr.contains(told), "{refused}");
    assert!(!refused.stderr.contains("use rmx"), "{refused}");

    // The same plan again: the state has gone on, and everything is there.
    stale(
        &project,
        &[
            "the state was written: it had serial 0",
            "bucket.main was created meanwhile",
        ],
    );

    // Every kind of plan can be saved.
    drop(
        project
            .rmx(&["plan", "--destroy", "--out", "p"])
            .expect_status(0),
    );
    project.set_variable("FARM_TOKEN", "");
    fs::remove_dir_all(project.path().join("page")).unwrap();
    let destroyed = project.rmx(&["apply", "p"]).expect_status(0);
    assert!(
        destroyed
            .stdout
            .contains("Destroy complete! Resources: 5 destroyed."),
        "{destroyed}"
    );
}

#[test]
fn whatever_moved_makes_it_stale_and_is_told() {
    let mut project = project();
    apply(&project);
    project.write(
        "remotion.toml",
        &CONFIG.replace("[function]", "[function]\nmemory_mb = 1024"),
    );
    save(&project);

    // What is deployed.
    project.write("page/a.js", "another");
    stale(
        &project,
        &["site.page is to be something else than was planned: digest, files.a.js"],
    );
    project.write("page/a.js", "1");
    project.write("function/bootstrap", "#!/bin/sh\nexit 3\n");
    stale(
        &project,
        &["function.worker is to be something else than was planned: code_sha256"],
    );
    project.write("function/bootstrap", "#!/bin/sh\nexit 1\n");
    project.set_variable("FARM_TOKEN", "another secret");
    let output = stale(&project, &["environment.TOKEN"]);
    assert!(!output.contains("secret of mine") && !output.contains("another secret"));
    project.set_variable("FARM_TOKEN", "a secret of mine");

    // The config, even where it asks for the same.
    let config = project.read("remotion.toml");
    project.write("remotion.toml", &format!("# a note\n{config}"));
    let output = stale(&project, &["the configuration was edited"]);
    assert_eq!(output.matches("  - ").count(), 1, "{output}");
    project.write("remotion.toml", &config);

    // The cloud: a function that looks the same and is another, and a file of a site.
    behind_its_back(&project, async |cloud| {
        let name = "rmx-hello".parse().unwrap();
        let now = cloud.function(&name).await.unwrap().unwrap();
        let settings = now.settings.clone();
        let mut other = settings.clone();
        other.timeout_s = 7;
        cloud
            .update_function_configuration(&name, &other, &now.revision_id)
            .await
            .unwrap();
        let now = cloud.settled_function(&name).await.unwrap().unwrap();
        cloud
            .update_function_configuration(&name, &settings, &now.revision_id)
            .await
            .unwrap();
        cloud.settled_function(&name).await.unwrap();
        let bucket = "rmx-hello-000000000000-us-east-1".parse().unwrap();
        let options = PutOptions::default();
        cloud
            .put_object(&bucket, "sites/page/b.js", "mine".into(), &options)
            .await
            .unwrap();
    });
    let output = stale(
        &project,
        &[
            "function.worker was changed in the cloud: its revision is another, though no field shows it",
            "site.page was changed in the cloud: digest, files.b.js",
        ],
    );
    assert_eq!(output.matches("  - ").count(), 2, "{output}");

    // The state.
    drop(project.rmx(&["apply", "--auto-approve"]).expect_status(0));
    stale(&project, &["the state was written: it had serial"]);

    // The file itself.
    for (text, status, why) in [
        (
            project.read("p").replace("1024", "1023"),
            1,
            "its checksum does not fit",
        ),
        (
            project.read("p")[..200].to_owned(),
            1,
            "is not a saved plan, or it is damaged",
        ),
        (
            project
                .read("p")
                .replace("\"rmx_version\": \"", "\"rmx_version\": \"9"),
            10,
            "it was written by rmx 9",
        ),
    ] {
        project.write("q", &text);
        for verb in ["apply", "show"] {
            let output = project.rmx(&[verb, "q"]).expect_status(status);
            assert!(output.stderr.contains(why), "{why} is missing in\n{output}");
        }
    }

    // A plan of another stage.
    project.write("remotion.toml", &format!("{config}[stage.other]\n"));
    let output = project
        .rmx(&["apply", "p", "--stage", "other"])
        .expect_status(10);
    assert!(
        output
            .stderr
            .contains("it is a plan of another project or stage"),
        "{output}"
    );
}

#[test]
fn drift_can_be_recorded_and_a_resource_replaced_on_request() {
    let project = project();
    apply(&project);
    behind_its_back(&project, async |cloud| {
        cloud
            .delete_log_group(&"/aws/lambda/rmx-hello".parse().unwrap())
            .await
            .unwrap();
    });
    let planned = project
        .rmx(&["plan", "--refresh-only", "--detailed-exitcode"])
        .expect_status(2);
    assert!(
        planned.stdout.contains("# log_group.main has been deleted"),
        "{planned}"
    );
    assert!(
        planned
            .stdout
            .ends_with("Plan: 0 to add, 0 to change, 0 to destroy.\n"),
        "{planned}"
    );
    let recorded = project
        .rmx(&["apply", "--refresh-only", "--auto-approve"])
        .expect_status(0);
    assert!(
        !recorded.stderr.contains("complete after"),
        "nothing in the cloud is touched: {recorded}"
    );
    drop(
        project
            .rmx(&["state", "show", "log_group.main"])
            .expect_status(1),
    );
    let again = project
        .rmx(&["plan", "--refresh-only", "--detailed-exitcode"])
        .expect_status(0);
    assert!(
        again.stdout.contains("still matches the recorded state"),
        "{again}"
    );
    // It is wanted all the same.
    let planned = project.rmx(&["plan"]).expect_status(0);
    assert!(
        planned
            .stdout
            .contains("Plan: 1 to add, 0 to change, 0 to destroy."),
        "{planned}"
    );
    assert!(!planned.stdout.contains("outside of rmx"), "{planned}");
    apply(&project);

    let replace = ["--replace", "bucket.main"];
    let planned = project
        .rmx(&[&["plan"][..], &replace].concat())
        .expect_status(0);
    for line in [
        "# bucket.main will be replaced, as requested",
        "# site.page will be replaced, as requested",
        "Plan: 2 to add, 0 to change, 2 to destroy.",
    ] {
        assert!(planned.stdout.contains(line), "{planned}");
    }
    let applied = project
        .rmx(&[&["apply", "--auto-approve"][..], &replace].concat())
        .expect_status(0);
    assert!(
        applied
            .stdout
            .contains("Resources: 2 added, 0 changed, 2 destroyed."),
        "{applied}"
    );
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    drop(
        project
            .rmx(&["plan", "--destroy", "--refresh-only"])
            .expect_status(64),
    );
}

/// As Remotion Lambda's `sites rm` does without a bucket's name: it deletes all rules of the bucket.
#[test]
fn rules_of_the_bucket_that_somebody_deleted_are_drift_and_come_back() {
    let project = project();
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let bucket = "rmx-hello-000000000000-us-east-1".parse().unwrap();
        let none = rmx::cloud::BucketLifecycle::default();
        cloud.set_lifecycle(&bucket, none).await.unwrap();
    });
    let planned = project.rmx(&["plan"]).expect_status(0);
    for part in [
        "outside of rmx",
        "expire_days.renders/30-days",
        "expire_days.input-props/",
        "Plan: 0 to add, 1 to change, 0 to destroy.",
    ] {
        assert!(planned.stdout.contains(part), "{part}: {planned}");
    }
    apply(&project);
}
