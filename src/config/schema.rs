//! The keys as a JSON Schema for editors, and as the pages of `docs/configuration.md`.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::check::{allowed, join};
use super::keys::{ROOT, STAGE};
use super::rule::{Default, Key, Kind, TableRule};

/// The JSON Schema of `remotion.toml`.
pub fn schema() -> Value {
    let mut schema = table(&ROOT, true);
    schema["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    schema["title"] = json!("remotion.toml");
    schema
}

/// `requires`: whether required keys must be there; an overlay need not have them.
fn table(rule: &TableRule, requires: bool) -> Value {
    let properties: Map<_, _> = rule
        .keys()
        .map(|key| (key.name.to_owned(), property(key, requires)))
        .collect();
    let mut schema = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    });
    let required: Vec<_> = rule
        .keys()
        .filter(|key| matches!(key.default, Default::Required(_)))
        .map(|key| key.name)
        .collect();
    if requires && !required.is_empty() {
        schema["required"] = json!(required);
    }
    let exclusive: Vec<_> = rule
        .exclusive
        .iter()
        .map(|(one, other)| {
            let mut both = json!({ "required": [one, other] });
            // As in the check: a switch that is on excludes nothing.
            if let Some(Kind::Switch) = rule.key(one).map(|key| &key.kind) {
                both["properties"] = json!({ *one: { "const": false } });
            }
            json!({ "not": both })
        })
        .collect();
    if !exclusive.is_empty() {
        schema["allOf"] = json!(exclusive);
    }
    schema
}

fn property(key: &Key, requires: bool) -> Value {
    let mut schema = match &key.kind {
        Kind::Text(_) => json!({ "type": "string", "minLength": 1 }),
        Kind::Word(words) => json!({ "enum": words() }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::WholeOf(numbers) => json!({ "enum": numbers }),
        Kind::Number { min, max } => {
            json!({ "type": "number", "minimum": min, "maximum": max })
        }
        Kind::Switch => json!({ "type": "boolean" }),
        Kind::Texts {
            count_min,
            count_max,
            ..
        } => json!({
            "type": "array",
            "items": { "type": "string" },
            "minItems": count_min,
            "maxItems": count_max,
        }),
        Kind::Table(rule) => table(rule, requires),
        Kind::Tables(rule) => json!({ "type": "array", "items": table(rule, requires) }),
        Kind::Environment => json!({
            "type": "object",
            "propertyNames": {
                "pattern": "^[A-Za-z][A-Za-z0-9_]+$",
                "not": { "pattern": "^(AWS_|LAMBDA_)" },
            },
            "additionalProperties": {
                "anyOf": [
                    { "type": "string" },
                    {
                        "type": "object",
                        "properties": { "secret": { "type": "string", "pattern": "^(env:[^=]+|ssm:/?[A-Za-z0-9_./-]+(:[0-9]+)?)$" } },
                        "required": ["secret"],
                        "additionalProperties": false,
                    },
                ],
            },
        }),
        Kind::Stages => json!({
            "type": "object",
            "additionalProperties": table(&STAGE, false),
        }),
    };
    schema["description"] = json!(match &key.kind {
        Kind::Text(rule) => format!("{} Allowed: {}.", key.doc, rule.rule),
        Kind::Texts { .. } => format!("{} Allowed: {}.", key.doc, allowed(&key.kind)),
        _ => key.doc.to_owned(),
    });
    if let Default::Value(text) = key.default
        && let Some(value) = json_of(text)
    {
        schema["default"] = value;
    }
    schema
}

/// A TOML value as JSON.
fn json_of(text: &str) -> Option<Value> {
    let document: toml::Table = format!("value = {text}").parse().ok()?;
    serde_json::to_value(document.get("value")?).ok()
}

/// Every key with its meaning, default and range, in Markdown.
pub fn reference() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Generated from src/config/keys.rs: `RMX_UPDATE_DOCS=1 cargo test --test it documents` rewrites it. -->\n\n\
         `remotion.toml` declares one render farm. `rmx init` writes one with every key explained, `rmx validate` checks\n\
         it without a network, `rmx schema` prints its JSON Schema for editors. Relative paths start at the file's folder.\n\
         Unknown keys and values out of range are errors, all reported at once.\n",
    );
    section(&mut text, &ROOT, "", "Top level");
    text
}

fn section(text: &mut String, rule: &'static TableRule, at: &str, title: &str) {
    push(text, &format!("\n## {title}\n"));
    let tables = |key: &&Key| matches!(key.kind, Kind::Table(_) | Kind::Tables(_));
    for key in rule.keys().filter(|key| !tables(key)) {
        push(text, &format!("\n### `{}`\n\n{}\n\n", key.name, key.doc));
        if !matches!(key.kind, Kind::Stages) {
            push(text, &format!("- allowed: {}\n", allowed(&key.kind)));
        }
        push(
            text,
            &match key.default {
                Default::Required(example) => format!("- required, for example `{example}`\n"),
                Default::Value(value) => format!("- default: `{value}`\n"),
                Default::Words(words, "") => format!("- default: {words}\n"),
                Default::Words(words, example) => {
                    format!("- default: {words}\n- example: `{example}`\n")
                }
            },
        );
    }
    for (one, other) in rule.exclusive {
        let when = match rule.key(one).map(|key| &key.kind) {
            Some(Kind::Switch) => format!("`{one} = false`"),
            _ => format!("`{one}`"),
        };
        push(
            text,
            &format!("\n{when} and `{other}` exclude each other.\n"),
        );
    }
    for key in rule.keys() {
        let (inner, title) = match &key.kind {
            Kind::Table(inner) => (inner, format!("`[{}]`", join(at, key.name))),
            Kind::Tables(inner) => (inner, format!("`[[{}]]`", join(at, key.name))),
            _ => continue,
        };
        section(text, inner, &join(at, key.name), &title);
    }
}

fn push(text: &mut String, more: &str) {
    text.write_str(more)
        .expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Config, ConfigError, LoadOptions, parse};

    fn of_schema(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
        for (name, property) in schema["properties"].as_object().unwrap() {
            let path = join(at, name);
            let inner = property.get("items").unwrap_or(property);
            if inner.get("properties").is_some() {
                of_schema(inner, &path, found);
            }
            found.insert(path);
        }
    }

    fn of_table(rule: &'static TableRule, at: &str, found: &mut Vec<(String, &'static Key)>) {
        for key in rule.keys() {
            let path = join(at, key.name);
            found.push((path.clone(), key));
            if let Kind::Table(inner) | Kind::Tables(inner) = &key.kind {
                of_table(inner, &path, found);
            }
        }
    }

    fn read(path: &str, value: &str) -> Result<Config, ConfigError> {
        // What each key needs beside it.
        let beside = match path {
            "site.name" => "site = [{ name = \"one\", folder = \"f\" }]\n".to_owned(),
            "site.folder" | "site.build" => String::new(),
            "render.site" => "site = [{ name = \"hello\", folder = \"f\" }]\n".to_owned(),
            "state.backend" | "state.key" | "state.region" => {
                "state.bucket = \"states\"\n".to_owned()
            }
            "local.isolate" => "function.package = \"folder\"\n".to_owned(),
            _ => String::new(),
        };
        let text = match path.split_once('.') {
            None if path == "project" => format!("project = {value}"),
            Some(("site", key)) => {
                let rest = [("name", "\"one\""), ("folder", "\"f\"")]
                    .iter()
                    .filter(|(name, _)| *name != key)
                    .map(|(name, value)| format!("{name} = {value}\n"))
                    .collect::<String>();
                format!("project = \"a\"\n[[site]]\n{rest}{key} = {value}")
            }
            _ => format!("{beside}project = \"a\"\n{path} = {value}"),
        };
        let options = LoadOptions {
            path: "/project/remotion.toml".into(),
            shown_as: "remotion.toml".into(),
            stage: None,
            check_folders: false,
        };
        parse(&text, &options)
    }

    #[test]
    fn schema_and_reader_know_the_same_keys() {
        let (mut schema_keys, mut reader_keys) = (BTreeSet::new(), Vec::new());
        of_schema(&schema(), "", &mut schema_keys);
        of_table(&ROOT, "", &mut reader_keys);
        let names: BTreeSet<_> = reader_keys.iter().map(|(path, _)| path.clone()).collect();
        assert_eq!(schema_keys, names);
        for (path, _) in &reader_keys {
            let error = read(path, "1979-05-27").unwrap_err().to_string();
            assert!(!error.contains("unknown key"), "{path}: {error}");
            assert!(error.contains("a date or time"), "{path}: {error}");
        }
        let error = read("nonsense", "1").unwrap_err().to_string();
        assert!(error.contains("unknown key `nonsense`"), "{error}");
    }

    /// A default or an example that is written down is the truth, and no key is read by nobody.
    #[test]
    fn every_key_has_its_effect() {
        let mut keys = Vec::new();
        of_table(&ROOT, "", &mut keys);
        for (path, key) in keys {
            if path.starts_with("function.vpc.") {
                continue; // only together, as the example of `vpc` has them
            }
            let base = |path: &str| match path.split_once('.') {
                Some(("site", _)) => read("site.name", "\"one\""),
                Some(("state", key)) if key != "bucket" => read("state.bucket", "\"states\""),
                Some(("local", "isolate")) => read("function.package", "\"folder\""),
                Some(("render", "site")) => read("site", "[{ name = \"hello\", folder = \"f\" }]"),
                _ => read("target", "\"local\""),
            };
            let without_digest = |config: Result<Config, ConfigError>| Config {
                digest: crate::digest::Digest::of(""),
                ..config.unwrap_or_else(|error| panic!("{path}: {error}"))
            };
            let base = without_digest(base(&path));
            let other = match (&key.kind, key.default) {
                (_, Default::Words(_, "")) => continue, // tables: their keys are tested
                (_, Default::Value(value)) => {
                    assert_eq!(without_digest(read(&path, value)), base, "{path}");
                    match &key.kind {
                        Kind::Whole { min, max } => {
                            if min.to_string() == value { max } else { min }.to_string()
                        }
                        Kind::WholeOf(numbers) => numbers[0].to_string(),
                        Kind::Word(words) => {
                            match words().iter().find(|word| !value.contains(**word)) {
                                Some(word) => format!("\"{word}\""),
                                None => continue,
                            }
                        }
                        Kind::Number { max, .. } => max.to_string(),
                        Kind::Switch => (value == "false").to_string(),
                        Kind::Texts { .. } if path == "policy.deny" => "[\"destroy\"]".into(),
                        Kind::Texts { .. } => {
                            "[\"arn:aws:lambda:us-east-1:123456789012:layer:a:1\"]".into()
                        }
                        _ if path == "region" => "\"eu-west-1\"".into(),
                        _ if path == "function.remotion_version" => "\"4.0.1\"".into(),
                        _ => "\"/other/\"".into(),
                    }
                }
                (Kind::Word(words), Default::Words(..)) => {
                    // The example may be what this machine has anyway.
                    let differs = words()
                        .iter()
                        .any(|word| without_digest(read(&path, &format!("\"{word}\""))) != base);
                    assert!(differs, "{path}");
                    continue;
                }
                (_, Default::Required(example) | Default::Words(_, example)) => example.to_owned(),
            };
            assert_ne!(
                without_digest(read(&path, &other)),
                base,
                "{path} = {other}"
            );
        }
    }
}
