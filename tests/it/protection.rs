//! What is protected is neither destroyed nor replaced, whatever became of its block.

use serde_json::Value;

use crate::plan::{CONFIG, apply, changes, project};
use crate::support::TestProject;

/// The plan is shown, refused with 16, and nothing is done.
#[track_caller]
fn refused(project: &TestProject, arguments: &[&str], lines: &[&str]) {
    let output = project.rmx(arguments).expect_status(16);
    for line in lines.iter().chain(&["protect = false", "Nothing was done"]) {
        let told = output.stderr.contains(line);
        assert!(told, "{line} is missing in\n{output}");
    }
    assert!(!output.stderr.contains("complete after"), "{output}");
    assert!(output.stdout.contains("Plan: "), "{output}");
}

/// Names and values with one space between them: how wide a column is depends on its longest name.
fn unpadded(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ")
}

#[test]
fn protection_outlives_its_block_and_is_lifted_by_an_apply() {
    let project = project();
    let protected = CONFIG.replace("folder = \"page\"", "folder = \"page\"\nprotect = true")
        + "[bucket]\nprotect = true\n[logs]\nprotect = true\n";
    project.write("remotion.toml", &protected);
    assert!(unpadded(&changes(&project)).contains("+ protect = true"));
    apply(&project);
    let shown = project
        .rmx(&["state", "show", "bucket.main"])
        .expect_status(0);
    assert!(
        unpadded(&shown.stdout).contains("protect = true"),
        "{shown}"
    );

    refused(
        &project,
        &["destroy", "--auto-approve", "--delete-data"],
        &[
            "log_group.main is protected and would be destroyed",
            "bucket.main is protected and would be destroyed",
            "site.page is protected and would be destroyed",
            "under [bucket] and [logs] and its [[site]] and apply that first",
        ],
    );
    refused(
        &project,
        &["apply", "--auto-approve", "--replace", "log_group.main"],
        &[
            "log_group.main is protected and would be replaced",
            "[logs]",
        ],
    );
    let renamed = protected.replace("[bucket]", "[bucket]\nname = \"another-bucket\"");
    project.write("remotion.toml", &renamed);
    refused(
        &project,
        &["apply", "--auto-approve"],
        &[
            "bucket.main is protected and would be replaced",
            "site.page is protected and would be replaced",
        ],
    );

    // Every block that said so is gone, as it is after a merge that went wrong.
    let (head, _) = CONFIG.split_once("[[site]]").unwrap();
    let without = format!("{head}[logs]\nmanaged = false\n");
    project.write("remotion.toml", &without);
    let lines = [
        "site.page is protected and would be destroyed",
        "log_group.main is protected and would be destroyed",
    ];
    refused(&project, &["plan", "--out", "saved"], &lines);
    refused(&project, &["apply", "--auto-approve"], &lines);
    refused(&project, &["apply", "saved"], &lines);

    // Taking away the keys, or the blocks with them, lifts nothing, and is no change.
    project.write("remotion.toml", CONFIG);
    let plan = project
        .rmx(&["plan", "--detailed-exitcode"])
        .expect_status(0);
    assert!(!plan.stdout.contains("protect"), "{plan}");
    apply(&project);
    let lines = [
        "bucket.main is protected and would be destroyed",
        "log_group.main is protected and would be destroyed",
    ];
    refused(&project, &["plan", "--destroy"], &lines);
    // Only who says so does, and whoever reads the plan is told.
    project.write(
        "remotion.toml",
        &protected.replace("protect = true", "protect = false"),
    );
    let plan = changes(&project);
    let lifted = "      ~ protect = true -> false # lifts the protection\n";
    assert_eq!(plan.matches(lifted).count(), 3, "{plan}");
    assert!(
        plan.contains("Plan: 0 to add, 3 to change, 0 to destroy."),
        "{plan}"
    );
    let comment = project
        .rmx(&["plan", "--format", "markdown"])
        .expect_status(0);
    let lifted = "> [!CAUTION]\n> This plan lifts the protection of `log_group.main`, `bucket.main`, `site.page`: ";
    assert!(comment.stdout.contains(lifted), "{comment}");
    apply(&project);
    project.write("remotion.toml", &without);
    drop(project.rmx(&["apply", "--auto-approve"]).expect_status(0));
    drop(project.rmx(&["destroy", "--auto-approve"]).expect_status(0));
}

#[test]
fn an_entry_that_is_taken_out_takes_its_protection_with_it_and_says_so() {
    let project = project();
    apply(&project);
    let unprotected = project.rmx(&["state", "pull"]).expect_status(0).stdout;
    project.write("unprotected.json", &unprotected);
    let protected = CONFIG.replace("[function]", "[logs]\nprotect = true\n[function]");
    project.write("remotion.toml", &protected);
    apply(&project);
    let push = ["state", "push", "--force", "unprotected.json"];
    let pushed = project.rmx(&push).expect_status(0);
    assert!(
        pushed.stderr.contains("log_group.main was protected"),
        "{pushed}"
    );
    // The configuration says it all the same, and before it is applied.
    let line = "log_group.main is protected and would be destroyed";
    refused(&project, &["destroy", "--auto-approve"], &[line]);
    refused(&project, &["plan", "--destroy"], &[line]);
    apply(&project);
    let entries = ["state", "rm", "log_group.main", "role.main", "--json"];
    let removed = project.rmx(&entries).expect_status(0);
    let warning = "log_group.main was protected";
    assert_eq!(removed.stderr.matches("was protected").count(), 1);
    assert!(removed.stderr.contains(warning), "{removed}");
    let told: Value = serde_json::from_str(&removed.stdout).unwrap();
    let forgotten = serde_json::json!(["log_group.main"]);
    assert_eq!(told["protection_forgotten"], forgotten);
    // Whoever declares it protected has it protected again.
    apply(&project);
    let replace = ["plan", "--replace", "log_group.main"];
    let line = "log_group.main is protected and would be replaced";
    refused(&project, &replace, &[line]);
}

#[test]
fn functions_and_their_role_are_protected_too_and_programs_are_told() {
    let project = project();
    let protected = CONFIG.replace(
        "[function]",
        "[role]\nprotect = true\n[function]\nprotect = true\nreplicas = 2",
    );
    project.write("remotion.toml", &protected);
    apply(&project);
    project.write(
        "remotion.toml",
        &protected.replace("replicas = 2", "replicas = 1"),
    );
    refused(
        &project,
        &["apply", "--auto-approve"],
        &[
            "function.worker-2 is protected and would be destroyed",
            "[function]",
        ],
    );
    let output = project
        .rmx(&["destroy", "--auto-approve", "--json"])
        .expect_status(16);
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
    let told: Vec<&Value> = error["diagnostics"].as_array().unwrap().iter().collect();
    let addresses: Vec<&str> = told
        .iter()
        .map(|one| one["address"].as_str().unwrap())
        .collect();
    assert_eq!(
        addresses,
        ["function.worker-2", "function.worker", "role.main"]
    );
    assert!(told.iter().all(|one| one["rule"] == "protect"));

    let planned = project
        .rmx(&["plan", "--destroy", "--json"])
        .expect_status(16);
    let document: Value = serde_json::from_str(&planned.stdout).unwrap();
    let role = document["resource_changes"].as_array().unwrap().iter();
    let role: Vec<&Value> = role.filter(|one| one["address"] == "role.main").collect();
    assert_eq!(
        role[0]["change"]["protect"],
        serde_json::json!({ "before": true, "after": true }),
        "it is recorded, and the configuration says so too"
    );
    // What was recorded outside of rmx changes nothing about it.
    drop(
        project
            .rmx(&["plan", "--refresh-only", "--detailed-exitcode"])
            .expect_status(0),
    );
}

#[test]
fn what_a_stage_protects_is_lifted_in_its_table() {
    let project = project();
    let staged = format!("{CONFIG}[stage.prod.bucket]\nprotect = true\n");
    project.write("remotion.toml", &staged);
    let prod = ["--stage", "prod"];
    let rmx = |arguments: &[&str]| project.rmx(&[arguments, &prod].concat());
    drop(rmx(&["apply", "--auto-approve"]).expect_status(0));
    let destroy = ["destroy", "--auto-approve", "--delete-data"];
    let refused = rmx(&destroy).expect_status(16);
    let hint = "set `protect = false` under [bucket] (or the same within [stage.prod])";
    assert!(refused.stderr.contains(hint), "{refused}");
    project.write("remotion.toml", &staged.replace("= true", "= false"));
    drop(rmx(&["apply", "--auto-approve"]).expect_status(0));
    drop(rmx(&destroy).expect_status(0));
}
