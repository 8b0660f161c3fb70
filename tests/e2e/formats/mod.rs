//! Every output format beside the official renderer's file of the same page, made in the same run.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failures::nasty;
use crate::farm::Farm;
use crate::peer;

mod rows;

use rows::Format;

#[test]
fn metadata_and_loops_are_written() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let render = |out: &str, options: &[&str]| {
        farm.rmx(&[&["render", "Sticker", out, "--frames=0-5"], options].concat());
        farm.path(out)
    };
    let named = [
        "--metadata=Title=A film",
        "--metadata=comment=the second cut",
    ];
    for file in ["a.mp4", "a.webm", "a.mov"] {
        let video = render(file, &named);
        let output = peer::run(
            Command::new("ffprobe")
                .args(["-v", "error", "-of", "json", "-show_entries", "format_tags"])
                .arg(video),
        );
        let tags: Value = serde_json::from_slice(&output.stdout).unwrap();
        let tags = tags["format"]["tags"].as_object().unwrap();
        let tag = |name: &str| {
            let found = tags.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.unwrap().1.as_str().unwrap()
        };
        assert_eq!(tag("title"), "A film", "{file}");
        assert!(tag("comment").starts_with("Made with rmx "), "{file}");
        assert!(tag("comment").ends_with("; the second cut"), "{file}");
    }
    // The block that browsers look for: how often the picture begins again, 0 for ever.
    let loops = |options: &[&str]| {
        let bytes = std::fs::read(render("a.gif", options)).unwrap();
        let name = b"NETSCAPE2.0\x03\x01";
        let at = bytes.windows(name.len()).position(|part| part == name)?;
        let number = &bytes[at + name.len()..];
        Some(u16::from_le_bytes([number[0], number[1]]))
    };
    assert_eq!(loops(&[]), Some(0));
    assert_eq!(loops(&["--number-of-gif-loops=3"]), Some(3));
    assert_eq!(loops(&["--number-of-gif-loops=0"]), None);
}

#[test]
fn every_format_is_that_of_the_official_renderer() {
    compare(rows::FAST);
}

#[test]
fn h264_of_every_kind_is_that_of_the_official_renderer() {
    compare_in_full(rows::H264);
}

#[test]
fn h265_of_every_kind_is_that_of_the_official_renderer() {
    compare_in_full(rows::H265);
}

#[test]
fn vp8_and_vp9_of_every_kind_are_those_of_the_official_renderer() {
    compare_in_full(rows::VP8_AND_VP9);
}

#[test]
fn prores_and_gif_of_every_kind_are_those_of_the_official_renderer() {
    compare_in_full(rows::PRORES_AND_GIF);
}

fn compare_in_full(formats: &[Format]) {
    if peer::is_full() {
        compare(formats);
    }
}

#[allow(
    clippy::print_stderr,
    reason = "how alike they are is looked up in the test's output"
)]
fn compare(formats: &[Format]) {
    let site = nasty();
    let farm = Farm::of(site.path());
    for format in formats {
        let (file, _, psnr_min) = *format;
        let (theirs, ours) = both(&farm, site.path(), format);
        check_streams(file, &theirs, &ours);
        let alike = psnr_by_frame(&theirs, &ours);
        let worst = alike.iter().copied().fold(f64::INFINITY, f64::min);
        eprintln!("{file}: {worst:.1} dB in the worst frame");
        assert_eq!(alike.len(), 9, "{file}");
        assert!(worst >= psnr_min, "{file}: {alike:?}");
    }
    farm.assert_quiet();
}

/// The official renderer's file and ours, in two chunks.
fn both(farm: &Farm, site: &Path, (file, options, _): &Format) -> (PathBuf, PathBuf) {
    let theirs = farm.path(&format!("theirs-{file}"));
    // Nine frames are shown, always.
    let is_thinned = options.contains(&"--every-nth-frame=2");
    let frames = if is_thinned {
        "--frames=0-17"
    } else {
        "--frames=0-8"
    };
    let options = [&[frames], *options].concat();
    peer::official_render(site, "Sticker", &theirs, &options);
    let cut = ["render", "Sticker", file, "--frames-per-lambda=5"];
    farm.rmx(&[&cut[..], &options].concat());
    let ours = farm.path(file);
    assert!(!farm.path(&format!("{file}.rmx-segments")).exists());
    (theirs, ours)
}

/// What a program that opens the file is told of its pictures.
pub(crate) fn check_streams(name: &str, theirs: &Path, ours: &Path) {
    let (theirs, ours) = (tags(theirs), tags(ours));
    assert_eq!(ours["format"], theirs["format"], "{name}");
    let (theirs, ours) = (&theirs["streams"][0], &ours["streams"][0]);
    if let Some((format, profile, instead)) = deeper_here(ours) {
        assert!(name.contains(format), "{name} was asked for");
        assert_eq!(ours["profile"], profile, "{name}");
        assert_eq!(theirs["pix_fmt"], instead, "{name}: are theirs deeper now?");
    } else {
        assert_eq!(ours["pix_fmt"], theirs["pix_fmt"], "{name}");
        assert_eq!(ours["profile"], theirs["profile"], "{name}");
    }
    for tag in [
        "codec_name",
        "width",
        "height",
        "time_base",
        "r_frame_rate",
        "avg_frame_rate",
        "start_pts",
        "duration_ts",
        "nb_read_packets",
    ] {
        assert_eq!(ours[tag], theirs[tag], "{name}: {tag}\n{ours}\n{theirs}");
    }
    assert_eq!(alpha_mode(ours), alpha_mode(theirs), "{name}");
    // Where the official file says nothing of a matrix, ours says what it is.
    for tag in [
        "color_range",
        "color_space",
        "color_transfer",
        "color_primaries",
    ] {
        if !theirs[tag].is_null() {
            assert_eq!(ours[tag], theirs[tag], "{name}: {tag}");
        }
    }
    if ours["codec_name"] == "hevc" && name.ends_with(".mp4") {
        assert_eq!(
            ours["codec_tag_string"], "hvc1",
            "what Apple's players want"
        );
    }
}

/// libx265 and libvpx-vp9 of Remotion's package are built for 8 bit alone: "Incompatible pixel format 'yuv420p10le' for codec
/// 'libx265', auto-selecting format 'yuv420p'", says its ffmpeg to itself. Of a file of ours with 10 bit: format, profile, and
/// the format of theirs.
fn deeper_here(ours: &Value) -> Option<(&'static str, &'static str, &'static str)> {
    let formats = match ours["codec_name"].as_str()? {
        "hevc" => [
            ("yuv420p10le", "Main 10", "yuvj420p"),
            ("yuv422p10le", "Rext", "yuv422p"),
            ("yuv444p10le", "Rext", "yuv444p"),
        ],
        "vp9" => [
            ("yuv420p10le", "Profile 2", "yuv420p"),
            ("yuv422p10le", "Profile 3", "yuv422p"),
            ("yuv444p10le", "Profile 3", "yuv444p"),
        ],
        _ => return None,
    };
    let mut formats = formats.into_iter();
    formats.find(|(format, ..)| ours["pix_fmt"] == *format)
}

/// Whether a second picture beside the first says how transparent it is.
fn alpha_mode(stream: &Value) -> Option<&str> {
    let mut tags = stream["tags"].as_object()?.iter();
    let (_, mode) = tags.find(|(name, _)| name.eq_ignore_ascii_case("alpha_mode"))?;
    mode.as_str()
}

fn tags(video: &Path) -> Value {
    let output = peer::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-count_packets", "-of", "json"])
            .args(["-show_entries", "stream:format=format_name"])
            .arg(video),
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

/// PSNR in dB of each frame of two videos, as they are seen on white: of colour and transparency.
pub(crate) fn psnr_by_frame(theirs: &Path, ours: &Path) -> Vec<f64> {
    let (width, height) = peer::size(ours);
    let size = format!("{width}x{height}");
    let seen = |input: u32, name: &str| {
        format!(
            "color=white:{size}:r=30[white{input}];\
             [{input}:v]scale=flags=accurate_rnd+full_chroma_int+bicubic,format=gbrap,settb=1/30,setpts=N[seen{input}];\
             [white{input}][seen{input}]overlay=shortest=1:format=gbrp,format=gbrp,settb=1/30,setpts=N[{name}];"
        )
    };
    let filter = format!("{}{}[a][b]psnr=stats_file=-", seen(0, "a"), seen(1, "b"));
    let output = peer::run(
        Command::new("ffmpeg")
            .args(["-v", "error"])
            .args(decoder(theirs))
            .arg("-i")
            .arg(theirs)
            .args(decoder(ours))
            .arg("-i")
            .arg(ours)
            .args(["-lavfi", &filter, "-f", "null", "-"]),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let frames = text.lines().filter_map(|line| {
        let (_, rest) = line.split_once("psnr_avg:")?;
        let number = rest.split_whitespace().next()?;
        Some(number.parse().unwrap_or(f64::INFINITY))
    });
    frames.collect()
}

/// ffmpeg's own decoders of VP8 and VP9 do not know transparency.
fn decoder(video: &Path) -> &'static [&'static str] {
    let stream = &tags(video)["streams"][0];
    match (alpha_mode(stream), stream["codec_name"].as_str()) {
        (Some("1"), Some("vp8")) => &["-c:v", "libvpx"],
        (Some("1"), Some("vp9")) => &["-c:v", "libvpx-vp9"],
        _ => &[],
    }
}
