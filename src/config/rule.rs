//! What can be said about a key, and the checks of single texts. The keys themselves are in `keys.rs`.

/// A key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    /// What it means, in Markdown sentences.
    pub(super) doc: &'static str,
}

/// What holds where a key is absent.
#[derive(Clone, Copy)]
pub(super) enum Default {
    /// It must be there. With an example.
    Required(&'static str),
    /// This value, as it would be written in the file.
    Value(&'static str),
    /// Something that depends, in words, and an example of a value.
    Words(&'static str, &'static str),
}

/// What a key may hold.
pub(super) enum Kind {
    /// A text that follows a rule.
    Text(&'static TextRule),
    /// One of these words.
    Word(fn() -> Vec<&'static str>),
    /// A whole number, both ends included.
    Whole { min: i64, max: i64 },
    /// One of these whole numbers.
    WholeOf(&'static [i64]),
    /// A number of a range, both ends included.
    Number { min: f64, max: f64 },
    /// `true` or `false`.
    Switch,
    /// A list of texts that follow a rule.
    Texts {
        rule: &'static TextRule,
        count_min: usize,
        count_max: usize,
    },
    /// A table.
    Table(&'static TableRule),
    /// An array of tables.
    Tables(&'static TableRule),
    /// Names and values of environment variables.
    Environment,
    /// Tables of overlays by stage name.
    Stages,
}

/// A rule for a text.
pub(super) struct TextRule {
    /// What it is, as in `a project name`.
    pub(super) what: &'static str,
    /// The rule in words.
    pub(super) rule: &'static str,
    pub(super) valid: fn(&str) -> bool,
}

/// A folder of the project's.
pub(super) static FOLDER: TextRule = TextRule {
    what: "a folder",
    rule: "a path, relative to the folder of this file",
    valid: |text| !text.is_empty() && !text.contains('\0'),
};

/// A rule for a table.
pub(super) struct TableRule {
    /// The keys, in groups that tables share.
    pub(super) groups: &'static [&'static [Key]],
    /// Pairs of keys that cannot stand together; an overlay's one displaces the other below it.
    pub(super) exclusive: &'static [(&'static str, &'static str)],
}

impl TableRule {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static Key> {
        self.groups.iter().copied().flatten()
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys().find(|key| key.name == name)
    }
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:REST`.
pub(super) fn arn(text: &str, service: &str, rest_valid: fn(&str) -> bool) -> bool {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, named, _, _, rest]
        if partition.starts_with("aws") && named == service && rest_valid(rest))
}

pub(super) fn aws_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        matches!(digits.len(), 8 | 17)
            && digits
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}
