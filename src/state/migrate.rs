//! States of older formats, made into what this rmx reads. The file itself changes with the next save.

use serde_json::{Value, json};

/// Format 1 knew neither protection nor releases. What it recorded as live is the one release that is known of.
pub(super) fn from_1(state: &mut Value) {
    let records = state.get_mut("records").and_then(Value::as_object_mut);
    for (address, record) in records.into_iter().flatten() {
        let Some(record) = record.as_object_mut() else {
            continue;
        };
        record.insert("protect".to_owned(), false.into());
        let version = record
            .get("outputs")
            .and_then(|outputs| outputs.get("version")?.as_str()?.parse::<u64>().ok());
        if let (true, Some(version)) = (address.starts_with("function."), version) {
            let release = json!({ "version": version, "withdrawn": false });
            record.insert("releases".to_owned(), json!([release]));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::state::Release;
    use crate::state::file::{self, Content, Owner};

    /// A file as rmx 0.1 wrote it in format 1: a log group and a function at its third version.
    const FORMAT_1: &[u8] = include_bytes!("fixtures/format-1.json");

    #[test]
    fn a_state_of_format_1_is_read_and_written_as_the_present_one() {
        let owner = Owner {
            project: "hello".parse().unwrap(),
            stage: None,
        };
        let Content::State(state) = file::decode(&owner, FORMAT_1).unwrap() else {
            panic!("a state is no signpost")
        };
        assert_eq!(state.serial, 13);
        let record = |address: &str| &state.records[&address.parse().unwrap()];
        let live = Release {
            version: 3,
            withdrawn: false,
        };
        assert_eq!(record("function.worker").releases, [live]);
        assert_eq!(record("log_group.main").releases, []);
        assert!(state.records.values().all(|record| !record.protect));

        let written = file::encode(&owner, &Content::State(state.clone()), None).unwrap();
        assert!(written.starts_with(b"{\n  \"format\": 2,"));
        assert_eq!(file::decode(&owner, &written), Ok(Content::State(state)));
        let edited = String::from_utf8_lossy(FORMAT_1).replace("\"serial\": 13", "\"serial\": 14");
        assert_eq!(
            file::decode(&owner, edited.as_bytes()).unwrap_err(),
            file::Unreadable::Edited
        );
    }
}
