//! The package that the shipped recipe builds, out of the registries, rendered with under isolation: everything a worker needs is in it.
//! Runs with RMX_TEST_FULL only, as it fetches a hundred megabytes, once, and with the worker that RMX_TEST_WORKER names, as
//! `scripts/build-worker` builds it: one of the tests' own profile needs the glibc of this machine.

use std::process::Command;

use crate::peer;

#[test]
fn the_shipped_package_renders_without_anything_of_this_machine() {
    let worker = std::env::var("RMX_TEST_WORKER").unwrap_or_default();
    if !peer::is_full() || worker.is_empty() {
        eprintln!("skipped: RMX_TEST_FULL and RMX_TEST_WORKER are not set");
        return;
    }
    if std::env::var_os("RMX_TEST_WITHOUT_ISOLATION").is_some() {
        eprintln!("skipped: this system does not let functions be isolated");
        return;
    }
    let folder = peer::folder();
    let rmx = |arguments: &[&str]| {
        peer::run(
            Command::new(env!("CARGO_BIN_EXE_rmx"))
                .args(arguments)
                .current_dir(folder.path())
                .env("XDG_CACHE_HOME", env!("CARGO_TARGET_TMPDIR")),
        )
    };
    rmx(&["package", "build", "--worker", &worker, "--out", "package"]);
    rmx(&["package", "verify", "package"]);
    let config = format!(
        "project = \"packaged\"\nfunction.package = \"package\"\nlocal.isolate = true\n\n\
         [[site]]\nname = \"hello\"\nfolder = {:?}\n\n[[site]]\nname = \"slides\"\nfolder = {:?}\n",
        peer::hello(),
        peer::slides()
    );
    std::fs::write(folder.path().join("remotion.toml"), config).unwrap();
    rmx(&["apply", "--auto-approve", "--smoke"]);
    // A page written by hand; one of Remotion's with sound; one with a film that ffmpeg decodes.
    for (site, composition, streams) in [
        ("hello", "hello", "h264,video,21"),
        ("slides", "Sound", "h264,video,21\naac,audio"),
        ("slides", "Offthread", "h264,video,21\naac,audio"),
    ] {
        let out = format!("{composition}.mp4");
        rmx(&[
            "render",
            composition,
            &out,
            "--site",
            site,
            "--frames",
            "0-20",
        ]);
        let probed = peer::run(
            Command::new("ffprobe")
                .args(["-v", "error", "-select_streams", "v", "-count_frames"])
                .args([
                    "-show_entries",
                    "stream=codec_name,codec_type,nb_read_frames",
                    "-of",
                    "csv=p=0",
                ])
                .arg(folder.path().join(&out)),
        );
        let mut text = String::from_utf8(probed.stdout).unwrap().trim().to_owned();
        let probed = peer::run(
            Command::new("ffprobe")
                .args(["-v", "error", "-select_streams", "a"])
                .args([
                    "-show_entries",
                    "stream=codec_name,codec_type",
                    "-of",
                    "csv=p=0",
                ])
                .arg(folder.path().join(&out)),
        );
        text += &format!("\n{}", String::from_utf8(probed.stdout).unwrap());
        assert_eq!(text.trim(), streams, "{composition}");
    }
}
