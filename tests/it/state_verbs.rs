//! The state as the user handles it: `rmx state ...`, in a folder and in S3, and the way from one to the other.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use rmx::cloud::PutOptions;
use rmx::state::{Holder, LeaseTerms, S3Location, StateStore};
use serde_json::{Value, json};

use crate::plan::{CONFIG, apply, changes, project};
use crate::recovery::{behind_its_back, block_on};
use crate::support::{Output, TestProject};

const LOCAL_FILE: &str = ".rmx/state/default.json";
const IN_S3: &str = "[state]\nbackend = \"s3\"\nbucket = \"my-states\"\n";
const URL: &str = "s3://my-states/rmx/hello/default.json";

fn configure(project: &TestProject, more: &str) {
    project.write("remotion.toml", &format!("{CONFIG}{more}"));
}

/// A project whose state is kept in S3, with the bucket for it.
fn project_in_s3() -> TestProject {
    let project = project();
    configure(&project, IN_S3);
    drop(project.rmx(&["state", "create-bucket"]).expect_status(0));
    project
}

#[track_caller]
fn lines(project: &TestProject, arguments: &[&str]) -> Vec<String> {
    let output = project.rmx(arguments).expect_status(0);
    output.stdout.lines().map(str::to_owned).collect()
}

#[track_caller]
fn state(project: &TestProject) -> Value {
    let output = project.rmx(&["state", "pull"]).expect_status(0);
    serde_json::from_str(&output.stdout).unwrap()
}

#[track_caller]
fn has(output: &Output, words: &[&str]) {
    for words in words {
        assert!(
            output.stderr.contains(words),
            "{words} is missing in\n{output}"
        );
    }
}

/// What holds for a state wherever it is kept.
fn is_put_right_by_hand(project: &TestProject) {
    apply(project);
    let all = lines(project, &["state", "list"]);
    assert_eq!(all.len(), 5, "{all:?}");
    let whole = project.rmx(&["state", "pull"]).expect_status(0).stdout;
    project.write("whole.json", &whole);

    // Forgotten, not deleted: the next plan takes it up again.
    let output = project.rmx(&["state", "rm", "function.worker", "site.page", "--json"]);
    let told: Value = serde_json::from_str(&output.expect_status(0).stdout).unwrap();
    assert_eq!(told["removed"], json!(["function.worker", "site.page"]));
    assert_eq!(lines(project, &["state", "list"]).len(), 3);
    let output = project
        .rmx(&["state", "rm", "function.worker"])
        .expect_status(1);
    has(
        &output,
        &["There is no `function.worker` in it", "state list"],
    );
    let plan = changes(project);
    assert!(plan.contains("function.worker will be recorded"), "{plan}");
    apply(project);

    // A site that was renamed.
    let output = project
        .rmx(&["state", "mv", "site.page", "site.film"])
        .expect_status(1);
    has(&output, &["still declares", "rename it"]);
    let config = project.read("remotion.toml");
    let renamed = config.replace("name = \"page\"", "name = \"film\"");
    project.write("remotion.toml", &renamed);
    let output = project
        .rmx(&["state", "mv", "site.page", "function.film"])
        .expect_status(64);
    has(&output, &["cannot become another kind"]);
    drop(
        project
            .rmx(&["state", "mv", "site.page", "site.film"])
            .expect_status(0),
    );
    assert!(changes(project).contains("site.film must be replaced"));
    apply(project);
    let output = project
        .rmx(&["state", "mv", "site.page", "site.film"])
        .expect_status(1);
    has(&output, &["There is no `site.page` in it"]);
    project.write("remotion.toml", &config);
    apply(project);

    // An older one, one of somebody else, a damaged one.
    let push =
        |name: &str, flags: &[&str]| project.rmx(&[&["state", "push", name], flags].concat());
    let output = push("whole.json", &[]).expect_status(1);
    has(&output, &["which is newer than"]);
    project.write("cut.json", &whole[..whole.len() / 2]);
    has(
        &push("cut.json", &["--force"]).expect_status(1),
        &["cut.json is damaged", "the recorded state is as it was"],
    );
    project.write(
        "edited.json",
        &whole
            .replace("\"pending\"", "\"complete\"")
            .replace("240", "241"),
    );
    has(
        &push("edited.json", &["--force"]).expect_status(1),
        &["does not fit its checksum", "as `rmx state pull`"],
    );
    project.write("named.json", &whole.replace("\"hello\"", "\"other\""));
    has(
        &push("named.json", &["--force"]).expect_status(1),
        &["is the state of project `other`"],
    );
    has(
        &push("missing.json", &[]).expect_status(1),
        &["Cannot read the file", "state pull"],
    );
    let before = state(project);
    let serial = before["state"]["serial"].as_u64().unwrap();
    drop(push("whole.json", &["--force"]).expect_status(0));
    let forced = state(project);
    assert_eq!(forced["state"]["serial"], serial + 1);
    assert!(forced["state"]["records"]["site.page"].is_object());
    // The same once more is no change.
    let now = project.rmx(&["state", "pull"]).expect_status(0).stdout;
    project.write("now.json", &now);
    drop(push("now.json", &[]).expect_status(0));
    assert_eq!(state(project)["state"], forced["state"]);
    apply(project);
}

#[test]
fn a_state_in_a_folder_is_put_right_by_hand() {
    is_put_right_by_hand(&project());
}

#[test]
fn a_state_in_s3_is_put_right_by_hand() {
    let project = project_in_s3();
    is_put_right_by_hand(&project);
    let signpost: Value = serde_json::from_str(&project.read(LOCAL_FILE)).unwrap();
    assert_eq!(signpost["moved_to"], URL);
    assert_eq!(signpost["state"], Value::Null);
    // Another deployment's state.
    let strange = TestProject::new();
    strange.write("remotion.toml", CONFIG);
    let lineage = state(&project)["state"]["lineage"].clone();
    assert!(lineage.is_string());
    drop(project.rmx(&["destroy", "--auto-approve"]).expect_status(0));
    assert_eq!(lines(&project, &["state", "list"]).len(), 0);
    assert_eq!(state(&project)["state"]["lineage"], lineage);
}

#[test]
fn a_state_in_s3_needs_its_bucket_and_not_the_farms() {
    let project = project();
    configure(&project, IN_S3);
    let output = project.rmx(&["apply", "--auto-approve"]).expect_status(1);
    has(
        &output,
        &[
            "the bucket `my-states` does not exist",
            "rmx state create-bucket",
        ],
    );
    let made = lines(&project, &["state", "create-bucket"]);
    assert!(made[0].contains("was created in us-east-1"), "{made:?}");
    let again = lines(&project, &["state", "create-bucket"]);
    assert!(again[0].contains("is there already"), "{again:?}");
    let output = project.rmx(&["state", "pull"]).expect_status(1);
    has(&output, &["There is no state yet", URL]);

    let own = IN_S3.replace("my-states", "rmx-hello-000000000000-us-east-1");
    configure(&project, &own);
    let output = project.rmx(&["plan"]).expect_status(64);
    has(&output, &["the farm's own bucket"]);
    configure(&project, "[state]\nbackend = \"s3\"\n");
    has(
        &project.rmx(&["plan"]).expect_status(1),
        &["`bucket` is missing in `[state]`"],
    );
    // A bucket says enough.
    configure(&project, "[state]\nbucket = \"my-states\"\n");
    let output = project.rmx(&["state", "pull"]).expect_status(1);
    has(&output, &[URL]);
    configure(
        &project,
        &format!("{IN_S3}[stage.here.state]\nbackend = \"local\"\n"),
    );
    let output = project
        .rmx(&["--stage", "here", "state", "pull"])
        .expect_status(1);
    has(&output, &[".rmx/state/here.json"]);
}

#[test]
fn saved_plans_and_stages_work_with_s3() {
    let project = project_in_s3();
    drop(project.rmx(&["plan", "--out", "plan.rmx"]).expect_status(0));
    drop(project.rmx(&["apply", "plan.rmx"]).expect_status(0));
    has(
        &project.rmx(&["apply", "plan.rmx"]).expect_status(10),
        &["stale"],
    );
    let shown = project.rmx(&["show"]).expect_status(0);
    assert!(
        shown.stdout.contains("resource \"function\" \"worker\""),
        "{shown}"
    );

    configure(
        &project,
        &format!("{IN_S3}[stage.test]\nstate.key = \"elsewhere/t.json\"\n"),
    );
    let staged = ["--stage", "test", "apply", "--auto-approve"];
    drop(project.rmx(&staged).expect_status(0));
    behind_its_back(&project, async |cloud| {
        let bucket = "my-states".parse().unwrap();
        let objects = cloud.list_objects(&bucket, "").await.unwrap();
        let keys: Vec<_> = objects.iter().map(|object| object.key.as_str()).collect();
        assert_eq!(keys, ["elsewhere/t.json", "rmx/hello/default.json"]);
    });
}

/// The store that a command of `project` uses.
fn remote_store(project: &TestProject, cloud: rmx::cloud::Cloud) -> StateStore {
    let location = S3Location {
        cloud,
        bucket: "my-states".parse().unwrap(),
        key: "rmx/hello/default.json".to_owned(),
    };
    StateStore::new(project.path(), &"hello".parse().unwrap(), None)
        .in_s3(location, LeaseTerms::default())
}

#[test]
fn a_lock_in_s3_is_told_and_removed_by_its_id() {
    let mut project = project_in_s3();
    project.set_variable("CI_JOB_URL", "https://ci.example/jobs/7");
    apply(&project);
    let surroundings = rmx::env::Env::read().unwrap();
    let holder = Holder {
        ci_job: Some("https://ci.example/jobs/6".to_owned()),
        ..Holder::new(&surroundings, "rmx destroy")
    };
    behind_its_back(&project, async |cloud| {
        let store = remote_store(&project, cloud);
        drop(store.lock(&holder).await.unwrap()); // as if killed
    });
    for command in [
        &["apply", "--auto-approve"][..],
        &["state", "rm", "site.page"],
    ] {
        let output = project.rmx(command).expect_status(11);
        has(
            &output,
            &[
                "is locked by `rmx destroy` of",
                "https://ci.example/jobs/6",
                &holder.id,
                "unlock",
            ],
        );
    }
    let output = project
        .rmx(&["apply", "--auto-approve", "--json"])
        .expect_status(11);
    let error: Value = serde_json::from_str(output.stderr.lines().last().unwrap()).unwrap();
    assert_eq!(error["diagnostics"][0]["id"], holder.id);
    // Looking takes no lock.
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    drop(project.rmx(&["state", "list"]).expect_status(0));

    let output = project
        .rmx(&["state", "unlock", "another", "--force"])
        .expect_status(1);
    has(&output, &["`another` is not the lock", &holder.id]);
    let output = project
        .rmx(&["state", "unlock", &holder.id])
        .expect_status(64);
    has(&output, &["--force"]);
    let output = project
        .rmx(&["state", "unlock", &holder.id, "--force"])
        .expect_status(0);
    assert!(
        output.stdout.contains("Removed the lock of `rmx destroy`"),
        "{output}"
    );
    let output = project
        .rmx(&["state", "unlock", &holder.id, "--force"])
        .expect_status(1);
    has(&output, &["is not locked"]);
    apply(&project);
}

#[test]
fn a_lock_of_the_kernel_is_told_and_cannot_be_removed() {
    let project = project();
    let output = project.rmx(&["state", "unlock", "some"]).expect_status(1);
    has(&output, &["is not locked"]);
    apply(&project);
    let surroundings = rmx::env::Env::read().unwrap();
    let holder = Holder::new(&surroundings, "rmx destroy");
    let store = StateStore::new(project.path(), &"hello".parse().unwrap(), None);
    let locked = block_on(store.lock(&holder)).unwrap();
    let output = project.rmx(&["apply", "--auto-approve"]).expect_status(11);
    has(&output, &["is locked by `rmx destroy` of", &holder.id]);
    let output = project
        .rmx(&["state", "unlock", "another", "--force"])
        .expect_status(1);
    has(&output, &["`another` is not the lock", &holder.id]);
    let output = project
        .rmx(&["state", "unlock", &holder.id, "--force"])
        .expect_status(1);
    let process = format!("end the process {}", std::process::id());
    has(&output, &["ends with that process", &process]);
    drop(locked);
    apply(&project);
}

/// Runs an apply that may wait, lets go of the lock once it says that it waits, and requires that it gets its turn.
#[track_caller]
fn waits_for_its_turn(project: &TestProject, let_go: impl FnOnce()) {
    let at_once = project.rmx(&["apply", "--auto-approve"]).expect_status(11);
    has(&at_once, &["is locked by `rmx destroy` of"]);
    let wait = ["apply", "--auto-approve", "--lock-timeout", "600"];
    let mut waiting = project.spawn(&wait, Stdio::piped());
    let mut said = BufReader::new(waiting.stderr.take().unwrap()).lines();
    let told = said
        .by_ref()
        .find(|line| line.as_ref().unwrap().contains("Waiting up to 600 s"));
    assert!(told.unwrap().unwrap().contains("rmx destroy"));
    assert!(waiting.try_wait().unwrap().is_none());
    let_go();
    let said: Vec<String> = said.map(Result::unwrap).collect();
    assert_eq!(waiting.wait().unwrap().code(), Some(0), "{said:?}");
}

#[test]
fn who_may_wait_gets_the_lock_once_it_is_free() {
    let surroundings = rmx::env::Env::read().unwrap();
    let holder = Holder::new(&surroundings, "rmx destroy");
    let in_folder = project();
    apply(&in_folder);
    let store = StateStore::new(in_folder.path(), &"hello".parse().unwrap(), None);
    let locked = block_on(store.lock(&holder)).unwrap();
    waits_for_its_turn(&in_folder, || drop(locked));

    let in_s3 = project_in_s3();
    apply(&in_s3);
    behind_its_back(&in_s3, async |cloud| {
        let store = remote_store(&in_s3, cloud);
        drop(store.lock(&holder).await.unwrap()); // as if killed
    });
    waits_for_its_turn(&in_s3, || {
        let unlock = in_s3.rmx(&["state", "unlock", &holder.id, "--force"]);
        drop(unlock.expect_status(0));
    });
}

#[test]
fn of_two_applies_at_once_one_goes_on() {
    let project = project_in_s3();
    // Enough that the first one is still at work when the second one comes.
    for index in 0..600 {
        project.write(&format!("page/{index}.js"), &index.to_string());
    }
    let mut first = project.spawn(&["apply", "--auto-approve"], Stdio::piped());
    let mut said = BufReader::new(first.stderr.take().unwrap()).lines();
    assert!(
        said.by_ref()
            .any(|line| line.unwrap().contains("Creating..."))
    );
    let second = project.rmx(&["apply", "--auto-approve"]).expect_status(11);
    has(&second, &["is locked by `rmx apply` of"]);
    for line in said {
        line.unwrap();
    }
    assert_eq!(first.wait().unwrap().code(), Some(0));
    apply(&project);
}

#[test]
fn an_interrupted_apply_lets_go_of_its_lock() {
    let project = project_in_s3();
    for index in 0..600 {
        project.write(&format!("page/{index}.js"), &index.to_string());
    }
    let mut child = project.spawn(&["apply", "--auto-approve"], Stdio::piped());
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        said.by_ref()
            .any(|line| line.unwrap().contains("Creating..."))
    );
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    for line in said {
        line.unwrap();
    }
    assert_eq!(child.wait().unwrap().code(), Some(14));
    apply(&project);
}

#[test]
fn a_state_moves_to_s3_and_back() {
    let project = project();
    apply(&project);
    let lineage = state(&project)["state"]["lineage"].clone();
    // With another [state] nobody begins a second deployment.
    configure(&project, IN_S3);
    drop(project.rmx(&["state", "create-bucket"]).expect_status(0));
    for command in [
        &["plan"][..],
        &["apply", "--auto-approve"],
        &["destroy", "--auto-approve"],
        &["show"],
    ] {
        let output = project.rmx(command).expect_status(1);
        has(
            &output,
            &[
                "The state was not moved yet",
                LOCAL_FILE,
                "rmx state migrate",
            ],
        );
    }
    let output = project.rmx(&["state", "migrate"]).expect_status(0);
    assert!(output.stdout.contains(&format!("to {URL}")), "{output}");
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    assert_eq!(state(&project)["state"]["lineage"], lineage);
    let output = project.rmx(&["state", "migrate"]).expect_status(0);
    assert!(output.stdout.contains("already"), "{output}");
    // Neither where it was.
    configure(&project, "");
    let output = project.rmx(&["apply", "--auto-approve"]).expect_status(1);
    has(&output, &["The state is kept elsewhere", URL]);
    configure(&project, IN_S3);
    project.write("page/a.js", "changed");
    apply(&project);

    // A fresh checkout on another machine has it all.
    std::fs::rename(
        project.path().join(".rmx/state"),
        project.path().join("kept"),
    )
    .unwrap();
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    std::fs::rename(
        project.path().join("kept"),
        project.path().join(".rmx/state"),
    )
    .unwrap();

    configure(&project, "");
    let output = project
        .rmx(&["state", "migrate", "--json"])
        .expect_status(0);
    let told: Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!((&told["moved"], &told["from"]), (&json!(true), &json!(URL)));
    // As whoever was cut off at the very end runs it again.
    let again = project.rmx(&["state", "migrate"]).expect_status(0);
    assert!(again.stdout.contains("already"), "{again}");
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    configure(&project, IN_S3);
    let output = project.rmx(&["plan"]).expect_status(1);
    has(
        &output,
        &["The state is kept elsewhere", LOCAL_FILE, "bring it back"],
    );
    drop(project.rmx(&["state", "migrate"]).expect_status(0));
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    assert_eq!(state(&project)["state"]["lineage"], lineage);
}

#[test]
fn a_state_that_is_newer_or_anothers_is_not_replaced() {
    let project = project();
    apply(&project);
    let file = project.read(LOCAL_FILE);
    configure(&project, IN_S3);
    drop(project.rmx(&["state", "create-bucket"]).expect_status(0));
    drop(project.rmx(&["state", "migrate"]).expect_status(0));
    project.write("page/a.js", "changed");
    apply(&project);
    // Somebody puts the old file back.
    project.write(LOCAL_FILE, &file);
    let output = project.rmx(&["plan"]).expect_status(1);
    has(&output, &["There are two states", LOCAL_FILE, URL]);
    let output = project.rmx(&["state", "migrate"]).expect_status(1);
    has(&output, &["which is newer than"]);

    let strange = TestProject::new();
    strange.write("remotion.toml", "project = \"hello\"\n");
    let other = StateStore::new(strange.path(), &"hello".parse().unwrap(), None);
    block_on(async {
        let surroundings = rmx::env::Env::read().unwrap();
        let mut locked = other.lock(&Holder::new(&surroundings, "x")).await.unwrap();
        let mut state = locked.state().clone();
        locked.save(&mut state).await.unwrap();
    });
    project.write(LOCAL_FILE, &strange.read(LOCAL_FILE));
    let output = project.rmx(&["state", "migrate"]).expect_status(1);
    has(&output, &["The state belongs to another deployment"]);
    std::fs::remove_file(project.path().join(LOCAL_FILE)).unwrap();
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
}

#[test]
fn a_state_that_is_gone_is_missed() {
    let project = project_in_s3();
    apply(&project);
    let whole = project.rmx(&["state", "pull"]).expect_status(0).stdout;
    behind_its_back(&project, async |cloud| {
        let bucket = "my-states".parse().unwrap();
        let key = "rmx/hello/default.json".to_owned();
        cloud.delete_objects(&bucket, &[key]).await.unwrap();
    });
    let output = project.rmx(&["apply", "--auto-approve"]).expect_status(1);
    has(&output, &["The state is gone", ".backups/", LOCAL_FILE]);
    behind_its_back(&project, async |cloud| {
        let bucket = "my-states".parse().unwrap();
        let options = PutOptions::default();
        let content = whole.clone().into();
        cloud
            .put_object(&bucket, "rmx/hello/default.json", content, &options)
            .await
            .unwrap();
    });
    apply(&project);
}

/// A limit on the size of files is what a full disk is to a save. With the signal ignored the write fails; without, it
/// kills the process in the middle of writing.
#[test]
fn a_full_disk_or_a_kill_in_the_middle_of_a_save_leaves_the_last_whole_state() {
    let project = project();
    // Large enough for any unit of `ulimit -f`.
    for index in 0..40 {
        project.write(&format!("page/{index}.js"), &index.to_string());
    }
    apply(&project);
    let before = project.read(LOCAL_FILE);
    assert!(before.len() > 2_048);
    let limited = |script: &str| {
        let surroundings = rmx::env::Env::read().unwrap();
        std::process::Command::new("/bin/sh")
            .args(["-c", script, "sh", env!("CARGO_BIN_EXE_rmx")])
            .current_dir(project.path())
            .env_clear()
            .env("PATH", &surroundings.variables["PATH"])
            .env("HOME", project.path())
            .output()
            .unwrap()
    };
    let output = limited("trap '' XFSZ; ulimit -f 1; exec \"$1\" state rm log_group.main");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    for words in ["Cannot save the state", LOCAL_FILE, "make room"] {
        assert!(said.contains(words), "{words} is missing in\n{said}");
    }
    assert_eq!(project.read(LOCAL_FILE), before);

    let unfinished = || {
        let entries = std::fs::read_dir(project.path().join(".rmx/state")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with('.')).count()
    };
    assert_eq!(unfinished(), 0);
    let output = limited("ulimit -f 1; exec \"$1\" state rm log_group.main");
    assert_eq!(output.status.code(), None, "{output:?}");
    assert_eq!(project.read(LOCAL_FILE), before);
    assert_eq!(unfinished(), 1, "the save was under way");
    // Written whole and killed before it took the state's place.
    project.write(
        ".rmx/state/.default.json.abc",
        &before.replace("240", "241"),
    );
    drop(
        project
            .rmx(&["plan", "--detailed-exitcode"])
            .expect_status(0),
    );
    apply(&project);
    assert_eq!(unfinished(), 0, "the next command clears it away");
}
