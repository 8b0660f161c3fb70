//! What the frame loop does without: pictures that are there already, and browsers that are.

use std::ffi::OsStr;
use std::process::Command;

use crate::failures::nasty;
use crate::peer;

/// What `rmx-worker capture` reports of the frames from 0 to `last`, with the memory that one browser takes or more.
fn report(
    composition: &str,
    last: u32,
    memory_mb: u32,
    more: &[&dyn AsRef<OsStr>],
) -> serde_json::Value {
    let site = nasty();
    let output = peer::run(
        Command::new(env!("CARGO_BIN_EXE_rmx-worker"))
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb.to_string())
            .arg("capture")
            .arg("--site")
            .arg(site.path())
            .args(["--composition", composition, &format!("--frames=0-{last}")])
            .args(more.iter().map(AsRef::as_ref)),
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

const ONE_BROWSER_MB: u32 = 1769;
const FRAMEBUFFER: &str = "--method=framebuffer";

#[test]
fn a_frame_that_looks_as_the_one_before_is_not_taken_again() {
    // Browsers draw a page once more after its first frame.
    let still = report("Still", 19, ONE_BROWSER_MB, &[&FRAMEBUFFER])["pictures"].as_u64();
    assert!(matches!(still, Some(1 | 2)), "{still:?}");
    let moving = report("Plain", 19, ONE_BROWSER_MB, &[&FRAMEBUFFER]);
    assert_eq!(moving["pictures"], 20);
}

#[test]
fn a_chunk_takes_over_the_browser_of_the_lookup_and_nothing_that_was_stored_in_it() {
    for method in [FRAMEBUFFER, "--method=screenshot"] {
        let report = report("Traces", 19, ONE_BROWSER_MB, &[&method]);
        assert_eq!(report["pictures"], 20);
        let starts = report["starts"].as_array().unwrap();
        assert_eq!(starts.len(), 1);
        assert_eq!(starts[0]["launch_ms"], 0, "{method}: {starts:?}");
        assert_eq!(starts[0]["page_ms"], 0, "{method}: {starts:?}");
    }
}

/// The number that a raw frame of 320 x 180 shows as a bar code.
fn number(planes: &[u8]) -> u32 {
    let bright = |bit: &usize| planes[45 * 320 + 40 * bit + 20] > 127;
    (0..8).filter(bright).map(|bit| 1 << bit).sum()
}

#[test]
fn a_browser_joins_where_frames_are_waited_for_and_each_frame_comes_once_and_in_order() {
    let folder = peer::folder();
    let out: [&dyn AsRef<OsStr>; 3] = [&FRAMEBUFFER, &"--out", &folder.path()];
    let report = report("Waits", 99, 2 * ONE_BROWSER_MB, &out);
    let processors = std::thread::available_parallelism().unwrap().get();
    let browsers = report["starts"].as_array().unwrap().len();
    assert_eq!(browsers, processors.min(2), "{report}");
    for frame in 0..100 {
        let path = folder.path().join(format!("frame-{frame:06}.yuv"));
        assert_eq!(number(&std::fs::read(path).unwrap()), frame);
    }
}
