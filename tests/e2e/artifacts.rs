//! Files that pages emit beside their pictures.

use crate::failures::nasty;
use crate::farm::Farm;
use crate::peer;

#[test]
fn what_a_page_emits_comes_with_the_video() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let render = [
        "render",
        "Emits",
        "out.mp4",
        "--frames-per-lambda=15",
        "--json",
    ];
    let output = farm.rmx(&render);
    let read = |name: &str| std::fs::read(farm.path(name)).unwrap();
    assert_eq!(read("out/Emits/words.txt"), b"frame three");
    assert_eq!(read("out/Emits/sub/bytes.bin"), "caf\u{e9}".as_bytes());
    assert_eq!(
        peer::size(&farm.path("out/Emits/thumbnail.jpeg")),
        (320, 180)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let report: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    let artifacts = report["artifacts"].as_array().unwrap();
    let emitted: Vec<_> = artifacts
        .iter()
        .map(|artifact| {
            (
                artifact["name"].as_str().unwrap(),
                artifact["frame"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        emitted,
        [
            ("sub/bytes.bin", 20),
            ("thumbnail.jpeg", 21),
            ("words.txt", 3)
        ]
    );

    // The frame's own picture, read from the framebuffer or taken as a screenshot.
    farm.rmx(&[
        "still",
        "Emits",
        "still.jpeg",
        "--frame=21",
        "--artifacts-folder=kept",
    ]);
    let image = |name: &str| farm.path(name).to_str().unwrap().to_owned();
    assert_eq!(read("kept/thumbnail.jpeg"), read("still.jpeg"));
    let psnr = peer::psnr(
        &["-i", &image("still.jpeg")],
        &["-i", &image("out/Emits/thumbnail.jpeg")],
    );
    assert!(psnr >= 35.0, "{psnr} dB");
    farm.assert_quiet();
}

#[test]
fn artifacts_that_cannot_be_kept_are_named() {
    let site = nasty();
    let farm = Farm::of(site.path());
    for (composition, chunk, expected) in [
        (
            "EmitsTwice",
            "15",
            &["words.txt", "frame 4", "frame 24"][..],
        ),
        ("EmitsTwice", "30", &["words.txt", "frame 4", "frame 24"]),
        ("EmitsOutside", "15", &["Frame 4", "../../words.txt"]),
    ] {
        let chunk = format!("--frames-per-lambda={chunk}");
        let (code, said) = farm.refused(&["render", composition, "out.mp4", &chunk]);
        assert_eq!(code, 1, "{said}");
        for part in expected {
            assert!(said.contains(part), "{composition}: no {part:?} in\n{said}");
        }
        assert!(!farm.path("out.mp4").exists());
        assert!(!farm.path("words.txt").exists());
    }
    farm.assert_quiet();
}
