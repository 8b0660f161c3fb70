//! What is asked of the tables of segments and sound, whatever they are: what is taken of them lies in its file, and the
//! tables that are written for it say the same.

use futures::executor::block_on;

use super::*;
use crate::fuzzing::{Case, Parsers};

/// Reads ranges of these two objects.
fn from_memory<'a>(pictures: &'a [u8], sound: &'a [u8]) -> Box<OpenRange<'a>> {
    Box::new(move |key: String, range: Range<u64>| {
        let object = if key == "sound" { sound } else { pictures };
        let place = |at: u64| usize::try_from(at).expect("it is in memory");
        let body = object[place(range.start)..place(range.end)].to_vec();
        let reader = ObjectReader {
            size_bytes: body.len() as u64,
            etag: String::new(),
            content_type: None,
            body: Box::new(std::io::Cursor::new(body)),
        };
        Box::pin(std::future::ready(Ok(reader)))
    })
}

/// Bytes of samples that lie in `ranges` of a file.
fn check_ranges(ranges: &[Range<u64>], sizes: &[u32], size_bytes: u64) {
    let is_in_file = |range: &Range<u64>| range.start <= range.end && range.end <= size_bytes;
    assert!(ranges.iter().all(is_in_file), "{ranges:?} of {size_bytes}");
    let in_ranges: u64 = ranges.iter().map(|range| range.end - range.start).sum();
    let of_samples: u64 = sizes.iter().copied().map(u64::from).sum();
    assert_eq!(in_ranges, of_samples);
}

fn check_pictures(table: &SegmentTable, frame_count: u32) {
    let mut shown_at = table.shown_at.clone();
    shown_at.sort_unstable();
    assert!(shown_at.into_iter().eq(0..frame_count));
    assert_eq!(table.keyframes.first(), Some(&0));
    assert!(table.keyframes.is_sorted_by(|a, b| a < b));
    assert!(table.keyframes.iter().all(|number| *number < frame_count));
}

impl Parsers {
    /// A segment, taken twice, and the sound to it.
    pub(crate) fn movies(mut case: Case<'_>) {
        let rates = [(30, 1), (25, 1), (30_000, 1_001), (1, 1)];
        let (numerator, denominator) = rates[usize::from(case.byte()) % rates.len()];
        let fps = Fps::new(numerator, denominator).expect("it is a rate");
        let frame_count = u32::from(case.byte().max(1));
        let pictures = case.counted();
        let open = from_memory(pictures, case.0);
        let segment = SegmentSource {
            key: "pictures".to_owned(),
            size_bytes: pictures.len() as u64,
            frame_count,
        };
        let sound_bytes = case.0.len() as u64;
        let sound = SoundSource {
            key: "sound".to_owned(),
            size_bytes: sound_bytes,
        };
        let sound = block_on(read_sound_table(&sound, &*open)).ok();
        if let Some(sound) = &sound {
            check_ranges(&sound.ranges, &sound.sizes, sound_bytes);
            assert!(sound.priming <= sound.duration);
        }
        let sources = [segment.clone(), segment.clone()];
        let Ok(segments) = block_on(read_tables(&sources, fps, &*open)) else {
            return;
        };
        for table in &segments {
            check_ranges(&table.ranges, &table.sizes, segment.size_bytes);
            check_pictures(table, frame_count);
        }
        written(&segments, None, fps);
        written(&segments, sound.as_ref(), fps);
    }
}

/// What is written for these parts is read back.
fn written(segments: &[SegmentTable], sound: Option<&SoundTable>, fps: Fps) {
    let runs = layout::layout(segments, sound, fps);
    let parts = movie::Parts {
        segments,
        sound,
        runs: &runs,
        fps,
    };
    let head = movie::head(&parts, &[]).expect("what was read can be written");
    let media_bytes: u64 = runs.iter().map(|run| run.bytes).sum();
    let size_bytes = head.len() as u64 + media_bytes;
    let (_, front_bytes) = box_at(&head, size_bytes).expect("it begins with a box");
    let moov = &head[usize::try_from(front_bytes).expect("it is small")..];
    let movie = Moov::decode(&mut &*moov).expect("what was written can be read");
    assert_eq!(movie.trak.len(), 1 + usize::from(sound.is_some()));
    if sound.is_some() {
        return;
    }
    let sizes: Vec<u32> = segments.iter().flat_map(|s| s.sizes.clone()).collect();
    let frame_count = u32::try_from(sizes.len()).expect("there are few");
    let table = SegmentTable::parse(moov, size_bytes, fps, frame_count);
    let table = table.expect("what was written is a segment");
    assert_eq!(table.sizes, sizes);
    check_ranges(&table.ranges, &table.sizes, size_bytes);
    check_pictures(&table, frame_count);
}
