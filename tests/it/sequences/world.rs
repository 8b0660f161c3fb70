//! Everything there is in an embedded cloud, read from its folder and not through `rmx::cloud`.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// `KIND NAME` → how it is.
pub(super) type World = BTreeMap<String, String>;

/// Zips by their digest, so that a code can be told by its number.
pub(super) type Codes = BTreeMap<String, u8>;

fn document(data: &Path, name: &str) -> Value {
    let text = std::fs::read(data.join(name)).unwrap_or_else(|_| b"{}".to_vec());
    serde_json::from_slice(&text).unwrap()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// All of it, and for each thing that can carry one the deployment that it says it belongs to.
pub(super) fn world(data: &Path, codes: &Codes) -> (World, BTreeMap<String, Option<String>>) {
    let mut world = World::new();
    let mut owners = BTreeMap::new();
    let mut add = |name: String, how: String, owner: Option<&Value>| {
        if let Some(tags) = owner {
            owners.insert(name.clone(), tags["rmx:stack"].as_str().map(str::to_owned));
        }
        world.insert(name, how);
    };
    let groups = document(data, "logs-eu-central-1.json");
    for (name, group) in members(&groups) {
        let days = match &group["retention_days"] {
            Value::Null => "for ever".to_owned(),
            days => format!("{days} days"),
        };
        add(format!("log group {name}"), days, Some(&group["tags"]));
    }
    let iam = document(data, "iam.json");
    for (name, role) in members(&iam["roles"]) {
        let inline: Vec<&str> = members(&role["inline"])
            .map(|(name, _)| name.as_str())
            .collect();
        let inline = format!("inline {}", inline.join(","));
        add(format!("role {name}"), inline, Some(&role["tags"]));
    }
    let functions = document(data, "lambda-eu-central-1.json");
    for (name, function) in members(&functions) {
        let how = settings(&function["latest"], codes);
        add(format!("function {name}"), how, Some(&function["tags"]));
        if let Some(alias) = function["aliases"].get("live") {
            let version = match alias["version"].as_str().unwrap() {
                "$LATEST" => "latest itself".to_owned(),
                number => settings(&function["versions"][number], codes),
            };
            add(format!("live {name}"), version, None);
        }
    }
    let buckets = document(data, "s3-buckets.json");
    for (name, bucket) in members(&buckets) {
        let rule = |id: &str, days: &str| {
            let mut rules = bucket["lifecycle"].as_array().into_iter().flatten();
            let rule = rules.find(|rule| rule["id"] == id)?;
            rule[days].as_u64()
        };
        let how = format!(
            "renders {:?}, uploads {:?}, private {}",
            rule("rmx-expire-renders", "expire_days"),
            rule("rmx-abort-uploads", "abort_upload_days"),
            bucket["public_access_block"]["block_public_policy"] == true,
        );
        add(format!("bucket {name}"), how, Some(&bucket["tags"]));
        let folder = data.join("s3").join(text(&bucket["id"]));
        for entry in std::fs::read_dir(folder.join("objects")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let object: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
            let key = text(&object["key"]);
            let blob = std::fs::read(folder.join("blobs").join(text(&object["blob"]))).unwrap();
            let content = match key.starts_with("rmx/sites/") {
                true => "manifest".to_owned(),
                false => String::from_utf8(blob).unwrap(),
            };
            add(format!("object {name}/{key}"), content, None);
        }
    }
    (world, owners)
}

fn settings(version: &Value, codes: &Codes) -> String {
    let configuration = &version["configuration"];
    let level = configuration["environment"]["LEVEL"].as_str();
    let code = codes.get(version["code"]["sha256"].as_str().unwrap());
    let role = text(&configuration["role"]);
    format!(
        "{} MB, {} s, level {level:?}, code {}, role {}",
        configuration["memory_mb"],
        configuration["timeout_s"],
        code.map_or("unknown".to_owned(), ToString::to_string),
        role.rsplit('/').next().unwrap_or_default(),
    )
}

/// The digest of bytes, in the form of the cloud's documents.
pub(super) fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
