//! What a render is refused for, and what is left of one that is killed.

use std::process::Stdio;

use crate::render::{deployed_project, frame_count};
use crate::support::{TestProject, eventually};

const SITE: [&str; 3] = ["--site", "http://localhost/", "--frames-per-lambda=10"];

/// Runs `rmx render` with these arguments, which must end with `status` and say all of `words`.
#[track_caller]
fn refused(project: &TestProject, arguments: &[&str], status: i32, words: &[&str]) {
    let output = project
        .rmx(&[&["render"], arguments, &SITE].concat())
        .expect_status(status);
    for word in words {
        assert!(output.stderr.contains(word), "no {word:?} in\n{output}");
    }
}

#[test]
fn a_render_needs_a_farm() {
    let project = TestProject::new();
    project.write("remotion.toml", "project = \"films\"\n");
    refused(&project, &["Title"], 1, &["no render farm", "`rmx apply`"]);
    assert_eq!(std::fs::read_dir(project.path()).unwrap().count(), 1);
}

#[tokio::test]
async fn what_cannot_be_rendered_is_refused_by_name() {
    let project = deployed_project().await;
    project.write("props.json", "[1, 2]");
    project.write("file", "");
    for (arguments, status, words) in [
        (&["Titel"][..], 1, &["did you mean `Title`?"][..]),
        (
            &["Title", "--props", "props.json"],
            64,
            &["props.json", "not a JSON object"],
        ),
        (
            &["Title", "--props", "[1]"],
            64,
            &["--props", "not a JSON object"],
        ),
        (
            &["Title", "--props", "absent.json"],
            1,
            &["absent.json", "cannot be read"],
        ),
        (
            &["Title", "--frames", "29-30"],
            64,
            &["frames 0-29", "29-30"],
        ),
        (&["Title", "--frames", "30-"], 64, &["frames 0-29", "30-"]),
        (&["Title", "--frames", "9-3"], 64, &["the last frame, 3"]),
        (
            &["Title", "--scale", "0"],
            64,
            &["scale of 0", "0.001 to 16"],
        ),
        (&["Title", "--crf", "52"], 64, &["0 to 51"]),
        (
            &["Title", "--codec", "av1"],
            64,
            &["does not do this yet", "h264"],
        ),
        (&["Title", "--site", "absent"], 1, &["`absent`"]),
        (&["Title", "/dev/null"], 1, &["`/dev/null` is not a file"]),
        (&["Title", "."], 1, &["is a folder"]),
        (&["Title", "file/out.mp4"], 1, &["cannot be written"]),
        (
            &["Title", "file", "--overwrite=false"],
            1,
            &["exists", "--overwrite"],
        ),
        (&["Title", "out.avi"], 64, &[".avi", ".mp4"]),
        (
            &["Title", "out.webm", "--codec=h264"],
            64,
            &[".webm", "h264", ".mp4"],
        ),
        (&["Title", "--env-file", "absent"], 1, &["absent"]),
    ] {
        // The site is given by `SITE`, unless it is what is wrong.
        if arguments.contains(&"--site") {
            let output = project
                .rmx(&[&["render"], arguments].concat())
                .expect_status(status);
            assert!(output.stderr.contains(words[0]), "{output}");
        } else {
            refused(&project, arguments, status, words);
        }
    }
    let is_special = !std::fs::metadata("/dev/null").unwrap().is_file();
    assert!(is_special, "/dev/null was replaced");
    let names = std::fs::read_dir(project.path()).unwrap().flatten();
    let left: Vec<_> = names
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".mp4") || name.ends_with(".part"))
        .collect();
    assert!(left.is_empty(), "half-written: {left:?}");
}

#[tokio::test]
async fn frames_to_the_end_and_wishes_that_are_not_met() {
    let project = deployed_project().await;
    let arguments = ["render", "HelloWorld", "end.mp4", "--frames", "12-"];
    let output = project
        .rmx(&[&arguments[..], &SITE].concat())
        .expect_status(0);
    assert_eq!(frame_count(&project.path().join("end.mp4")), "18");
    let note = "the composition's own codec is vp9; this video gets h264";
    assert!(output.stderr.contains(note), "{output}");
}

#[tokio::test]
async fn a_killed_render_leaves_nothing_that_stands_in_the_way() {
    let project = deployed_project().await;
    let marker = project.path().join("marker");
    let props = serde_json::json!({"faults": {"2:1": "stall"}, "marker": marker}).to_string();
    let arguments = [
        &["render", "Title", "out.mp4", "--props", &props],
        &SITE[..],
    ]
    .concat();
    let said = project.path().join("said");
    let log = std::fs::File::create(&said).unwrap();
    let mut render = project.spawn(&arguments, Stdio::from(log));
    eventually(|| {
        let said = std::fs::read_to_string(&said).unwrap();
        (said.contains("2/3 chunks") && marker.exists()).then_some(())
    });
    render.kill().unwrap();
    render.wait().unwrap();
    assert!(!project.path().join("out.mp4").exists());
    eventually(|| workers(&project).is_empty().then_some(()));

    drop(project.rmx(&arguments).expect_status(0));
    assert_eq!(frame_count(&project.path().join("out.mp4")), "30");
    assert!(!project.path().join("out.mp4.part").exists());

    // What the killed one had rendered is still there as well.
    let said = std::fs::read_to_string(&said).unwrap();
    let id = said.split(' ').nth(1).unwrap().trim_end_matches(':');
    let output = project
        .rmx(&[&arguments[..], &["--resume", id]].concat())
        .expect_status(0);
    assert!(output.stderr.contains("2 chunks from before"), "{output}");
}

/// Command lines of processes that name the project's folder.
fn workers(project: &TestProject) -> Vec<String> {
    let folder = project.path().to_str().unwrap();
    let lines = std::fs::read_dir("/proc").unwrap().flatten();
    lines
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("cmdline")).ok())
        .filter(|line| line.contains(folder))
        .collect()
}

#[test]
fn a_system_without_certificates_of_authorities_is_no_bug() {
    let mut project = TestProject::new();
    project.write("remotion.toml", "project = \"shop\"\n");
    project.set_variable("SSL_CERT_FILE", "/dev/null");
    let planned = project.rmx(&["plan"]);
    assert_eq!(planned.status, Some(0), "{planned}");
}
