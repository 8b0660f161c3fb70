//! The `remotion.toml` that `rmx init` writes: every key, explained, with its default or an example.

use std::path::Path;

use super::keys::ROOT;
use super::rule::{Default, Key, Kind, TableRule};
use crate::names::{ProjectName, SiteName};

/// Width of the comments.
const COLUMNS: usize = 100;

/// A commented file for `project`, with `site` declared if there is one.
pub fn template(project: &ProjectName, site: Option<(&SiteName, &Path)>) -> String {
    let mut lines = Lines(
        "# A render farm, declared. `rmx validate` checks this file, `rmx plan` shows what it would change,\n\
         # `rmx apply` changes it. A key behind `#` shows its default or an example.\n\n"
            .to_owned(),
    );
    for key in ROOT.keys() {
        match &key.kind {
            Kind::Table(rule) => lines.table(key, rule),
            Kind::Tables(rule) => lines.site(key, rule, site),
            Kind::Stages => {
                lines.comment(key.doc);
                lines.push("# [stage.production]\n# target = \"aws\"\n# function.memory_mb = 3008");
            }
            _ => {
                lines.comment(key.doc);
                match key.name {
                    "project" => lines.push(&format!("project = \"{project}\"")),
                    "target" => lines.push("target = \"local\""),
                    _ => lines.example(key),
                }
                lines.push("");
            }
        }
    }
    lines.0
}

struct Lines(String);

impl Lines {
    fn push(&mut self, line: &str) {
        self.0.push_str(line);
        self.0.push('\n');
    }

    fn comment(&mut self, text: &str) {
        let mut line = "#".to_owned();
        for word in text.split_whitespace() {
            if line.len() + 1 + word.len() > COLUMNS {
                self.push(&line);
                "#".clone_into(&mut line);
            }
            line.push(' ');
            line.push_str(word);
        }
        self.push(&line);
    }

    fn example(&mut self, key: &Key) {
        let (Default::Required(value) | Default::Value(value) | Default::Words(_, value)) =
            key.default;
        self.push(&format!("# {} = {value}", key.name));
    }

    fn table(&mut self, key: &Key, rule: &TableRule) {
        self.comment(key.doc);
        self.push(&format!("[{}]", key.name));
        for (index, key) in rule.keys().enumerate() {
            if index > 0 {
                self.push("");
            }
            self.comment(key.doc);
            self.example(key);
        }
        self.push("");
    }

    fn site(&mut self, key: &Key, rule: &TableRule, site: Option<(&SiteName, &Path)>) {
        self.comment(key.doc);
        self.push(if site.is_some() {
            "[[site]]"
        } else {
            "# [[site]]"
        });
        for (index, key) in rule.keys().enumerate() {
            if index > 0 {
                self.push(if site.is_some() { "" } else { "#" });
            }
            self.comment(key.doc);
            match (key.name, site) {
                ("name", Some((name, _))) => self.push(&format!("name = \"{name}\"")),
                ("folder", Some((_, folder))) => {
                    let folder = toml::Value::from(folder.to_string_lossy().as_ref());
                    self.push(&format!("folder = {folder}"));
                }
                _ => self.example(key),
            }
        }
        self.push("");
    }
}
