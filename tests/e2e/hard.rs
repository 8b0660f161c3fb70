//! Pages that are hard to get right: each ends with the right video, or with an error that names what is wrong.

use std::process::Command;

use crate::failures::{nasty, numbers};
use crate::farm::Farm;
use crate::peer;

#[test]
fn sizes_and_rates_at_their_limits_render() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    farm.rmx(&["render", "Huge", "huge.mp4"]);
    assert_eq!(peer::size(&farm.path("huge.mp4")), (3840, 2160));
    farm.rmx(&["still", "Dot", "dot.png"]);
    assert_eq!(peer::size(&farm.path("dot.png")), (1, 1));
    let (_, said) = farm.refused(&["render", "Dot", "dot.mp4"]);
    assert!(said.contains("even width"), "{said}");
    farm.rmx(&["render", "Odd", "odd.mp4", "--pixel-format=yuv444p"]);
    assert_eq!(peer::size(&farm.path("odd.mp4")), (321, 180));
    farm.rmx(&["render", "Fast", "fast.mp4", "--frames-per-lambda=11"]);
    assert_eq!(numbers(&farm.path("fast.mp4")), Vec::from_iter(0..30));
    let probe = peer::probe(&farm.path("fast.mp4"));
    assert_eq!(probe["streams"][0]["r_frame_rate"], "120/1");
    farm.assert_quiet();
}

#[test]
fn what_a_page_may_not_load_is_named() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let output = farm.rmx(&["render", "Missing", "missing.mp4"]);
    assert_eq!(numbers(&farm.path("missing.mp4")), Vec::from_iter(0..30));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("404") && said.contains("missing.jpg"),
        "{said}"
    );
    farm.assert_quiet();
}

#[test]
fn a_page_that_takes_all_memory_is_told_with_its_frame() {
    use std::os::unix::fs::PermissionsExt as _;
    let site = nasty();
    let farm = Farm::of(site.path());
    // So that it does not take long.
    let browser = farm.path("browser");
    let chromium = peer::chromium();
    let script =
        format!("#!/bin/sh\nexec '{chromium}' --js-flags=--max-old-space-size=32 \"$@\"\n");
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = farm.command(&["render", "Allocates", "out.mp4", "--max-retries=0"]);
    let output = peer::run_to_end(command.env("RMX_CHROMIUM", &browser));
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for part in ["Frame 6", "crashed", "memory"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    farm.assert_quiet();
}

/// Frames by the official renderer and by ours, and how near they are at least.
fn compare(site: &std::path::Path, composition: &str, last: u32, floor: f64) {
    let folder = peer::folder();
    let frames = (0, last);
    let theirs = folder.path().join("theirs");
    let theirs = peer::official_frames(site, composition, frames, "png", &theirs);
    let ours = folder.path().join("ours");
    peer::run(
        Command::new(env!("CARGO_BIN_EXE_rmx-worker"))
            .args([
                "capture",
                "--composition",
                composition,
                "--image-format=png",
                "--site",
            ])
            .arg(site)
            .args(["--frames", &format!("0-{last}"), "--out"])
            .arg(&ours),
    );
    let ours = peer::images(&ours);
    assert_eq!(theirs.len(), ours.len(), "{composition}");
    for (theirs, ours) in theirs.iter().zip(&ours) {
        let psnr = peer::psnr(
            &["-i", theirs.to_str().unwrap()],
            &["-i", ours.to_str().unwrap()],
        );
        assert!(
            psnr >= floor,
            "{composition}: {} differs, {psnr} dB",
            ours.display()
        );
    }
}

#[test]
fn words_of_all_scripts_are_drawn_as_the_official_renderer_draws_them() {
    compare(nasty().path(), "Words", 1, 60.0);
}
