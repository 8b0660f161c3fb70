//! `[state]`: where what was recorded is kept.

use super::problem::Problem;
use super::rule::{Default, Key, Kind, TableRule, TextRule};
use super::tree::Table;
use crate::names::{BucketName, Region};

/// `[state]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateConfig {
    /// In a file below `.rmx/state/`.
    Local,
    /// In an object of S3.
    S3 {
        /// The bucket. Not the farm's own: that goes with the farm.
        bucket: BucketName,
        /// Given key; derived from project and stage where absent.
        key: Option<String>,
        /// The bucket's region.
        region: Region,
    },
}

/// Longest key, in bytes: S3's limit of 1024 less what stands behind it in the keys of lock and backups.
const KEY_BYTES_MAX: usize = 980;

pub(super) static STATE: TableRule = TableRule {
    groups: &[&[
        Key {
            name: "backend",
            kind: Kind::Word(|| vec!["local", "s3"]),
            default: Default::Words("`s3` if a bucket is named, else `local`", "\"local\""),
            doc: "`local`: a file below `.rmx/state/`. `s3`: an object of S3.",
        },
        Key {
            name: "bucket",
            kind: Kind::Text(&TextRule {
                what: "a bucket name",
                rule: BucketName::RULE,
                valid: |text| text.parse::<BucketName>().is_ok(),
            }),
            default: Default::Words("none; needed by `s3`", "\"my-states\""),
            doc: "The bucket of the `s3` backend. It must not be the farm's own. `rmx state create-bucket` makes it.",
        },
        Key {
            name: "key",
            kind: Kind::Text(&TextRule {
                what: "the key of an object",
                rule: "at most 980 bytes without control characters, neither beginning nor ending with `/`",
                valid: |text| {
                    (1..=KEY_BYTES_MAX).contains(&text.len())
                        && !text.starts_with('/')
                        && !text.ends_with('/')
                        && !text.contains(char::is_control)
                },
            }),
            default: Default::Words(
                "`rmx/PROJECT/default.json`, or `rmx/PROJECT/STAGE.json` with a stage",
                "\"farms/hello.json\"",
            ),
            doc: "The key of the `s3` backend. The lock is kept beside it (`KEY.lock`), and so are backups \
                  (`KEY.backups/`).",
        },
        Key {
            name: "region",
            kind: Kind::Text(&TextRule {
                what: "a region",
                rule: Region::RULE,
                valid: |text| text.parse::<Region>().is_ok(),
            }),
            default: Default::Words("the project's region", "\"eu-central-1\""),
            doc: "The region of the bucket of the `s3` backend.",
        },
    ]],
    exclusive: &[],
};

/// Notes an `s3` backend without a bucket.
pub(super) fn check(root: &Table, problems: &mut Vec<Problem>) {
    let Some(table) = root.table("state") else {
        return;
    };
    if let (Some("s3"), Some(backend), None) = (
        table.text("backend"),
        table.entry("backend"),
        table.entry("bucket"),
    ) {
        problems.push(
            Problem::new(
                "`bucket` is missing in `[state]`",
                &backend.node.span,
                "this backend needs one",
            )
            .help("name the bucket: `bucket = \"my-states\"`"),
        );
    }
}

/// The table's value. It has been checked.
pub(super) fn config(root: &Table, region: &Region) -> Option<StateConfig> {
    let empty = Table::default();
    let table = root.table("state").unwrap_or(&empty);
    let named = table.parsed("bucket");
    Some(match (table.text("backend"), named) {
        (Some("s3"), None) => return None,
        (Some("s3") | None, Some(bucket)) => StateConfig::S3 {
            bucket,
            key: table.text("key").map(str::to_owned),
            region: table.parsed("region").unwrap_or_else(|| region.clone()),
        },
        (Some(_) | None, _) => StateConfig::Local,
    })
}
