//! Pages that go wrong, programs that are missing, processes that are killed: each ends in bounded time, says what
//! happened, and leaves nothing behind.

use std::path::Path;
use std::process::Command;

use crate::farm::Farm;
use crate::peer;

/// A site of the pages in tests/e2e/pages, on top of the contract of bundles/hello.
pub(crate) fn nasty() -> tempfile::TempDir {
    let site = peer::folder();
    let pages = peer::root().join("tests/e2e/pages");
    for entry in std::fs::read_dir(pages).unwrap().flatten() {
        std::fs::copy(entry.path(), site.path().join(entry.file_name())).unwrap();
    }
    for (from, name) in [
        ("bundles/hello/bundle.js", "bundle.js"),
        ("examples/slides/public/hills.jpg", "hills.jpg"),
    ] {
        std::fs::copy(peer::root().join(from), site.path().join(name)).unwrap();
    }
    site
}

/// The numbers that the frames of a video show as bar codes, one a frame.
pub(crate) fn numbers(video: &Path) -> Vec<u32> {
    let output = peer::run(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(video)
            .args(["-vf", "crop=320:90:0:0,scale=8:1:flags=area,format=gray"])
            .args(["-f", "rawvideo", "-"]),
    );
    let number = |boxes: &[u8]| {
        let lit = boxes
            .iter()
            .enumerate()
            .filter(|(_, brightness)| **brightness > 127);
        lit.map(|(bit, _)| 1 << bit).sum()
    };
    output.stdout.chunks(8).map(number).collect()
}

/// How bright the lower half of each frame is.
pub(crate) fn lower_halves(video: &Path) -> Vec<u8> {
    let filter = "crop=320:90:0:90,scale=1:1:flags=area,format=gray";
    peer::run(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(video)
            .args(["-vf", filter, "-f", "rawvideo", "-"]),
    )
    .stdout
}

/// Ends processes at once, as a machine that is out of memory would.
pub(crate) fn kill(processes: &[u32]) {
    send("-9", processes);
}

fn send(signal: &str, processes: &[u32]) {
    for id in processes {
        let _ = Command::new("kill")
            .arg(signal)
            .arg(id.to_string())
            .status();
    }
}

#[test]
fn what_goes_wrong_in_a_page_is_told_with_its_frame_and_place() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    for (composition, expected) in [
        (
            "Throws",
            &["Frame 17", "no such slide: 17", "explode.ts:3:3"][..],
        ),
        ("Rejects", &["Frame 17", "nobody caught this at frame 17"]),
        (
            "NeverContinues",
            &["Frame 12", "waiting for a server that is down", "--timeout"],
        ),
        ("NeverReady", &["Frame 12", "not ready within", "--timeout"]),
        ("Alerts", &["Frame 5", "alert()", "is anybody there?"]),
        ("Prompts", &["Frame 5", "prompt()", "who is there?"]),
        ("Cancels", &["Frame 9", "the data is wrong"]),
        ("Loops", &["Frame 8", "never ends"]),
    ] {
        let (code, said) = farm.refused(&[
            "render",
            composition,
            "out.mp4",
            "--timeout=2500",
            "--frames-per-lambda=30",
        ]);
        for part in expected {
            assert!(said.contains(part), "{composition}: no {part:?} in\n{said}");
        }
        assert_eq!(code, 1, "{composition}");
        assert!(!farm.path("out.mp4").exists(), "{composition}: half a file");
        farm.assert_quiet();
    }
}

#[test]
fn a_page_that_logs_without_end_or_is_tiny_renders() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    farm.rmx(&["render", "Logs", "logs.mp4"]);
    assert_eq!(numbers(&farm.path("logs.mp4")), Vec::from_iter(0..30));
    farm.rmx(&["render", "Tiny", "tiny.mp4"]);
    assert_eq!(peer::size(&farm.path("tiny.mp4")), (2, 2));
    farm.rmx(&["render", "Odd", "odd.mp4"]);
    assert_eq!(peer::size(&farm.path("odd.mp4")), (320, 180));
    farm.assert_quiet();
}

#[test]
fn a_picture_that_arrives_late_is_in_its_frames_however_often() {
    let full = std::env::var_os("RMX_TEST_FULL").is_some();
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    for _ in 0..if full { 200 } else { 20 } {
        farm.rmx(&[
            "render",
            "LateImage",
            "late.mp4",
            "--frames-per-lambda=15",
            "--overwrite",
        ]);
        assert_eq!(numbers(&farm.path("late.mp4")), Vec::from_iter(0..30));
        let brightness = lower_halves(&farm.path("late.mp4"));
        assert!(
            brightness[..10].iter().all(|value| *value < 20),
            "{brightness:?}"
        );
        assert!(
            brightness[10..].iter().all(|value| *value > 40),
            "{brightness:?}"
        );
    }
    farm.assert_quiet();
}

/// What the report of a render says of its capture: the method, and why.
pub(crate) fn capture(output: &std::process::Output) -> (serde_json::Value, serde_json::Value) {
    let text = String::from_utf8_lossy(&output.stdout);
    let last = text.lines().last().unwrap_or_default();
    let report: serde_json::Value = serde_json::from_str(last).unwrap();
    (
        report["capture_method"].clone(),
        report["capture_reason"].clone(),
    )
}

#[test]
fn the_report_says_how_frames_were_captured_and_why() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    let render = ["render", "Plain", "out.mp4", "--json", "--overwrite"];
    assert_eq!(
        capture(&farm.rmx(&render)),
        ("framebuffer".into(), serde_json::Value::Null)
    );
    let asked = [&render[..], &["--capture-method=screenshot"]].concat();
    assert_eq!(
        capture(&farm.rmx(&asked)),
        ("screenshot".into(), "screenshots were asked for".into())
    );
    // A browser that draws in no process of its own: there is no memory to be read.
    let browser = farm.path("browser");
    let chromium = peer::chromium();
    let script = format!("#!/bin/sh\nexec '{chromium}' --in-process-gpu \"$@\"\n");
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = farm.command(&render);
    let output = peer::run(command.env("RMX_CHROMIUM", &browser));
    let (method, reason) = capture(&output);
    assert_eq!(method, "screenshot");
    let reason = reason.as_str().unwrap();
    assert!(reason.contains("framebuffer cannot be read"), "{reason}");
    assert_eq!(numbers(&farm.path("out.mp4")), Vec::from_iter(0..30));
    farm.assert_quiet();
}

#[test]
fn browsers_and_workers_that_are_killed_are_replaced() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    for victim in ["--type=renderer", "--remote-debugging-pipe", "bootstrap"] {
        let mut render = farm.start(&["render", "Slow", "slow.mp4", "--overwrite"]);
        farm.wait_until("a browser draws", |farm| {
            !farm.processes("--type=renderer").is_empty()
        });
        std::thread::sleep(std::time::Duration::from_millis(300));
        farm.wait_until(victim, |farm| {
            let victims = farm.processes(victim);
            kill(&victims);
            !victims.is_empty()
        });
        assert!(farm.ended(&mut render).success(), "{victim} was killed");
        assert_eq!(numbers(&farm.path("slow.mp4")), Vec::from_iter(0..80));
        farm.assert_quiet();
    }
}

#[test]
fn browsers_that_stall_are_replaced_and_no_frame_is_lost() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    let mut render = farm.start(&["render", "Slow", "slow.mp4", "--timeout=2500"]);
    farm.wait_until("a browser draws", |farm| {
        !farm.processes("--type=renderer").is_empty()
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    farm.wait_until("a browser stalls", |farm| {
        let stalled = farm.processes("--type=renderer");
        send("-STOP", &stalled);
        !stalled.is_empty()
    });
    assert!(farm.ended(&mut render).success());
    assert_eq!(numbers(&farm.path("slow.mp4")), Vec::from_iter(0..80));
    farm.assert_quiet();
}

#[test]
fn a_page_that_is_no_bundle_is_told_from_one_that_is() {
    for (page, expected) in [
        (
            "<h1>Welcome to nginx</h1>",
            &["npx remotion bundle", "Welcome to nginx"][..],
        ),
        (
            "<script>window.getStaticCompositions = () => []; window.siteVersion = '7';</script>",
            &["version", "11", "bundle it again"],
        ),
        (
            "<script>throw new Error('half a deployment');</script>",
            &["half a deployment"],
        ),
    ] {
        let site = peer::folder();
        std::fs::write(site.path().join("index.html"), page).unwrap();
        let farm = Farm::with_two_browsers(site.path());
        let (code, said) = farm.refused(&["render", "Any", "out.mp4", "--timeout=2500"]);
        for part in expected {
            assert!(said.contains(part), "{page}: no {part:?} in\n{said}");
        }
        assert_eq!(code, 1);
        farm.assert_quiet();
    }
}

#[test]
fn a_site_that_changes_while_it_is_rendered_is_told() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let refused = |composition: &str, expected: &str| {
        let (code, said) = farm.refused(&["render", composition, "out.mp4"]);
        assert_eq!(code, 1, "{said}");
        assert!(said.contains("The site was changed"), "{said}");
        assert!(said.contains(expected), "{said}");
        assert!(!farm.path("out.mp4").exists(), "frames of two versions");
    };

    // A picture that is another one: the page itself would not notice.
    let picture = site.path().join("hills.jpg");
    let deployed = farm.cloud_file_like(&picture);
    let content = std::fs::read(&deployed).unwrap();
    std::fs::write(&deployed, content.iter().rev().copied().collect::<Vec<_>>()).unwrap();
    refused("LateImage", "sites/site/hills.jpg");
    std::fs::write(&deployed, content).unwrap();
    farm.rmx(&["render", "LateImage", "before.mp4"]);

    // Another apply, as a render that began before it sees it.
    let state = farm.path(".rmx/state/default.json");
    let before = std::fs::read(&state).unwrap();
    std::fs::write(site.path().join("new.js"), "// a new version").unwrap();
    farm.rmx(&["apply", "--auto-approve"]);
    let after = std::fs::read(&state).unwrap();
    std::fs::write(&state, before).unwrap();
    refused("Plain", "rmx/sites/site.json");
    std::fs::write(&state, after).unwrap();
    farm.rmx(&["render", "Plain", "after.mp4"]);
    farm.assert_quiet();
}

#[test]
fn missing_programs_are_named_with_how_to_get_them() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    for (variable, expected) in [
        ("RMX_CHROMIUM", "chromium-headless-shell"),
        ("RMX_FFMPEG", "ffmpeg"),
    ] {
        let mut command = farm.command(&["render", "Plain", "out.mp4"]);
        let output = peer::run_to_end(command.env(variable, "/nowhere/to/be/found"));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(
            said.contains("/nowhere/to/be/found") && said.contains(expected),
            "{said}"
        );
        assert!(!farm.path("out.mp4").exists());
    }
    farm.assert_quiet();
}

#[test]
fn what_is_made_for_a_render_that_has_ended_is_not_kept() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let mut render = farm.command(&["render", "Slow", "slow.mp4", "--frames-per-lambda=80"]);
    let render = render.stderr(std::process::Stdio::piped()).spawn().unwrap();
    farm.wait_until("the render has begun", |farm| {
        !farm.cloud_files("render%2Ejson").is_empty()
    });
    // As if another copy of the chunk had come first, and the render had tidied up after itself.
    let documents = farm.cloud_files("render%2Ejson");
    assert_eq!(documents.len(), 1, "{documents:?}");
    std::fs::remove_file(&documents[0]).unwrap();
    let output = render.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the render has ended"), "{said}");
    assert_eq!(farm.cloud_files("krenders%2F"), [] as [&Path; 0]);
    farm.assert_quiet();
}
