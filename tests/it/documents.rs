//! Documents that are made from the code are as the code makes them.

use std::path::Path;

/// Compares `docs/NAME` with what it should be; with `RMX_UPDATE_DOCS=1` it is rewritten instead.
fn check(name: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("docs")
        .join(name);
    let surroundings = rmx::env::Env::read().unwrap();
    if surroundings.variable("RMX_UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    let first = found
        .lines()
        .zip(expected.lines())
        .find(|(one, other)| one != other);
    assert!(
        found == expected,
        "docs/{name} is not current (first difference: {first:?}); \
         `RMX_UPDATE_DOCS=1 cargo test --test it documents` rewrites it"
    );
}

#[test]
fn the_configuration_is_documented() {
    check("configuration.md", &rmx::config::reference());
}

#[test]
fn the_command_line_is_documented() {
    check("cli-reference.md", &rmx::cli::reference());
}
