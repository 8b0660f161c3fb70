//! Sound: beside Remotion's own renderer, and across cuts.

use std::path::Path;
use std::process::Command;

use crate::farm::Farm;
use crate::peer;

/// The decoded sound of a file, from 0 of its timeline on: two channels, interleaved, as rates of full scale.
fn samples(video: &Path, sample_rate: u32) -> Vec<f32> {
    let output = peer::run(
        Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(video)
            .args(["-map", "0:a", "-af", "aresample=async=1:first_pts=0"])
            .args([
                "-ac",
                "2",
                "-ar",
                &sample_rate.to_string(),
                "-f",
                "f32le",
                "-",
            ]),
    );
    let bytes = output.stdout.chunks_exact(4);
    bytes
        .map(|b| f32::from_le_bytes(b.try_into().unwrap()))
        .collect()
}

/// The power of samples in dB of full scale.
fn power(samples: impl Iterator<Item = f32>) -> f64 {
    let (mut sum, mut count) = (0.0, 0_u32);
    for sample in samples {
        sum += f64::from(sample) * f64::from(sample);
        count += 1;
    }
    10.0 * (sum / f64::from(count.max(1))).max(1e-20).log10()
}

/// How much louder `a` is than what is left of it when `b`, moved by `lag` samples, is taken away. In dB.
fn likeness(a: &[f32], b: &[f32], lag: usize) -> f64 {
    let b = &b[2 * lag..];
    let length = a.len().min(b.len());
    power(a[..length].iter().copied()) - power(a[..length].iter().zip(b).map(|(a, b)| a - b))
}

/// How much louder the official sound of a composition is than what differs from it in ours, in dB. Both begin at the
/// same sample.
fn likeness_to_the_official_sound(farm: &Farm, site: &Path, composition: &str) -> f64 {
    // PCM, because Remotion's AAC in MP4 comes 2048 samples late: nothing there says what its encoder puts in front.
    let theirs = farm.path("theirs.mkv");
    peer::official_render(site, composition, &theirs, &["--audio-codec=pcm-16"]);
    farm.rmx(&["render", composition, "ours.mp4"]);
    let ours = farm.path("ours.mp4");

    let probe = peer::probe(&ours);
    let streams = probe["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 2);
    assert_eq!(streams[1]["codec_name"], "aac");
    assert_eq!(streams[1]["start_pts"], 0);
    assert_eq!(streams[1]["duration_ts"], 2 * 48_000);
    assert!(peer::is_faststart(&ours), "moov lies before mdat");

    let (theirs, ours) = (samples(&theirs, 48_000), samples(&ours, 48_000));
    let loud = power(theirs.iter().copied());
    assert!(loud > -30.0, "there is something to be heard: {loud} dB");
    let alike = likeness(&theirs, &ours, 0);
    for lag in [1, 2, 1_024, 2_048] {
        let moved = likeness(&theirs, &ours, lag).max(likeness(&ours, &theirs, lag));
        assert!(moved < alike, "by {lag} samples it fits better: {moved} dB");
    }
    alike
}

#[test]
fn sound_is_that_of_the_official_renderer() {
    let site = peer::slides();
    let farm = Farm::of(&site);
    // There, volumes change at the buffers of ffmpeg's filter, and sound of another tone goes on past its end.
    let alike = likeness_to_the_official_sound(&farm, &site, "Sound");
    assert!(alike > 20.0, "Sound: {alike} dB");
    let alike = likeness_to_the_official_sound(&farm, &site, "Media");
    assert!(alike > 40.0, "Media: {alike} dB");
    let alike = likeness_to_the_official_sound(&farm, &site, "Offthread");
    assert!(alike > 40.0, "Offthread: {alike} dB");
    if peer::is_full() {
        let alike = likeness_to_the_official_sound(&farm, &site, "Html5");
        assert!(alike > 40.0, "Html5: {alike} dB");
    }
}

#[test]
fn of_a_file_with_two_sounds_the_one_is_heard_that_was_asked_for() {
    let site = crate::failures::nasty();
    peer::run(
        Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", "sine=440:duration=2"])
            .args(["-f", "lavfi", "-i", "sine=880:duration=2"])
            .args(["-map", "0:a", "-map", "1:a", "-c:a", "pcm_s16le"])
            .arg(site.path().join("two.mkv")),
    );
    let farm = Farm::of(site.path());
    let theirs = farm.path("theirs.mkv");
    let pcm = ["--audio-codec=pcm-16"];
    peer::official_render(site.path(), "HearsSecond", &theirs, &pcm);
    farm.rmx(&["render", "HearsSecond", "ours.mkv", "--frames-per-lambda=7"]);
    let [theirs, ours] = [theirs, farm.path("ours.mkv")].map(|file| samples(&file, 48_000));
    assert!(power(theirs.iter().copied()) > -40.0, "there is a sound");
    let alike = likeness(&theirs, &ours, 0);
    assert!(alike > 40.0, "{alike} dB");
    farm.assert_quiet();
}

/// By how many samples two sounds are apart, at most 2400, and how alike they are then. Looked for in a tenth of a second.
fn best_lag(a: &[f32], b: &[f32]) -> (usize, f64) {
    let part = |samples: &[f32]| samples[48_000..48_000 + 2 * (4_800 + 2_400)].to_vec();
    let (a_part, b_part) = (part(a), part(b));
    let window = 2 * 4_800;
    let at = |lag: usize| {
        let later = likeness(&a_part[..window], &b_part, lag);
        later.max(likeness(&b_part[..window], &a_part, lag))
    };
    let lag = (0..=2_400)
        .map(|lag| (lag, at(lag)))
        .max_by(|x, y| x.1.total_cmp(&y.1))
        .unwrap()
        .0;
    (lag, likeness(a, b, lag).max(likeness(b, a, lag)))
}

/// What ffprobe says of a file's sound.
fn heard(file: &Path) -> (String, String, String) {
    let output = peer::run(
        Command::new("ffprobe")
            .args(["-v", "error", "-select_streams", "a", "-of", "csv=p=0"])
            .args(["-show_entries", "stream=codec_name,sample_rate,channels"])
            .arg(file),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.trim().split(',').map(str::to_owned);
    let mut next = || words.next().unwrap();
    (next(), next(), next())
}

#[test]
fn sound_of_every_codec_is_that_of_the_official_renderer() {
    let site = peer::slides();
    let farm = Farm::of(&site);
    // Encoders that lose something are compared at what they keep. At the same sample, but for those of which a file
    // does not say what they put in front.
    let fast: &[(&str, &[&str], f64)] = &[
        ("sound.wav", &[], 40.0),
        ("sound.mp3", &[], 15.0),
        ("sound.webm", &["--audio-bitrate=256K"], 15.0),
    ];
    let full: &[(&str, &[&str], f64)] = &[
        ("sound.aac", &[], 15.0),
        ("pcm.wav", &["--codec=mp3", "--audio-codec=pcm-16"], 40.0),
        ("mp3.mp4", &["--audio-codec=mp3"], 15.0),
        ("pcm.mov", &["--codec=h264", "--audio-codec=pcm-16"], 40.0),
        ("pcm.mkv", &[], 40.0),
        ("aac.mov", &["--audio-codec=aac"], 15.0),
        ("aac.mkv", &["--codec=h264", "--audio-codec=aac"], 15.0),
        ("opus.webm", &["--codec=vp9", "--sample-rate=44100"], 15.0),
    ];
    let full = full.iter().filter(|_| peer::is_full());
    for (file, options, likeness_min) in fast.iter().chain(full) {
        let theirs = farm.path(&format!("theirs-{file}"));
        peer::official_render(&site, "Media", &theirs, options);
        let cut = ["render", "Media", file, "--frames-per-lambda=25"];
        farm.rmx(&[&cut[..], options].concat());
        let ours = farm.path(file);
        assert_eq!(heard(&ours), heard(&theirs), "{file}");
        let (theirs, ours) = (samples(&theirs, 48_000), samples(&ours, 48_000));
        assert!(power(theirs.iter().copied()) > -30.0, "{file} is heard");
        let (lag, alike) = best_lag(&theirs, &ours);
        eprintln!("{file}: {alike:.1} dB alike, {lag} samples apart");
        assert!(alike > *likeness_min, "{file}: {alike} dB at {lag}");
        if file.ends_with(".wav") || file.starts_with("pcm") {
            assert_eq!(lag, 0, "{file} begins at the same sample");
        }
    }
    if peer::is_full() {
        // Matroska does not say what the encoder puts in front of the sound: it is left out.
        let [exact, ours] = ["pcm.mkv", "aac.mkv"].map(|file| samples(&farm.path(file), 48_000));
        assert_eq!(best_lag(&exact, &ours).0, 0);
    }
    farm.assert_quiet();
}

#[test]
fn cuts_cannot_be_heard() {
    /// Samples that a player plays: what follows in the last packet is not meant to be heard.
    fn duration(video: &Path) -> f64 {
        peer::probe(video)["streams"][1]["duration_ts"]
            .as_f64()
            .unwrap()
    }
    let farm = Farm::of(&peer::slides());
    let every: &[(&str, u32)] = &[("29.97", 44_100), ("30", 48_000)];
    let full: &[(&str, u32)] = &[
        ("24", 44_100),
        ("24", 48_000),
        ("25", 44_100),
        ("25", 48_000),
        ("29.97", 44_100),
        ("29.97", 48_000),
        ("30", 44_100),
        ("30", 48_000),
        ("60", 44_100),
        ("60", 48_000),
    ];
    for (fps, sample_rate) in if peer::is_full() { full } else { every } {
        let (rate, hertz) = (
            format!("--fps={fps}"),
            format!("--sample-rate={sample_rate}"),
        );
        let render = |out: &str, frames_per_lambda: &str| {
            let chunk = format!("--frames-per-lambda={frames_per_lambda}");
            farm.rmx(&[
                "render",
                "Sound",
                out,
                "--duration=65",
                &chunk,
                &rate,
                &hertz,
            ]);
            samples(&farm.path(out), *sample_rate)
        };
        let (one, thirteen) = (render("one.mp4", "65"), render("thirteen.mp4", "5"));
        assert_eq!(one.len(), thirteen.len());
        let fps: f64 = fps.parse().unwrap();
        let fps = if fps.fract() > 0.0 {
            30_000.0 / 1_001.0
        } else {
            fps
        };
        let expected = 65.0 / fps * f64::from(*sample_rate);
        for video in ["one.mp4", "thirteen.mp4"] {
            let drift = (duration(&farm.path(video)) - expected).abs();
            assert!(
                drift <= 1.0,
                "{fps}, {sample_rate}: {drift} samples too many or too few"
            );
        }
        assert!(
            power(one.iter().copied()) > -40.0,
            "there is something to be heard"
        );
        // Whatever lies in a hundredth of a second, at a seam or elsewhere.
        let differences: Vec<f32> = one.iter().zip(&thirteen).map(|(a, b)| a - b).collect();
        let parts = differences.chunks(2 * *sample_rate as usize / 100);
        let worst = parts.map(|part| power(part.iter().copied()));
        let worst = worst.fold(f64::NEG_INFINITY, f64::max);
        assert!(
            worst <= -90.0,
            "{fps}, {sample_rate}: what differs has {worst} dB"
        );
    }
}

#[test]
fn what_cannot_be_heard_is_told_with_its_file_and_time() {
    let site = crate::failures::nasty();
    std::fs::write(site.path().join("broken.mp3"), [0x55; 5_000]).unwrap();
    let farm = Farm::of(site.path());
    for (composition, expected) in [
        ("HearsNothing", &["missing.mp3", "no such file"][..]),
        ("HearsNoise", &["broken.mp3", "0.50 s", "cannot be decoded"]),
        (
            "HearsNoNumber",
            &["Frame 15", "has NaN as its playbackRate"],
        ),
    ] {
        let (code, said) = farm.refused(&["render", composition, "out.mp4"]);
        for part in expected {
            assert!(said.contains(part), "{composition}: no {part:?} in\n{said}");
        }
        assert_eq!(code, 1);
        farm.rmx(&["render", composition, "muted.mp4", "--muted"]);
        let streams = peer::probe(&farm.path("muted.mp4"));
        assert_eq!(streams["streams"].as_array().unwrap().len(), 1);
    }
    farm.rmx(&["render", "Plain", "plain.mp4"]);
    farm.rmx(&["render", "Plain", "silent.mp4", "--enforce-audio-track"]);
    let tracks = |name| {
        peer::probe(&farm.path(name))["streams"]
            .as_array()
            .unwrap()
            .len()
    };
    assert_eq!((tracks("plain.mp4"), tracks("silent.mp4")), (1, 2));
    assert!(power(samples(&farm.path("silent.mp4"), 48_000).into_iter()) < -100.0);
    farm.assert_quiet();
}
