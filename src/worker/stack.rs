//! Stacks of a page, mapped back to the sources its author wrote.

use std::collections::BTreeMap;

use sourcemap::{DecodedMap, decode_slice};

/// Lines of a stack that are shown.
const LINES_MAX: usize = 30;

/// A place in a script, as a stack names it: `http://…/bundle.js:12:345`, both numbers from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place<'a> {
    pub(super) url: &'a str,
    pub(super) line: u32,
    pub(super) column: u32,
    /// The part of the stack's line that is the place.
    text: &'a str,
}

/// The place in a line of a stack, if it has one.
pub(super) fn place(line: &str) -> Option<Place<'_>> {
    let start = line.find("http://").or_else(|| line.find("https://"))?;
    let text = line[start..].trim_end_matches([')', ' ']);
    let (rest, column) = text.rsplit_once(':')?;
    let (url, row) = rest.rsplit_once(':')?;
    Some(Place {
        url,
        line: row.parse().ok()?,
        column: column.parse().ok()?,
        text,
    })
}

/// The scripts a stack names.
pub(super) fn scripts(stack: &str) -> Vec<String> {
    let mut urls: Vec<String> = stack
        .lines()
        .take(LINES_MAX)
        .filter_map(place)
        .map(|place| place.url.to_owned())
        .collect();
    urls.sort();
    urls.dedup();
    urls
}

/// Reads a source map; `None` if it is none.
pub(super) fn parse(bytes: &[u8]) -> Option<DecodedMap> {
    decode_slice(bytes).ok()
}

/// The name of our own scripts in the page; lines of a stack that name it are left out.
pub(super) const OWN_SCRIPT: &str = "rmx-driver.js";

/// The stack with every place mapped for which there is a map, `http://127.0.0.1:…/` left out of the others.
pub(super) fn mapped(stack: &str, maps: &BTreeMap<String, DecodedMap>) -> String {
    let line_of = |line: &str| -> String {
        let Some(place) = place(line) else {
            return line.to_owned();
        };
        let Some(map) = maps.get(place.url) else {
            return line.to_owned();
        };
        let token = map.lookup_token(place.line.saturating_sub(1), place.column.saturating_sub(1));
        let Some(token) = token else {
            return line.to_owned();
        };
        let Some(source) = token.get_source() else {
            return line.to_owned();
        };
        let source = source
            .trim_start_matches("webpack://")
            .trim_start_matches('/');
        let original = format!(
            "{source}:{}:{}",
            token.get_src_line().saturating_add(1),
            token.get_src_col().saturating_add(1)
        );
        line.replace(place.text, &original)
    };
    stack
        .lines()
        .filter(|line| !line.contains(OWN_SCRIPT))
        .take(LINES_MAX)
        .map(line_of)
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// A stack, and the source map of a script that it names.
    pub(crate) fn stacks(mut case: crate::fuzzing::Case<'_>) {
        let stack = case.text();
        let urls = scripts(&stack);
        assert!(urls.iter().all(|url| stack.contains(url)), "{urls:?}");
        let lines = mapped(&stack, &BTreeMap::new());
        assert!(lines.lines().count() <= LINES_MAX, "{lines}");
        if let Some(map) = parse(case.0) {
            mapped(&stack, &urls.into_iter().take(1).zip([map]).collect());
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_a_site_has_for_a_map_a_stack_is_told(
            damaged in prop::collection::vec(any::<u8>(), 0..60),
            mappings in "[A-Za-z0-9+/;,]{0,60}",
            sections in any::<bool>(),
            line in any::<u32>(),
            column in 0_u32..40,
        ) {
            let map = format!(r#"{{"version":3,"sources":["a.ts",null],"names":["n"],"mappings":"{mappings}"}}"#);
            let map = match sections {
                true => format!(r#"{{"version":3,"sections":[{{"offset":{{"line":{line},"column":4294967295}},"map":{map}}}]}}"#),
                false => map,
            };
            let cut = map.len().min(damaged.len() * 8);
            let damaged = [&map.as_bytes()[..cut], &damaged, &map.as_bytes()[cut..]].concat();
            let url = "http://localhost/a.js".to_owned();
            let stack = format!("Error: broken\n    at f ({url}:1:{column})\n    at g ({url}:{line}:1)");
            for map in [map.into_bytes(), damaged].iter().filter_map(|bytes| parse(bytes)) {
                let told = mapped(&stack, &BTreeMap::from([(url.clone(), map)]));
                prop_assert!(told.starts_with("Error: broken\n    at f ("), "{}", told);
            }
        }

        #[test]
        fn whatever_a_page_throws_its_places_are_looked_for(stack in "(\\PC|http://|https://|:[0-9]{0,11}|\n){0,40}") {
            let _ = scripts(&stack);
            prop_assert!(mapped(&stack, &BTreeMap::new()).lines().count() <= LINES_MAX);
        }
    }

    #[test]
    fn places_are_found_and_mapped() {
        let line = "    at draw (http://127.0.0.1:3000/bundle.js:1:7)";
        let found = place(line).unwrap();
        assert_eq!(
            (found.url, found.line, found.column),
            ("http://127.0.0.1:3000/bundle.js", 1, 7)
        );
        assert_eq!(place("Error: broken"), None);
        // One mapping: generated 1:7 comes from line 1, column 1 of src/Scene.tsx.
        let map = br#"{"version":3,"sources":["webpack://site/./src/Scene.tsx"],"names":[],"mappings":"MAAA"}"#;
        let maps = BTreeMap::from([(found.url.to_owned(), parse(map).unwrap())]);
        let ours = format!("    at set ({OWN_SCRIPT}:3:4)");
        let stack = format!("Error: broken\n{line}\n{ours}\n    at native");
        assert_eq!(
            mapped(&stack, &maps),
            "Error: broken\n    at draw (site/./src/Scene.tsx:1:1)\n    at native"
        );
        assert_eq!(scripts(&stack), [found.url]);
    }
}
