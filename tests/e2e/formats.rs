//! Every output format beside the official renderer's file of the same page, made in the same run.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::failures::nasty;
use crate::farm::Farm;
use crate::peer;

/// A format: the options that both renderers are given.
struct Format {
    file: &'static str,
    options: &'static [&'static str],
    /// How alike the pictures must be, in dB, each of them.
    psnr_min: f64,
}

/// Of every kind one.
const FAST: &[Format] = &[
    Format {
        file: "h265.mp4",
        options: &["--codec=h265"],
        psnr_min: 36.0,
    },
    Format {
        file: "vp8.webm",
        options: &[],
        psnr_min: 36.0,
    },
    Format {
        file: "vp9-alpha.webm",
        options: &[
            "--codec=vp9",
            "--pixel-format=yuva420p",
            "--image-format=png",
        ],
        psnr_min: 30.0,
    },
    Format {
        file: "prores.mov",
        options: &[],
        psnr_min: 40.0,
    },
    Format {
        file: "709.mp4",
        options: &["--color-space=bt709", "--x264-preset=medium"],
        psnr_min: 36.0,
    },
    Format {
        file: "picture.gif",
        options: &[],
        psnr_min: 30.0,
    },
];

const FULL: &[Format] = &[
    Format {
        file: "709-png.mp4",
        options: &[
            "--color-space=bt709",
            "--image-format=png",
            "--x264-preset=medium",
        ],
        psnr_min: 36.0,
    },
    Format {
        file: "2020.mp4",
        options: &["--color-space=bt2020-ncl", "--x264-preset=medium"],
        psnr_min: 34.0,
    },
    Format {
        file: "709.webm",
        options: &["--codec=vp9", "--color-space=bt709"],
        psnr_min: 30.0,
    },
    Format {
        file: "709.mov",
        options: &["--color-space=bt709"],
        psnr_min: 36.0,
    },
    Format {
        file: "601-png.mp4",
        options: &[
            "--color-space=bt601",
            "--image-format=png",
            "--x264-preset=medium",
        ],
        psnr_min: 36.0,
    },
    Format {
        file: "loops.gif",
        options: &[
            "--every-nth-frame=2",
            "--number-of-gif-loops=3",
            "--image-format=png",
        ],
        psnr_min: 30.0,
    },
    Format {
        file: "every-second.mp4",
        options: &["--every-nth-frame=2", "--x264-preset=medium"],
        psnr_min: 36.0,
    },
    Format {
        file: "h264.mp4",
        options: &["--crf=18", "--x264-preset=medium"],
        psnr_min: 36.0,
    },
    Format {
        file: "h264.mkv",
        options: &["--x264-preset=medium"],
        psnr_min: 36.0,
    },
    Format {
        file: "h264.mov",
        options: &["--codec=h264", "--x264-preset=medium"],
        psnr_min: 36.0,
    },
    Format {
        file: "h264-444.mp4",
        options: &["--pixel-format=yuv444p", "--x264-preset=medium"],
        psnr_min: 36.0,
    },
    Format {
        file: "h264-10.mp4",
        options: &["--pixel-format=yuv420p10le", "--x264-preset=medium"],
        psnr_min: 36.0,
    },
    Format {
        file: "h264-bitrate.mp4",
        options: &[
            "--video-bitrate=2M",
            "--buffer-size=4M",
            "--max-rate=3M",
            "--gop=4",
        ],
        psnr_min: 32.0,
    },
    Format {
        file: "h265.mkv",
        options: &["--codec=h265"],
        psnr_min: 36.0,
    },
    Format {
        file: "vp8-alpha.webm",
        options: &[
            "--codec=vp8",
            "--pixel-format=yuva420p",
            "--image-format=png",
        ],
        psnr_min: 30.0,
    },
    Format {
        file: "vp9.webm",
        options: &["--codec=vp9"],
        psnr_min: 30.0,
    },
    Format {
        file: "vp9-444.webm",
        options: &["--codec=vp9", "--pixel-format=yuv444p"],
        psnr_min: 30.0,
    },
    Format {
        file: "proxy.mov",
        options: &["--prores-profile=proxy"],
        psnr_min: 36.0,
    },
    Format {
        file: "light.mov",
        options: &["--prores-profile=light"],
        psnr_min: 36.0,
    },
    Format {
        file: "standard.mov",
        options: &["--prores-profile=standard"],
        psnr_min: 40.0,
    },
    Format {
        file: "4444.mov",
        options: &["--prores-profile=4444"],
        psnr_min: 40.0,
    },
    Format {
        file: "4444-alpha.mov",
        options: &[
            "--prores-profile=4444",
            "--pixel-format=yuva444p10le",
            "--image-format=png",
        ],
        psnr_min: 40.0,
    },
    Format {
        file: "4444-xq.mov",
        options: &["--prores-profile=4444-xq"],
        psnr_min: 40.0,
    },
    Format {
        file: "prores.mkv",
        options: &["--codec=prores"],
        psnr_min: 40.0,
    },
];

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
    let site = nasty();
    let farm = Farm::of(site.path());
    let full = FULL.iter().filter(|_| peer::is_full());
    for format in FAST.iter().chain(full) {
        let (theirs, ours) = both(&farm, site.path(), format);
        check_streams(format.file, &theirs, &ours);
        let alike = psnr_by_frame(&theirs, &ours);
        let worst = alike.iter().copied().fold(f64::INFINITY, f64::min);
        eprintln!("{}: {worst:.1} dB in the worst frame", format.file);
        assert_eq!(alike.len(), 9, "{}", format.file);
        assert!(worst >= format.psnr_min, "{}: {alike:?}", format.file);
    }
    farm.assert_quiet();
}

/// The official renderer's file and ours, in two chunks.
fn both(farm: &Farm, site: &Path, format: &Format) -> (PathBuf, PathBuf) {
    let theirs = farm.path(&format!("theirs-{}", format.file));
    // Nine frames are shown, always.
    let is_thinned = format.options.contains(&"--every-nth-frame=2");
    let frames = if is_thinned {
        "--frames=0-17"
    } else {
        "--frames=0-8"
    };
    let options = [&[frames], format.options].concat();
    peer::official_render(site, "Sticker", &theirs, &options);
    let cut = ["render", "Sticker", format.file, "--frames-per-lambda=5"];
    farm.rmx(&[&cut[..], &options].concat());
    let ours = farm.path(format.file);
    assert!(!farm.path(&format!("{}.rmx-segments", format.file)).exists());
    (theirs, ours)
}

/// What a program that opens the file is told of its pictures.
pub(crate) fn check_streams(name: &str, theirs: &Path, ours: &Path) {
    let (theirs, ours) = (tags(theirs), tags(ours));
    assert_eq!(ours["format"], theirs["format"], "{name}");
    let (theirs, ours) = (&theirs["streams"][0], &ours["streams"][0]);
    for tag in [
        "codec_name",
        "profile",
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
    assert_eq!(ours["pix_fmt"], theirs["pix_fmt"], "{name}");
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
