//! Videos with sound.

use super::*;

#[tokio::test]
async fn sound_begins_with_the_pictures_and_comes_out_as_it_went_in() {
    for (rate, fps, sample_rate) in [
        ("30", Fps::new(30, 1).unwrap(), 48_000),
        ("30000/1001", Fps::new(30_000, 1_001).unwrap(), 44_100),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let how = Encode { fps: rate, ..USUAL };
        let (sound, expected) = tone(&folder, 95.0 / fps.as_f64(), sample_rate);
        for cuts in [&[0_u32, 95][..], &[0, 1, 40, 95]] {
            let mut shelf = shelf(&folder, &how, cuts);
            let path = folder.path().join("out.mp4");
            shelf.stitch(fps, &path).await.unwrap();
            let silent = frame_digests(&path);
            shelf.sound = Some(Arc::new(sound.clone()));
            let stitched = shelf.stitch(fps, &path).await.unwrap();
            let content = std::fs::read(&path).unwrap();
            assert_eq!(stitched.size_bytes, content.len() as u64);
            assert_eq!(top_level_boxes(&content), ["ftyp", "moov", "mdat"]);
            assert_eq!(
                entries(&path, "stream=codec_type,codec_name,start_time"),
                "h264,video,0.000000\naac,audio,0.000000"
            );
            #[rustfmt::skip]
            let video = run("ffmpeg", &[
                "-v", "error", "-i", path.to_str().unwrap(), "-map", "0:v", "-f", "framemd5", "-",
            ]);
            assert_eq!(
                video.lines().filter(|l| !l.starts_with('#')).count(),
                silent.len()
            );
            assert!(samples(&path) == expected, "{rate}: the sound is the same");
            // Pictures and sound take turns: neither is further ahead of the other than two seconds.
            let packets = entries(&path, "packet=codec_type,pts_time,pos");
            // Packets with side data leave lines of it behind.
            let mut packets: Vec<(u64, String, f64)> = packets
                .lines()
                .filter_map(|line| {
                    let mut fields = line.split(',');
                    let kind = fields.next()?.to_owned();
                    let time = fields.next()?.parse().ok()?;
                    Some((fields.next()?.parse().ok()?, kind, time))
                })
                .collect();
            assert!(packets.len() > 95 + 95);
            packets.sort_by_key(|(at, _, _)| *at);
            let mut latest = [0.0, 0.0];
            for (_, kind, time) in packets {
                latest[usize::from(kind == "audio")] = time;
                assert!((latest[0] - latest[1]).abs() < 2.0, "{latest:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_sound_that_is_none_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut shelf = shelf(&folder, &USUAL, &[0, 5]);
    let path = folder.path().join("out.mp4");
    let video = encode(&folder, &USUAL, 0, 5);
    let (sound, _) = tone(&folder, 0.2, 48_000);
    let cut = sound[..sound.len() - 1].to_vec();
    for (content, problem) in [
        (video, "sound is not AAC"),
        (cut, "cut off"),
        (Vec::new(), "no `moov`"),
    ] {
        shelf.sound = Some(Arc::new(content));
        let error = shelf
            .stitch(Fps::new(30, 1).unwrap(), &path)
            .await
            .unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains("`sound`") && error.contains(problem),
            "{error}"
        );
    }
}
