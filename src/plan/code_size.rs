//! What a plan does to the size of the function's code, part by part. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::Plan;
use crate::digest::Digest;
use crate::resource::Resource;

/// The sizes of a function's code before and after a plan, unzipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeSize {
    /// Everything that is deployed; `None` where nobody knows it any more.
    pub before_bytes: Option<u64>,
    /// Everything that is going to be.
    pub after_bytes: u64,
    /// Parts that differ, by name; empty where nobody knows what was deployed.
    pub parts: Vec<PartSize>,
}

/// One part: a component of a package, a file of other code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSize {
    /// Its name.
    pub name: String,
    /// `None` if there was none.
    pub before_bytes: Option<u64>,
    /// `None` if there will be none.
    pub after_bytes: Option<u64>,
}

/// The code that `plan` puts in the place of other code: digests of the zips, before and after.
pub fn replaced_code(plan: &Plan) -> Option<(Digest, Digest)> {
    let mut changes = plan.changes.iter();
    changes.find_map(|change| match (&change.before, &change.after) {
        (Some(Resource::Function(before)), Some(Resource::Function(after)))
            if before.code_sha256 != after.code_sha256 =>
        {
            Some((before.code_sha256, after.code_sha256))
        }
        _ => None,
    })
}

impl CodeSize {
    /// Compares parts by name.
    pub fn new(before: Option<&BTreeMap<String, u64>>, after: &BTreeMap<String, u64>) -> Self {
        let names: BTreeSet<&String> = match before {
            Some(before) => before.keys().chain(after.keys()).collect(),
            None => BTreeSet::new(),
        };
        let parts = names.into_iter().filter_map(|name| {
            let before_bytes = before.and_then(|before| before.get(name)).copied();
            let after_bytes = after.get(name).copied();
            (before_bytes != after_bytes).then(|| PartSize {
                name: name.clone(),
                before_bytes,
                after_bytes,
            })
        });
        Self {
            before_bytes: before.map(|before| before.values().sum()),
            after_bytes: after.values().sum(),
            parts: parts.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_that_differ_are_told() {
        let sizes = |parts: &[(&str, u64)]| -> BTreeMap<String, u64> {
            let parts = parts.iter();
            parts
                .map(|(name, size)| ((*name).to_owned(), *size))
                .collect()
        };
        let before = sizes(&[("chromium", 200), ("webgl", 20), ("worker", 24)]);
        let after = sizes(&[("chromium", 200), ("cjk", 4), ("worker", 25)]);
        let size = CodeSize::new(Some(&before), &after);
        assert_eq!((size.before_bytes, size.after_bytes), (Some(244), 229));
        let told: Vec<_> = size
            .parts
            .iter()
            .map(|part| (&*part.name, part.before_bytes, part.after_bytes))
            .collect();
        assert_eq!(
            told,
            [
                ("cjk", None, Some(4)),
                ("webgl", Some(20), None),
                ("worker", Some(24), Some(25)),
            ]
        );
        let unknown = CodeSize::new(None, &after);
        assert_eq!((unknown.before_bytes, unknown.parts.len()), (None, 0));
    }
}
