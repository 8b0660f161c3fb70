//! The package that the shipped recipe builds, out of the registries: everything a worker needs is in it. Runs with RMX_TEST_FULL
//! only, as it fetches a hundred megabytes, once, and with the worker that RMX_TEST_WORKER names, as `scripts/build-worker` builds it:
//! one of the tests' own profile is larger than Lambda takes.

use std::path::Path;

use crate::peer;

/// A folder without programs.
const NOTHING: &str = "/does/not/exist";

#[test]
fn the_shipped_package_renders_without_anything_of_this_machine() {
    let worker = std::env::var("RMX_TEST_WORKER").unwrap_or_default();
    if !peer::is_full() || worker.is_empty() {
        eprintln!("skipped: RMX_TEST_FULL and RMX_TEST_WORKER are not set");
        return;
    }
    let folder = peer::folder();
    let rmx = |arguments: &[&str], path: Option<&str>| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rmx"));
        command
            .args(arguments)
            .current_dir(folder.path())
            .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR"))
            .env_remove("RMX_CHROMIUM")
            .env_remove("RMX_FFMPEG");
        if let Some(path) = path {
            command.env("PATH", path);
        }
        peer::run(&mut command)
    };
    rmx(
        &["package", "build", "--worker", &worker, "--out", "package"],
        None,
    );
    rmx(&["package", "verify", "package"], None);
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundles/hello");
    let config = format!(
        "project = \"packaged\"\nfunction.package = \"package\"\n\n[[site]]\nname = \"hello\"\nfolder = {:?}\n",
        site.to_str().unwrap()
    );
    std::fs::write(folder.path().join("remotion.toml"), config).unwrap();
    rmx(&["apply", "--auto-approve"], Some(NOTHING));
    rmx(
        &["render", "hello", "packaged.mp4", "--frames", "0-20"],
        Some(NOTHING),
    );
    let frames = peer::run(
        std::process::Command::new("ffprobe")
            .args([
                "-v",
                "error",
                "-count_frames",
                "-show_entries",
                "stream=nb_read_frames,width,height",
            ])
            .args(["-of", "csv=p=0"])
            .arg(folder.path().join("packaged.mp4")),
    );
    let text = String::from_utf8(frames.stdout).unwrap();
    assert!(text.trim().ends_with(",21"), "{text}");
}
