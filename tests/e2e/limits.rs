//! Sizes, rates and lengths at their limits, beside the official renderer's files of the same pages; and whether players
//! find every keyframe of what came out.

use std::path::Path;
use std::process::Command;

use crate::failures::{nasty, numbers};
use crate::farm::Farm;
use crate::formats::{check_streams, psnr_by_frame};
use crate::peer;

/// How alike frames are at least, in dB; those of a GIF have a palette.
const ALIKE_MIN: f64 = 36.0;
const GIF_ALIKE_MIN: f64 = 30.0;

/// The official file of a composition and ours, cut into chunks of `chunk` frames, have the same streams and pictures.
pub(crate) fn compare(
    farm: &Farm,
    site: &Path,
    (composition, file): (&str, &str),
    chunk: u32,
    options: &[&str],
) {
    let theirs = farm.path(&format!("theirs-{file}"));
    // Sizes that are not whole break its parallel encoder.
    let theirs_options = [options, &["--disallow-parallel-encoding"]].concat();
    peer::official_render(site, composition, &theirs, &theirs_options);
    let chunk = format!("--frames-per-lambda={chunk}");
    farm.rmx(&[&["render", composition, file, &chunk], options].concat());
    let ours = farm.path(file);
    check_streams(file, &theirs, &ours);
    let alike = psnr_by_frame(&theirs, &ours);
    let worst = alike.iter().copied().fold(f64::INFINITY, f64::min);
    let is_gif = Path::new(file).extension().is_some_and(|e| e == "gif");
    let alike_min = if is_gif { GIF_ALIKE_MIN } else { ALIKE_MIN };
    assert!(worst >= alike_min, "{composition}, {file}: {alike:?}");
}

#[test]
fn rates_and_lengths_at_their_limits_are_those_of_the_official_renderer() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    let medium = "--x264-preset=medium";
    compare(&farm, site.path(), ("Fast", "fast.mp4"), 11, &[medium]);
    assert_eq!(numbers(&farm.path("fast.mp4")), Vec::from_iter(0..30));
    for file in ["theirs-fast.mp4", "fast.mp4"] {
        play(site.path(), &farm.path(file));
    }
    let last = ["--frames=9990-9999", medium];
    if peer::is_full() {
        compare(&farm, site.path(), ("Once", "once.mp4"), 1, &[medium]);
        play(site.path(), &farm.path("once.mp4"));
        compare(&farm, site.path(), ("Long", "long.mp4"), 5, &last);
        // Every frame of it.
        farm.rmx(&["render", "Long", "all.mp4", "--frames-per-lambda=500"]);
        let shown = Vec::from_iter((0..10_000).map(|frame| frame % 256));
        assert_eq!(numbers(&farm.path("all.mp4")), shown);
        play(site.path(), &farm.path("all.mp4"));
    } else {
        let cut = ["render", "Long", "long.mp4", "--frames-per-lambda=5"];
        farm.rmx(&[&cut[..], &last].concat());
    }
    let shown = Vec::from_iter((9_990..10_000).map(|frame| frame % 256));
    assert_eq!(numbers(&farm.path("long.mp4")), shown);
    farm.assert_quiet();
}

#[test]
fn sizes_that_are_not_whole_are_rounded_as_the_official_renderer_rounds_them() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let fast = [
        ("0.53", "a.mp4", (102, 56)),
        ("1.37", "a.gif", (263, 148)),
        ("0.3", "b.gif", (58, 32)),
    ];
    let full = [
        ("0.53", "a.webm", (102, 57)),
        ("0.53", "a.mov", (102, 57)),
        ("0.53", "c.gif", (102, 57)),
        ("0.25", "b.mp4", (48, 26)),
        ("0.3", "b.webm", (58, 32)),
        ("1.37", "c.mp4", (262, 148)),
        ("1.37", "c.webm", (263, 148)),
    ];
    let full = full.iter().filter(|_| peer::is_full());
    for (scale, file, size) in fast.iter().chain(full) {
        let scale = format!("--scale={scale}");
        // What an encoder of six macroblocks leaves out depends on where a chunk ends, so it may leave out hardly anything.
        let options = [&scale, "--frames=0-8", "--x264-preset=medium", "--crf=1"];
        let is_h264 = Path::new(file).extension().is_some_and(|e| e == "mp4");
        let options = if is_h264 { &options[..] } else { &options[..2] };
        compare(&farm, site.path(), ("Sticker", file), 5, options);
        assert_eq!(peer::size(&farm.path(file)), *size, "{file}");
    }
    farm.assert_quiet();
}

#[test]
fn players_find_every_keyframe_in_every_format_that_browsers_play() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    let full: &[&str] = if peer::is_full() { &["vp9.webm"] } else { &[] };
    for file in ["vp8.webm", "h264.mp4", "h264.mkv"].iter().chain(full) {
        let codec = format!("--codec={}", file.split('.').next().unwrap());
        let sound = "--enforce-audio-track";
        farm.rmx(&[
            "render",
            "Plain",
            file,
            "--frames-per-lambda=7",
            &codec,
            sound,
        ]);
        let keyframes = keyframes(&farm.path(file));
        assert_eq!(keyframes.len(), 5, "{file}: one a chunk");
        assert_eq!(keyframes[0], (0.0, 0), "{file} begins with a picture");
        play(site.path(), &farm.path(file));
    }
    farm.assert_quiet();
}

/// Time and number of every frame that a player can begin with, as ffprobe tells them.
fn keyframes(video: &Path) -> Vec<(f64, usize)> {
    let output = peer::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "v", "-of", "csv=p=0"])
            .args(["-show_entries", "packet=pts_time,flags"])
            .arg(video),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut packets: Vec<(f64, bool)> = text
        .lines()
        .map(|line| {
            let (time, flags) = line.split_once(',').unwrap();
            (time.parse().unwrap(), flags.starts_with('K'))
        })
        .collect();
    packets.sort_by(|a, b| a.0.total_cmp(&b.0));
    let numbered = packets.into_iter().enumerate();
    numbered
        .filter(|(_, (_, is_key))| *is_key)
        .map(|(number, (time, _))| (time, number))
        .collect()
}

/// The browser's own player finds every keyframe of a film of bar codes, from the last one to the first and forwards again.
fn play(site: &Path, video: &Path) {
    let shown_by_ffmpeg = numbers(video);
    // Containers round to milliseconds.
    let shown = |(time, number): (f64, usize)| (time + 0.002, shown_by_ffmpeg[number]);
    let forwards = Vec::from_iter(keyframes(video).into_iter().map(shown));
    assert!(!forwards.is_empty());
    let shown = Vec::from_iter(forwards.iter().rev().chain(&forwards));
    let name = video.file_name().unwrap().to_str().unwrap();
    std::fs::copy(video, site.join(name)).unwrap();
    let props = serde_json::json!({"src": name, "shown": shown});
    peer::run(
        Command::new(env!("CARGO_BIN_EXE_rmx-worker"))
            .args(["capture", "--composition=Player", "--frames=0-0", "--site"])
            .arg(site)
            .arg("--props")
            .arg(props.to_string()),
    );
}
