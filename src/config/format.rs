//! One layout for `remotion.toml`: comments stay, meaning stays, only blanks and empty lines change.
//!
//! `key = value` with one blank at each side, nothing indented, an empty line before each table, never two empty
//! lines in a row, one blank before a comment behind a value. What spans several lines stays as it is.

use toml_edit::visit_mut::{self, VisitMut};
use toml_edit::{Array, DocumentMut, InlineTable, KeyMut, RawString, Table, Value};

use super::load::syntax_problem;
use super::{ConfigError, LoadOptions, Problems};

/// `text` in the one layout.
///
/// # Errors
/// It is not TOML.
pub fn format(text: &str, options: &LoadOptions) -> Result<String, ConfigError> {
    let (_, errors) = super::tree::parse(text);
    let parsed = text.parse::<DocumentMut>();
    let (Ok(mut document), true) = (parsed, errors.is_empty()) else {
        return Err(ConfigError::Invalid(Problems {
            file: options.shown_as.clone(),
            text: text.to_owned(),
            list: errors.iter().map(syntax_problem).collect(),
        }));
    };
    let trailing = comments(raw(Some(document.trailing())));
    document.set_trailing(trailing);
    Layout.visit_document_mut(&mut document);
    let text = document.to_string();
    // What stands before the first key or table was laid out as if something stood before it.
    Ok(format!("{}\n", text.trim()))
}

struct Layout;

impl VisitMut for Layout {
    fn visit_table_mut(&mut self, table: &mut Table) {
        let position = table.position();
        if !table.is_dotted() && !table.is_implicit() && position.is_some() {
            let before = comments(raw(table.decor().prefix()));
            let behind = behind(raw(table.decor().suffix()));
            // A comment may belong to what stands above: an empty line anywhere is enough.
            let separated = before.starts_with('\n') || before.contains("\n\n");
            let gap = if separated { "" } else { "\n" };
            table.decor_mut().set_prefix(format!("{gap}{before}"));
            table.decor_mut().set_suffix(behind);
        }
        visit_mut::visit_table_mut(self, table);
    }

    fn visit_table_like_kv_mut(&mut self, mut key: KeyMut<'_>, node: &mut toml_edit::Item) {
        if let toml_edit::Item::Value(value) = node {
            let before = comments(raw(key.leaf_decor().prefix()));
            key.leaf_decor_mut().set_prefix(before);
            key.leaf_decor_mut().set_suffix(" ");
            key.dotted_decor_mut().clear();
            let behind = behind(raw(value.decor().suffix()));
            value.decor_mut().set_prefix(" ");
            value.decor_mut().set_suffix(behind);
            inline(value);
        } else {
            key.dotted_decor_mut().clear();
            visit_mut::visit_table_like_kv_mut(self, key, node);
        }
    }
}

/// Lays out a value on one line; several lines stay as they are.
fn inline(value: &mut Value) {
    match value {
        Value::Array(array) if !array_text(array).contains(['\n', '#']) => {
            for item in array.iter_mut() {
                inline(item);
            }
            array.fmt();
        }
        Value::InlineTable(table) if !table_text(table).contains(['\n', '#']) => {
            for (_, item) in table.iter_mut() {
                inline(item);
            }
            table.fmt();
        }
        _ => {}
    }
}

fn array_text(array: &Array) -> String {
    Value::Array(array.clone()).to_string()
}

fn table_text(table: &InlineTable) -> String {
    Value::InlineTable(table.clone()).to_string()
}

fn raw(text: Option<&RawString>) -> &str {
    text.and_then(RawString::as_str).unwrap_or_default()
}

/// Comment lines without indentation, with at most one empty line in a row.
fn comments(text: &str) -> String {
    let mut lines: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim) {
        if !(line.is_empty() && lines.last().is_none_or(|last| last.is_empty())) {
            lines.push(line);
        }
    }
    let mut laid_out = String::new();
    // An empty line that stood at the beginning separates from what stands before.
    if text.trim_start_matches([' ', '\t', '\r']).starts_with('\n') {
        laid_out.push('\n');
    }
    for line in lines {
        laid_out.push_str(line);
        laid_out.push('\n');
    }
    laid_out
}

/// A comment behind a value or a header, one blank before it.
fn behind(text: &str) -> String {
    match text.trim() {
        "" => String::new(),
        comment => format!(" {comment}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn laid_out(text: &str) -> String {
        let options = LoadOptions {
            path: "/project/remotion.toml".into(),
            shown_as: "remotion.toml".into(),
            stage: None,
            check_folders: false,
        };
        format(text, &options).unwrap_or_else(|error| panic!("{error}\n{text}"))
    }

    #[test]
    fn blanks_change_and_comments_stay() {
        let text = "\n\n# head\n   # more\n\n\n\nproject=\"a\"   # why\n\
                    function . memory_mb=1\n  [logs]   # here\n # below\n\n\t[[site]]\nname='x'\n\
                    list=[1,\"b\" ,{c=1}]\nlong = [\n  1, # one\n]\n[[site]]\n# end\n\n";
        let expected = "# head\n# more\n\nproject = \"a\" # why\nfunction.memory_mb = 1\n\n\
                        [logs] # here\n# below\n\n[[site]]\nname = 'x'\nlist = [1, \"b\", { c = 1 }]\n\
                        long = [\n  1, # one\n]\n\n[[site]]\n# end\n";
        assert_eq!(laid_out(text), expected);
    }

    /// Lines that can follow each other in any order but for names that must not repeat.
    fn document() -> impl Strategy<Value = String> {
        let line = prop_oneof![
            Just("\n".to_owned()),
            Just("  \t\n".to_owned()),
            "[ \t]{0,3}# ?[a-z= ]{0,8}\n",
            "[ ]{0,3}KEY[ ]{0,2}=[ ]{0,2}(1|true|'a  b'|\"x # y\"|[ ]{0,1}\\[1,2 \\]|\\{[ ]?a=1\\})[ ]{0,2}(#c)?\n",
            "[ ]{0,2}KEY[ ]?\\.[ ]?b[ ]{0,2}=1\n",
            "[ ]{0,2}KEY = \"\"\"\n  a\n\n\n  # b = 1\n\"\"\"\n",
            "KEY=\\[\n 1,   # one\n\n\n2\\]\n",
            "[ ]{0,2}\\[KEY\\][ ]{0,2}(# t)?\n",
            "[ ]{0,2}\\[\\[array\\]\\]\n",
            "[ ]{0,2}\\[KEY\\.inner\\]\n",
        ];
        proptest::collection::vec(line, 0..14).prop_map(|lines| {
            lines
                .iter()
                .enumerate()
                .map(|(number, line)| line.replace("KEY", &format!("key{number}")))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn meaning_and_comments_survive_and_the_second_time_does_nothing(text in document()) {
            let once = laid_out(&text);
            prop_assert_eq!(&laid_out(&once), &once);
            let meaning = |text: &str| text.parse::<toml::Table>().unwrap();
            prop_assert_eq!(meaning(&once), meaning(&text));
            let comment_lines = |text: &str| -> Vec<String> {
                text.lines().filter_map(|line| line.trim().strip_prefix('#').map(|rest| rest.trim().to_owned())).collect()
            };
            prop_assert_eq!(comment_lines(&once), comment_lines(&text));
        }
    }
}
