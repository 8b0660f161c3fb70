//! `[local]`: how the embedded cloud runs functions.

use super::rule::{Default, Key, Kind, TableRule};
use super::tree::Table;

/// `[local]`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalConfig {
    /// Whether functions see only what they would see on Lambda.
    pub isolate: bool,
}

pub(super) static LOCAL: TableRule = TableRule {
    groups: &[&[Key {
        name: "isolate",
        kind: Kind::Switch,
        default: Default::Value("false"),
        doc: "Whether functions run in a root of their own, which holds a minimal system and the function package, with no network but \
              loopback and no more memory and disk than they are given, as on Lambda. What is not in the package (Chromium, ffmpeg, \
              fonts) is missing then: `package` under [function] has to name one, see docs/aws.md. Needs Linux and its namespaces.",
    }]],
    exclusive: &[],
};

/// The table's value.
pub(super) fn config(table: &Table) -> LocalConfig {
    LocalConfig {
        isolate: table.switch("isolate").unwrap_or(false),
    }
}
