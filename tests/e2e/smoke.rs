//! The smoke render with the real worker, browser and encoder; and with ones that do not do what they should.

use std::os::unix::fs::PermissionsExt as _;

use crate::farm::Farm;
use crate::peer;

fn declare(farm: &Farm, function: &str) {
    let path = farm.path("remotion.toml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (_, sites) = config.split_once("[[site]]").unwrap();
    let config = format!("project = \"farm\"\n[function]\n{function}\n[[site]]{sites}");
    std::fs::write(path, config).unwrap();
}

#[test]
fn a_worker_that_can_render_passes_and_one_that_cannot_does_not_go_live() {
    let farm = Farm::of(&peer::hello());
    let apply = ["apply", "--auto-approve"];
    declare(&farm, "smoke = true\nmemory_mb = 3008");
    farm.rmx(&apply);
    // More than one browser shares the frames of the smoke render.
    declare(&farm, "smoke = true\nmemory_mb = 4096");
    farm.rmx(&apply);

    declare(
        &farm,
        "smoke = true\nenvironment = { RMX_CHROMIUM = \"/bin/false\" }",
    );
    let (code, said) = farm.refused(&apply);
    assert_eq!(code, 15, "{said}");
    assert!(said.contains("`live` still points to version 3"), "{said}");

    // An encoder whose pictures are the wrong way round, and nothing complains.
    let ffmpeg = farm.path("ffmpeg");
    let script = "#!/bin/sh\n\
        case \"$*\" in *libx264*)\n\
            left=$#\n\
            for one; do\n\
                shift\n\
                [ $left = 1 ] && set -- \"$@\" -vf negate\n\
                set -- \"$@\" \"$one\"\n\
                left=$((left - 1))\n\
            done;;\n\
        esac\n\
        exec ffmpeg \"$@\"\n";
    std::fs::write(&ffmpeg, script).unwrap();
    std::fs::set_permissions(&ffmpeg, std::fs::Permissions::from_mode(0o755)).unwrap();
    declare(
        &farm,
        &format!("smoke = true\nenvironment = {{ RMX_FFMPEG = {ffmpeg:?} }}"),
    );
    let (code, said) = farm.refused(&apply);
    assert_eq!(code, 15, "{said}");
    assert!(
        said.contains("frame 0 of the video shows something else"),
        "{said}"
    );
}
