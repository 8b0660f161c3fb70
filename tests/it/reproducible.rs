//! The same files give the same artefacts, wherever they lie and whoever packs them: one zip, one digest, and it is the one
//! that Lambda tells.

use std::fs::{File, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use rmx::digest::Digest;
use serde_json::Value;

use crate::recovery::behind_its_back;
use crate::support::TestProject;

const CONFIG: &str = r#"
project = "same"
[function]
package = "function"
[[site]]
name = "page"
folder = "page"
"#;

/// Names whose order depends on the locale, the case, or the file system.
const FILES: [(&str, &str, bool); 12] = [
    ("function/bootstrap", "#!/bin/sh\nexit 1\n", true),
    ("function/lib/a.so", "a", false),
    ("function/lib/B.so", "b", true),
    ("function/Lib/a.so", "another", false),
    ("function/lib-a", "-", false),
    ("function/\u{e9}t\u{e9}.txt", "summer", false),
    ("function/z/z/z", "deep", true),
    ("page/index.html", "<p>1</p>", false),
    ("page/a.js", "1", true),
    ("page/A.js", "2", false),
    ("page/i\u{131}.js", "3", false),
    ("page/a/b.js", "4", false),
];

/// Surroundings.
struct Place {
    umask: &'static str,
    locale: &'static str,
    time_zone: &'static str,
    /// Seconds since 1970 that files seem to have been written at.
    written_s: u64,
    /// Modes of what can be run and of what cannot, for their owner alone or for everybody.
    modes: (u32, u32),
    home: &'static str,
    /// In which order the files are made.
    step: usize,
}

/// Twenty of them, in each of which everything is another than in the ones beside it.
fn places() -> impl Iterator<Item = Place> {
    (0..20).map(|index: usize| Place {
        umask: ["022", "077", "002", "027", "000"][index % 5],
        locale: ["C", "en_US.UTF-8", "tr_TR.UTF-8", "de_DE.UTF-8", "C.UTF-8"][(index / 2) % 5],
        time_zone: [
            "UTC",
            "Asia/Kolkata",
            "America/New_York",
            "Pacific/Auckland",
        ][index % 4],
        written_s: [1, 315_532_800, 1_700_000_001, 2_524_608_000][(index / 3) % 4],
        modes: [
            (0o755, 0o644),
            (0o700, 0o600),
            (0o555, 0o444),
            (0o775, 0o664),
        ][(index / 4) % 4],
        home: ["home", "another home", "h/o/m/e"][index % 3],
        // Prime to the number of files, so that every file comes once.
        step: [1, 5, 7, 11][index % 4],
    })
}

/// What came of it: the zip's digest as it lies there, as Lambda tells it, as the state has it, and the site's.
#[derive(Debug, PartialEq)]
struct Artefacts {
    zip: Digest,
    lambda: Digest,
    recorded: Value,
    site: Value,
}

fn made_in(place: &Place) -> Artefacts {
    let project = TestProject::new();
    project.write("remotion.toml", CONFIG);
    for index in 0..FILES.len() {
        let (name, text, is_program) = FILES[(index * place.step) % FILES.len()];
        let path = project.write(name, text);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(place.written_s + index as u64);
        let file = File::options().append(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
        let mode = if is_program {
            place.modes.0
        } else {
            place.modes.1
        };
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
    }
    let home = project.path().join(place.home);
    std::fs::create_dir_all(&home).unwrap();
    let mut command = Command::new("/bin/sh");
    let output = command
        .args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", place.umask])
        .args([env!("CARGO_BIN_EXE_rmx"), "apply", "--auto-approve"])
        .current_dir(project.path())
        .env_clear()
        .env("PATH", &rmx::env::Env::read().unwrap().variables["PATH"])
        .env("HOME", &home)
        .env("TMPDIR", &home)
        .env("LC_ALL", place.locale)
        .env("LANG", place.locale)
        .env("TZ", place.time_zone)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");

    let lambda = Mutex::new(None);
    behind_its_back(&project, async |cloud| {
        let function = cloud.function(&"rmx-same".parse().unwrap()).await.unwrap();
        *lambda.lock().unwrap() = function.unwrap().settings.code_sha256;
    });
    let shown = project.rmx(&["show", "--json"]).expect_status(0).stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let resources = shown["values"]["root_module"]["resources"].as_array();
    let value = |address: &str, field: &str| {
        let mut resources = resources.unwrap().iter();
        let resource = resources.find(|resource| resource["address"] == address);
        resource.unwrap()["values"][field].clone()
    };
    Artefacts {
        zip: Digest::of(std::fs::read(zip_in(project.path())).unwrap()),
        lambda: lambda.into_inner().unwrap().unwrap(),
        recorded: value("function.worker", "code_sha256"),
        site: value("site.page", "digest"),
    }
}

fn zip_in(project: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(project.join(".rmx/cache")).unwrap();
    let mut zips = files
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "zip"));
    let zip = zips.next().unwrap();
    assert!(zips.next().is_none(), "one package, one zip");
    zip
}

#[test]
fn twenty_places_make_one_zip_and_lambda_tells_its_digest() {
    let places: Vec<Place> = places().collect();
    let made: Vec<Artefacts> = std::thread::scope(|scope| {
        let halves = places.chunks(places.len() / 2);
        let threads: Vec<_> = halves
            .map(|places| scope.spawn(|| places.iter().map(made_in).collect::<Vec<_>>()))
            .collect();
        let made = threads.into_iter().map(|thread| thread.join().unwrap());
        made.flatten().collect()
    });
    assert_eq!(made.len(), 20);
    for one in &made {
        assert_eq!(*one, made[0]);
    }
    let Artefacts {
        zip,
        lambda,
        recorded,
        ..
    } = &made[0];
    assert_eq!((zip, recorded), (lambda, &Value::from(zip.to_string())));

    // It is not blind: one bit of one file makes another.
    let other = Place {
        modes: (0o755, 0o755),
        ..places.into_iter().next().unwrap()
    };
    assert_ne!(made_in(&other).zip, *zip);
}
