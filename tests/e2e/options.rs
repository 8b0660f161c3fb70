//! What the user says about page and browser, as pages find it.

use crate::clients::Serve;
use crate::failures::{capture, nasty, numbers};
use crate::farm::Farm;
use crate::peer;

#[test]
fn a_page_finds_the_browser_and_the_variables_that_were_asked_for() {
    let site = nasty();
    let farm = Farm::of(site.path());
    std::fs::write(farm.path("variables"), "NAME=of the file\n").unwrap();
    let mut command = farm.command(&[
        "render",
        "Tells",
        "told.mp4",
        "--user-agent=A Browser (of mine)",
        "--dark-mode",
        "--env-file=variables",
    ]);
    let output = peer::run(command.env("REMOTION_NAME", "of the shell"));
    let said = String::from_utf8_lossy(&output.stderr);
    let told = "told: A Browser (of mine) / true / of the file / of the shell";
    assert!(said.contains(told), "{said}");

    let plain = farm.rmx(&["render", "Tells", "told.mp4"]);
    let said = String::from_utf8_lossy(&plain.stderr);
    assert!(said.contains("/ false / undefined / undefined"), "{said}");
    farm.assert_quiet();
}

#[test]
fn a_frame_whose_delay_may_be_tried_again_is_drawn_again() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let output = farm.rmx(&["render", "Holds", "holds.mp4"]);
    assert_eq!(numbers(&farm.path("holds.mp4")), Vec::from_iter(0..10));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("frame 5 is drawn again"), "{said}");

    // What the page that was given up has drawn counts, if it can be proven.
    // On workers that go on: what one page does says nothing of another one's.
    let serve = Serve::start(&farm);
    for (composition, expected) in [
        ("Holds", "framebuffer"),
        ("HoldsBare", "screenshot"),
        ("Holds", "framebuffer"),
    ] {
        let report = farm.rmx(&["render", composition, "out.mp4", "--json"]);
        let (method, reason) = capture(&report);
        assert_eq!(method, expected, "{composition}: {reason}");
        assert_eq!(reason.is_null(), expected == "framebuffer", "{reason}");
        assert_eq!(numbers(&farm.path("out.mp4")), Vec::from_iter(0..10));
        std::fs::remove_file(farm.path("out.mp4")).unwrap();
    }
    drop(serve);

    let (code, said) = farm.refused(&["render", "HoldsOn", "out.mp4"]);
    assert_eq!(code, 1);
    for part in ["Frame 5", "a slow answer", "300ms"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    farm.assert_quiet();
}
