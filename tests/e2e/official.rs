//! Remotion's own function, deployed by Remotion's own tool, on the embedded cloud: what rmx is compared with.

use std::path::Path;
use std::process::Command;

use crate::clients::{Serve, script_command};
use crate::peer;

/// The composition of `examples/slides`, and frames of it that `official.mjs` renders.
const COMPOSITION: &str = "Title";
const FRAMES: (u32, u32) = (0, 19);

/// Two renders of Remotion's differ by how the frames are compressed on their way.
const PSNR_MIN: f64 = 30.0;

#[expect(clippy::print_stderr, reason = "whoever runs the tests sees it")]
fn is_skipped() -> bool {
    let skipped = std::env::var_os("RMX_TEST_WITHOUT_ISOLATION").is_some();
    if skipped {
        eprintln!("skipped: this system does not let functions have a root of their own");
    }
    skipped
}

/// The video is of [`FRAMES`] of [`COMPOSITION`], as Remotion's renderer draws them on this machine.
#[track_caller]
fn assert_shows_the_frames(video: &Path) {
    let stream = &peer::probe(video)["streams"][0];
    assert_eq!(stream["codec_name"], "h264");
    assert_eq!(stream["nb_read_packets"], "20");
    let pictures = peer::folder();
    let site = peer::slides();
    let frames = peer::official_frames(&site, COMPOSITION, FRAMES, "png", pictures.path());
    let psnr = peer::psnr_against_frames(video, &frames, FRAMES.0);
    assert!(psnr > PSNR_MIN, "{psnr} dB");
}

#[test]
fn the_official_function_renders_on_the_embedded_cloud_and_leaves_tmp_alone() {
    if is_skipped() {
        return;
    }
    let project = peer::folder();
    let bystander = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let mut rmx = rmx(project.path());
    let serve = Serve::by(&mut rmx);
    let site = peer::slides();
    peer::run(
        script_command("official.mjs")
            .current_dir(project.path())
            .env("SITE", &site)
            .env("COMPOSITION", COMPOSITION)
            .envs(&serve.variables),
    );
    drop(serve);
    assert!(bystander.path().exists(), "it emptied this machine's /tmp");

    assert_shows_the_frames(&project.path().join("official.mp4"));
}

/// A project whose function is Remotion's own, with the packages of npm that `scripts/test` has installed.
fn project_of_remotions_worker() -> tempfile::TempDir {
    let project = peer::folder();
    let modules = peer::root().join("tests/conformance/remotion/node_modules");
    std::os::unix::fs::symlink(modules, project.path().join("node_modules")).unwrap();
    let config = format!(
        "project = \"official\"\nfunction.worker = \"remotion\"\n[[site]]\nname = \"slides\"\nfolder = {:?}\n",
        peer::slides()
    );
    std::fs::write(project.path().join("remotion.toml"), config).unwrap();
    project
}

fn rmx(project: &Path) -> Command {
    let mut rmx = Command::new(env!("CARGO_BIN_EXE_rmx"));
    rmx.current_dir(project);
    if cfg!(target_arch = "x86_64") {
        let packages = peer::root().join("examples/slides/node_modules/@remotion");
        rmx.env(
            "RMX_FUNCTION_PROGRAMS",
            packages.join("compositor-linux-x64-gnu"),
        );
    }
    rmx
}

#[test]
fn rmx_deploys_the_official_function_and_renders_with_it() {
    if is_skipped() {
        return;
    }
    let project = project_of_remotions_worker();
    let rmx = |arguments: &[&str]| rmx(project.path()).args(arguments).output().unwrap();
    let succeeds = |arguments: &[&str]| {
        let output = rmx(arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    };
    let refused = |arguments: &[&str]| {
        let output = rmx(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    succeeds(&["apply", "--auto-approve"]);
    succeeds(&["plan", "--detailed-exitcode"]);

    let title = ["render", COMPOSITION, "title.mp4", "--frames=0-19"];
    succeeds(&[&title[..], &["--frames-per-lambda=10"]].concat());
    assert_shows_the_frames(&project.path().join("title.mp4"));
    let listed = rmx(&["renders", "list"]).stdout;
    assert_eq!(
        String::from_utf8_lossy(&listed),
        "",
        "nothing is left of it"
    );

    // What it cannot do is said, and what goes wrong in it is told.
    assert!(refused(&["still", COMPOSITION]).contains("npx remotion lambda"));
    let option = refused(&[&title[..], &["--capture-method=screenshot"]].concat());
    assert!(option.contains("--capture-method is for rmx's own worker"));
    let unknown = refused(&["render", "Nothing", "nothing.mp4"]);
    assert!(unknown.contains("Nothing"), "{unknown}");
    assert!(!project.path().join("nothing.mp4").exists());
    let id = rmx(&["renders", "list"]).stdout;
    let id = String::from_utf8_lossy(&id);
    let id = id.split_whitespace().next().unwrap();
    let logs = rmx(&["logs", "--render", id]).stdout;
    let logs = String::from_utf8_lossy(&logs);
    assert!(
        logs.contains(&format!("method=launch,renderId={id}")),
        "{logs}"
    );
    succeeds(&["renders", "delete", id, "--auto-approve"]);

    succeeds(&["destroy", "--auto-approve", "--delete-data"]);
}
