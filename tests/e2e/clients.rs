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
    peer::run(
        Command::new("node")
            .arg(folder.join(script))
            .current_dir(farm.path("."))
            .env("FUNCTION", "rmx-farm:live")
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
