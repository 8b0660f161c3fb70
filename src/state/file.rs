//! The state as bytes, without any disk: `docs/STATE.md` describes the format.
//!
//! The checksum is made of the state's JSON without white space. A file that was laid out anew still fits it, one
//! with another value does not.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{State, migrate};
use crate::digest::Digest;
use crate::names::{ProjectName, StageName};

/// The format this rmx writes, and the highest it reads. Since 2, records tell whether they are protected and what was
/// released; an rmx that does not know that must not write them.
pub(super) const FORMAT: u64 = 2;

/// Whose state it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) project: ProjectName,
    pub(super) stage: Option<StageName>,
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.stage {
            Some(stage) => write!(f, "project `{}`, stage `{stage}`", self.project),
            None => write!(f, "project `{}` without a stage", self.project),
        }
    }
}

/// What lies where a state is kept.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Content {
    /// The state.
    State(State),
    /// A signpost: the state is kept elsewhere.
    Moved {
        /// Where.
        to: String,
        /// What it was when it left, until somebody has seen it arrive.
        left: Option<State>,
    },
}

/// Why bytes are not a state of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unreadable {
    Damaged(String),
    Edited,
    Newer { format: u64, written_by: String },
    OtherProject(Owner),
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u64,
    rmx_version: String,
    #[serde(flatten)]
    owner: Owner,
    /// Where the state went, in a signpost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
    /// The lock under which it was written, in S3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lock_id: Option<String>,
    checksum: Digest,
    state: Value,
}

/// The file's content, as written under the lock `lock_id`.
pub(super) fn encode(
    owner: &Owner,
    content: &Content,
    lock_id: Option<&str>,
) -> serde_json::Result<Vec<u8>> {
    let (state, moved_to) = match content {
        Content::State(state) => (serde_json::to_value(state)?, None),
        Content::Moved { to, left } => (serde_json::to_value(left)?, Some(to.clone())),
    };
    let document = Document {
        format: FORMAT,
        rmx_version: env!("CARGO_PKG_VERSION").to_owned(),
        owner: owner.clone(),
        moved_to,
        lock_id: lock_id.map(str::to_owned),
        checksum: checksum(&state),
        state,
    };
    let mut bytes = serde_json::to_vec_pretty(&document)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// The lock under which a file was written, if its content tells.
pub(super) fn lock_id(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Locked {
        lock_id: Option<String>,
    }
    serde_json::from_slice::<Locked>(bytes).ok()?.lock_id
}

/// What a file's content says.
pub(super) fn decode(owner: &Owner, bytes: &[u8]) -> Result<Content, Unreadable> {
    let damaged = |error: serde_json::Error| Unreadable::Damaged(error.to_string());
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Unreadable::Damaged("it is empty".to_owned()));
    }
    let whole: Value = serde_json::from_slice(bytes).map_err(damaged)?;
    // Before anything else is expected of it: a later format may look different altogether.
    let format = whole.get("format").and_then(Value::as_u64);
    if let Some(format) = format.filter(|format| *format > FORMAT) {
        let written_by = whole.get("rmx_version").and_then(Value::as_str);
        return Err(Unreadable::Newer {
            format,
            written_by: written_by.unwrap_or("of an unknown version").to_owned(),
        });
    }
    let document: Document = serde_json::from_value(whole).map_err(damaged)?;
    if !(1..=FORMAT).contains(&document.format) {
        return Err(Unreadable::Damaged(format!(
            "there is no format {}",
            document.format
        )));
    }
    if checksum(&document.state) != document.checksum {
        return Err(Unreadable::Edited);
    }
    if document.owner != *owner {
        return Err(Unreadable::OtherProject(document.owner));
    }
    let mut state = document.state;
    if document.format == 1 {
        migrate::from_1(&mut state);
    }
    Ok(match document.moved_to {
        None => Content::State(serde_json::from_value(state).map_err(damaged)?),
        Some(to) => Content::Moved {
            to,
            left: serde_json::from_value(state).map_err(damaged)?,
        },
    })
}

fn checksum(state: &Value) -> Digest {
    Digest::of(state.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::example;

    fn owner(project: &str, stage: Option<&str>) -> Owner {
        Owner {
            project: project.parse().unwrap(),
            stage: stage.map(|stage| stage.parse().unwrap()),
        }
    }

    #[test]
    fn what_is_written_is_read_again_however_it_is_laid_out() {
        let owner = owner("hello", Some("prod"));
        let moved = |left| Content::Moved {
            to: "s3://states/hello.json".to_owned(),
            left,
        };
        for content in [
            Content::State(example()),
            moved(Some(example())),
            moved(None),
        ] {
            let bytes = encode(&owner, &content, Some("some lock")).unwrap();
            assert_eq!(decode(&owner, &bytes), Ok(content.clone()));
            assert_eq!(lock_id(&bytes).as_deref(), Some("some lock"));
            let one_line = serde_json::from_slice::<Value>(&bytes).unwrap().to_string();
            assert_eq!(decode(&owner, one_line.as_bytes()), Ok(content));
        }
    }

    #[test]
    fn every_cut_and_every_changed_letter_is_noticed() {
        let owner = owner("hello", None);
        let bytes = encode(&owner, &Content::State(example()), None).unwrap();
        for length in 0..bytes.len() - 2 {
            assert!(
                matches!(
                    decode(&owner, &bytes[..length]),
                    Err(Unreadable::Damaged(_))
                ),
                "cut to {length} bytes"
            );
        }
        let start = bytes
            .windows(8)
            .position(|window| window == b"\"state\":")
            .unwrap()
            + 8;
        for index in start..bytes.len() - 3 {
            if bytes[index].is_ascii_alphanumeric() {
                let mut bytes = bytes.clone();
                bytes[index] = if bytes[index] == b'7' { b'8' } else { b'7' };
                assert!(decode(&owner, &bytes).is_err(), "byte {index}");
            }
        }
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        let hello = owner("hello", None);
        let bytes = encode(&hello, &Content::State(example()), None).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let read = |text: &str| decode(&hello, text.as_bytes()).unwrap_err();
        assert_eq!(
            read(&text.replace("\"serial\": 7", "\"serial\": 8")),
            Unreadable::Edited
        );
        assert_eq!(
            read(r#"{"format": 3, "rmx_version": "9.1.0", "everything": "else"}"#),
            Unreadable::Newer {
                format: 3,
                written_by: "9.1.0".to_owned()
            }
        );
        assert_eq!(read(" \n"), Unreadable::Damaged("it is empty".to_owned()));
        let other = owner("other", None);
        assert_eq!(
            decode(&other, text.as_bytes()).unwrap_err(),
            Unreadable::OtherProject(hello.clone())
        );
        assert!(matches!(read("[]"), Unreadable::Damaged(_)));
    }
}
