//! Remotion Lambda's own clients, as they come from their registries, against a farm of rmx on the embedded cloud.
//!
//! What they say to it is in tests/conformance/remotion; `scripts/test` installs them there.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::failures::{kill, nasty, numbers};
use crate::farm::Farm;
use crate::peer;

/// `rmx local serve` over a farm's project.
struct Serve {
    child: Child,
    /// What it tells its clients to set.
    variables: BTreeMap<String, String>,
}

impl Serve {
    fn start(farm: &Farm) -> Self {
        let mut child = farm
            .command(&["local", "serve", "--listen", "127.0.0.1:0", "--json"])
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
    let folder = peer::root().join("tests/conformance/remotion");
    assert!(
        folder.join("node_modules/@remotion/lambda-client").is_dir(),
        "tests/conformance/remotion/node_modules is missing: run scripts/test, or `npm ci` there"
    );
    run(farm, serve, Command::new("node").arg(folder.join(script)));
}

fn run(farm: &Farm, serve: &Serve, command: &mut Command) {
    peer::run(
        command
            .current_dir(farm.path("."))
            .env("FUNCTION", "rmx-farm:live")
            .env("BUCKET", "rmx-farm-000000000000-us-east-1")
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
    let python =
        std::env::var("RMX_TEST_PYTHON").expect("RMX_TEST_PYTHON is not set: scripts/test sets it");
    let script = peer::root().join("tests/conformance/remotion/client.py");
    run(&farm, &serve, Command::new(python).arg(script));
    let expected: Vec<u32> = (0..30).collect();
    assert_eq!(numbers(&farm.path("python.mp4")), expected);
    assert_eq!(numbers(&farm.path("python.png")), [7]);
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
        kill(&farm.processes("bootstrap"));
        std::fs::remove_file(begun).unwrap();
    });
    assert_eq!(numbers(&farm.path("slow.mp4")), Vec::from_iter(0..80));
}
