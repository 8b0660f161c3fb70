//! The output's own tables, from those of its segments: everything in front of the frames.
//!
//! Timestamps are not copied but made: frame `n` of the whole video lies at exactly `n` frame durations, whatever
//! timescale and rounding the segments had. With B-frames, decoding runs ahead of showing by the same number of frames
//! in the whole file, and one edit list takes that delay away.

use mp4_atom::{
    Co64, Codec, Ctts, CttsEntry, Dinf, Dref, Edts, Elst, ElstEntry, Encode as _, Ftyp, Hdlr, Mdhd,
    Mdia, Minf, Moov, Mvhd, Smhd, Stbl, Stco, Stsc, StscEntry, Stss, Stsz, StszSamples, Stts,
    SttsEntry, Tkhd, Trak, Url, Vmhd,
};

use super::layout::{Run, Track};
use super::segment::SegmentTable;
use super::sound::SoundTable;
use crate::media::Fps;
use crate::render::tags;

/// Timescales below this are doubled until they are not, as ffmpeg does, so that the numbers look familiar.
const TIMESCALE_MIN: u32 = 10_000;

/// Size of an `mdat` header with a 64-bit size, which is used always.
const MDAT_HEADER_BYTES: u64 = 16;

/// What the output is made of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    /// They fit together; frames follow in their order.
    pub(super) segments: &'a [SegmentTable],
    pub(super) sound: Option<&'a SoundTable>,
    /// Where what lies.
    pub(super) runs: &'a [Run],
    pub(super) fps: Fps,
}

/// Everything in front of the first frame: `ftyp`, `moov` and the header of `mdat`.
pub(super) fn head(
    parts: &Parts<'_>,
    tags: &[(String, String)],
) -> Result<Vec<u8>, mp4_atom::Error> {
    let mut head = Vec::new();
    Ftyp {
        major_brand: b"isom".into(),
        minor_version: 512,
        compatible_brands: [b"isom", b"iso2", b"avc1", b"mp41"]
            .map(Into::into)
            .to_vec(),
    }
    .encode(&mut head)?;
    let media_bytes: u64 = parts.runs.iter().map(|run| run.bytes).sum();
    // The size of `moov` does not depend on the offsets in it, once their width is settled.
    let encode = |data_at: u64, wide: bool| {
        let mut bytes = Vec::new();
        movie(parts, data_at, wide).encode(&mut bytes)?;
        append_child(&mut bytes, &user_data(tags));
        Ok::<_, mp4_atom::Error>(bytes)
    };
    let narrow = encode(0, false)?;
    let front_bytes = (head.len() + narrow.len()) as u64 + MDAT_HEADER_BYTES;
    let wide = front_bytes + media_bytes > u64::from(u32::MAX);
    let moov_bytes = if wide { encode(0, true)? } else { narrow }.len() as u64;
    head.extend(encode(
        head.len() as u64 + moov_bytes + MDAT_HEADER_BYTES,
        wide,
    )?);
    head.extend(1_u32.to_be_bytes());
    head.extend(b"mdat");
    head.extend((MDAT_HEADER_BYTES + media_bytes).to_be_bytes());
    Ok(head)
}

/// Ticks a second of the whole file and of its pictures, and the ticks of a frame.
fn clock(fps: Fps) -> (u32, u32) {
    let usual = fps.timescale();
    let scale = (0..16)
        .map(|doublings| 1_u32 << doublings)
        .find(|scale| usual.saturating_mul(*scale) >= TIMESCALE_MIN)
        .unwrap_or(1);
    let timescale = usual * scale;
    let ticks = u64::from(timescale) * u64::from(fps.denominator()) / u64::from(fps.numerator());
    (timescale, narrow(ticks))
}

fn movie(parts: &Parts<'_>, data_at: u64, wide: bool) -> Moov {
    let (timescale, frame_ticks) = clock(parts.fps);
    let frame_count: u64 = parts.segments.iter().map(|s| s.sizes.len() as u64).sum();
    let duration = frame_count * u64::from(frame_ticks);
    let video = video_track(parts.segments, timescale, frame_ticks, duration);
    let sound = parts
        .sound
        .map(|sound| sound_track(sound, timescale, duration));
    let tracks = [(Track::Video, Some(video)), (Track::Sound, sound)];
    let tracks = tracks.into_iter().filter_map(|(kind, track)| {
        let mut track = track?;
        place(&mut track.mdia.minf.stbl, parts.runs, kind, data_at, wide);
        Some(track)
    });
    let trak: Vec<Trak> = tracks.collect();
    Moov {
        mvhd: Mvhd {
            timescale,
            duration,
            rate: 1.into(),
            volume: 1.into(),
            next_track_id: narrow(trak.len() as u64) + 1,
            ..Mvhd::default()
        },
        trak,
        ..Moov::default()
    }
}

fn video_track(segments: &[SegmentTable], timescale: u32, frame_ticks: u32, duration: u64) -> Trak {
    let first = &segments[0];
    let (offsets, delay_ticks) = composition(segments, frame_ticks);
    Trak {
        tkhd: Tkhd {
            creation_time: 0,
            modification_time: 0,
            track_id: 1,
            duration,
            enabled: true,
            in_movie: true,
            ..first.header.clone()
        },
        edts: Some(edit(duration, delay_ticks)),
        mdia: Mdia {
            mdhd: Mdhd {
                timescale,
                duration,
                language: "und".to_owned(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: b"vide".into(),
                name: "VideoHandler".to_owned(),
            },
            minf: Minf {
                vmhd: Some(Vmhd::default()),
                dinf: in_this_file(),
                stbl: Stbl {
                    stsd: first.description.clone(),
                    stts: Stts {
                        entries: vec![SttsEntry {
                            sample_count: narrow(duration / u64::from(frame_ticks)),
                            sample_delta: frame_ticks,
                        }],
                    },
                    ctts: offsets,
                    stsz: Stsz {
                        samples: StszSamples::Different {
                            sizes: segments
                                .iter()
                                .flat_map(|s| s.sizes.iter().copied())
                                .collect(),
                        },
                    },
                    stss: keyframes(segments),
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}

/// The sound begins with the pictures: what the encoder put in front of it is cut off by the edit list.
fn sound_track(sound: &SoundTable, movie_timescale: u32, movie_duration: u64) -> Trak {
    let heard = u128::from(sound.duration - sound.priming) * u128::from(movie_timescale)
        / u128::from(sound.timescale);
    let duration = u64::try_from(heard).unwrap_or(u64::MAX).min(movie_duration);
    Trak {
        tkhd: Tkhd {
            track_id: 2,
            duration,
            alternate_group: 1,
            enabled: true,
            in_movie: true,
            volume: 1.into(),
            ..Tkhd::default()
        },
        edts: Some(edit(duration, sound.priming)),
        mdia: Mdia {
            mdhd: Mdhd {
                timescale: sound.timescale,
                duration: sound.duration,
                language: "und".to_owned(),
                ..Mdhd::default()
            },
            hdlr: Hdlr {
                handler: b"soun".into(),
                name: "SoundHandler".to_owned(),
            },
            minf: Minf {
                smhd: Some(Smhd::default()),
                dinf: in_this_file(),
                stbl: Stbl {
                    stsd: sound.description.clone(),
                    stts: sound.durations.clone(),
                    stsz: Stsz {
                        samples: StszSamples::Different {
                            sizes: sound.sizes.clone(),
                        },
                    },
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
    }
}

/// One edit: `duration` (in the file's ticks) of the media from `media_time` (in the media's ticks) on.
fn edit(duration: u64, media_time: u64) -> Edts {
    Edts {
        elst: Some(Elst {
            entries: vec![ElstEntry {
                segment_duration: duration,
                media_time: Some(media_time),
                media_rate: 1.into(),
            }],
        }),
    }
}

fn in_this_file() -> Dinf {
    Dinf {
        dref: Dref {
            entries: vec![Url::default().into()],
        },
    }
}

/// Where the samples of a track lie: one chunk of the container for each of its runs.
fn place(table: &mut Stbl, runs: &[Run], track: Track, data_at: u64, wide: bool) {
    let mut next = data_at;
    let mut offsets: Vec<u64> = Vec::new();
    let mut chunks: Vec<StscEntry> = Vec::new();
    for run in runs {
        let offset = next;
        next += run.bytes;
        if run.track != track {
            continue;
        }
        offsets.push(offset);
        if chunks.last().map(|chunk| chunk.samples_per_chunk) != Some(run.samples) {
            chunks.push(StscEntry {
                first_chunk: narrow(offsets.len() as u64),
                samples_per_chunk: run.samples,
                sample_description_index: 1,
            });
        }
    }
    table.stsc = Stsc { entries: chunks };
    table.stco = (!wide).then(|| Stco {
        entries: offsets.iter().map(|offset| narrow(*offset)).collect(),
    });
    table.co64 = wide.then_some(Co64 { entries: offsets });
}

/// Ticks from decoding to showing, for runs of frames, and the delay that the edit list takes away.
fn composition(segments: &[SegmentTable], frame_ticks: u32) -> (Option<Ctts>, u64) {
    let lead = |(decoded_at, shown_at): (u32, &u32)| decoded_at.saturating_sub(*shown_at);
    let delay = segments
        .iter()
        .flat_map(|segment| (0..).zip(&segment.shown_at).map(lead))
        .max()
        .unwrap_or(0);
    let mut runs: Vec<CttsEntry> = Vec::new();
    for segment in segments {
        for (decoded_at, shown_at) in (0_u32..).zip(&segment.shown_at) {
            let frames = i64::from(*shown_at) - i64::from(decoded_at) + i64::from(delay);
            let sample_offset = frames * i64::from(frame_ticks);
            match runs.last_mut() {
                Some(run) if run.sample_offset == sample_offset => run.sample_count += 1,
                _ => runs.push(CttsEntry {
                    sample_count: 1,
                    sample_offset,
                }),
            }
        }
    }
    let reordered = runs.iter().any(|run| run.sample_offset != 0);
    (
        reordered.then_some(Ctts { entries: runs }),
        u64::from(delay) * u64::from(frame_ticks),
    )
}

/// The numbers of the keyframes, from 1; nothing if all frames are.
fn keyframes(segments: &[SegmentTable]) -> Option<Stss> {
    let all = segments
        .iter()
        .all(|segment| segment.keyframes.len() == segment.sizes.len());
    let mut before = 1;
    let mut entries = Vec::new();
    for segment in segments {
        entries.extend(segment.keyframes.iter().map(|index| index + before));
        before += narrow(segment.sizes.len() as u64);
    }
    (!all).then_some(Stss { entries })
}

/// Counts and offsets that were checked to fit.
fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// `udta` with tags in iTunes's form, which players and ffprobe show. Names that it does not have are left out.
fn user_data(tags: &[(String, String)]) -> Vec<u8> {
    const UTF8: u32 = 1;
    let mut items = Vec::new();
    for (name, text) in tags {
        let Some(kind) = tags::atom(name) else {
            continue;
        };
        let data: [&[u8]; 3] = [&UTF8.to_be_bytes(), &0_u32.to_be_bytes(), text.as_bytes()];
        items.extend(boxed(kind, &[&boxed(b"data", &data)]));
    }
    let list = boxed(b"ilst", &[&items]);
    let handler = boxed(b"hdlr", &[&[0; 8], b"mdirappl", &[0; 9]]);
    boxed(b"udta", &[&boxed(b"meta", &[&[0; 4], &handler, &list])])
}

fn boxed(kind: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length = 8 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(narrow(length as u64).to_be_bytes());
    bytes.extend(kind);
    for part in parts {
        bytes.extend_from_slice(part);
    }
    bytes
}

/// Puts `child` at the end of the box that `parent` is.
fn append_child(parent: &mut Vec<u8>, child: &[u8]) {
    parent.extend_from_slice(child);
    let length = narrow(parent.len() as u64);
    parent[..4].copy_from_slice(&length.to_be_bytes());
}

/// Whether two segments can be decoded as one stream; otherwise what differs.
pub(super) fn difference(first: &SegmentTable, other: &SegmentTable) -> Option<&'static str> {
    let size = |table: &SegmentTable| match &table.description.codecs[..] {
        [Codec::Avc1(avc1)] => Some((avc1.visual.width, avc1.visual.height)),
        [Codec::Hvc1(hvc1)] => Some((hvc1.visual.width, hvc1.visual.height)),
        _ => None,
    };
    if first.timescale != other.timescale {
        Some("timescale")
    } else if size(first) != size(other) {
        Some("picture size")
    } else if first.description != other.description {
        Some("encoder configuration (avcC or hvcC)")
    } else {
        None
    }
}
