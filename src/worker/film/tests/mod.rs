//! Real films, made by ffmpeg: each frame shows its number as a shade of grey.

use std::path::PathBuf;
use std::process::Command;

use super::*;

/// A film of `count` frames at `rate`, frame n filled with n times 8.
fn film(folder: &std::path::Path, name: &str, rate: &str, count: u32, more: &[&str]) {
    let source = format!("color=black:size=64x48:rate={rate},format=gray,geq=lum='8*N'");
    let source = format!("{source},trim=end_frame={count}");
    let output = Command::new("ffmpeg")
        .args(["-v", "error", "-y", "-f", "lavfi", "-i", &source])
        .args(more)
        .arg(folder.join(name))
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn tools(folder: &std::path::Path) -> Tools {
    Tools::without_browser(PathBuf::from("ffmpeg"), folder, 3)
}

fn films(folder: &std::path::Path) -> Films {
    Films::new(&tools(folder), Site::Folder(folder.to_owned()), 0)
}

fn wanted(name: &str) -> Wanted {
    Wanted {
        source: MediaSource::Site(name.to_owned()),
        transparent: false,
        tone_mapped: true,
    }
}

/// The number that the middle pixel of a BMP shows.
fn number(image: &[u8]) -> u32 {
    (u32::from(image[54 + (24 * 64 + 32) * 3]) + 4) / 8
}

const LOSSLESS: &[&str] = &[
    "-c:v", "libx264", "-qp", "0", "-bf", "2", "-g", "7", "-pix_fmt", "yuv444p",
];

#[tokio::test]
async fn each_time_has_its_frame_wherever_the_film_was_before() {
    let folder = tempfile::tempdir().unwrap();
    film(folder.path(), "film.mp4", "25", 30, LOSSLESS);
    film(folder.path(), "film.mkv", "30000/1001", 30, LOSSLESS);
    let films = films(folder.path());
    for (name, fps) in [("film.mp4", 25.0), ("film.mkv", 30_000.0 / 1_001.0)] {
        // Forwards, again, backwards, by leaps, and beyond the end.
        for frame in [0_u32, 1, 2, 2, 9, 10, 3, 4, 29, 0, 28, 11, 12, 40] {
            for moment in [0.0, 0.5, 0.9] {
                let time_s = (f64::from(frame) + moment) / fps;
                let found = films.frame(&wanted(name), time_s).await.unwrap();
                assert_eq!(found.content_type, "image/bmp");
                assert_eq!(
                    number(&found.image),
                    frame.min(29),
                    "{name} {frame} + {moment}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_film_in_several_places_keeps_a_decoder_for_each() {
    let folder = tempfile::tempdir().unwrap();
    film(folder.path(), "film.mp4", "10", 31, LOSSLESS);
    let films = films(folder.path());
    for step in 0_u32..8 {
        for place in [0, 10, 20] {
            let time_s = f64::from(place + step) / 10.0;
            let found = films.frame(&wanted("film.mp4"), time_s).await.unwrap();
            assert_eq!(number(&found.image), place + step);
        }
    }
    let open = films.open.lock().await;
    let film = open.films[0].1.lock().await;
    assert!(film.as_ref().unwrap().streams.len() <= STREAMS_MAX);
}

#[tokio::test]
async fn transparency_is_kept_where_it_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let clear = [
        "-vf",
        "format=yuva420p,colorchannelmixer=aa=0.5",
        "-c:v",
        "libvpx-vp9",
        "-auto-alt-ref",
        "0",
    ];
    film(folder.path(), "clear.webm", "10", 5, &clear);
    let films = films(folder.path());
    let wanted = Wanted {
        transparent: true,
        ..wanted("clear.webm")
    };
    for frame in [0_u32, 1, 3] {
        let found = films.frame(&wanted, f64::from(frame) / 10.0).await.unwrap();
        assert_eq!(found.content_type, "image/png");
        let path = folder.path().join("frame.png");
        std::fs::write(&path, &found.image).unwrap();
        let output = Command::new("ffmpeg")
            .args(["-v", "error", "-i", path.to_str().unwrap()])
            .args(["-f", "rawvideo", "-pix_fmt", "rgba", "-"])
            .output()
            .unwrap();
        let alpha = output.stdout[(24 * 64 + 32) * 4 + 3];
        assert!((120..=136).contains(&alpha), "{alpha}");
    }
}

#[tokio::test]
async fn what_is_no_film_is_named() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("noise.mp4"), [0x55; 4_000]).unwrap();
    let films = films(folder.path());
    for (name, expected) in [
        ("noise.mp4", "playing noise.mp4: it is no film"),
        (
            "missing.mp4",
            "playing missing.mp4: the site has no such file",
        ),
    ] {
        let failure = films.frame(&wanted(name), 1.0).await.unwrap_err();
        assert!(failure.message.starts_with(expected), "{failure}");
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_told_with_file_codec_and_time() {
    let folder = tempfile::tempdir().unwrap();
    let hevc = ["-c:v", "libx265", "-x265-params", "log-level=error"];
    film(folder.path(), "film.mp4", "10", 20, &hevc);
    let path = folder.path().join("film.mp4");
    let mut content = std::fs::read(&path).unwrap();
    let find = |content: &[u8], kind| content.windows(4).position(|four| four == kind).unwrap();
    let (media, tables) = (find(&content, b"mdat") + 4, find(&content, b"moov") - 4);
    content[media..tables].fill(0);
    std::fs::write(&path, content).unwrap();
    let films = films(folder.path());
    let failure = films.frame(&wanted("film.mp4"), 1.0).await.unwrap_err();
    let expected = "playing film.mp4 (hevc) at 1.000 s: it cannot be decoded: ";
    assert!(failure.message.starts_with(expected), "{failure}");
}

#[test]
fn queries_are_those_of_the_page_contract() {
    let query = "src=http%3A%2F%2Flocalhost%3A3000%2Fpublic%2Fa%20b.mp4&time=1.5&transparent=false&toneMapped=true";
    let expected = (
        "http://localhost:3000/public/a b.mp4".to_owned(),
        1.5,
        false,
        true,
    );
    assert_eq!(parse_query(query), Some(expected));
    assert_eq!(parse_query("src=a&time=soon"), None);
    assert_eq!(parse_query("time=1"), None);
}

mod ends;
mod remote;
