//! `docs/SEMANTICS.md` promises nothing that no test holds.

use std::collections::BTreeSet;
use std::path::Path;

/// A promise: the section and number it has, and the tests behind it.
#[derive(Debug)]
struct Promise {
    place: String,
    number: usize,
    tests: Vec<String>,
}

fn promises(text: &str) -> Vec<Promise> {
    let mut section = "";
    let mut found: Vec<(String, usize, String)> = Vec::new();
    for line in text.lines() {
        let number = line.split_once(". ").and_then(|(number, rest)| {
            let number = number.parse::<usize>().ok()?;
            Some((number, rest))
        });
        if let Some(title) = line.strip_prefix("## ") {
            section = title;
        } else if let Some((number, rest)) = number {
            found.push((format!("{section} {number}"), number, rest.to_owned()));
        } else if line.starts_with("   ")
            && let Some((_, _, sentence)) = found.last_mut()
        {
            sentence.push(' ');
            sentence.push_str(line.trim());
        }
    }
    let promises = found.into_iter().map(|(place, number, sentence)| {
        let (_, behind) = sentence.rsplit_once('→').unwrap_or_default();
        let tests = behind.split('`').skip(1).step_by(2);
        Promise {
            place,
            number,
            tests: tests.map(str::to_owned).collect(),
        }
    });
    promises.collect()
}

/// Every function behind a `#[test]` or `#[tokio::test]`.
fn tests() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src"), root.join("tests")];
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut is_test = false;
                for line in text.lines().map(str::trim) {
                    let name = line.strip_prefix("async ").unwrap_or(line);
                    if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                        is_test = true;
                    } else if let (true, Some(name)) = (is_test, name.strip_prefix("fn ")) {
                        let name = name.split('(').next().unwrap_or_default();
                        names.insert(name.to_owned());
                        is_test = false;
                    }
                }
            }
        }
    }
    names
}

#[test]
fn every_promise_has_a_test_that_is_there() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/SEMANTICS.md");
    let text = std::fs::read_to_string(path).unwrap();
    let (promises, tests) = (promises(&text), tests());
    assert!(promises.len() > 40, "{} promises", promises.len());
    assert!(tests.len() > 100, "{} tests", tests.len());
    let mut expected = 1;
    for promise in &promises {
        if promise.number == 1 {
            expected = 1;
        }
        assert_eq!(promise.number, expected, "{}", promise.place);
        expected += 1;
        assert!(!promise.tests.is_empty(), "{} has no test", promise.place);
        for test in &promise.tests {
            assert!(tests.contains(test), "{}: no test {test}", promise.place);
        }
    }
}

#[test]
fn a_promise_without_a_test_would_be_seen() {
    let text = "## A\n\n1. One. → `a`,\n   `b`\n2. Two.\n";
    let found = promises(text);
    assert_eq!(found[0].tests, ["a", "b"]);
    assert_eq!((found[1].place.as_str(), found[1].tests.len()), ("A 2", 0));
    assert!(!tests().contains("promises"), "it is no test");
}
