//! The frame around all verbs: exit codes, which stream gets what, colours, errors as JSON.

use crate::support::{TestProject, eventually};

#[test]
fn a_wrong_command_line_is_64_and_says_so_on_standard_error() {
    let project = TestProject::new();
    for arguments in [&["nonsense"][..], &["completions"], &["--nonsense"], &[]] {
        let output = project.rmx(arguments).expect_status(64);
        assert_eq!(output.stdout, "", "{arguments:?}");
        assert!(output.stderr.starts_with("Error: "), "{output}");
    }
}

#[test]
fn an_error_is_one_json_object_with_json() {
    let output = TestProject::new()
        .rmx(&["--json", "completions", "nonsense"])
        .expect_status(64);
    assert_eq!(output.stdout, "");
    let error: serde_json::Value = serde_json::from_str(&output.stderr).unwrap();
    assert_eq!(error["diagnostic"]["severity"], "error");
    assert_eq!(error["kind"], "usage");
    assert_eq!(error["exit_code"], 64);
}

#[test]
fn help_version_and_data_go_to_standard_output() {
    let project = TestProject::new();
    for arguments in [&["--help"][..], &["--version"], &["completions", "bash"]] {
        let output = project.rmx(arguments).expect_status(0);
        assert_eq!(output.stderr, "", "{arguments:?}");
        assert!(output.stdout.contains("rmx"), "{output}");
    }
}

#[test]
fn colours_only_where_wanted() {
    let mut project = TestProject::new();
    let colored = |output: &str| output.contains('\u{1b}');
    let plain = project.rmx(&["nonsense"]).expect_status(64);
    assert!(!colored(&plain.stderr), "not on a terminal");
    let forced = project
        .rmx(&["--color", "always", "nonsense"])
        .expect_status(64);
    assert!(colored(&forced.stderr));
    let json = project
        .rmx(&["--color=always", "--json", "nonsense"])
        .expect_status(64);
    assert!(!json.stderr.contains("\\u001b"), "{json}");
    project.set_variable("NO_COLOR", "1");
    let silent = project
        .rmx(&["--color", "never", "nonsense"])
        .expect_status(64);
    assert!(!colored(&silent.stderr));
}

#[test]
fn a_folder_that_is_not_there_is_wrong_usage() {
    let output = TestProject::new()
        .rmx(&["-C", "nowhere", "completions", "bash"])
        .expect_status(64);
    assert!(output.stderr.contains("`nowhere`"), "{output}");
}

#[test]
fn a_log_filter_that_is_none_is_wrong_usage() {
    let mut project = TestProject::new();
    project.set_variable("RMX_LOG", "rmx=loud");
    let output = project.rmx(&["completions", "bash"]).expect_status(64);
    assert!(output.stderr.contains("rmx=loud"), "{output}");
}

#[test]
fn doctor_names_what_is_missing_and_how_to_get_it() {
    let mut project = TestProject::new();
    project.set_variable("PATH", "/nonexistent");
    let output = project.rmx(&["doctor"]).expect_status(13);
    for text in ["chromium-headless-shell", "apt-get install ffmpeg"] {
        assert!(output.stdout.contains(text), "{output}");
    }
    assert!(
        output.stderr.contains("chromium, ffmpeg, ffprobe"),
        "{output}"
    );

    project.set_variable("RMX_FFMPEG", "/bin/true");
    project.set_variable("RMX_FFPROBE", "/bin/false");
    let output = project.rmx(&["doctor", "--json"]).expect_status(13);
    let findings: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    let ok = |name: &str| {
        let find = |one: &&serde_json::Value| one["name"] == name;
        findings.as_array().unwrap().iter().find(find).unwrap()["ok"].clone()
    };
    assert_eq!(ok("ffmpeg"), true);
    assert_eq!(ok("ffprobe"), false, "it runs, but fails");
    assert_eq!(ok("rmx-worker"), true);
}

#[test]
fn a_reader_that_has_had_enough_is_no_error_but_a_full_disk_is() {
    let rmx = |stdout: std::process::Stdio| {
        std::process::Command::new(env!("CARGO_BIN_EXE_rmx"))
            .arg("schema")
            .stdout(stdout)
            .stderr(std::process::Stdio::piped())
            .output()
            .unwrap()
    };
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = rmx(writer.into());
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr, b"");

    let full = std::fs::File::options()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = rmx(full.into());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("Error: Cannot write to standard output"),
        "{said}"
    );
}

#[test]
fn a_signal_ends_a_verb_and_what_it_started() {
    use std::os::unix::fs::PermissionsExt as _;
    let project = TestProject::new();
    let pid_file = project.path().join("pid");
    let tool = project.write(
        "ffmpeg",
        &format!(
            "#!/bin/sh\necho $$ > {0}.new\nmv {0}.new {0}\nexec sleep 100\n",
            pid_file.display()
        ),
    );
    std::fs::set_permissions(&tool, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut rmx = std::process::Command::new(env!("CARGO_BIN_EXE_rmx"))
        .arg("doctor")
        .env("RMX_FFMPEG", &tool)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let started = eventually(|| std::fs::read_to_string(&pid_file).ok());
    let pid = rustix::process::Pid::from_raw(i32::try_from(rmx.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let status = eventually(|| rmx.try_wait().unwrap());
    assert_eq!(status.code(), Some(14));
    let stat = format!("/proc/{}/stat", started.trim());
    eventually(|| match std::fs::read_to_string(&stat) {
        Err(_) => Some(()),
        Ok(stat) => stat.contains(") Z ").then_some(()),
    });
}

#[test]
fn every_exit_code_is_explained() {
    let project = TestProject::new();
    let all = project.rmx(&["explain", "--json"]).expect_status(0).stdout;
    let all: Vec<serde_json::Value> = serde_json::from_str(&all).unwrap();
    let codes: Vec<u64> = all
        .iter()
        .map(|one| one["exit_code"].as_u64().unwrap())
        .collect();
    assert_eq!(codes, [0, 1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 64, 70]);
    let one = project.rmx(&["explain", "10"]).expect_status(0).stdout;
    assert!(
        one.starts_with("10 (stale_plan): ") && one.contains("\nNext: "),
        "{one}"
    );
    // An error's own words lead there.
    let error = project
        .rmx(&["plan", "--json", "--format", "nonsense"])
        .expect_status(64)
        .stderr;
    let error: serde_json::Value = serde_json::from_str(&error).unwrap();
    let kind = error["kind"].as_str().unwrap();
    let explained = project.rmx(&["explain", kind]).expect_status(0).stdout;
    assert!(explained.starts_with("64 (usage)"), "{explained}");
    let error = project.rmx(&["explain", "9"]).expect_status(64).stderr;
    assert!(error.contains("rmx never ends with `9`"), "{error}");
}
