//! Decoders that end before the film does, and how many are started at all.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// ffmpeg behind a script that tells of each start, with `more` before; the folder of the script.
fn watched(folder: &std::path::Path, more: &str) -> (Films, PathBuf) {
    let (script, starts) = (folder.join("ffmpeg"), folder.join("starts"));
    let text = format!(
        "#!/bin/sh\necho $$ >> {}\n{more}\nexec ffmpeg \"$@\"\n",
        starts.display()
    );
    std::fs::write(&script, text).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let tools = Tools::without_browser(script, folder, 3);
    (
        Films::new(&tools, Site::Folder(folder.to_owned()), 0),
        starts,
    )
}

/// The processes that were started.
fn started(starts: &std::path::Path) -> Vec<u32> {
    let text = std::fs::read_to_string(starts).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

/// Frames too large for the decoder to be ahead of what is read of it.
const LARGE: &[&str] = &[
    "-vf",
    "scale=640:480",
    "-c:v",
    "libx264",
    "-pix_fmt",
    "yuv420p",
];

#[tokio::test]
async fn a_decoder_that_is_killed_freezes_no_film() {
    let folder = tempfile::tempdir().unwrap();
    film(folder.path(), "film.mp4", "10", 30, LARGE);
    let (films, starts) = watched(folder.path(), "");
    let film = wanted("film.mp4");
    films.frame(&film, 0.0).await.unwrap();
    let decoder = *started(&starts).last().unwrap();
    let decoder = rustix::process::Pid::from_raw(decoder.try_into().unwrap()).unwrap();
    rustix::process::kill_process(decoder, rustix::process::Signal::KILL).unwrap();
    let failure = films.frame(&film, 2.0).await.unwrap_err();
    let expected =
        "playing film.mp4 (h264) at 2.000 s: it cannot be decoded: ffmpeg ended with signal: 9";
    assert!(failure.message.starts_with(expected), "{failure}");
    assert!(failure.retryable, "another try may not meet it");
    films.frame(&film, 2.0).await.expect("it did not meet it");
}

#[tokio::test]
async fn a_decoder_that_gives_up_is_told_and_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    film(folder.path(), "film.mp4", "10", 30, LARGE);
    // It decodes five frames and goes wrong.
    let some = r#"case "$*" in *image2pipe*) ffmpeg "$@" | head -c 4608270; echo "no more" >&2; exit 1;; esac"#;
    let (films, _) = watched(folder.path(), some);
    let film = wanted("film.mp4");
    films.frame(&film, 0.0).await.unwrap();
    let failure = films.frame(&film, 0.5).await.unwrap_err();
    assert!(failure.message.contains("(h264) at 0.500 s"), "{failure}");
    assert!(
        failure.message.contains("exit status: 1\n") && failure.message.ends_with("no more"),
        "{failure}"
    );
    assert!(!failure.retryable);
}

#[tokio::test]
async fn a_film_that_was_cut_off_shows_its_last_good_frame_and_says_so_once() {
    let folder = tempfile::tempdir().unwrap();
    let front = [
        "-c:v",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-movflags",
        "faststart",
    ];
    film(folder.path(), "film.mov", "10", 12, &front);
    let path = folder.path().join("film.mov");
    let content = std::fs::read(&path).unwrap();
    let media = content.windows(4).position(|four| four == b"mdat").unwrap();
    // Within the seventh frame.
    let cut = (media + content.len()) / 2 + 1_000;
    std::fs::write(&path, &content[..cut]).unwrap();
    let films = films(folder.path());
    let film = wanted("film.mov");
    films.frame(&film, 0.3).await.unwrap();
    assert_eq!(films.take_notes(), [] as [&str; 0]);
    let end = number(&films.frame(&film, 2.9).await.unwrap().image);
    assert_eq!(end, 5);
    let notes = films.take_notes();
    let expected = format!(
        "playing film.mov (rawvideo) at 2.900 s: it cannot be decoded beyond the frame at {:.3} s",
        f64::from(end) / 10.0
    );
    assert!(notes[0].starts_with(&expected), "{notes:?}");
    films.frame(&film, 2.8).await.unwrap();
    assert_eq!(films.take_notes(), [] as [&str; 0]);
}

#[tokio::test]
async fn of_a_film_that_has_simply_ended_there_is_nothing_to_tell() {
    let folder = tempfile::tempdir().unwrap();
    for (name, more) in [
        ("film.mp4", LOSSLESS),
        ("film.mkv", LOSSLESS),
        ("film.mov", LARGE),
    ] {
        film(folder.path(), name, "10", 12, more);
        let films = films(folder.path());
        films.frame(&wanted(name), 5.0).await.unwrap();
        assert_eq!(films.take_notes(), [] as [&str; 0], "{name}");
    }
}

#[tokio::test]
async fn an_index_that_was_not_read_to_its_end_is_none() {
    let folder = tempfile::tempdir().unwrap();
    film(folder.path(), "film.mp4", "10", 30, LARGE);
    let some = r#"case "$*" in *framecrc*) ffmpeg "$@" | head -n 20; kill -9 $$;; esac"#;
    let (films, _) = watched(folder.path(), some);
    let failure = films.frame(&wanted("film.mp4"), 0.1).await.unwrap_err();
    let expected = "playing film.mp4: ffmpeg ended with signal: 9";
    assert!(failure.message.starts_with(expected), "{failure}");
    assert!(failure.retryable);
}

#[tokio::test]
async fn as_many_films_are_open_as_a_frame_shows() {
    let folder = tempfile::tempdir().unwrap();
    const FILMS: usize = 11;
    for number in 0..FILMS {
        film(folder.path(), &format!("{number}.mp4"), "10", 12, LOSSLESS);
    }
    let (films, starts) = watched(folder.path(), "");
    for step in 0_u32..10 {
        for film in 0..FILMS {
            let time_s = f64::from(step) / 10.0;
            let found = films.frame(&wanted(&format!("{film}.mp4")), time_s).await;
            assert_eq!(number(&found.unwrap().image), step);
        }
    }
    // An index and a decoder each, and some anew until there was room for all.
    let started = started(&starts).len();
    assert!(started <= 2 * FILMS * 3, "{started}");
}

#[tokio::test]
async fn a_film_is_decoded_at_as_many_places_as_a_frame_shows() {
    let folder = tempfile::tempdir().unwrap();
    let tiny = ["-c:v", "rawvideo", "-pix_fmt", "rgb24"];
    film(folder.path(), "film.mov", "10", 500, &tiny);
    let (films, starts) = watched(folder.path(), "");
    for step in 0..10 {
        for place in 0..6 {
            let time_s = f64::from(place * 80 + step) / 10.0;
            films.frame(&wanted("film.mov"), time_s).await.unwrap();
        }
    }
    let started = started(&starts).len();
    assert!(started <= 1 + 6 * 3, "{started}");
}

#[tokio::test]
async fn a_playlist_in_place_of_a_film_leads_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = elsewhere.local_addr().unwrap();
    let playlist = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{address}/a.ts\n#EXT-X-ENDLIST\n"
    );
    std::fs::write(folder.path().join("film.m3u8"), playlist).unwrap();
    let films = films(folder.path());
    let failure = films.frame(&wanted("film.m3u8"), 0.0).await.unwrap_err();
    assert!(
        failure.message.starts_with("playing film.m3u8: "),
        "{failure}"
    );
    let knocked = std::time::Duration::from_millis(10);
    let knocked = tokio::time::timeout(knocked, elsewhere.accept()).await;
    assert!(knocked.is_err(), "nobody knocked");
}
