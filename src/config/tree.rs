//! TOML as a tree of our own that keeps where each key and value stands in the file.

use std::ops::Range;

use toml::de::{DeTable, DeValue};

/// Byte offsets into the file.
pub(super) type Span = Range<usize>;

/// A value and its place.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

/// What TOML can say.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Text(String),
    Whole(i64),
    Number(f64),
    Switch(bool),
    Date,
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What it is, for messages: `this is a string`.
    pub(super) fn what(&self) -> &'static str {
        match self {
            Self::Text(_) => "a string",
            Self::Whole(_) => "a whole number",
            Self::Number(_) => "a number with a fraction",
            Self::Switch(_) => "true or false",
            Self::Date => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys and values in the order of the file.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// A key and its value.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) name_span: Span,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.entry(name).map(|entry| &entry.node.value)
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The text at `name` as a `T`; `None` where there is none or it is not valid.
    pub(super) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    pub(super) fn whole<T: TryFrom<i64>>(&self, name: &str) -> Option<T> {
        match self.value(name)? {
            Value::Whole(number) => T::try_from(*number).ok(),
            _ => None,
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "whole numbers here are small: their range is checked"
    )]
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        match self.value(name)? {
            Value::Number(number) => Some(*number),
            Value::Whole(number) => Some(*number as f64),
            _ => None,
        }
    }

    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            Value::Switch(on) => Some(*on),
            _ => None,
        }
    }

    pub(super) fn texts(&self, name: &str) -> Vec<String> {
        self.list(name)
            .iter()
            .filter_map(|node| match &node.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect()
    }

    pub(super) fn list(&self, name: &str) -> &[Node] {
        match self.value(name) {
            Some(Value::List(nodes)) => nodes,
            _ => &[],
        }
    }

    pub(super) fn table(&self, name: &str) -> Option<&Table> {
        match self.value(name)? {
            Value::Table(table) => Some(table),
            _ => None,
        }
    }

    /// The tables of an array of tables.
    pub(super) fn tables(&self, name: &str) -> impl Iterator<Item = (&Span, &Table)> {
        self.list(name).iter().filter_map(|node| match &node.value {
            Value::Table(table) => Some((&node.span, table)),
            _ => None,
        })
    }
}

/// Parses `text`. Syntax errors come back beside as much of the tree as could be understood.
pub(super) fn parse(text: &str) -> (Table, Vec<toml::de::Error>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    (table(document.get_ref()), errors)
}

fn table(table: &DeTable<'_>) -> Table {
    Table {
        entries: table
            .iter()
            .map(|(name, value)| Entry {
                name: name.get_ref().to_string(),
                name_span: name.span(),
                node: node(value),
            })
            .collect(),
    }
}

fn node(value: &toml::Spanned<DeValue<'_>>) -> Node {
    Node {
        span: value.span(),
        value: match value.get_ref() {
            DeValue::String(text) => Value::Text(text.to_string()),
            DeValue::Integer(number) => Value::Whole(
                // Beyond 64 bits it is beyond every range there is.
                i64::from_str_radix(number.as_str(), number.radix()).unwrap_or(
                    if number.as_str().starts_with('-') {
                        i64::MIN
                    } else {
                        i64::MAX
                    },
                ),
            ),
            DeValue::Float(number) => Value::Number(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(on) => Value::Switch(*on),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(values) => Value::List(values.iter().map(node).collect()),
            DeValue::Table(inner) => Value::Table(table(inner)),
        },
    }
}
