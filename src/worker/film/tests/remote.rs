//! Films on another server: read in parts, through the page's own server.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::*;
use crate::protocol::TaskFailure;
use crate::worker::blocks::BLOCK_BYTES;
use crate::worker::connect::Guard;
use crate::worker::serve::Server;

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Ranges,
    WholeFiles,
    /// Another version with every answer.
    Changing,
    /// Ranges, and after a while only errors.
    Failing,
    /// Ranges, and after a while no time.
    Busy,
    /// Nothing at all.
    Silent,
}

/// A server with one file.
struct Peer {
    address: String,
    sent_bytes: Arc<AtomicU64>,
    /// Told by one that is silent.
    asked: Arc<Notify>,
    _answering: JoinSet<()>,
}

impl Peer {
    async fn start(content: Vec<u8>, kind: Kind) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/film", listener.local_addr().unwrap());
        let sent_bytes = Arc::new(AtomicU64::new(0));
        let sent = Arc::clone(&sent_bytes);
        let is_asked = Arc::new(Notify::new());
        let asked = Arc::clone(&is_asked);
        let mut answering = JoinSet::new();
        answering.spawn(async move {
            for number in 0_u32.. {
                let (mut stream, _) = listener.accept().await.unwrap();
                if kind == Kind::Silent {
                    asked.notify_one();
                    return std::future::pending().await;
                }
                let mut range = None;
                let mut lines = BufReader::new(&mut stream).lines();
                while let Ok(Some(line)) = lines.next_line().await
                    && !line.is_empty()
                {
                    let line = line.to_lowercase();
                    if let Some(wanted) = line.strip_prefix("range: bytes=") {
                        let (first, last) = wanted.split_once('-').unwrap();
                        range = Some((first.parse().unwrap(), last.parse::<usize>().unwrap()));
                    }
                }
                let length = content.len();
                let version = if kind == Kind::Changing { number } else { 1 };
                let (status, part) = match range.filter(|_| kind != Kind::WholeFiles) {
                    _ if kind == Kind::Failing && number > 1 => {
                        ("404 Not Found".to_owned(), &content[..0])
                    }
                    _ if kind == Kind::Busy && number > 1 => {
                        ("503 Busy".to_owned(), &content[..0])
                    }
                    Some((first, last)) => {
                        let end = length.min(last + 1);
                        let range = format!("content-range: bytes {first}-{}/{length}", end - 1);
                        (format!("206 Partial Content\r\n{range}"), &content[first..end])
                    }
                    None => ("200 OK".to_owned(), &content[..]),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\netag: \"{version}\"\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    part.len()
                );
                // Who knows enough hangs up.
                if stream.write_all(head.as_bytes()).await.is_ok()
                    && stream.write_all(part).await.is_ok()
                {
                    sent.fetch_add(part.len() as u64, Ordering::Relaxed);
                }
            }
        });
        Self {
            address,
            sent_bytes,
            asked: is_asked,
            _answering: answering,
        }
    }
}

/// A page's server, asked as pages ask it.
struct Asked {
    server: Server,
    folder: tempfile::TempDir,
}

impl Asked {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let site = Site::Folder(folder.path().to_owned());
        let server = Server::start(&tools(folder.path()), site).await.unwrap();
        Self { server, folder }
    }

    /// The number of the frame at `time_s`; what the server says goes wrong.
    async fn number(&self, film: &str, time_s: f64) -> Result<u32, TaskFailure> {
        let film: String = form_urlencoded::byte_serialize(film.as_bytes()).collect();
        let port = self.server.port;
        let address =
            format!("http://127.0.0.1:{port}/proxy?src={film}&time={time_s}&toneMapped=true");
        let image = self.folder.path().join("image");
        let fetched = Fetcher::new(Guard::default())
            .unwrap()
            .fetch(&address, &image)
            .await;
        self.server.check()?;
        fetched.unwrap();
        Ok(number(&std::fs::read(image).unwrap()))
    }
}

/// A film of 31 frames of this size, not compressed, its tables at its end.
fn raw(folder: &std::path::Path, size: &str) -> Vec<u8> {
    let scale = format!("scale={size}:flags=neighbor");
    let raw = ["-vf", &scale, "-c:v", "rawvideo", "-pix_fmt", "rgb24"];
    film(folder, "raw.mov", "10", 31, &raw);
    std::fs::read(folder.join("raw.mov")).unwrap()
}

#[tokio::test]
async fn of_a_film_on_another_server_only_what_is_shown_is_read() {
    let asked = Asked::start().await;
    let content = raw(asked.folder.path(), "1024:768");
    let size_bytes = content.len() as u64;
    let peer = Peer::start(content, Kind::Ranges).await;
    for frame in [5_u32, 6] {
        let found = asked.number(&peer.address, f64::from(frame) / 10.0).await;
        assert_eq!(found, Ok(frame));
    }
    let sent_bytes = peer.sent_bytes.load(Ordering::Relaxed);
    assert!(sent_bytes < size_bytes / 2, "{sent_bytes} of {size_bytes}");
}

#[tokio::test]
async fn a_server_that_is_silent_holds_up_no_film_of_another_one() {
    let asked = Asked::start().await;
    let [good, silent] = [Kind::Ranges, Kind::Silent].map(|kind| {
        let content = raw(asked.folder.path(), "256:192");
        Peer::start(content, kind)
    });
    let (good, silent) = (good.await, silent.await);
    assert_eq!(asked.number(&good.address, 2.0).await, Ok(20));
    let others = async {
        silent.asked.notified().await;
        // By another decoder: further back.
        asked.number(&good.address, 0.5).await
    };
    let found = tokio::time::timeout(Duration::from_secs(20), others);
    tokio::select! {
        _ = asked.number(&silent.address, 0.0) => panic!("nobody has answered"),
        found = found => assert_eq!(found.expect("it does not wait"), Ok(5)),
    }
}

#[tokio::test]
async fn films_of_other_servers_have_the_same_frames_at_the_same_times() {
    let asked = Asked::start().await;
    film(asked.folder.path(), "film.mp4", "25", 30, LOSSLESS);
    film(asked.folder.path(), "film.mkv", "30000/1001", 30, LOSSLESS);
    for (name, fps) in [("film.mp4", 25.0), ("film.mkv", 30_000.0 / 1_001.0)] {
        let content = std::fs::read(asked.folder.path().join(name)).unwrap();
        for kind in [Kind::Ranges, Kind::WholeFiles] {
            let peer = Peer::start(content.clone(), kind).await;
            for frame in [0_u32, 1, 2, 9, 3, 29, 0, 28, 40] {
                let time_s = (f64::from(frame) + 0.5) / fps;
                let found = asked.number(&peer.address, time_s).await;
                assert_eq!(found, Ok(frame.min(29)), "{name}, {kind:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_film_that_changes_or_goes_away_while_it_is_read_is_told() {
    for (kind, expected, may_pass) in [
        (Kind::Changing, "it was changed while it was read", false),
        (Kind::Failing, "the server answered 404 Not Found", false),
        (
            Kind::Busy,
            "the server answered 503 Service Unavailable",
            true,
        ),
    ] {
        let asked = Asked::start().await;
        let peer = Peer::start(raw(asked.folder.path(), "256:192"), kind).await;
        let failure = asked.number(&peer.address, 2.0).await.unwrap_err();
        assert!(failure.message.contains(&peer.address), "{failure}");
        assert!(failure.message.contains(expected), "{failure}");
        assert_eq!(failure.retryable, may_pass, "{failure}");
    }
}

/// A server that counts who knocks, and says nothing.
async fn watched() -> (String, TcpListener) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    (listener.local_addr().unwrap().to_string(), listener)
}

#[tokio::test]
async fn a_list_of_files_in_place_of_a_film_leads_nowhere_and_ends() {
    let (elsewhere, listener) = watched().await;
    let manifest = format!(
        r#"<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S"
     profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" minBufferTime="PT1S">
<Period><AdaptationSet mimeType="video/mp4"><Representation id="a" bandwidth="1000" codecs="avc1.42c01e">
<BaseURL>http://{elsewhere}/a.mp4</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>"#
    );
    let playlist = format!(
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://{elsewhere}/a.ts\n#EXT-X-ENDLIST\n"
    );
    // It names itself: without an end.
    let itself = "ffconcat version 1.0\nfile 0\n".to_owned();
    for list in [manifest, playlist, itself] {
        let asked = Asked::start().await;
        let peer = Peer::start(list.clone().into_bytes(), Kind::Ranges).await;
        let answer = asked.number(&peer.address, 0.0);
        let answer = tokio::time::timeout(Duration::from_secs(60), answer).await;
        let failure = answer.expect("it ends").unwrap_err();
        assert!(
            failure.message.contains(": it is no film: "),
            "{list}: {failure}"
        );
    }
    let knocked = tokio::time::timeout(Duration::from_millis(10), listener.accept()).await;
    assert!(knocked.is_err(), "nobody knocked");
}

#[tokio::test]
async fn the_tables_of_an_mp4_are_enough_to_know_its_frames() {
    let folder = tempfile::tempdir().unwrap();
    film(folder.path(), "film.mp4", "25", 30, LOSSLESS);
    let padded = [
        &std::fs::read(folder.path().join("film.mp4")).unwrap()[..],
        // A box that nobody knows, of three blocks: it is not part of the media.
        &u32::try_from(8 + 3 * BLOCK_BYTES).unwrap().to_be_bytes(),
        b"skip",
        &vec![0; 3 << 20],
    ]
    .concat();
    let film = folder.path().join("film.mp4");
    std::fs::write(&film, &padded).unwrap();
    let peer = Peer::start(padded, Kind::Ranges).await;
    let tools = tools(folder.path());
    let fetcher = Fetcher::new(Guard::default()).unwrap();
    let remote = RemoteFile::open(&fetcher, &tools.blocks, &peer.address).await;
    let tables = skeleton::write(&remote.unwrap().unwrap(), folder.path()).await;
    let tables = tables.unwrap().unwrap();
    let read = |path: PathBuf| {
        let tools = &tools;
        async move { index::read(tools, &Input::File(path)).await.unwrap() }
    };
    assert_eq!(read(tables.path().to_owned()).await, read(film).await);
}
