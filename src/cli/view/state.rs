//! The state for people and for programs (`terraform show -json`, format 1.0).

use serde_json::{Value, json};

use super::fields::text;
use super::plan_json::{resource, sensitive, values};
use crate::resource::{Address, changed_fields};
use crate::state::{Record, RecordStatus, State};

/// The whole state.
pub(crate) fn state_text(state: Option<&State>) -> String {
    let Some(state) = state.filter(|state| !state.records.is_empty()) else {
        return "The state is empty: nothing of this project is recorded.\n".to_owned();
    };
    let records = state
        .records
        .iter()
        .map(|(address, record)| record_text(address, record));
    records.collect::<Vec<_>>().join("\n")
}

/// One record.
pub(crate) fn record_text(address: &Address, record: &Record) -> String {
    let fields = changed_fields(None, Some(&record.applied));
    let (files, fields): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|field| field.path.starts_with("files."));
    let spec = fields
        .iter()
        .map(|field| (field.path.clone(), text(field.after.as_ref())));
    let outputs = record
        .outputs
        .iter()
        .map(|(name, value)| (name.clone(), Value::from(value.as_str()).to_string()));
    let mut lines: Vec<(String, String)> = spec.collect();
    for (name, value) in outputs {
        if !lines.iter().any(|(known, _)| *known == name) {
            lines.push((name, value));
        }
    }
    if record.protect {
        lines.push(("protect".to_owned(), "true".to_owned()));
    }
    if !files.is_empty() {
        lines.push(("files".to_owned(), format!("({} files)", files.len())));
    }
    let width = lines
        .iter()
        .map(|(name, _)| name.len())
        .max()
        .unwrap_or_default();
    let open = match record.status {
        RecordStatus::Complete => "",
        RecordStatus::Pending => " (its last change was interrupted)",
    };
    let body: String = lines
        .iter()
        .map(|(name, value)| format!("    {name:width$} = {value}\n"))
        .collect();
    format!(
        "# {address}:{open}\nresource \"{}\" \"{}\" {{\n{body}}}\n",
        address.kind, address.name
    )
}

/// The whole state.
pub(crate) fn state_json(state: Option<&State>) -> Value {
    let resources: Vec<Value> = state
        .into_iter()
        .flat_map(|state| &state.records)
        .map(|(address, record)| record_json(address, record))
        .collect();
    json!({
        "format_version": "1.0",
        "rmx_version": env!("CARGO_PKG_VERSION"),
        "lineage": state.map(|state| &state.lineage),
        "serial": state.map(|state| state.serial),
        "deployed_to": state.and_then(|state| state.deployed_to.as_ref()),
        "values": { "root_module": { "resources": resources } },
    })
}

/// One record.
pub(crate) fn record_json(address: &Address, record: &Record) -> Value {
    let mut entry = resource(address);
    entry.insert("values".to_owned(), values(&record.applied));
    entry.insert("sensitive_values".to_owned(), sensitive(&record.applied));
    entry.insert("outputs".to_owned(), json!(record.outputs));
    entry.insert("status".to_owned(), json!(record.status));
    entry.insert("protect".to_owned(), json!(record.protect));
    if !record.releases.is_empty() {
        entry.insert("releases".to_owned(), json!(record.releases));
    }
    entry.into()
}
