//! What can be asked for beside a format, asked of both renderers: what comes out is the same.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::failures::{nasty, numbers};
use crate::farm::Farm;
use crate::limits::compare;
use crate::{peer, web};

/// Kind, codec, sample rate and channels of each of a file's tracks, and its title.
fn tracks(file: &Path) -> (Vec<[Value; 4]>, Value) {
    let entries = "stream=codec_type,codec_name,sample_rate,channels:format_tags=title";
    let output = peer::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-of", "json", "-show_entries", entries])
            .arg(file),
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    let title = told["format"]["tags"]["title"].clone();
    let streams = told["streams"].as_array().unwrap().iter();
    let said = ["codec_type", "codec_name", "sample_rate", "channels"];
    let tracks = streams.map(|stream| said.map(|what| stream[what].clone()));
    (tracks.collect(), title)
}

#[test]
fn sizes_rates_lengths_and_ranges_are_those_that_were_asked_for() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let medium = "--x264-preset=medium";
    let forced = [
        "--width=160",
        "--height=90",
        "--fps=24",
        "--duration=9",
        medium,
    ];
    let sticker = ("Sticker", "forced.mp4");
    compare(&farm, site.path(), sticker, 5, &forced);
    assert_eq!(peer::size(&farm.path("forced.mp4")), (160, 90));
    let last = ["--frames=20-", medium];
    compare(&farm, site.path(), ("Plain", "last.mp4"), 5, &last);
    assert_eq!(numbers(&farm.path("last.mp4")), Vec::from_iter(20..30));
    // And a frame is drawn again if the page allows it.
    compare(&farm, site.path(), ("Holds", "holds.mp4"), 5, &[medium]);
    farm.assert_quiet();

    // The page itself decides how long it is.
    let slides = peer::slides();
    let farm = Farm::of(&slides);
    let half = [
        r#"--props={"title": "short", "seconds": 0.5}"#,
        "--image-format=png",
        medium,
    ];
    compare(&farm, &slides, ("Title", "short.mp4"), 6, &half);
    assert_eq!(peer::decoded_frames(&farm.path("short.mp4")).len(), 15);
    farm.assert_quiet();
}

#[test]
fn tracks_and_what_a_file_says_of_itself_are_those_that_were_asked_for() {
    let (site, slides) = (nasty(), peer::slides());
    let (plain, media) = (Farm::of(site.path()), Farm::of(&slides));
    for (farm, site, composition, file, options) in [
        (&media, &*slides, "Media", "muted.mp4", "--muted"),
        (&media, &slides, "Media", "rate.mp4", "--sample-rate=44100"),
        (
            &plain,
            site.path(),
            "Plain",
            "silent.mp4",
            "--enforce-audio-track",
        ),
        (
            &plain,
            site.path(),
            "Plain",
            "named.mp4",
            "--metadata=title=film",
        ),
    ] {
        let theirs = farm.path(&format!("theirs-{file}"));
        let options = [options, "--frames=0-9"];
        peer::official_render(site, composition, &theirs, &options);
        farm.rmx(&[&["render", composition, file], &options[..]].concat());
        assert_eq!(tracks(&farm.path(file)), tracks(&theirs), "{file}");
    }
    plain.assert_quiet();
    media.assert_quiet();
}

/// A still by both renderers, with the same options.
fn both_stills(farm: &Farm, site: &Path, composition: &str, options: &[&str]) -> [PathBuf; 2] {
    let format = options
        .iter()
        .find_map(|option| option.strip_prefix("--image-format="));
    let format = format.unwrap_or("png");
    let theirs = farm.path(&format!("theirs.{format}"));
    peer::official_still_with(site, composition, &theirs, options);
    let ours = format!("ours.{format}");
    farm.rmx(&[&["still", composition, &ours], options].concat());
    [theirs, farm.path(&ours)]
}

#[test]
fn stills_show_what_was_asked_for() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let variables = farm.path("variables");
    std::fs::write(&variables, "NAME=of the file\n").unwrap();
    let variables = format!("--env-file={}", variables.display());
    let elsewhere = web::serve(std::fs::read(site.path().join("hills.jpg")).unwrap());
    let props = format!("--props={{\"src\": \"{elsewhere}/moved\"}}");
    let told = ["--dark-mode", &variables];
    let cases: &[(&str, &[&str])] = &[
        ("Plain", &["--frame=-2"]),
        (
            "Sticker",
            &["--frame=3", "--image-format=jpeg", "--jpeg-quality=15"],
        ),
        ("Elsewhere", &[&props, "--frame=1"]),
        ("Tells", &told),
    ];
    let full: &[(&str, &[&str])] = &[("Dot", &[]), ("Huge", &[]), ("Words", &["--frame=1"])];
    let full = full.iter().filter(|_| peer::is_full());
    for (composition, options) in full.chain(cases) {
        let [theirs, ours] =
            both_stills(&farm, site.path(), composition, options).map(|p| peer::decoded_frames(&p));
        assert_eq!(ours, theirs, "{composition} {options:?}: the same pixels");
    }
    // What they would show otherwise is something else.
    let told = peer::decoded_frames(&farm.path("ours.png"));
    farm.rmx(&["still", "Tells", "plain.png"]);
    assert_ne!(peer::decoded_frames(&farm.path("plain.png")), told);
    let (code, said) = farm.refused(&["still", "Plain", "plain.png", "--jpeg-quality=5"]);
    assert!(said.contains("does not go with a png"), "{said}");
    assert_eq!(code, 64);
    farm.assert_quiet();
}

#[test]
fn files_that_a_page_emits_are_those_that_the_official_renderer_writes() {
    let site = nasty();
    let farm = Farm::of(site.path());
    farm.rmx(&["render", "Emits", "out.mp4", "--frames-per-lambda=15"]);
    // It writes below the folder that it is called in, which has to be a package's.
    let project = peer::folder();
    std::fs::write(project.path().join("package.json"), "{}").unwrap();
    peer::official_render_in(project.path(), site.path(), "Emits");
    for name in ["words.txt", "sub/bytes.bin"] {
        let emitted = format!("out/Emits/{name}");
        let [ours, theirs] =
            [farm.path(&emitted), project.path().join(&emitted)].map(|p| std::fs::read(p).unwrap());
        assert_eq!(ours, theirs, "{name}");
    }
    farm.assert_quiet();
}

/// Serves a folder over TLS with a certificate that nobody vouches for, until it is dropped.
struct Unvouched {
    child: Child,
    address: String,
}

impl Unvouched {
    /// Nothing if this machine has no openssl to make the certificate.
    fn start(folder: &Path) -> Option<Self> {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-batch"])
            .args(["-subj", "/CN=localhost", "-keyout", "key", "-out", "cert"])
            .current_dir(folder)
            .output()
            .ok()?;
        assert!(made.status.success(), "{made:?}");
        let script = "import http.server, ssl\n\
            server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), http.server.SimpleHTTPRequestHandler)\n\
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)\n\
            context.load_cert_chain('cert', 'key')\n\
            server.socket = context.wrap_socket(server.socket, server_side=True)\n\
            print(server.server_port, flush=True)\n\
            server.serve_forever()\n";
        let mut child = Command::new("python3")
            .args(["-c", script])
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut port).unwrap();
        let address = format!("https://127.0.0.1:{}", port.trim());
        Some(Self { child, address })
    }
}

impl Drop for Unvouched {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_nobody_vouches_for_is_trusted_if_that_was_asked_for() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let folder = peer::folder();
    std::fs::copy(site.path().join("hills.jpg"), folder.path().join("picture")).unwrap();
    let Some(server) = Unvouched::start(folder.path()) else {
        eprintln!("skipped: there is no openssl");
        return;
    };
    let props = format!("--props={{\"src\": \"{}/picture\"}}", server.address);
    let (code, said) = farm.refused(&["still", "Elsewhere", "out.png", &props]);
    assert_eq!(code, 1, "{said}");
    let trusting = [&*props, "--ignore-certificate-errors"];
    let [theirs, ours] = both_stills(&farm, site.path(), "Elsewhere", &trusting);
    assert_eq!(peer::decoded_frames(&ours), peer::decoded_frames(&theirs));
    farm.assert_quiet();
}
