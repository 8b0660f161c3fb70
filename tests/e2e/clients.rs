//! Remotion Lambda's own clients, as they come from their registries, against a farm of rmx on the embedded cloud.
//!
//! What they say to it is in tests/conformance/remotion; `scripts/test` installs them there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::failures::{nasty, numbers};
use crate::farm::Farm;
use crate::peer;

/// `rmx local serve` over a farm's project.
pub(crate) struct Serve {
    child: Child,
    /// What it tells its clients to set.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Serve {
    pub(crate) fn start(farm: &Farm) -> Self {
        Self::by(&mut farm.command(&[]))
    }

    /// `rmx`, which has no arguments yet, is started.
    pub(crate) fn by(rmx: &mut Command) -> Self {
        let mut child = rmx
            .args(["local", "serve", "--listen", "127.0.0.1:0", "--json"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        // It either says where it listens or ends, and then the line is empty.
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let said: serde_json::Value = serde_json::from_str(&line).unwrap();
        let variables = serde_json::from_value(said["environment"].clone()).unwrap();
        Self { child, variables }
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .arg(self.child.id().to_string())
            .status();
        let _ = self.child.wait();
    }
}

/// Runs a script of tests/conformance/remotion in the farm's folder.
fn node(farm: &Farm, serve: &Serve, script: &str) {
    run(farm, serve, &mut script_command(script));
}

/// A script of tests/conformance/remotion.
pub(crate) fn script_command(script: &str) -> Command {
    let folder = peer::root().join("tests/conformance/remotion");
    assert!(
        folder.join("node_modules/@remotion/lambda").is_dir(),
        "tests/conformance/remotion/node_modules is missing: run scripts/test, or `npm ci` there"
    );
    let mut command = Command::new("node");
    command.arg(folder.join(script));
    command
}

/// The same with a script in Python.
fn python(farm: &Farm, serve: &Serve, script: &str) {
    let python =
        std::env::var("RMX_TEST_PYTHON").expect("RMX_TEST_PYTHON is not set: scripts/test sets it");
    let script = peer::root().join("tests/conformance/remotion").join(script);
    run(farm, serve, Command::new(python).arg(script));
}

/// As Remotion Lambda's own tools would call them, which find nothing else.
const OFFICIAL_NAMES: (&str, &str) = (
    "remotion-render-4-0-527-mem2048mb-disk2048mb-240sec",
    "remotionlambda-useast1-abcdefghij",
);

fn run(farm: &Farm, serve: &Serve, command: &mut Command) {
    peer::run(
        command
            .current_dir(farm.path("."))
            .env("FUNCTION", farm.names.0)
            .env("BUCKET", farm.names.1)
            .envs(&serve.variables),
    );
}

#[test]
fn the_official_javascript_client_renders_on_a_farm_of_rmx() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);
    node(&farm, &serve, "render.mjs");
    let video = farm.path("plain.mp4");
    assert_eq!(numbers(&video), (0..30).collect::<Vec<_>>());
    let tracks = peer::run(
        Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-show_entries",
                "stream=codec_name",
                "-of",
                "csv=p=0",
            ])
            .arg(&video),
    );
    assert_eq!(String::from_utf8_lossy(&tracks.stdout), "h264\naac\n");
    drop(serve);
    farm.assert_quiet();
}

#[test]
fn the_official_command_line_finds_and_drives_a_farm_with_names_like_its_own() {
    let site = nasty();
    let farm = Farm::called(site.path(), OFFICIAL_NAMES);
    let serve = Serve::start(&farm);
    node(&farm, &serve, "cli.mjs");
    assert_eq!(numbers(&farm.path("cli.mp4")), Vec::from_iter(0..10));
    assert_eq!(numbers(&farm.path("cli.png")), [5]);
}

/// Its bundles are made for the place where they lie, and nothing says what they were made of.
#[test]
fn a_site_of_the_official_command_line_is_rendered_and_no_plan_touches_it() {
    let site = nasty();
    let farm = Farm::called(site.path(), OFFICIAL_NAMES);
    add_project(&farm);
    let serve = Serve::start(&farm);
    let unchanged = || {
        let planned = farm.rmx(&["plan", "--detailed-exitcode"]);
        let said = String::from_utf8_lossy(&planned.stdout);
        assert!(said.contains("No changes."), "{said}");
        farm.rmx(&["apply", "--auto-approve"]);
    };
    sites(&farm, &serve, "create");
    unchanged();
    sites(&farm, &serve, "remove");
    assert_eq!(peer::decoded_frames(&farm.path("title.mp4")).len(), 10);
    unchanged();
}

/// Puts a Remotion project beside the farm's configuration.
fn add_project(farm: &Farm) {
    let project = peer::root().join("tests/conformance/remotion/project");
    std::fs::create_dir(farm.path("src")).unwrap();
    std::fs::copy(project.join("index.js"), farm.path("src/index.js")).unwrap();
}

/// Has sites.mjs do `what`.
fn sites(farm: &Farm, serve: &Serve, what: &str) {
    let script = peer::root().join("tests/conformance/remotion/sites.mjs");
    run(farm, serve, Command::new("node").arg(script).arg(what));
}

#[test]
fn what_the_official_command_line_deployed_is_taken_over_and_renders_with_rmx() {
    let site = nasty();
    let mut farm = Farm::declared(site.path());
    add_project(&farm);
    let serve = Serve::start(&farm);
    node(&farm, &serve, "deploy.mjs");
    let imported = farm.rmx(&["import", "remotion", "--auto-approve"]);
    let imported = String::from_utf8(imported.stdout).unwrap();
    let function = format!("function.worker: imported {}\n", OFFICIAL_NAMES.0);
    assert!(imported.contains(&function), "{imported}");
    let (_, bucket) = imported.split_once("bucket.main: imported ").unwrap();
    let bucket = bucket.lines().next().unwrap().to_owned();
    farm.names = (OFFICIAL_NAMES.0, bucket.leak());

    let planned = String::from_utf8(farm.rmx(&["plan"]).stdout).unwrap();
    for line in [
        "# function.worker will be updated in-place",
        "# bucket.main will be updated in-place",
        "# role.main will be created",
        "0 to destroy.",
    ] {
        assert!(planned.contains(line), "{line} is missing in\n{planned}");
    }
    farm.rmx(&["apply", "--auto-approve"]);
    sites(&farm, &serve, "remove");
    assert_eq!(peer::decoded_frames(&farm.path("title.mp4")).len(), 10);
    drop(serve);
    farm.assert_quiet();
}

#[test]
fn the_official_javascript_client_gets_every_codec() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);
    node(&farm, &serve, "codecs.mjs");
    for (file, codec, frames) in [
        ("h264.mp4", "h264", "10"),
        ("h264.mkv", "h264", "10"),
        ("h265.mp4", "hevc", "10"),
        ("vp8.webm", "vp8", "10"),
        ("vp9.webm", "vp9", "10"),
        ("prores.mov", "prores", "10"),
        ("gif.gif", "gif", "10"),
        ("mp3.mp3", "mp3", ""),
        ("aac.aac", "aac", ""),
        ("wav.wav", "pcm_s16le", ""),
    ] {
        let probed = peer::run(
            Command::new("ffprobe")
                .args(["-v", "error", "-count_frames", "-select_streams"])
                .arg(if frames.is_empty() { "a:0" } else { "v:0" })
                .args(["-show_entries", "stream=codec_name,nb_read_frames"])
                .args(["-of", "csv=p=0"])
                .arg(farm.path(file)),
        );
        let probed = String::from_utf8_lossy(&probed.stdout);
        let (found, count) = probed.trim().split_once(',').unwrap();
        assert_eq!(found, codec, "{file}");
        assert!(frames.is_empty() || count == frames, "{file}: {probed}");
    }
}

#[test]
fn props_too_large_for_an_event_reach_the_page_and_leave_nothing_behind() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);
    node(&farm, &serve, "props.mjs");
    assert_eq!(numbers(&farm.path("echo.mp4")), [5, 5]);
}

#[test]
fn the_official_javascript_client_renders_stills() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);
    node(&farm, &serve, "still.mjs");
    assert_eq!(numbers(&farm.path("still.png")), [5]);
    assert_eq!(numbers(&farm.path("last.jpeg")), [29]);
}

#[test]
fn webhooks_are_told_of_every_end_and_pass_the_official_validator() {
    let site = nasty();
    let farm = Farm::with_timeout(site.path(), 40);
    let serve = Serve::start(&farm);
    node(&farm, &serve, "webhook.mjs");
}

#[test]
fn the_official_python_client_renders_on_a_farm_of_rmx() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);
    python(&farm, &serve, "client.py");
    let expected: Vec<u32> = (0..30).collect();
    assert_eq!(numbers(&farm.path("python.mp4")), expected);
    assert_eq!(numbers(&farm.path("python.png")), [7]);
}

/// This client names what is too large for an event by its content.
#[test]
fn renders_that_share_their_props_do_not_take_them_from_each_other() {
    let site = nasty();
    let farm = Farm::called(site.path(), OFFICIAL_NAMES);
    let serve = Serve::start(&farm);
    python(&farm, &serve, "shared.py");
    assert_eq!(numbers(&farm.path("shared.mp4")), [3, 3]);
}

/// The chunks that the progress document of a render names.
pub(crate) fn chunks_done(farm: &Farm, id: &str) -> Vec<u64> {
    let file = farm.cloud_object(&format!("{id}%2Fprogress%2Ejson"));
    let text = file.map(std::fs::read).and_then(Result::ok);
    let document: serde_json::Value =
        serde_json::from_slice(&text.unwrap_or_default()).unwrap_or_default();
    let chunks = document["chunks"].as_array().cloned().unwrap_or_default();
    chunks
        .iter()
        .filter_map(serde_json::Value::as_u64)
        .collect()
}

#[test]
fn a_detached_render_is_watched_cancelled_taken_up_and_found_in_the_log() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);
    let said = |arguments: &[&str]| {
        let output = farm.rmx(arguments);
        String::from_utf8(output.stdout)
            .unwrap()
            .trim_end()
            .to_owned()
    };
    std::fs::write(farm.path("page.env"), "TOKEN=in-confidence\n").unwrap();
    let slow = [
        "render",
        "Slow",
        "film.mp4",
        "--frames-per-lambda=10",
        "--detach",
    ];
    let id = said(&[&slow[..], &["--env-file", "page.env"]].concat());
    farm.wait_until("a chunk is done", |farm| !chunks_done(farm, &id).is_empty());
    let (code, refused) = farm.refused(&["renders", "resume", &id]);
    assert_eq!(code, 1);
    assert!(refused.contains("It is running"), "{refused}");
    farm.rmx(&["renders", "cancel", &id]);
    let (code, cancelled) = farm.refused(&["renders", "watch", &id]);
    assert_eq!(code, 1);
    assert!(
        cancelled.contains("The render was cancelled"),
        "{cancelled}"
    );
    let before = chunks_done(&farm, &id);
    let kept = farm.cloud_object(&format!("{id}%2Flaunch%2Ejson")).unwrap();
    let kept = std::fs::read_to_string(kept).unwrap();
    assert!(
        kept.contains("TOKEN") && !kept.contains("in-confidence"),
        "{kept}"
    );

    let (code, secrets) = farm.refused(&["renders", "resume", &id]);
    assert_eq!(code, 64);
    assert!(secrets.contains("TOKEN"), "{secrets}");
    farm.rmx(&["renders", "resume", &id, "--env-file", "page.env"]);
    let address = said(&["renders", "watch", &id]);
    assert!(
        address.ends_with(&format!("/renders/{id}/film.mp4")),
        "{address}"
    );
    let film = farm.cloud_object(&format!("{id}%2Ffilm%2Emp4")).unwrap();
    assert_eq!(numbers(&film), Vec::from_iter(0..80));
    // The document tells of the end before what is left is cleared away.
    farm.wait_until("its launch is forgotten", |farm| {
        farm.cloud_files(&format!("{id}%2Flaunch%2Ejson"))
            .is_empty()
    });

    // Each orchestrator, and each chunk that was there before once: it was not rendered again.
    let log = said(&["logs", "--render", &id]);
    assert_eq!(
        log.matches(&format!("method=launch,renderId={id}")).count(),
        2,
        "{log}"
    );
    assert!(log.contains("The render was cancelled"), "{log}");
    for chunk in before {
        let log = said(&[
            "logs",
            "--render",
            &id,
            "--chunk",
            &chunk.to_string(),
            "--json",
        ]);
        let lines: Vec<serde_json::Value> = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert!(lines.iter().all(|line| line["chunk"] == chunk), "{log}");
        let first = lines
            .iter()
            .filter(|line| line["message"].as_str().unwrap().contains("method="));
        assert_eq!(first.count(), 1, "{log}");
        assert!(log.contains("REPORT RequestId"), "{log}");
    }

    // What fails says why, also in the log.
    let id = said(&["render", "Throws", "--detach", "--json"]);
    let id: serde_json::Value = serde_json::from_str(&id).unwrap();
    let id = id["render_id"].as_str().unwrap();
    let (code, failed) = farm.refused(&["renders", "watch", id]);
    assert_eq!(code, 1);
    assert!(failed.contains("no such slide: 17"), "{failed}");
    let log = said(&["logs", "--render", id]);
    assert!(
        log.contains("frame 17: ") && log.contains("explode.ts:3:3"),
        "{log}"
    );
    drop(serve);
    let (code, alone) = farm.refused(&["render", "Plain", "--detach"]);
    assert_eq!(code, 1);
    assert!(alone.contains("rmx local serve"), "{alone}");
    farm.assert_quiet();
}

/// Lambda waits a minute before it repeats the event of a function that died, and so does the embedded cloud.
#[test]
fn a_render_whose_orchestrator_is_killed_is_taken_up_and_one_that_stays_dead_is_told() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let serve = Serve::start(&farm);
    std::thread::scope(|scope| {
        let script = scope.spawn(|| node(&farm, &serve, "death.mjs"));
        let begun = farm.path("begun");
        while !begun.exists() {
            assert!(!script.is_finished(), "the render did not begin");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        farm.kill_workers();
        std::fs::remove_file(begun).unwrap();
    });
    assert_eq!(numbers(&farm.path("slow.mp4")), Vec::from_iter(0..80));
}
