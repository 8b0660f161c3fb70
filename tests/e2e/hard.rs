//! Pages that are hard to get right: each ends with the right video, or with an error that names what is wrong.

use std::process::Command;

use crate::failures::{capture, lower_halves, nasty, numbers};
use crate::farm::Farm;
use crate::{peer, web};

#[test]
fn sizes_at_their_limits_render() {
    let site = nasty();
    let farm = Farm::with_two_browsers(site.path());
    farm.rmx(&["render", "Huge", "huge.mp4"]);
    assert_eq!(peer::size(&farm.path("huge.mp4")), (3840, 2160));
    farm.rmx(&["still", "Dot", "dot.png"]);
    assert_eq!(peer::size(&farm.path("dot.png")), (1, 1));
    let (_, said) = farm.refused(&["render", "Dot", "dot.mp4"]);
    assert!(said.contains("even width"), "{said}");
    farm.rmx(&["render", "Odd", "odd.mp4", "--pixel-format=yuv444p"]);
    let theirs = farm.path("theirs.mp4");
    let options = ["--frames=0-1", "--pixel-format=yuv444p"];
    peer::official_render(site.path(), "Odd", &theirs, &options);
    assert_eq!(peer::size(&farm.path("odd.mp4")), peer::size(&theirs));
    farm.assert_quiet();
}

#[test]
fn what_comes_late_or_from_elsewhere_is_in_its_frames() {
    let site = nasty();
    let font = peer::run(Command::new("fc-match").args(["-f", "%{file}", "serif:bold"]));
    let font = String::from_utf8(font.stdout).unwrap();
    std::fs::copy(font, site.path().join("font.ttf")).unwrap();
    let elsewhere = web::serve(std::fs::read(site.path().join("hills.jpg")).unwrap());
    let farm = Farm::with_two_browsers(site.path());

    farm.rmx(&[
        "render",
        "LateFont",
        "font.mp4",
        "--crf=0",
        "--frames-per-lambda=15",
    ]);
    let words = lower_halves(&farm.path("font.mp4"));
    assert!(
        words[..10].iter().all(|value| *value == words[0]),
        "{words:?}"
    );
    assert!(
        words[10..].iter().all(|value| *value == words[29]),
        "{words:?}"
    );
    assert!(words[29] > words[0] + 2, "{words:?}");
    compare(site.path(), "LateFont", 12, 60.0);

    // What is painted again as it hardly moves is never seen to vanish, not even where the page has changes take their time.
    farm.rmx(&["render", "Transits", "transits.mp4", "--crf=0"]);
    let boxes = lower_halves(&farm.path("transits.mp4"));
    assert!(boxes.iter().all(|value| *value > 200), "{boxes:?}");
    compare(site.path(), "Transits", 12, 60.0);

    let props = format!("--props={{\"src\": \"{elsewhere}/moved\"}}");
    farm.rmx(&["render", "Elsewhere", "elsewhere.mp4", &props]);
    let picture = lower_halves(&farm.path("elsewhere.mp4"));
    assert!(picture.iter().all(|value| *value > 40), "{picture:?}");

    // Longer than any invocation may be.
    let text = serde_json::json!({"text": "x".repeat(120 << 16)});
    std::fs::write(farm.path("props.json"), text.to_string()).unwrap();
    farm.rmx(&["render", "Echo", "echo.mp4", "--props=props.json"]);
    assert_eq!(numbers(&farm.path("echo.mp4")), [120, 120]);
    farm.assert_quiet();
}

#[test]
fn what_a_page_may_not_load_is_named() {
    let site = nasty();
    let elsewhere = web::serve(std::fs::read(site.path().join("hills.jpg")).unwrap());
    let farm = Farm::of(site.path());
    let output = farm.rmx(&["render", "Missing", "missing.mp4"]);
    assert_eq!(numbers(&farm.path("missing.mp4")), Vec::from_iter(0..30));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("404") && said.contains("missing.jpg"),
        "{said}"
    );

    for (composition, path) in [("Elsewhere", "loop"), ("Reads", "picture")] {
        let props = format!("--props={{\"src\": \"{elsewhere}/{path}\"}}");
        let (code, said) = farm.refused(&["render", composition, "out.mp4", &props]);
        assert_eq!(code, 1, "{said}");
        let address = format!("{elsewhere}/{path}");
        assert!(said.contains(&address), "no {address} in\n{said}");
    }
    let props = format!("--props={{\"src\": \"{elsewhere}/picture\"}}");
    farm.rmx(&[
        "render",
        "Reads",
        "out.mp4",
        &props,
        "--disable-web-security",
    ]);
    farm.assert_quiet();
}

/// A browser whose pages have little memory, so that it is gone soon.
fn small_browser(farm: &Farm) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let browser = farm.path("browser");
    let chromium = peer::chromium();
    let script =
        format!("#!/bin/sh\nexec '{chromium}' --js-flags=--max-old-space-size=32 \"$@\"\n");
    std::fs::write(&browser, script).unwrap();
    std::fs::set_permissions(&browser, std::fs::Permissions::from_mode(0o755)).unwrap();
    browser
}

/// What rmx says of these is in `failures.rs`, and above.
#[test]
fn pages_that_fail_here_fail_with_the_official_renderer() {
    if !peer::is_full() {
        return;
    }
    let site = nasty();
    let farm = Farm::of(site.path());
    let out = farm.path("theirs.mp4");
    let (usual, small) = (peer::chromium().into(), small_browser(&farm));
    let full = [
        ("Throws", &usual, "no such slide: 17"),
        ("Rejects", &usual, "nobody caught this at frame 17"),
        ("Alerts", &usual, "is anybody there?"),
        ("Cancels", &usual, "the data is wrong"),
        (
            "NeverContinues",
            &usual,
            "waiting for a server that is down",
        ),
        ("Loops", &usual, "Timed out"),
        ("Allocates", &small, "Page crashed!"),
    ];
    for (composition, browser, expected) in &full {
        let said = peer::official_refusal(site.path(), composition, browser, &out, &[]);
        assert!(
            said.contains(expected),
            "{composition}: no {expected:?} in\n{said}"
        );
    }
    // And what is no failure is none there.
    compare(site.path(), "Missing", 1, 60.0);
}

#[test]
fn a_page_that_takes_all_memory_is_told_with_its_frame() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let browser = small_browser(&farm);
    for (composition, at) in [("Allocates", "Frame 6"), ("AllocatesAtOnce", "")] {
        let mut command = farm.command(&["render", composition, "out.mp4", "--max-retries=0"]);
        let output = peer::run_to_end(command.env("RMX_CHROMIUM", &browser));
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for part in [at, "the page crashed", "memory_mb"] {
            assert!(said.contains(part), "no {part:?} in\n{said}");
        }
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
fn fonts_are_loaded_as_by_the_official_renderer() {
    if !peer::is_full() {
        return;
    }
    let site = peer::slides();
    compare(&site, "Fonts", 2, 60.0);
    // Google's servers may not be reachable: no machine has this name.
    let server = "https://fonts.gstatic.invalid";
    let props = format!("--props={{\"google\": \"{server}\"}}");
    let farm = Farm::of(&site);
    let (browser, out) = (peer::chromium(), farm.path("theirs.mp4"));
    let theirs = peer::official_refusal(&site, "Fonts", browser.as_ref(), &out, &[&props]);
    let (code, ours) = farm.refused(&["render", "Fonts", "out.mp4", &props]);
    let unknown = "connecting to fonts.gstatic.invalid:443 for the page";
    for (said, cause) in [(&theirs, "ERR_NAME_NOT_RESOLVED"), (&ours, unknown)] {
        for part in ["Failed to fetch", server, cause] {
            assert!(said.contains(part), "no {part:?} in\n{said}");
        }
    }
    assert_eq!(code, 1);
    farm.assert_quiet();
}

#[test]
fn webgl_is_drawn_as_the_official_renderer_draws_it() {
    let site = nasty();
    compare(site.path(), "Webgl", 9, 60.0);
    let farm = Farm::of(site.path());
    let report = farm.rmx(&["render", "Webgl", "out.mp4", "--json"]);
    assert_eq!(capture(&report).0, "framebuffer");
    assert_eq!(numbers(&farm.path("out.mp4")), Vec::from_iter(0..30));
    // Its colours become brighter from frame to frame.
    let colours = lower_halves(&farm.path("out.mp4"));
    assert!(colours[29] > colours[0] + 40, "{colours:?}");
    farm.assert_quiet();
}

#[test]
fn words_of_all_scripts_are_drawn_as_the_official_renderer_draws_them() {
    compare(nasty().path(), "Words", 1, 60.0);
}

#[test]
fn bright_and_transparent_films_are_as_the_official_renderer_shows_them() {
    let site = nasty();
    let make = |name: &str, options: &[&str]| {
        let source = "testsrc2=size=320x180:rate=10:duration=1";
        peer::run(
            Command::new("ffmpeg")
                .args(["-v", "error", "-y", "-f", "lavfi", "-i", source])
                .args(options)
                .arg(site.path().join(name)),
        );
    };
    let bright = "zscale=tin=bt709:min=bt709:pin=bt709:t=arib-std-b67:m=2020_ncl:p=2020:npl=1000,format=yuv420p10le";
    make(
        "bright.mp4",
        &[
            "-vf",
            bright,
            "-c:v",
            "libx265",
            "-preset",
            "ultrafast",
            "-crf",
            "8",
            "-tag:v",
            "hvc1",
            "-color_primaries",
            "bt2020",
            "-color_trc",
            "arib-std-b67",
            "-colorspace",
            "bt2020nc",
            "-x265-params",
            "log-level=error",
        ],
    );
    make(
        "clear.webm",
        &[
            "-vf",
            "format=yuva420p,colorchannelmixer=aa=0.5",
            "-c:v",
            "libvpx-vp9",
            "-b:v",
            "2M",
        ],
    );
    compare(site.path(), "FilmBright", 3, 50.0);
    compare(site.path(), "FilmUnmapped", 3, 30.0);
    compare(site.path(), "FilmClear", 3, 40.0);
}

#[test]
fn a_film_that_was_cut_off_looks_as_with_the_official_renderer_and_is_told() {
    let site = nasty();
    let film = site.path().join("cut.mp4");
    let source = "testsrc2=size=320x180:rate=10:duration=2";
    peer::run(
        Command::new("ffmpeg")
            .args([
                "-v", "error", "-f", "lavfi", "-i", source, "-c:v", "libx264", "-g", "5",
            ])
            .args(["-pix_fmt", "yuv420p", "-movflags", "faststart"])
            .arg(&film),
    );
    let content = std::fs::read(&film).unwrap();
    let media = content.windows(4).position(|four| four == b"mdat").unwrap();
    std::fs::write(&film, &content[..(media + content.len()) / 2]).unwrap();
    compare(site.path(), "FilmCut", 13, 50.0);
    let farm = Farm::of(site.path());
    let output = farm.rmx(&["render", "FilmCut", "cut-video.mp4"]);
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [
        "playing cut.mp4 (h264) at ",
        "cannot be decoded beyond the frame at ",
    ] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    farm.assert_quiet();
}
