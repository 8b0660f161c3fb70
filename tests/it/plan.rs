//! Plans, applies and destroys as the user runs them, on the embedded cloud.

use std::fs;
use std::path::Path;

use crate::support::{Output, TestProject};

pub(crate) const CONFIG: &str = r#"
project = "hello"
[function]
package = "function"
environment = { LEVEL = "debug", TOKEN = { secret = "env:FARM_TOKEN" } }
[[site]]
name = "page"
folder = "page"
"#;

/// A project that can be applied without building anything.
pub(crate) fn project() -> TestProject {
    let mut project = TestProject::new();
    project.write("remotion.toml", CONFIG);
    project.write("function/bootstrap", "#!/bin/sh\nexit 1\n");
    project.write("page/index.html", "<p>1</p>");
    project.write("page/a.js", "1");
    project.write("page/b.js", "2");
    project.set_variable("FARM_TOKEN", "a secret of mine");
    project
}

/// As [`apply_and_look`], for those who need not look at it.
#[track_caller]
pub(crate) fn apply(project: &TestProject) {
    drop(apply_and_look(project));
}

/// Applies, and requires that nothing is left to do.
#[track_caller]
fn apply_and_look(project: &TestProject) -> Output {
    let applied = project.rmx(&["apply", "--auto-approve"]).expect_status(0);
    let again = project
        .rmx(&["plan", "--detailed-exitcode"])
        .expect_status(0);
    assert!(again.stdout.contains("No changes."), "{again}");
    applied
}

/// What a plan changes, without what it tells of cost and preflight.
#[track_caller]
pub(crate) fn changes(project: &TestProject) -> String {
    let plan = project
        .rmx(&["plan", "--detailed-exitcode"])
        .expect_status(2)
        .stdout;
    let ends = ["\nCost of a minute of video:", "\nPreflight:"];
    let end = ends.iter().filter_map(|end| plan.find(end)).min();
    plan[..end.unwrap_or(plan.len())].to_owned()
}

/// The lines of progress without their times and ids.
fn steps(output: &Output) -> Vec<String> {
    let lines = output
        .stderr
        .lines()
        .filter(|line| line.contains("complete after"));
    lines
        .map(|line| {
            line.split(" complete")
                .next()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

#[test]
fn from_nothing_to_a_farm_and_back() {
    let project = project();
    let plan = changes(&project);
    assert!(
        plan.ends_with("\nPlan: 5 to add, 0 to change, 0 to destroy.\n"),
        "{plan}"
    );
    assert!(
        !project.path().join(".rmx/state").exists(),
        "a plan records nothing"
    );

    let applied = apply_and_look(&project);
    assert_eq!(
        steps(&applied),
        [
            "log_group.main: Creation",
            "role.main: Creation",
            "bucket.main: Creation",
            "function.worker: Creation",
            "site.page: Creation"
        ]
    );
    assert!(
        applied
            .stdout
            .contains("Apply complete! Resources: 5 added, 0 changed, 0 destroyed.")
    );
    assert!(
        applied
            .stdout
            .contains("bucket = \"rmx-hello-000000000000-us-east-1\"\n")
    );

    let again = apply_and_look(&project);
    assert!(
        again
            .stdout
            .starts_with("No changes. Your infrastructure matches the configuration.\n")
    );
    assert_eq!(steps(&again), [""; 0]);

    let listed = project.rmx(&["state", "list"]).expect_status(0).stdout;
    assert_eq!(
        listed,
        "log_group.main\nrole.main\nbucket.main\nfunction.worker\nsite.page\n"
    );
    let shown = project
        .rmx(&["state", "show", "function.worker"])
        .expect_status(0)
        .stdout;
    for line in [
        "    version                          = \"1\"\n",
        "    environment.RMX_BUCKET           = \"rmx-hello-000000000000-us-east-1\"\n",
        "    environment.RMX_REMOTION_VERSION = \"4.0.527\"\n",
        "    environment.TOKEN                = (sensitive value)\n",
    ] {
        assert!(shown.contains(line), "{line} is missing in\n{shown}");
    }

    let planned = project
        .rmx(&["plan", "--destroy", "--detailed-exitcode"])
        .expect_status(2);
    assert!(
        planned
            .stdout
            .contains("Plan: 0 to add, 0 to change, 5 to destroy."),
        "{planned}"
    );
    let destroyed = project.rmx(&["destroy", "--auto-approve"]).expect_status(0);
    assert!(
        destroyed
            .stdout
            .contains("Destroy complete! Resources: 5 destroyed."),
        "{destroyed}"
    );
    drop(project.rmx(&["state", "list"]).expect_status(0));
    let nothing = project.rmx(&["destroy", "--auto-approve"]).expect_status(0);
    assert!(
        nothing.stdout.contains("No objects need to be destroyed."),
        "{nothing}"
    );
    // The same lineage makes it all again.
    apply(&project);
}

#[test]
fn a_change_in_place_a_new_version_and_only_what_changed_of_a_site() {
    let project = project();
    apply(&project);

    project.write(
        "remotion.toml",
        &CONFIG.replace("[function]", "[function]\nmemory_mb = 1024"),
    );
    let plan = changes(&project);
    let expected = "\
Resource actions are indicated with the following symbols:
  ~ update in-place

rmx will perform the following actions:

  # function.worker will be updated in-place
  ~ resource \"function\" \"worker\" {
        name      = \"rmx-hello\"
      ~ memory_mb = 2048 -> 1024
      ~ version   = \"1\" -> (known after apply)
        # (13 unchanged attributes hidden)
    }

Plan: 0 to add, 1 to change, 0 to destroy.
";
    assert_eq!(plan, expected);
    let applied = apply_and_look(&project);
    assert!(
        applied
            .stdout
            .contains("Resources: 0 added, 1 changed, 0 destroyed."),
        "{applied}"
    );
    assert!(
        recorded(&project, "function.worker").contains("version                          = \"2\"")
    );

    project.write("function/bootstrap", "#!/bin/sh\nexit 2\n");
    assert!(changes(&project).contains("~ code_sha256 = "));
    apply(&project);
    assert!(
        recorded(&project, "function.worker").contains("version                          = \"3\"")
    );

    project.write("page/a.js", "changed");
    project.write("page/c.js", "new");
    fs::remove_file(project.path().join("page/b.js")).unwrap();
    let plan = changes(&project);
    for line in ["~ file \"a.js\"", "- file \"b.js\"", "+ file \"c.js\""] {
        assert!(plan.contains(line), "{plan}");
    }
    assert!(!plan.contains("file \"index.html\""), "{plan}");
    apply(&project);
    assert!(recorded(&project, "site.page").contains("(3 files)"));

    let without_site = CONFIG.split("[[site]]").next().unwrap();
    project.write("remotion.toml", without_site);
    assert!(changes(&project).contains("# site.page will be destroyed"));
    let applied = apply_and_look(&project);
    assert_eq!(steps(&applied)[0], "function.worker: Modifications");
    assert_eq!(steps(&applied)[1], "site.page: Destruction");
}

#[track_caller]
fn recorded(project: &TestProject, address: &str) -> String {
    project
        .rmx(&["state", "show", address])
        .expect_status(0)
        .stdout
}

#[test]
fn what_takes_a_replacement_says_which_field_forces_it() {
    let project = project();
    apply(&project);
    project.write(
        "remotion.toml",
        &format!("{CONFIG}[bucket]\nname = \"my-own-bucket\"\n"),
    );
    let plan = changes(&project);
    for line in [
        "-/+ destroy and then create replacement",
        "  # bucket.main must be replaced",
        "      ~ name = \"rmx-hello-000000000000-us-east-1\" -> \"my-own-bucket\" # forces replacement",
        "  # site.page must be replaced",
        "  # role.main will be updated in-place",
        "      ~ environment.RMX_BUCKET = \"rmx-hello-000000000000-us-east-1\" -> \"my-own-bucket\"",
        "Plan: 2 to add, 2 to change, 2 to destroy.",
    ] {
        assert!(plan.contains(line), "{line} is missing in\n{plan}");
    }
    let applied = apply_and_look(&project).to_string();
    let goes = "bucket.main: Destroying... [id=rmx-hello-000000000000-us-east-1]";
    assert!(applied.contains(goes), "{applied}");
    assert!(recorded(&project, "site.page").contains("bucket = \"my-own-bucket\""));
}

#[test]
fn secrets_are_in_nothing_that_is_written_or_said() {
    let mut project = project();
    let mut said = changes(&project);
    let json = project.rmx(&["plan", "--format", "json"]).expect_status(0);
    said.push_str(&json.to_string());
    said.push_str(&apply_and_look(&project).to_string());
    said.push_str(
        &project
            .rmx(&["show", "--json"])
            .expect_status(0)
            .to_string(),
    );
    project.set_variable("FARM_TOKEN", "another secret");
    let plan = changes(&project);
    assert!(
        plan.contains("~ environment.TOKEN = (sensitive value)\n"),
        "{plan}"
    );
    said.push_str(&plan);
    said.push_str(&apply_and_look(&project).to_string());
    for folder in [".rmx/state", ".rmx/cache"] {
        each_file(&project.path().join(folder), &mut |bytes| {
            said.push_str(&String::from_utf8_lossy(bytes));
        });
    }
    assert!(!said.contains("secret of mine") && !said.contains("another secret"));

    project.set_variable("FARM_TOKEN", "");
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["format_version"], "1.2");
    let function = &document["resource_changes"][3];
    assert_eq!(function["address"], "function.worker");
    assert_eq!(function["change"]["actions"], serde_json::json!(["create"]));
    assert_eq!(function["change"]["after"]["memory_mb"], 2048);
    assert_eq!(function["change"]["after_unknown"]["version"], true);
    assert_eq!(
        function["change"]["after_sensitive"]["environment"]["TOKEN"],
        true
    );
}

#[test]
fn programs_get_a_line_for_each_step() {
    let project = project();
    let output = project
        .rmx(&["apply", "--auto-approve", "--json"])
        .expect_status(0);
    assert_eq!(output.stderr, "");
    let lines: Vec<serde_json::Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (line, number) in lines.iter().zip(0..) {
        assert_eq!(line["seq"], number);
        assert_eq!(line["run_id"], lines[0]["run_id"]);
        assert_eq!(line["run_id"].as_str().unwrap().len(), 36);
    }
    let kinds: Vec<&str> = lines
        .iter()
        .map(|line| line["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "version");
    assert_eq!(kinds[1..6], ["planned_change"; 5]);
    assert_eq!(kinds[6], "cost");
    assert_eq!(kinds[7..13], ["preflight"; 6]);
    assert_eq!(lines[9]["check"]["subject"], "permissions");
    let lines = &lines[13..];
    assert_eq!(lines[0]["changes"]["operation"], "plan");
    let steps = ["apply_start", "apply_complete"].repeat(5);
    assert_eq!(kinds[14..24], steps);
    assert_eq!(lines[2]["hook"]["id_value"], "/aws/lambda/rmx-hello");
    let end = &lines[11];
    assert_eq!(
        (&end["changes"]["add"], &end["changes"]["operation"]),
        (&5.into(), &"apply".into())
    );
    assert_eq!(
        lines[12]["outputs"]["function_worker"]["value"],
        "rmx-hello"
    );
    assert_eq!(lines.len(), 13);
}

fn each_file(folder: &Path, look: &mut dyn FnMut(&[u8])) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            each_file(&path, look);
        } else {
            look(&fs::read(path).unwrap());
        }
    }
}

#[test]
fn bad_input_is_refused_with_a_next_step() {
    let project = project();
    let refused = |arguments: &[&str], status, words: &[&str]| {
        let output = project.rmx(arguments).expect_status(status);
        for word in words {
            assert!(
                output.stderr.contains(word),
                "{word} is missing in\n{output}"
            );
        }
    };
    refused(
        &["plan", "--out", "no/p"],
        1,
        &["Cannot save the plan", "no/p"],
    );
    refused(
        &["apply", "p"],
        1,
        &["Cannot read the saved plan", "plan --out"],
    );
    refused(
        &["plan", "--replace", "function.other"],
        64,
        &["function.other cannot be replaced", "hint:"],
    );
    refused(&["apply"], 64, &["pass --auto-approve"]);
    refused(
        &["state", "show", "function"],
        64,
        &["is not a resource address"],
    );
    refused(&["state", "show", "function.other"], 1, &["rmx state list"]);

    fs::rename(
        project.path().join("page/index.html"),
        project.path().join("page/index.htm"),
    )
    .unwrap();
    refused(&["plan"], 1, &["holds no `index.html`", "remotion.toml:8"]);
    project.write(
        "remotion.toml",
        &format!("{CONFIG}build = \"echo building; exit 3\"\n"),
    );
    refused(
        &["plan"],
        1,
        &["building\n", "`echo building; exit 3`", "exit status: 3"],
    );
    project.write(
        "remotion.toml",
        &format!("{CONFIG}build = \"mv page/index.htm page/index.html\"\n"),
    );
    drop(project.rmx(&["plan"]).expect_status(0));

    project.write(
        "remotion.toml",
        &format!("account = \"111111111111\"\n{CONFIG}"),
    );
    refused(
        &["apply", "--auto-approve"],
        16,
        &["111111111111", "000000000000"],
    );
    assert!(!project.path().join(".rmx/state/default.json").exists());
}

#[test]
fn a_state_that_cannot_be_trusted_is_left_alone() {
    let project = project();
    apply(&project);
    let path = project.path().join(".rmx/state/default.json");
    let whole = fs::read_to_string(&path).unwrap();
    let (half, _) = whole.split_at(whole.len() / 2);
    for (text, words) in [
        (half.to_owned(), ["is damaged", "cp "]),
        (
            whole.replace("2048", "1024"),
            ["was changed by something other than rmx", "cp "],
        ),
        (
            whole.replace("\"format\": 2", "\"format\": 3"),
            ["written by a later rmx", "format 3"],
        ),
        (
            whole.replace("\"project\": \"hello\"", "\"project\": \"bye\""),
            ["project `bye`", "`hello`"],
        ),
    ] {
        fs::write(&path, &text).unwrap();
        for arguments in [
            &["plan"][..],
            &["apply", "--auto-approve"],
            &["destroy", "--auto-approve"],
        ] {
            let output = project.rmx(arguments).expect_status(1);
            for word in words {
                assert!(
                    output.stderr.contains(word),
                    "{word} is missing in\n{output}"
                );
            }
        }
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            text,
            "it is not overwritten"
        );
    }
    // What the error says to do helps.
    fs::write(&path, half).unwrap();
    let output = project.rmx(&["plan"]).expect_status(1);
    let command = output
        .stderr
        .split('`')
        .find(|part| part.starts_with("cp "))
        .unwrap();
    let mut words = command.split(' ').skip(1);
    fs::copy(words.next().unwrap(), words.next().unwrap()).unwrap();
    apply(&project);
}

#[test]
fn an_apply_ends_with_the_totals_of_its_plan() {
    let project = project();
    apply(&project);
    let adopted = |memory_mb: u32, arguments: &[&str]| {
        drop(
            project
                .rmx(&["state", "rm", "function.worker"])
                .expect_status(0),
        );
        let memory = format!("[function]\nmemory_mb = {memory_mb}");
        project.write("remotion.toml", &CONFIG.replace("[function]", &memory));
        project.rmx(arguments).expect_status(0)
    };
    let applied = adopted(1024, &["apply", "--auto-approve"]);
    for told in [
        "Plan: 1 to adopt, 0 to add, 1 to change, 0 to destroy.\n",
        "Apply complete! Resources: 1 adopted, 0 added, 1 changed, 0 destroyed.\n",
    ] {
        assert!(
            applied.stdout.contains(told),
            "{told} is missing in\n{applied}"
        );
    }
    let applied = adopted(2048, &["apply", "--auto-approve", "--json"]);
    let lines = applied.stdout.lines();
    let events = lines.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let summaries: Vec<_> = events
        .filter(|event| event["type"] == "change_summary")
        .map(|event| {
            (
                event["changes"]["import"].clone(),
                event["changes"]["change"].clone(),
            )
        })
        .collect();
    assert_eq!(summaries, [(1.into(), 1.into()), (1.into(), 1.into())]);
}
