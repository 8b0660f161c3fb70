//! Remotion's own renderer as a peer, and ffmpeg as the judge. Both sides run in the same test; nothing is stored.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The longest any one program may run. Generous: the machine may be small and busy.
const PROGRAM_TIMEOUT: Duration = Duration::from_secs(240);

/// The repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The site written by hand.
pub(crate) fn hello() -> PathBuf {
    root().join("bundles/hello")
}

/// The bundle that Remotion's own bundler made. `scripts/test` makes it before the tests run.
pub(crate) fn slides() -> PathBuf {
    let build = root().join("examples/slides/build");
    assert!(
        build.join("index.html").exists(),
        "examples/slides/build is missing: run scripts/test, or `npm ci && npm run bundle` in examples/slides"
    );
    build
}

/// An empty folder of the test's own. Its name has no dot: the official command takes one for a file extension.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("rmx-e2e-")
        .tempdir()
        .unwrap()
}

/// Runs a program to its end, at most [`PROGRAM_TIMEOUT`]; a failure shows what it printed.
pub(crate) fn run(command: &mut Command) -> Output {
    let output = run_to_end(command);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Runs a program to its end, at most [`PROGRAM_TIMEOUT`], however it ends.
pub(crate) fn run_to_end(command: &mut Command) -> Output {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let readers = [
        std::thread::spawn(move || read_all(stdout)),
        std::thread::spawn(move || read_all(stderr)),
    ];
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PROGRAM_TIMEOUT {
            child.kill().unwrap();
            panic!("{shown} did not end within {PROGRAM_TIMEOUT:?}");
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let [stdout, stderr] = readers.map(|reader| reader.join().unwrap());
    Output {
        status,
        stdout,
        stderr,
    }
}

fn read_all(mut from: impl std::io::Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

pub(crate) fn chromium() -> String {
    std::env::var("RMX_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium-headless-shell".to_owned())
}

fn official(arguments: &[&str]) -> Output {
    run(&mut official_command(arguments, Path::new(&chromium())))
}

fn official_command(arguments: &[&str], browser: &Path) -> Command {
    let project = root().join("examples/slides");
    let mut command = Command::new("node");
    command
        .arg(project.join("node_modules/@remotion/cli/remotion-cli.js"))
        .args(arguments)
        .arg(format!("--browser-executable={}", browser.display()))
        .args(["--chrome-mode=headless-shell", "--log=error"])
        .current_dir(project);
    command
}

/// What the official renderer says of a composition that it fails to render with this browser.
pub(crate) fn official_refusal(
    site: &Path,
    composition: &str,
    browser: &Path,
    out: &Path,
    options: &[&str],
) -> String {
    let (site, out) = (site.to_str().unwrap(), out.to_str().unwrap());
    let arguments = ["render", site, composition, out, "--timeout=7000"];
    let arguments = [&arguments, options].concat();
    let output = run_to_end(&mut official_command(&arguments, browser));
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(!output.status.success(), "{composition} succeeded:\n{said}");
    said
}

/// The official renderer's frames `first..=last` as images; returned in order.
pub(crate) fn official_frames(
    site: &Path,
    composition: &str,
    (first, last): (u32, u32),
    format: &str,
    folder: &Path,
) -> Vec<PathBuf> {
    official(&[
        "render",
        site.to_str().unwrap(),
        composition,
        folder.to_str().unwrap(),
        "--sequence",
        "--concurrency=2",
        &format!("--image-format={format}"),
        &format!("--frames={first}-{last}"),
    ]);
    images(folder)
}

/// The official renderer's video of frames `first..=last`.
pub(crate) fn official_video(
    site: &Path,
    composition: &str,
    (first, last): (u32, u32),
    out: &Path,
) {
    official(&[
        "render",
        site.to_str().unwrap(),
        composition,
        out.to_str().unwrap(),
        "--concurrency=2",
        &format!("--frames={first}-{last}"),
    ]);
}

/// What the official renderer makes of a whole composition.
pub(crate) fn official_render(site: &Path, composition: &str, out: &Path, options: &[&str]) {
    let mut arguments = vec![
        "render",
        site.to_str().unwrap(),
        composition,
        out.to_str().unwrap(),
        "--concurrency=2",
    ];
    arguments.extend(options);
    official(&arguments);
}

/// Whether the tests that take long are wanted too (`scripts/test --full`).
pub(crate) fn is_full() -> bool {
    std::env::var_os("RMX_TEST_FULL").is_some()
}

/// The official renderer's picture of one frame, lossless.
pub(crate) fn official_still(site: &Path, composition: &str, frame: u32, scale: f64, out: &Path) {
    let options = [format!("--frame={frame}"), format!("--scale={scale}")];
    official_still_with(site, composition, out, &[&options[0], &options[1]]);
}

/// The official renderer's picture of a frame, as these options have it.
pub(crate) fn official_still_with(site: &Path, composition: &str, out: &Path, options: &[&str]) {
    let (site, out) = (site.to_str().unwrap(), out.to_str().unwrap());
    official(&[&["still", site, composition, out], options].concat());
}

/// Renders a whole composition with the official renderer, called in `project`.
pub(crate) fn official_render_in(project: &Path, site: &Path, composition: &str) {
    let arguments = ["render", site.to_str().unwrap(), composition, "out.mp4"];
    let mut command = official_command(&arguments, Path::new(&chromium()));
    run(command.current_dir(project));
}

/// The images of a folder, in the order of their names.
pub(crate) fn images(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

/// PSNR in dB over RGB of two inputs of ffmpeg, frame by frame, averaged. Infinite when they are equal.
///
/// RGB, because the official file carries full-range YCbCr and ours the usual limited range: each is converted by
/// its own tags, and the comparison is of what is seen.
pub(crate) fn psnr(a: &[&str], b: &[&str]) -> f64 {
    let output = run(Command::new("ffmpeg")
        .args(["-hide_banner", "-nostats"])
        .args(a)
        .args(b)
        .args([
            "-lavfi",
            "[0]scale=flags=accurate_rnd+full_chroma_int+bicubic,format=gbrp,settb=1/30,setpts=N[a];\
             [1]scale=flags=accurate_rnd+full_chroma_int+bicubic,format=gbrp,settb=1/30,setpts=N[b];[a][b]psnr",
            "-f",
            "null",
            "-",
        ]));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, rest) = text
        .rsplit_once("average:")
        .expect("ffmpeg prints an average");
    let number = rest.split_whitespace().next().unwrap();
    if number == "inf" {
        f64::INFINITY
    } else {
        number.parse().unwrap()
    }
}

/// PSNR of a video against a folder of the official renderer's PNG frames.
pub(crate) fn psnr_against_frames(video: &Path, frames: &[PathBuf], first: u32) -> f64 {
    let digits = frames[0]
        .file_stem()
        .unwrap()
        .to_str()
        .unwrap()
        .split_once('-')
        .unwrap()
        .1
        .len();
    let pattern = frames[0].with_file_name(format!("element-%0{digits}d.png"));
    psnr(
        &["-i", video.to_str().unwrap()],
        &[
            "-start_number",
            &first.to_string(),
            "-framerate",
            "30",
            "-i",
            pattern.to_str().unwrap(),
        ],
    )
}

/// The hash of every decoded frame of a video, in order.
pub(crate) fn decoded_frames(video: &Path) -> Vec<String> {
    let output = run(Command::new("ffmpeg")
        .args(["-v", "error", "-i"])
        .arg(video)
        .args(["-map", "0:v", "-f", "framehash", "-hash", "md5", "-"]));
    String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

/// What ffprobe says of a video's stream and packets.
pub(crate) fn probe(video: &Path) -> serde_json::Value {
    let output = run(Command::new("ffprobe")
        .args(["-v", "error", "-count_packets", "-of", "json"])
        .args(["-show_entries", "stream=codec_name,pix_fmt,width,height,r_frame_rate,avg_frame_rate,nb_read_packets,time_base,start_pts,duration_ts"])
        .args(["-show_entries", "packet=pts,dts,duration"])
        .arg(video));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Width and height of an image.
pub(crate) fn size(image: &Path) -> (u64, u64) {
    let stream = &probe(image)["streams"][0];
    (
        stream["width"].as_u64().unwrap(),
        stream["height"].as_u64().unwrap(),
    )
}

/// Whether the `moov` box lies before `mdat`, so that a player can start before it has the whole file.
pub(crate) fn is_faststart(video: &Path) -> bool {
    let bytes = std::fs::read(video).unwrap();
    let mut at = 0;
    let mut order = Vec::new();
    while at + 8 <= bytes.len() {
        let size = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        let kind = String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned();
        let size = match size {
            0 => bytes.len() - at,
            1 => usize::try_from(u64::from_be_bytes(
                bytes[at + 8..at + 16].try_into().unwrap(),
            ))
            .unwrap(),
            size => size,
        };
        order.push(kind);
        at += size;
    }
    assert_eq!(at, bytes.len(), "the boxes fill the file");
    order.iter().position(|kind| kind == "moov") < order.iter().position(|kind| kind == "mdat")
}
