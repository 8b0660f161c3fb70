//! Holds a tree against [`super::keys`]: notes every problem and drops unknown keys.

use super::environment;
use super::keys;
use super::problem::Problem;
use super::rule::{Default, Key, Kind, TableRule, TextRule};
use super::tree::{Entry, Node, Table, Value};
use crate::names::StageName;

/// The keys of `table` that are known; a value that is noted as wrong stays, so that it does not count as missing.
///
/// `at` is the table's name in the file, empty for the top of it. Missing keys are not looked for here: an
/// overlay need not have them, see [`required`].
pub(super) fn table(
    table: &Table,
    rule: &'static TableRule,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Table {
    for (one, other) in rule.exclusive {
        if let (Some(one), Some(other)) = (table.entry(one), table.entry(other))
            && excludes(one)
            && excludes(other)
        {
            let summary = format!(
                "`{}` and `{}` in {} exclude each other",
                one.name,
                other.name,
                shown(at)
            );
            problems.push(
                Problem::new(summary, &other.name_span, "not together with the other one")
                    .other(&one.name_span, "this one")
                    .help("remove one of them"),
            );
        }
    }
    let mut kept = Table::default();
    for entry in &table.entries {
        match rule.key(&entry.name) {
            None => problems.push(unknown(entry, rule, at)),
            Some(key) => kept.entries.push(Entry {
                node: self::entry(entry, key, at, problems),
                ..entry.clone()
            }),
        }
    }
    kept
}

/// Whether a key is there in the sense of [`TableRule::exclusive`]: `managed = true` excludes nothing.
pub(super) fn excludes(entry: &Entry) -> bool {
    !matches!(entry.node.value, Value::Switch(true))
}

/// Notes every required key that `table`, all overlays applied, does not have.
pub(super) fn required(
    table: &Table,
    rule: &'static TableRule,
    at: &str,
    place: Option<&super::tree::Span>,
    problems: &mut Vec<Problem>,
) {
    for key in rule.keys() {
        match (&key.kind, table.entry(key.name)) {
            (_, None) => {
                if matches!(key.default, Default::Required(_)) {
                    let summary = format!("`{}` is missing in {}", key.name, shown(at));
                    problems.push(
                        match place {
                            Some(span) => Problem::new(summary, span, "this table"),
                            None => Problem::whole_file(summary),
                        }
                        .help(format!(
                            "add `{} = ...`: {}",
                            key.name,
                            allowed(&key.kind)
                        )),
                    );
                }
            }
            (Kind::Table(inner), Some(entry)) => {
                if let Value::Table(table) = &entry.node.value {
                    let place = Some(&entry.name_span);
                    required(table, inner, &join(at, key.name), place, problems);
                }
            }
            (Kind::Tables(inner), Some(_)) => {
                for (span, table) in table.tables(key.name) {
                    required(table, inner, &join(at, key.name), Some(span), problems);
                }
            }
            (_, Some(_)) => {}
        }
    }
}

fn entry(entry: &Entry, key: &Key, at: &str, problems: &mut Vec<Problem>) -> Node {
    let node = &entry.node;
    let inner = join(at, key.name);
    let keep = |value| Node {
        span: node.span.clone(),
        value,
    };
    match (&key.kind, &node.value) {
        (Kind::Table(rule), Value::Table(found)) => {
            keep(Value::Table(table(found, rule, &inner, problems)))
        }
        (Kind::Tables(rule), Value::List(nodes)) => keep(Value::List(
            nodes
                .iter()
                .filter_map(|node| tables_item(node, rule, &inner, problems))
                .collect(),
        )),
        (Kind::Stages, Value::Table(stages)) => keep(Value::Table(self::stages(stages, problems))),
        (Kind::Environment, Value::Table(variables)) => {
            environment::check(variables, problems);
            node.clone()
        }
        (
            Kind::Texts {
                rule,
                count_min,
                count_max,
            },
            Value::List(nodes),
        ) => {
            if !(*count_min..=*count_max).contains(&nodes.len()) {
                problems.push(
                    Problem::new(
                        format!("`{}` has too many or too few values", key.name),
                        &node.span,
                        format!("{} values", nodes.len()),
                    )
                    .help(format!("allowed: {count_min} to {count_max} values")),
                );
            }
            for item in nodes {
                if !matches!(&item.value, Value::Text(text) if (rule.valid)(text)) {
                    problems.push(bad_text(key.name, item, rule));
                }
            }
            node.clone()
        }
        (kind, _) => {
            problems.extend(leaf(key.name, kind, node));
            node.clone()
        }
    }
}

fn tables_item(
    node: &Node,
    rule: &'static TableRule,
    at: &str,
    problems: &mut Vec<Problem>,
) -> Option<Node> {
    let Value::Table(found) = &node.value else {
        let label = format!("this is {}", node.value.what());
        let summary = format!("`[[{at}]]` must be tables");
        problems.push(Problem::new(summary, &node.span, label));
        return None;
    };
    Some(Node {
        span: node.span.clone(),
        value: Value::Table(table(found, rule, at, problems)),
    })
}

/// What is wrong with a value that is neither table nor list.
fn leaf(name: &str, kind: &Kind, node: &Node) -> Option<Problem> {
    let out_of_range = |found: &str| {
        Problem::new(
            format!("`{name}` is out of range"),
            &node.span,
            format!("{found} is not allowed"),
        )
        .help(format!("allowed: {}", allowed(kind)))
    };
    match (kind, &node.value) {
        (Kind::Text(rule), Value::Text(text)) => {
            (!(rule.valid)(text)).then(|| bad_text(name, node, rule))
        }
        (Kind::Word(words), Value::Text(text)) => {
            let words = words();
            (!words.contains(&text.as_str())).then(|| {
                let help = match nearest(text, words.iter().copied()) {
                    Some(word) => format!("did you mean `{word}`? allowed: {}", allowed(kind)),
                    None => format!("allowed: {}", allowed(kind)),
                };
                let label = format!("`{text}` is not one of them");
                Problem::new(
                    format!("`{name}` must be one of a few words"),
                    &node.span,
                    label,
                )
                .help(help)
            })
        }
        (Kind::Whole { min, max }, Value::Whole(number)) => {
            (!(*min..=*max).contains(number)).then(|| out_of_range(&number.to_string()))
        }
        (Kind::WholeOf(numbers), Value::Whole(number)) => {
            (!numbers.contains(number)).then(|| out_of_range(&number.to_string()))
        }
        (Kind::Number { min, max }, Value::Number(number)) => {
            (!(*min..=*max).contains(number)).then(|| out_of_range(&number.to_string()))
        }
        #[expect(
            clippy::cast_precision_loss,
            reason = "only compared with a small range"
        )]
        (Kind::Number { min, max }, Value::Whole(number)) => {
            let inside = (*min..=*max).contains(&(*number as f64));
            (!inside).then(|| out_of_range(&number.to_string()))
        }
        (Kind::Switch, Value::Switch(_)) => None,
        (kind, value) => Some(
            Problem::new(
                format!("`{name}` must be {}", wanted(kind)),
                &node.span,
                format!("this is {}", value.what()),
            )
            .help(match (kind, value) {
                (Kind::Text(_), Value::Whole(number)) => {
                    format!("write it in quotes: \"{number}\"")
                }
                _ => format!("allowed: {}", allowed(kind)),
            }),
        ),
    }
}

fn bad_text(name: &str, node: &Node, rule: &TextRule) -> Problem {
    let label = match &node.value {
        Value::Text(text) => format!("`{text}` is not {}", rule.what),
        value => format!("this is {}, not a string", value.what()),
    };
    Problem::new(format!("`{name}` must be {}", rule.what), &node.span, label)
        .help(format!("allowed: {}", rule.rule))
}

fn stages(found: &Table, problems: &mut Vec<Problem>) -> Table {
    let mut kept = Table::default();
    for entry in &found.entries {
        if entry.name.parse::<StageName>().is_err() {
            let label = format!("`{}` is not a stage name", entry.name);
            problems.push(
                Problem::new(
                    "a stage has a name that is not allowed",
                    &entry.name_span,
                    label,
                )
                .help(format!("allowed: {}", StageName::RULE)),
            );
        } else if let Value::Table(overlay) = &entry.node.value {
            let at = format!("stage.{}", entry.name);
            let value = Value::Table(table(overlay, &keys::STAGE, &at, problems));
            kept.entries.push(Entry {
                node: Node {
                    span: entry.node.span.clone(),
                    value,
                },
                ..entry.clone()
            });
        } else {
            problems.push(
                Problem::new(
                    format!("`stage.{}` must be a table", entry.name),
                    &entry.node.span,
                    format!("this is {}", entry.node.value.what()),
                )
                .help(format!("write [stage.{}]", entry.name)),
            );
        }
    }
    kept
}

fn unknown(entry: &Entry, rule: &'static TableRule, at: &str) -> Problem {
    let names = || rule.keys().map(|key| key.name);
    let help = if let Some(name) = nearest(&entry.name, names()) {
        format!("did you mean `{name}`?")
    } else if let Some(table) = home(&entry.name) {
        format!("`{}` is a key of `[{table}]`", entry.name)
    } else {
        let names: Vec<_> = names().map(|name| format!("`{name}`")).collect();
        format!("the keys of {} are {}", shown(at), names.join(", "))
    };
    Problem::new(
        format!("unknown key `{}` in {}", entry.name, shown(at)),
        &entry.name_span,
        "not known",
    )
    .help(help)
}

/// The table below the top that has a key of this name.
fn home(name: &str) -> Option<&'static str> {
    keys::ROOT.keys().find_map(|key| match &key.kind {
        Kind::Table(rule) | Kind::Tables(rule) => rule.key(name).map(|_| key.name),
        _ => None,
    })
}

/// The candidate that `text` most likely was meant to be.
pub(super) fn nearest<'a>(
    text: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    let limit = (text.chars().count() / 3).clamp(1, 3);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(text, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

pub(super) fn join(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

fn shown(at: &str) -> String {
    match at {
        "" => "the file".to_owned(),
        "site" => "`[[site]]`".to_owned(),
        at if at.ends_with(".site") => format!("`[[{at}]]`"),
        at => format!("`[{at}]`"),
    }
}

/// What kind of value, for `must be ...`.
fn wanted(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text(rule) => rule.what,
        Kind::Word(_) => "a string",
        Kind::Whole { .. } | Kind::WholeOf(_) => "a whole number",
        Kind::Number { .. } => "a number",
        Kind::Switch => "true or false",
        Kind::Texts { .. } => "a list of strings",
        Kind::Table(_) | Kind::Environment | Kind::Stages => "a table",
        Kind::Tables(_) => "an array of tables",
    }
}

/// What is allowed, in words.
pub(super) fn allowed(kind: &Kind) -> String {
    match kind {
        Kind::Text(rule) => rule.rule.to_owned(),
        Kind::Word(words) => words()
            .iter()
            .map(|word| format!("\"{word}\""))
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Whole { min, max } => format!("{min} to {max}"),
        Kind::WholeOf(numbers) => numbers
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(", "),
        Kind::Number { min, max } => format!("{min} to {max}"),
        Kind::Switch => "true, false".to_owned(),
        Kind::Texts {
            rule,
            count_min,
            count_max,
        } => format!("{count_min} to {count_max} of: {}", rule.rule),
        Kind::Table(_) => "a table of its own keys".to_owned(),
        Kind::Tables(_) => "tables of their own keys".to_owned(),
        Kind::Environment => "NAME = \"text\", or NAME = { secret = \"env:OTHER\" }, or NAME = { secret = \"ssm:/path/name\" }".to_owned(),
        Kind::Stages => "one table a stage".to_owned(),
    }
}
