//! The lines of one resource: aligned attributes, policies by statement, a site's files in short.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cli::foreign::one_line;
use crate::cli::ui::{Style, Ui};
use crate::plan::change::PROTECT_FIELD;
use crate::plan::gate::ROLE_FIELD;
use crate::resource::reach::{self, Reach};
use crate::resource::{FieldChange, FieldValue};

/// More files than this are counted, not listed.
const FILES_LISTED_MAX: usize = 10;

/// A symbol in the left margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Create,
    Update,
    Delete,
    Replace,
    None,
}

impl Mark {
    /// The symbol, three columns wide.
    pub(super) fn paint(self, ui: &Ui) -> String {
        let (symbol, style) = match self {
            Self::Create => ("  +", Style::Green),
            Self::Update => ("  ~", Style::Yellow),
            Self::Delete => ("  -", Style::Red),
            Self::Replace => {
                return format!(
                    "{}/{}",
                    ui.paint(Style::Red, "-"),
                    ui.paint(Style::Green, "+")
                );
            }
            Self::None => return "   ".to_owned(),
        };
        ui.paint(style, symbol)
    }

    pub(super) fn of(field: &FieldChange) -> Self {
        match (&field.before, &field.after) {
            (None, _) => Self::Create,
            (_, None) => Self::Delete,
            _ => Self::Update,
        }
    }
}

/// The lines of `fields`, without the braces around them. `name` stands before them where it does not change.
pub(super) fn lines(name: Option<&str>, fields: &[FieldChange], ui: &Ui) -> Vec<String> {
    let (files, others): (Vec<_>, Vec<_>) = fields
        .iter()
        .partition(|field| field.path.starts_with("files."));
    let width = others
        .iter()
        .map(|field| field.path.len())
        .max()
        .unwrap_or_default();
    let width = width.max(name.map_or(0, |_| "name".len()));
    // Of a role that is made or goes as a whole, nothing is wider or narrower than before.
    let in_place = !fields.iter().any(|field| field.path == "name");
    let mut lines = Vec::new();
    if let Some(name) = name {
        lines.push(format!("        {:width$} = {}", "name", Value::from(name)));
    }
    for field in others {
        let value = value_lines(field, in_place, ui);
        let name = format!("    {} {:width$} = ", Mark::of(field).paint(ui), field.path);
        let note = match note(field) {
            Some(note) => format!(" {}", ui.paint(Style::Red, note)),
            None => String::new(),
        };
        match value {
            ValueLines::One(text) => lines.push(format!("{name}{text}{note}")),
            ValueLines::Many(many) => {
                lines.push(format!("{name}{{{note}"));
                lines.extend(many.into_iter().map(|line| format!("        {line}")));
                lines.push("        }".to_owned());
            }
        }
    }
    lines.extend(file_lines(&files, ui));
    lines
}

/// What has to be told of a field beside its values.
fn note(field: &FieldChange) -> Option<&'static str> {
    let (before, after) = (field.before.as_ref()?, field.after.as_ref()?);
    let lifted = field.path == PROTECT_FIELD && before != after;
    match &*field.path {
        _ if field.forces_replacement => Some("# forces replacement"),
        _ if lifted => Some("# lifts the protection"),
        ROLE_FIELD => Some("# widened: roles are not compared"),
        _ => None,
    }
}

enum ValueLines {
    One(String),
    Many(Vec<String>),
}

fn value_lines(field: &FieldChange, in_place: bool, ui: &Ui) -> ValueLines {
    let object = |value: &Option<FieldValue>| match value {
        Some(FieldValue::Known(value @ Value::Object(_))) => Some(statements(value)),
        None => Some(Vec::new()),
        _ => None,
    };
    if field.path == "attached_policies" {
        return ValueLines::Many(attached_lines(field, in_place, ui));
    }
    match (&field.before, &field.after) {
        (before, after)
            if (before.is_some() || after.is_some())
                && object(before).is_some()
                && object(after).is_some() =>
        {
            let marks = reaches(before.as_ref(), after.as_ref(), in_place);
            let (before, after) = (
                object(before).unwrap_or_default(),
                object(after).unwrap_or_default(),
            );
            ValueLines::Many(difference(&before, &after, &marks, ui))
        }
        (None, after) => ValueLines::One(text(after.as_ref())),
        (before, None) => ValueLines::One(format!("{} -> null", text(before.as_ref()))),
        (Some(FieldValue::Secret(_)), Some(FieldValue::Secret(_))) => {
            ValueLines::One(text(field.after.as_ref()))
        }
        (before, after) => ValueLines::One(format!(
            "{} -> {}",
            text(before.as_ref()),
            text(after.as_ref())
        )),
    }
}

/// One value on one line.
pub(super) fn text(value: Option<&FieldValue>) -> String {
    match value {
        None => "null".to_owned(),
        Some(FieldValue::Known(Value::Array(items))) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            format!("[{}]", items.join(", "))
        }
        Some(FieldValue::Known(value)) => value.to_string(),
        Some(FieldValue::Secret(_)) => "(sensitive value)".to_owned(),
        Some(FieldValue::KnownAfterApply) => "(known after apply)".to_owned(),
    }
}

/// A policy, one line a statement: `Allow s3:GetObject on arn:...`. What has no place there follows as JSON.
fn statements(policy: &Value) -> Vec<String> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().map(statement).collect(),
        Some(single) => vec![statement(single)],
        None => vec![policy.to_string()],
    }
}

fn statement(value: &Value) -> String {
    let Value::Object(fields) = value else {
        return value.to_string();
    };
    let list = |value: &Value| match value {
        Value::Array(items) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            items.join(", ")
        }
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let named = |name: &str, word: &str| {
        fields
            .get(name)
            .map(|value| format!("{word}{}", list(value)))
    };
    let known = ["Sid", "Effect", "Action", "Resource", "Principal"];
    let others: serde_json::Map<String, Value> = fields
        .iter()
        .filter(|(name, _)| !known.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let others = (!others.is_empty()).then(|| Value::Object(others).to_string());
    let parts = [
        named("Effect", ""),
        named("Action", ""),
        named("Principal", "to "),
        named("Resource", "on "),
        others,
    ];
    one_line(&parts.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

/// What each statement of a policy does to its reach, where the role is there before and after.
#[derive(Default)]
struct Reaches {
    removed: Vec<Reach>,
    added: Vec<Reach>,
}

fn reaches(before: Option<&FieldValue>, after: Option<&FieldValue>, in_place: bool) -> Reaches {
    let nothing = Value::Null;
    let (before, after) = match (before, after) {
        (Some(FieldValue::Known(before)), Some(FieldValue::Known(after))) => (before, after),
        (None, Some(FieldValue::Known(after))) if in_place => (&nothing, after),
        (Some(FieldValue::Known(before)), None) if in_place => (before, &nothing),
        _ => return Reaches::default(),
    };
    let each = |policy: &Value, reach: &dyn Fn(&Value) -> Reach| match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().map(reach).collect(),
        Some(single) => vec![reach(single)],
        None => Vec::new(),
    };
    Reaches {
        removed: each(before, &|one| reach::of_removed(one, before, after)),
        added: each(after, &|one| reach::of_added(one, before, after)),
    }
}

/// Lines that stay between lines that go and lines that come: the longest common subsequence. Policies have some
/// dozen statements at most.
fn difference(before: &[String], after: &[String], marks: &Reaches, ui: &Ui) -> Vec<String> {
    let mut common = vec![vec![0_usize; after.len() + 1]; before.len() + 1];
    for (row, one) in before.iter().enumerate().rev() {
        for (column, other) in after.iter().enumerate().rev() {
            common[row][column] = if one == other {
                common[row + 1][column + 1] + 1
            } else {
                common[row + 1][column].max(common[row][column + 1])
            };
        }
    }
    let (mut row, mut column) = (0, 0);
    let mut lines = Vec::new();
    while row < before.len() || column < after.len() {
        let (mark, line, reach) = match (before.get(row), after.get(column)) {
            (Some(one), Some(other)) if one == other => {
                (row, column) = (row + 1, column + 1);
                (Mark::None, one, None)
            }
            (Some(one), other)
                if other.is_none() || common[row + 1][column] >= common[row][column + 1] =>
            {
                row += 1;
                (Mark::Delete, one, marks.removed.get(row - 1))
            }
            (_, Some(other)) => {
                column += 1;
                (Mark::Create, other, marks.added.get(column - 1))
            }
            _ => break,
        };
        let reach = reach.map_or_else(String::new, |reach| reach_note(*reach, ui));
        lines.push(format!("{} {line}{reach}", mark.paint(ui)));
    }
    lines
}

fn reach_note(reach: Reach, ui: &Ui) -> String {
    match reach {
        Reach::Widened => format!(" {}", ui.paint(Style::Red, "# widened")),
        Reach::Narrowed => " # narrowed".to_owned(),
        Reach::Equal => " # equal".to_owned(),
    }
}

/// One line for each managed policy that is attached or detached.
fn attached_lines(field: &FieldChange, in_place: bool, ui: &Ui) -> Vec<String> {
    let arns = |value: &Option<FieldValue>| -> BTreeSet<String> {
        let Some(FieldValue::Known(Value::Array(arns))) = value else {
            return BTreeSet::new();
        };
        let arns = arns.iter().filter_map(Value::as_str);
        arns.map(str::to_owned).collect()
    };
    let (before, after) = (arns(&field.before), arns(&field.after));
    let line = |mark: Mark, arn: &String, reach: Reach| {
        let reach = match in_place {
            true => reach_note(reach, ui),
            false => String::new(),
        };
        format!("{} {arn}{reach}", mark.paint(ui))
    };
    let gone = before.difference(&after);
    let gone = gone.map(|arn| line(Mark::Delete, arn, reach::of_detached(arn)));
    let new = after.difference(&before);
    let new = new.map(|arn| line(Mark::Create, arn, Reach::Widened));
    gone.chain(new).collect()
}

fn file_lines(files: &[&FieldChange], ui: &Ui) -> Vec<String> {
    if files.is_empty() {
        return Vec::new();
    }
    if files.len() > FILES_LISTED_MAX {
        return vec![format!("        # {}", summary(files))];
    }
    let names = files.iter().map(|field| {
        let path = field.path.trim_start_matches("files.");
        format!(
            "    {} file {}",
            Mark::of(field).paint(ui),
            Value::from(path)
        )
    });
    names.collect()
}

/// `12 files to upload, 3 changed, 1 to remove`, without what is none.
fn summary(files: &[&FieldChange]) -> String {
    let count = |mark| files.iter().filter(|field| Mark::of(field) == mark).count();
    let parts = [
        (count(Mark::Create), "new"),
        (count(Mark::Update), "changed"),
        (count(Mark::Delete), "to remove"),
    ];
    let parts: Vec<String> = parts
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    format!("files: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(path: &str, before: Option<Value>, after: Option<Value>) -> FieldChange {
        FieldChange {
            path: path.to_owned(),
            before: before.map(FieldValue::Known),
            after: after.map(FieldValue::Known),
            forces_replacement: false,
        }
    }

    #[test]
    fn policies_show_which_statements_change() {
        let policy = |actions: &[&str]| {
            serde_json::json!({"Version": "2012-10-17", "Statement": [
                {"Sid": "A", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "arn:x"},
                {"Effect": "Deny", "Action": actions, "Resource": ["arn:x", "arn:y"],
                 "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
            ]})
        };
        let change = field(
            "policy",
            Some(policy(&["s3:*"])),
            Some(policy(&["s3:*", "logs:*"])),
        );
        assert_eq!(
            lines(None, &[change], &Ui::plain()),
            [
                "      ~ policy = {",
                "            Allow s3:GetObject on arn:x",
                "          - Deny s3:* on arn:x, arn:y {\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"false\"}}} # equal",
                "          + Deny s3:*, logs:* on arn:x, arn:y {\"Condition\":{\"Bool\":{\"aws:SecureTransport\":\"false\"}}} # narrowed",
                "        }",
            ]
        );
    }

    #[test]
    fn secrets_are_not_shown_and_many_files_are_counted() {
        let secret = |text| FieldValue::Secret(crate::digest::Digest::of(text));
        let mut fields = vec![FieldChange {
            before: Some(secret("one")),
            after: Some(secret("other")),
            ..field("environment.TOKEN", None, None)
        }];
        fields.push(field("files.a.js", None, Some("1".into())));
        fields.push(field("files.b.js", Some("1".into()), Some("2".into())));
        fields.push(field("files.c.js", Some("1".into()), None));
        let secret_line = "      ~ environment.TOKEN = (sensitive value)";
        assert_eq!(
            lines(None, &fields, &Ui::plain()),
            [
                secret_line,
                "      + file \"a.js\"",
                "      ~ file \"b.js\"",
                "      - file \"c.js\""
            ]
        );
        for index in 0..12 {
            fields.push(field(&format!("files.{index}"), None, Some("1".into())));
        }
        assert_eq!(
            lines(None, &fields, &Ui::plain()),
            [
                secret_line,
                "        # files: 13 new, 1 changed, 1 to remove"
            ]
        );
    }
}
