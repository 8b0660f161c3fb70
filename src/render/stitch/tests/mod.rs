//! Real segments, made by ffmpeg, against ffprobe and against one encode of the same frames.

#![allow(clippy::cast_possible_truncation, reason = "files of a test are small")]

mod with_sound;

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// Segments in memory, as a bucket would hold them.
#[derive(Clone, Default)]
struct Shelf {
    objects: Vec<(SegmentSource, Arc<Vec<u8>>)>,
    sound: Option<Arc<Vec<u8>>>,
}

impl Shelf {
    fn put(&mut self, content: Vec<u8>, frame_count: u32) {
        let source = SegmentSource {
            key: format!("segment-{}", self.objects.len()),
            size_bytes: content.len() as u64,
            frame_count,
        };
        self.objects.push((source, Arc::new(content)));
    }

    async fn stitch(&self, fps: Fps, path: &Path) -> Result<Stitched, StitchError> {
        let sources: Vec<_> = self
            .objects
            .iter()
            .map(|(source, _)| source.clone())
            .collect();
        let open = |key: String, range: Range<u64>| {
            let of_key = self.objects.iter().find(|(s, _)| s.key == key);
            let content = of_key.map(|(_, content)| content).or(self.sound.as_ref());
            let content = content.unwrap()[range.start as usize..range.end as usize].to_vec();
            Box::pin(async move {
                Ok(ObjectReader {
                    size_bytes: content.len() as u64,
                    etag: String::new(),
                    content_type: None,
                    body: Box::new(std::io::Cursor::new(content)),
                })
            }) as BoxFuture<'_, _>
        };
        let sound = self.sound.as_ref().map(|content| SoundSource {
            key: "sound".to_owned(),
            size_bytes: content.len() as u64,
        });
        stitch(&sources, sound.as_ref(), &header(fps), &open, path, |_| {}).await
    }
}

fn header(fps: Fps) -> Header {
    Header {
        fps,
        tags: crate::render::tags::all(&std::collections::BTreeMap::new()),
    }
}

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

/// How segments are encoded; what a worker would use, but for the picture size.
struct Encode<'a> {
    fps: &'a str,
    size: &'a str,
    x264: &'a str,
    timescale: &'a str,
}

const USUAL: Encode<'static> = Encode {
    fps: "30",
    size: "64x48",
    x264: "stitchable=1:bframes=3",
    timescale: "90000",
};

/// Frames `start..end` of a moving test picture.
fn encode(folder: &TempDir, how: &Encode<'_>, start: u32, end: u32) -> Vec<u8> {
    let path = folder.path().join(format!("{start}-{end}.mp4"));
    let source = format!(
        "testsrc2=size={}:rate={},trim=start_frame={start}:end_frame={end},setpts=PTS-STARTPTS",
        how.size, how.fps
    );
    #[rustfmt::skip]
    run("ffmpeg", &[
        "-v", "error", "-y", "-f", "lavfi", "-i", &source, "-an",
        "-c:v", "libx264", "-preset", "medium", "-crf", "18", "-pix_fmt", "yuv420p", "-threads", "1",
        "-x264-params", how.x264, "-video_track_timescale", how.timescale, path.to_str().unwrap(),
    ]);
    std::fs::read(path).unwrap()
}

fn shelf(folder: &TempDir, how: &Encode<'_>, cuts: &[u32]) -> Shelf {
    let mut shelf = Shelf::default();
    for pair in cuts.windows(2) {
        shelf.put(encode(folder, how, pair[0], pair[1]), pair[1] - pair[0]);
    }
    shelf
}

/// MD5s of the decoded frames, in the order of showing.
fn frame_digests(path: &Path) -> Vec<String> {
    #[rustfmt::skip]
    let text = run("ffmpeg", &[
        "-v", "error", "-i", path.to_str().unwrap(), "-fps_mode", "passthrough", "-f", "framemd5", "-",
    ]);
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.rsplit(',').next().unwrap().trim().to_owned())
        .collect()
}

/// When the frames are shown, in seconds as ffprobe prints them.
fn times(path: &Path) -> Vec<String> {
    #[rustfmt::skip]
    let text = run("ffprobe", &[
        "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts_time", "-of", "csv=p=0",
        path.to_str().unwrap(),
    ]);
    // Frames with side data leave an empty line behind.
    text.lines()
        .map(|line| line.trim_end_matches(',').to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

fn entries(path: &Path, entries: &str) -> String {
    #[rustfmt::skip]
    let text = run("ffprobe", &[
        "-v", "error", "-show_entries", entries, "-of", "csv=p=0", path.to_str().unwrap(),
    ]);
    text.trim().to_owned()
}

fn top_level_boxes(mut bytes: &[u8]) -> Vec<String> {
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        let (kind, size) = box_at(bytes, bytes.len() as u64).unwrap();
        kinds.push(kind.to_string());
        bytes = &bytes[size as usize..];
    }
    kinds
}

#[tokio::test]
async fn cuts_cannot_be_seen() {
    for (fps, rate, timescale) in [
        ("30", Fps::new(30, 1).unwrap(), "90000"),
        ("30000/1001", Fps::new(30_000, 1_001).unwrap(), "90000"),
        ("60000/1001", Fps::new(60_000, 1_001).unwrap(), "90000"),
        ("25", Fps::new(25, 1).unwrap(), "12800"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let how = Encode {
            fps,
            timescale,
            ..USUAL
        };
        let whole = folder.path().join("whole.mp4");
        std::fs::write(&whole, encode(&folder, &how, 0, 60)).unwrap();
        for cuts in [&[0_u32, 60][..], &[0, 20, 40, 60], &[0, 1, 2, 33, 59, 60]] {
            let shelf = shelf(&folder, &how, cuts);
            let path = folder.path().join("out.mp4");
            let stitched = shelf.stitch(rate, &path).await.unwrap();
            let content = std::fs::read(&path).unwrap();
            assert_eq!(stitched.size_bytes, content.len() as u64);
            assert_eq!(stitched.frame_count, 60);
            assert_eq!(top_level_boxes(&content), ["ftyp", "moov", "mdat"]);

            let mut expected = Vec::new();
            for (_, content) in &shelf.objects {
                let segment = folder.path().join("segment.mp4");
                std::fs::write(&segment, &**content).unwrap();
                expected.extend(frame_digests(&segment));
            }
            assert_eq!(frame_digests(&path), expected, "{fps} {cuts:?}");
            assert_eq!(expected.len(), 60);

            let close = |a: &String, b: &String| {
                (a.parse::<f64>().unwrap() - b.parse::<f64>().unwrap()).abs() < 0.000_02
            };
            let (ours, theirs) = (times(&path), times(&whole));
            assert!(
                ours.len() == theirs.len() && ours.iter().zip(&theirs).all(|(a, b)| close(a, b)),
                "{fps} {cuts:?}: {ours:?} {theirs:?}"
            );
            assert_eq!(
                entries(
                    &path,
                    "stream=start_time,nb_frames,r_frame_rate,avg_frame_rate"
                ),
                format!(
                    "{rate_text},{rate_text},0.000000,60",
                    rate_text = entries(&whole, "stream=r_frame_rate")
                )
            );
            // Decoding times rise by exactly one frame, B-frames or not.
            let decoded = entries(&path, "packet=dts");
            let decoded: Vec<i64> = decoded
                .lines()
                .map(|l| l.trim_end_matches(',').parse().unwrap())
                .collect();
            let step = decoded[1] - decoded[0];
            assert!(
                decoded.windows(2).all(|pair| pair[1] - pair[0] == step),
                "{decoded:?}"
            );
            assert_eq!(
                entries(&path, "format_tags=comment"),
                concat!("Made with rmx ", env!("CARGO_PKG_VERSION"))
            );
        }
    }
}

#[tokio::test]
async fn frames_without_reordering_need_no_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let how = Encode {
        x264: "stitchable=1:bframes=0",
        ..USUAL
    };
    let path = folder.path().join("out.mp4");
    let shelf = shelf(&folder, &how, &[0, 7, 14]);
    shelf.stitch(Fps::new(30, 1).unwrap(), &path).await.unwrap();
    assert_eq!(frame_digests(&path).len(), 14);
    assert_eq!(times(&path)[0], "0.000000");
}

/// `seconds` of a tone, as a worker encodes it, and the samples it decodes to.
fn tone(folder: &TempDir, seconds: f64, sample_rate: u32) -> (Vec<u8>, Vec<u8>) {
    let path = folder.path().join("tone.m4a");
    let source = format!("sine=frequency=440:sample_rate={sample_rate}:duration={seconds}");
    #[rustfmt::skip]
    run("ffmpeg", &[
        "-v", "error", "-y", "-f", "lavfi", "-i", &source, "-ac", "2", "-c:a", "aac", "-b:a", "320k",
        path.to_str().unwrap(),
    ]);
    (std::fs::read(&path).unwrap(), samples(&path))
}

/// The decoded sound, 16 bit.
fn samples(path: &Path) -> Vec<u8> {
    let arguments = [
        "-v",
        "error",
        "-i",
        path.to_str().unwrap(),
        "-vn",
        "-f",
        "s16le",
        "-",
    ];
    let output = Command::new("ffmpeg").args(arguments).output().unwrap();
    assert!(output.status.success());
    output.stdout
}

#[tokio::test]
async fn segments_that_do_not_fit_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let fps = Fps::new(30, 1).unwrap();
    let path = folder.path().join("out.mp4");
    let good = encode(&folder, &USUAL, 0, 5);
    let in_two = |content: Vec<u8>, frame_count| {
        let mut shelf = Shelf::default();
        shelf.put(good.clone(), 5);
        shelf.put(content, frame_count);
        shelf
    };
    let other = |how: Encode<'_>| encode(&folder, &how, 5, 10);
    let cut = |content: &[u8], length: usize| content[..length].to_vec();
    let good_two = encode(&folder, &USUAL, 5, 10);
    for (content, frame_count, problem) in [
        (
            other(Encode {
                size: "80x48",
                ..USUAL
            }),
            5,
            "picture size differs",
        ),
        (
            other(Encode {
                x264: "stitchable=1:bframes=3:cabac=0",
                ..USUAL
            }),
            5,
            "encoder configuration (avcC or hvcC) differs",
        ),
        (
            other(Encode {
                timescale: "30000",
                ..USUAL
            }),
            5,
            "timescale differs",
        ),
        (
            other(Encode { fps: "25", ..USUAL }),
            5,
            "timestamps are not those of 30",
        ),
        (good_two.clone(), 6, "holds 5 frames instead of 6"),
        (cut(&good_two, good_two.len() - 1), 5, "cut off"),
        (cut(&good_two, 100), 5, "cut off"),
        (cut(&good_two, 6), 5, "boxes cannot be told apart"),
        (Vec::new(), 5, "there is no `moov`"),
        (
            b"<html>no such thing, but long enough to be a box</html>".to_vec(),
            5,
            "cut off",
        ),
    ] {
        let error = in_two(content, frame_count)
            .stitch(fps, &path)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("`segment-1`") && error.contains(problem),
            "{error}"
        );
    }
    in_two(good_two, 5).stitch(fps, &path).await.unwrap();
}

#[tokio::test]
async fn a_connection_that_breaks_is_taken_up_where_it_broke() {
    let folder = tempfile::tempdir().unwrap();
    let content = encode(&folder, &USUAL, 0, 20);
    let source = SegmentSource {
        key: "segment".to_owned(),
        size_bytes: content.len() as u64,
        frame_count: 20,
    };
    // Every answer ends after at most a third of the file.
    let open = |_: String, range: Range<u64>| {
        let end = range.end.min(range.start + content.len() as u64 / 3);
        let part = content[range.start as usize..end as usize].to_vec();
        Box::pin(async move {
            Ok(ObjectReader {
                size_bytes: part.len() as u64,
                etag: String::new(),
                content_type: None,
                body: Box::new(std::io::Cursor::new(part)),
            })
        }) as BoxFuture<'_, _>
    };
    let path = folder.path().join("out.mp4");
    let fps = Fps::new(30, 1).unwrap();
    stitch(&[source], None, &header(fps), &open, &path, |_| {})
        .await
        .unwrap();
    assert_eq!(frame_digests(&path).len(), 20);
}

fn moov_of(content: &[u8]) -> Vec<u8> {
    let mut rest = content;
    loop {
        let (kind, size) = box_at(rest, rest.len() as u64).unwrap();
        if kind == Moov::KIND {
            return rest[..size as usize].to_vec();
        }
        rest = &rest[size as usize..];
    }
}

#[test]
fn damaged_tables_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let content = encode(&folder, &USUAL, 0, 12);
    let moov = moov_of(&content);
    let sound = moov_of(&tone(&folder, 0.3, 48_000).0);
    assert!(SoundTable::parse(&sound, 100_000).is_ok());
    let fps = Fps::new(30, 1).unwrap();
    let size_bytes = content.len() as u64;
    assert!(SegmentTable::parse(&moov, size_bytes, fps, 12).is_ok());
    let parse = |bytes: &[u8]| {
        let sound = SoundTable::parse(bytes, size_bytes).ok();
        let table = SegmentTable::parse(bytes, size_bytes, fps, 12)
            .or_else(|_| SegmentTable::parse(&moov, size_bytes, fps, 12));
        let segments = [table.unwrap()];
        let runs = layout::layout(&segments, sound.as_ref(), fps);
        let parts = movie::Parts {
            segments: &segments,
            sound: sound.as_ref(),
            runs: &runs,
            fps,
        };
        drop(movie::head(&parts, &header(parts.fps).tags));
    };
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(3_000));
    runner
        .run(&(damage, 0..=moov.len()), |(damage, length)| {
            let mut bytes = moov.clone();
            for (index, value) in damage {
                let index = index.index(bytes.len());
                bytes[index] = value;
            }
            parse(&bytes);
            bytes.truncate(length);
            parse(&bytes);
            Ok(())
        })
        .unwrap();
    // Every 32-bit number in turn as large as can be.
    for moov in [&moov, &sound] {
        for at in 0..moov.len() - 4 {
            let mut bytes = moov.clone();
            bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
            parse(&bytes);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let fps = Fps::new(30, 1).unwrap();
        prop_assert!(SegmentTable::parse(&bytes, bytes.len() as u64, fps, 1).is_err());
        box_at(&bytes, 1_000);
    }
}

#[test]
fn large_files_have_wide_offsets() {
    let folder = tempfile::tempdir().unwrap();
    let content = encode(&folder, &USUAL, 0, 5);
    let fps = Fps::new(30, 1).unwrap();
    let table = SegmentTable::parse(&moov_of(&content), content.len() as u64, fps, 5).unwrap();
    let large = SegmentTable {
        sizes: vec![1 << 30; 5],
        ..table.clone()
    };
    for (tables, wide) in [
        ([table.clone(), table], false),
        ([large.clone(), large], true),
    ] {
        let runs = layout::layout(&tables, None, fps);
        let parts = movie::Parts {
            segments: &tables,
            sound: None,
            runs: &runs,
            fps,
        };
        let head = movie::head(&parts, &header(parts.fps).tags).unwrap();
        let moov = Moov::decode(&mut &moov_of(&head)[..]).unwrap();
        let places = &moov.trak[0].mdia.minf.stbl;
        assert_eq!(
            (places.stco.is_some(), places.co64.is_some()),
            (!wide, wide)
        );
        if let Some(co64) = &places.co64 {
            let first = head.len() as u64;
            assert_eq!(co64.entries, [first, first + (5 << 30)]);
        }
        let size = u64::from_be_bytes(head[head.len() - 8..].try_into().unwrap());
        let frames: u64 = tables
            .iter()
            .flat_map(|t| &t.sizes)
            .copied()
            .map(u64::from)
            .sum();
        assert_eq!(size, frames + 16);
    }
}
