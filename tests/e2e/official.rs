//! Remotion's own function, deployed by Remotion's own tool, on the embedded cloud: what rmx is compared with.

use std::process::Command;

use crate::clients::{Serve, script_command};
use crate::peer;

/// The composition of `examples/slides`, and frames of it that `official.mjs` renders.
const COMPOSITION: &str = "Title";
const FRAMES: (u32, u32) = (0, 19);

/// Two renders of Remotion's differ by how the frames are compressed on their way.
const PSNR_MIN: f64 = 30.0;

#[test]
fn the_official_function_renders_on_the_embedded_cloud_and_leaves_tmp_alone() {
    if std::env::var_os("RMX_TEST_WITHOUT_ISOLATION").is_some() {
        eprintln!("skipped: this system does not let functions have a root of their own");
        return;
    }
    let project = peer::folder();
    let bystander = tempfile::NamedTempFile::new_in("/tmp").unwrap();
    let mut rmx = Command::new(env!("CARGO_BIN_EXE_rmx"));
    rmx.current_dir(project.path());
    if cfg!(target_arch = "x86_64") {
        let packages = peer::root().join("examples/slides/node_modules/@remotion");
        rmx.env(
            "RMX_FUNCTION_PROGRAMS",
            packages.join("compositor-linux-x64-gnu"),
        );
    }
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

    let video = project.path().join("official.mp4");
    let stream = &peer::probe(&video)["streams"][0];
    assert_eq!(stream["codec_name"], "h264");
    assert_eq!(stream["nb_read_packets"], "20");
    let pictures = peer::folder();
    let frames = peer::official_frames(&site, COMPOSITION, FRAMES, "png", pictures.path());
    let psnr = peer::psnr_against_frames(&video, &frames, FRAMES.0);
    assert!(psnr > PSNR_MIN, "{psnr} dB");
}
