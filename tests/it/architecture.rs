//! The rules of the code base that a compiler does not check: who may import whom, where files live, how long
//! they may grow. `docs/ARCHITECTURE.md` explains the table.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Room → rooms it may import. `words` stands for `names`, `media`, `digest` and `env`.
const TABLE: &[(&str, &[&str])] = &[
    ("words", &["words"]),
    ("config", &["words"]),
    ("resource", &["words"]),
    ("bundle", &["words"]),
    ("protocol", &["words"]),
    ("wire", &["words"]),
    ("state", &["words", "resource"]),
    ("cloud", &["words", "resource"]),
    (
        "plan",
        &["words", "config", "resource", "bundle", "protocol", "state"],
    ),
    (
        "apply",
        &["words", "plan", "state", "cloud", "bundle", "resource"],
    ),
    ("render", &["words", "protocol", "cloud"]),
    (
        "worker",
        &["words", "resource", "protocol", "wire", "cloud", "render"],
    ),
    ("local", &["words"]),
    (
        "cli",
        &[
            "words", "config", "resource", "bundle", "protocol", "state", "cloud", "plan", "apply",
            "render", "local", "wire",
        ],
    ),
];

/// Files that may import a room which the rest of their own room may not.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("src/plan/observe.rs", "cloud"),
    ("src/plan/lost.rs", "cloud"),
    ("src/state/s3.rs", "cloud"),
    ("src/state/error.rs", "cloud"),
    ("src/plan/in_use.rs", "cloud"),
];

/// Files over the budget of 500 lines must be able to say why.
const LONG_FILES: &[(&str, &str)] = &[
    (
        "src/config/keys.rs",
        "one table of every key: whoever looks for one looks in one place",
    ),
    (
        "src/render/stitch/tests.rs",
        "the cases of one function, each read alone",
    ),
];

fn room_of(path: &Path) -> Option<String> {
    let below = path.strip_prefix("src").ok()?;
    let first = below.components().next()?.as_os_str().to_str()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    match name {
        "names" | "media" | "digest" | "env" => Some("words".to_owned()),
        "lib" | "main" | "bin" | "fuzzing" => None,
        room => Some(room.to_owned()),
    }
}

fn sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root).unwrap().to_owned(), text));
            }
        }
    }
    assert!(
        found.len() > 20,
        "the sources are where this test looks for them"
    );
    found
}

/// Every room named behind `crate::` in code, grouped imports (`use crate::{a, b::{c, d}}`) included.
fn imported(text: &str) -> Vec<(usize, String)> {
    let code: String = text
        .lines()
        .map(|line| {
            if line.trim_start().starts_with("//") {
                ""
            } else {
                line
            }
        })
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut rooms = Vec::new();
    for (position, _) in code.match_indices("crate::") {
        let line = code[..position].matches('\n').count() + 1;
        let rest = &code[position + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            rooms.push((line, first_word(rest)));
            continue;
        };
        let mut depth = 0;
        let mut start = 0;
        for (index, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    rooms.push((line, first_word(&group[start..index])));
                    start = index + 1;
                    if character == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    rooms.retain(|(_, word)| !word.is_empty()); // behind a trailing comma
    rooms
}

fn first_word(text: &str) -> String {
    text.trim_start()
        .chars()
        .take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
        .collect()
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let table: BTreeMap<&str, &[&str]> = TABLE.iter().copied().collect();
    let mut broken = Vec::new();
    for (path, text) in sources() {
        let Some(room) = room_of(&path) else { continue };
        let Some(allowed) = table.get(room.as_str()) else {
            broken.push(format!(
                "{}: room `{room}` is not in the table",
                path.display()
            ));
            continue;
        };
        for (line, word) in imported(&text) {
            let Some(target) = room_of(Path::new(&format!("src/{word}"))) else {
                continue;
            };
            let known = table.contains_key(target.as_str());
            let excepted = EXCEPTIONS.contains(&(path.to_str().unwrap(), target.as_str()));
            if known && target != room && !allowed.contains(&target.as_str()) && !excepted {
                broken.push(format!(
                    "{}:{line}: `{room}` may not import `{target}`",
                    path.display()
                ));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "see docs/ARCHITECTURE.md, \"Who may import whom\":\n{}",
        broken.join("\n")
    );
}

#[test]
fn only_the_cloud_room_names_the_sdk_and_only_local_names_the_s3_server() {
    for (path, text) in sources() {
        let room = room_of(&path).unwrap_or_default();
        for (needle, home) in [
            ("aws_sdk_", "cloud"),
            ("aws_config", "cloud"),
            ("s3s::", "local"),
        ] {
            let used = text
                .lines()
                .any(|line| !line.trim_start().starts_with("//") && line.contains(needle));
            assert!(
                !used || room == home,
                "{}: `{needle}` belongs in src/{home}/",
                path.display()
            );
        }
    }
}

#[test]
fn files_stay_short_enough_to_read() {
    for (path, text) in sources() {
        let lines = text.lines().count();
        let excused = LONG_FILES.iter().any(|(file, _)| Path::new(file) == path);
        assert!(
            lines <= 500 || excused,
            "{} has {lines} lines; split it",
            path.display()
        );
        assert!(
            text.starts_with("//!"),
            "{} opens with why it exists (`//!`)",
            path.display()
        );
    }
}

#[test]
fn the_two_binaries_are_thin() {
    for path in ["src/main.rs", "src/bin/rmx-worker.rs"] {
        let text =
            std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap();
        assert!(text.lines().count() <= 30, "{path} is at most 30 lines");
    }
}

#[test]
fn the_import_reader_sees_every_form() {
    let text = "use crate::plan::make;\nuse crate::{\n    state::{File, Store},\n    cloud,\n};\n// crate::cli\nfn f() { crate::apply::go() }\n";
    let rooms: Vec<String> = imported(text).into_iter().map(|(_, room)| room).collect();
    assert_eq!(rooms, ["plan", "state", "cloud", "apply"]);
}
