//! rmx beside Remotion's own renderer, on a page written by hand and on a bundle made by Remotion's bundler.

use std::path::Path;
use std::process::Command;

use crate::farm::Farm;
use crate::peer;

/// A site with the frames that a test looks at.
struct Subject {
    site: std::path::PathBuf,
    composition: &'static str,
    /// First and last frame.
    frames: (u32, u32),
}

impl Subject {
    /// Its frames as images by the official renderer, in a new `folder`.
    fn official_frames(&self, format: &str, folder: &Path) -> Vec<std::path::PathBuf> {
        peer::official_frames(&self.site, self.composition, self.frames, format, folder)
    }
}

fn subjects() -> [Subject; 2] {
    [
        Subject {
            site: peer::hello(),
            composition: "hello",
            frames: (40, 99),
        },
        Subject {
            site: peer::slides(),
            composition: "Title",
            frames: (0, 59),
        },
    ]
}

/// More pages, for their frames alone: photo and cards, filters, many elements.
fn scenes() -> [Subject; 3] {
    ["Slide", "Glass", "Shapes"].map(|composition| Subject {
        site: peer::slides(),
        composition,
        frames: (30, 49),
    })
}

fn captured_by_rmx(
    subject: &Subject,
    (first, last): (u32, u32),
    options: &[&str],
    folder: &Path,
) -> Vec<std::path::PathBuf> {
    peer::run(
        Command::new(env!("CARGO_BIN_EXE_rmx-worker"))
            .arg("capture")
            .arg("--site")
            .arg(&subject.site)
            .args(["--composition", subject.composition])
            .args(["--frames", &format!("{first}-{last}")])
            .args(options)
            .arg("--out")
            .arg(folder),
    );
    peer::images(folder)
}

#[test]
fn captured_frames_are_the_official_renderers_frames() {
    for subject in subjects().into_iter().chain(scenes()) {
        let folder = peer::folder();
        let theirs = subject.official_frames("jpeg", &folder.path().join("theirs"));
        let ours = captured_by_rmx(&subject, subject.frames, &[], &folder.path().join("ours"));
        let count = (subject.frames.1 - subject.frames.0 + 1) as usize;
        assert_eq!(
            (theirs.len(), ours.len()),
            (count, count),
            "{}",
            subject.composition
        );
        let mut identical = 0;
        for (theirs, ours) in theirs.iter().zip(&ours) {
            if std::fs::read(theirs).unwrap() == std::fs::read(ours).unwrap() {
                identical += 1;
                continue;
            }
            let psnr = peer::psnr(
                &["-i", theirs.to_str().unwrap()],
                &["-i", ours.to_str().unwrap()],
            );
            assert!(
                psnr >= 60.0,
                "{}: {} differs, {psnr} dB",
                subject.composition,
                ours.display()
            );
        }
        eprintln!(
            "{}: {identical} of {count} frames byte-identical",
            subject.composition
        );
        assert!(
            identical * 2 > count,
            "most of {} is byte-identical",
            subject.composition
        );
    }
}

/// On its last way to its place, a spring moves words by less than what the browser paints again by itself: one spring scales them, one
/// carries them.
#[test]
fn what_hardly_moves_is_painted_as_by_the_official_renderer() {
    let title = r#"--props={"title": "cut", "seconds": 10}"#;
    for (composition, props, frames) in [
        ("Title", title, (78, 86)),
        ("Shapes", "--props={}", (60, 68)),
    ] {
        let subject = Subject {
            site: peer::slides(),
            composition,
            frames,
        };
        let folder = peer::folder();
        let theirs = folder.path().join("theirs");
        let range = format!("--frames={}-{}", frames.0, frames.1);
        let options = ["--sequence", "--image-format=jpeg", &range, props];
        peer::official_render(&subject.site, composition, &theirs, &options);
        let screenshots = [props, "--method=screenshot"];
        let ours = folder.path().join("ours");
        let ours = captured_by_rmx(&subject, frames, &screenshots, &ours);
        let theirs = peer::images(&theirs);
        assert_eq!((theirs.len(), ours.len()), (9, 9));
        for (theirs, ours) in theirs.iter().zip(&ours) {
            let same = std::fs::read(theirs).unwrap() == std::fs::read(ours).unwrap();
            assert!(same, "{} differs", ours.display());
        }
    }
}

/// A frame's planes as BT.601 in full range has them, computed from its pixels (RGB) in floating point.
fn planes_of(pixels: &[u8], width: usize) -> Vec<f64> {
    let pixel = |x: usize, y: usize| {
        let at = (y * width + x) * 3;
        [0, 1, 2].map(|channel| f64::from(pixels[at + channel]) / 255.0)
    };
    let luma = |[r, g, b]: [f64; 3]| 0.299 * r + 0.587 * g + 0.114 * b;
    let height = pixels.len() / 3 / width;
    let (mut y_plane, mut u_plane, mut v_plane) = (Vec::new(), Vec::new(), Vec::new());
    for y in 0..height {
        for x in 0..width {
            y_plane.push(255.0 * luma(pixel(x, y)));
            if x % 2 == 0 && y % 2 == 0 {
                let four =
                    [(x, y), (x + 1, y), (x, y + 1), (x + 1, y + 1)].map(|(x, y)| pixel(x, y));
                let mean =
                    [0, 1, 2].map(|channel| four.iter().map(|p| p[channel]).sum::<f64>() / 4.0);
                u_plane.push(128.0 + 255.0 * (mean[2] - luma(mean)) / 1.772);
                v_plane.push(128.0 + 255.0 * (mean[0] - luma(mean)) / 1.402);
            }
        }
    }
    [y_plane, u_plane, v_plane].concat()
}

#[test]
fn frames_read_from_the_framebuffer_are_those_of_lossless_screenshots() {
    for subject in subjects().into_iter().chain(scenes()) {
        let folder = peer::folder();
        let frames = (subject.frames.0, subject.frames.0 + 3);
        let captured = |name: &str, options: &[&str]| {
            captured_by_rmx(&subject, frames, options, &folder.path().join(name))
        };
        let read = captured("read", &["--method=framebuffer"]);
        let screenshots = captured("screenshots", &["--image-format=png"]);
        assert_eq!((read.len(), screenshots.len()), (4, 4));
        for (read, screenshot) in read.iter().zip(&screenshots) {
            let pixels = peer::run(
                Command::new("ffmpeg")
                    .args(["-v", "error", "-i"])
                    .arg(screenshot)
                    .args(["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]),
            );
            let (width, _) = peer::size(screenshot);
            let expected = planes_of(&pixels.stdout, usize::try_from(width).unwrap());
            let found = std::fs::read(read).unwrap();
            assert_eq!(found.len(), expected.len());
            for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
                // Pure blue and red lie half a step beyond the range.
                let difference = (f64::from(*found) - expected.min(255.0)).abs();
                assert!(
                    difference < 0.6,
                    "{} {}: byte {at} is {found}, {expected} expected",
                    subject.composition,
                    read.display()
                );
            }
        }
    }
}

#[test]
fn frames_of_films_are_the_official_renderers_frames() {
    let subject = Subject {
        site: peer::slides(),
        composition: "Offthread",
        frames: (20, 49),
    };
    let folder = peer::folder();
    let theirs = subject.official_frames("png", &folder.path().join("theirs"));
    let png = ["--image-format=png"];
    let ours = captured_by_rmx(&subject, subject.frames, &png, &folder.path().join("ours"));
    assert_eq!((theirs.len(), ours.len()), (30, 30));
    for (theirs, ours) in theirs.iter().zip(&ours) {
        let psnr = peer::psnr(
            &["-i", theirs.to_str().unwrap()],
            &["-i", ours.to_str().unwrap()],
        );
        assert!(psnr >= 60.0, "{} differs, {psnr} dB", ours.display());
    }
}

#[test]
fn stills_are_the_official_renderers_at_every_scale() {
    let subject = &subjects()[0];
    let farm = Farm::of(&subject.site);
    // The browser's own least scale is 0.5. At 1.37 its windows have more pixels than pictures of 1753.6 x 986.4.
    let fast = [
        ("png", 0.3, (384, 216)),
        ("png", 0.53, (678, 382)),
        ("png", 1.37, (1754, 986)),
    ];
    let full = [
        ("png", 0.5, (640, 360)),
        ("png", 1.5, (1920, 1080)),
        ("png", 0.001, (1, 1)),
        ("png", 11.0, (14_080, 7_920)),
        ("jpeg", 0.3, (384, 216)),
        ("jpeg", 1.37, (1754, 986)),
        ("webp", 0.53, (678, 382)),
        ("webp", 1.37, (1754, 986)),
    ];
    let full = full.iter().filter(|_| peer::is_full());
    for (format, scale, size) in fast.iter().chain(full) {
        let theirs = farm.path(&format!("theirs.{format}"));
        peer::official_still(&subject.site, subject.composition, 75, *scale, &theirs);
        let ours = format!("ours.{format}");
        let scale = format!("--scale={scale}");
        farm.rmx(&["still", subject.composition, &ours, "--frame=75", &scale]);
        let ours = farm.path(&ours);
        assert_eq!(peer::size(&ours), *size, "{scale}");
        assert_eq!(
            peer::decoded_frames(&theirs),
            peer::decoded_frames(&ours),
            "{format}, {scale}: the same pixels"
        );
    }
}

#[test]
fn stills_of_every_format_are_the_official_renderers() {
    let subject = &subjects()[0];
    let farm = Farm::of(&subject.site);
    let both = |name: &str| {
        let theirs = farm.path(&format!("theirs.{name}"));
        peer::official_still(&subject.site, subject.composition, 75, 1.0, &theirs);
        let ours = format!("ours.{name}");
        farm.rmx(&["still", subject.composition, &ours, "--frame=75"]);
        (theirs, farm.path(&ours))
    };
    for name in ["jpeg", "webp"] {
        let (theirs, ours) = both(name);
        assert_eq!(
            peer::decoded_frames(&theirs),
            peer::decoded_frames(&ours),
            "{name}: the same pixels"
        );
    }
    let (theirs, ours) = both("pdf");
    let (theirs, ours) = [theirs, ours]
        .map(|path| std::fs::read(path).unwrap())
        .into();
    let paper = |document: &[u8]| {
        let text = String::from_utf8_lossy(document);
        let (_, behind) = text.split_once("/MediaBox").unwrap();
        let sheets = text.matches("/Type /Page\n").count();
        (behind.split_once(']').unwrap().0.to_owned(), sheets)
    };
    assert_eq!(paper(&ours), paper(&theirs));
    assert!(ours.starts_with(b"%PDF-"));
    let differ = ours.len().abs_diff(theirs.len());
    assert!(differ < 100, "{} and {} bytes", ours.len(), theirs.len());
}

#[test]
fn the_video_is_as_close_to_the_page_as_the_official_one() {
    for subject in subjects() {
        let (first, last) = subject.frames;
        let folder = peer::folder();
        let frames = subject.official_frames("png", &folder.path().join("png"));
        let theirs = folder.path().join("theirs.mp4");
        peer::official_video(&subject.site, subject.composition, subject.frames, &theirs);
        let farm = Farm::of(&subject.site);
        let range = format!("--frames={first}-{last}");
        farm.rmx(&["render", subject.composition, "ours.mp4", &range]);
        let ours = farm.path("ours.mp4");

        let probe = peer::probe(&ours);
        let stream = &probe["streams"][0];
        assert_eq!(stream["codec_name"], "h264");
        assert_eq!(
            stream["pix_fmt"], "yuvj420p",
            "full range, as the official file"
        );
        assert_eq!(stream["r_frame_rate"], "30/1");
        assert_eq!(stream["avg_frame_rate"], "30/1");
        assert_eq!(stream["nb_read_packets"], (last - first + 1).to_string());
        assert!(peer::is_faststart(&ours), "moov lies before mdat");

        let theirs = peer::psnr_against_frames(&theirs, &frames, first);
        let ours = peer::psnr_against_frames(&ours, &frames, first);
        eprintln!(
            "{}: official {theirs:.2} dB, rmx {ours:.2} dB",
            subject.composition
        );
        assert!(
            theirs > 30.0,
            "{}: frame by frame: {theirs} dB",
            subject.composition
        );
        assert!(
            ours >= theirs - 1.0,
            "{}: {ours} dB against {theirs} dB",
            subject.composition
        );
    }
}

#[test]
fn cuts_leave_no_trace() {
    for subject in subjects() {
        let (first, last) = subject.frames;
        let count = last - first + 1;
        let folder = peer::folder();

        // The frames themselves: one range, and seven.
        let step = count.div_ceil(7);
        for method in ["--method=screenshot", "--method=framebuffer"] {
            let captured = |range, name: &str| {
                let folder = folder.path().join(format!("{method}-{name}"));
                captured_by_rmx(&subject, range, &[method], &folder)
            };
            let whole = captured(subject.frames, "whole");
            let mut cut = Vec::new();
            for (part, start) in (first..=last).step_by(step as usize).enumerate() {
                let range = (start, last.min(start + step - 1));
                cut.extend(captured(range, &format!("part{part}")));
            }
            assert_eq!(whole.len(), cut.len());
            for (whole, cut) in whole.iter().zip(&cut) {
                assert!(
                    std::fs::read(whole).unwrap() == std::fs::read(cut).unwrap(),
                    "{} and {} differ",
                    whole.display(),
                    cut.display()
                );
            }
        }

        // The videos: one chunk, and seven.
        let farm = Farm::of(&subject.site);
        let range = format!("--frames={first}-{last}");
        let render = |out: &str, frames_per_lambda: u32, quality: &[&str]| {
            let chunk = format!("--frames-per-lambda={frames_per_lambda}");
            let mut arguments = vec!["render", subject.composition, out, &range, &chunk];
            arguments.extend(quality);
            farm.rmx(&arguments);
            farm.path(out)
        };
        let lossless = ["--crf=0"];
        let (one, seven) = (
            render("one-0.mp4", count, &lossless),
            render("seven-0.mp4", step, &lossless),
        );
        assert_eq!(peer::decoded_frames(&one), peer::decoded_frames(&seven));
        assert_eq!(
            peer::probe(&one)["packets"].as_array().unwrap().len(),
            count as usize
        );
        assert_eq!(timestamps(&one), timestamps(&seven));

        let (one, seven) = (
            render("one.mp4", count, &[]),
            render("seven.mp4", step, &[]),
        );
        assert_eq!(timestamps(&one), timestamps(&seven));
        let frames = subject.official_frames("png", &folder.path().join("png"));
        let (one, seven) = (
            peer::psnr_against_frames(&one, &frames, first),
            peer::psnr_against_frames(&seven, &frames, first),
        );
        eprintln!(
            "{}: one chunk {one:.2} dB, seven {seven:.2} dB",
            subject.composition
        );
        assert!(one > 30.0, "frame by frame: {one} dB");
        assert!(
            (one - seven).abs() <= 0.2,
            "{one} dB in one chunk, {seven} dB in seven"
        );
    }
}

#[test]
fn any_cut_of_300_frames_leaves_no_trace() {
    if !peer::is_full() {
        return;
    }
    let subject = Subject {
        site: peer::slides(),
        composition: "Title",
        frames: (0, 299),
    };
    let folder = peer::folder();
    // Two cuts into parts of 1 to 60 frames: a linear congruential generator's, the same in each run.
    let mut state: u32 = 4;
    let mut part = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        1 + (state >> 16) % 60
    };
    for method in ["--method=screenshot", "--method=framebuffer"] {
        let captured = |range, name: &str| {
            let folder = folder.path().join(format!("{method}-{name}"));
            let props = r#"--props={"title": "cut", "seconds": 10}"#;
            captured_by_rmx(&subject, range, &[method, props], &folder)
        };
        let whole = captured(subject.frames, "whole");
        assert_eq!(whole.len(), 300);
        for cut in 0..2 {
            let mut start = 0;
            while start < 300 {
                let end = 300.min(start + part());
                let frames = captured((start, end - 1), &format!("{cut}-{start}"));
                for (frame, whole) in frames.iter().zip(&whole[start as usize..]) {
                    let same = std::fs::read(frame).unwrap() == std::fs::read(whole).unwrap();
                    assert!(same, "{} differs", frame.display());
                }
                assert_eq!(frames.len(), (end - start) as usize);
                start = end;
            }
        }
    }
}

/// Presentation times of all packets, sorted: what a player shows when.
fn timestamps(video: &Path) -> Vec<i64> {
    let probe = peer::probe(video);
    let mut times: Vec<i64> = probe["packets"]
        .as_array()
        .unwrap()
        .iter()
        .map(|packet| packet["pts"].as_i64().unwrap())
        .collect();
    times.sort_unstable();
    assert_eq!(times[0], 0, "the video starts at 0");
    let step = times[1] - times[0];
    assert!(
        times.windows(2).all(|pair| pair[1] - pair[0] == step),
        "the steps are even"
    );
    times
}
