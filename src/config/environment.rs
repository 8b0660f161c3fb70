//! `[function.environment]`: names that Lambda takes, and values that are texts or references to secrets.

use super::EnvironmentValue;
use super::problem::Problem;
use super::tree::{Entry, Table, Value};

/// Lambda's limit on all variables together, names included (Lambda quotas, 4 KB).
const ENVIRONMENT_BYTES_MAX: usize = 4_096;

/// Notes names that Lambda does not take, values that are neither text nor secret, and too much of both.
pub(super) fn check(found: &Table, problems: &mut Vec<Problem>) {
    let mut bytes = 0;
    for entry in &found.entries {
        bytes += entry.name.len();
        if variable_name_reserved(&entry.name) {
            problems.push(
                Problem::new(
                    "an environment variable has a name that Lambda keeps for itself",
                    &entry.name_span,
                    format!("`{}` is reserved", entry.name),
                )
                .help("use a name that does not begin with `AWS_`, `LAMBDA_` or `_`"),
            );
        } else if !variable_name_valid(&entry.name) {
            problems.push(
                Problem::new(
                    "an environment variable has a name that Lambda does not take",
                    &entry.name_span,
                    format!("`{}` is not a name", entry.name),
                )
                .help("allowed: 2 or more letters, digits and `_`, beginning with a letter"),
            );
        }
        match &entry.node.value {
            Value::Text(text) => bytes += text.len(),
            Value::Table(reference) => {
                if let Err(problem) = secret(reference, entry) {
                    problems.push(*problem);
                }
            }
            value => problems.push(
                Problem::new(
                    format!("the variable `{}` must be a string or a secret", entry.name),
                    &entry.node.span,
                    format!("this is {}", value.what()),
                )
                .help("write \"text\", or { secret = \"env:NAME\" }"),
            ),
        }
    }
    if bytes > ENVIRONMENT_BYTES_MAX
        && let (Some(first), Some(last)) = (found.entries.first(), found.entries.last())
    {
        problems.push(
            Problem::new(
                "the environment is larger than Lambda allows",
                &first.name_span,
                format!("{bytes} bytes from here to `{}`", last.name),
            )
            .help(format!(
                "allowed: {ENVIRONMENT_BYTES_MAX} bytes, names and values together"
            )),
        );
    }
}

/// Where a `{ secret = "env:NAME" }` or `{ secret = "ssm:/NAME" }` takes its value from.
pub(super) fn secret_source(reference: &Table) -> Option<EnvironmentValue> {
    let text = reference.text("secret")?;
    if let Some(name) = text.strip_prefix("ssm:") {
        return parameter_name_valid(name)
            .then(|| EnvironmentValue::FromParameter(name.to_owned()));
    }
    let name = text.strip_prefix("env:")?;
    let valid = !name.is_empty() && !name.contains(['=', '\0']);
    valid.then(|| EnvironmentValue::FromEnvironment(name.to_owned()))
}

/// Names of parameters as Parameter Store takes them, with a version behind them if one is meant.
fn parameter_name_valid(name: &str) -> bool {
    let (name, version) = name.split_once(':').unwrap_or((name, "1"));
    let rest = name.trim_start_matches('/');
    !rest.is_empty()
        && (!rest.contains('/') || name.starts_with('/'))
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte))
        && version.parse::<u64>().is_ok_and(|version| version > 0)
}

fn secret(reference: &Table, variable: &Entry) -> Result<(), Box<Problem>> {
    let problem = |entry: &Entry, label: String, help: &str| {
        let summary = format!("the variable `{}` is not a valid secret", variable.name);
        Err(Box::new(
            Problem::new(summary, &entry.node.span, label).help(help),
        ))
    };
    if let Some(other) = reference
        .entries
        .iter()
        .find(|entry| entry.name != "secret")
    {
        return Err(Box::new(
            Problem::new(
                format!("unknown key `{}` in a secret", other.name),
                &other.name_span,
                "not a key of a secret",
            )
            .help("write { secret = \"env:NAME\" }"),
        ));
    }
    let Some(entry) = reference.entry("secret") else {
        return problem(
            variable,
            "an empty table".to_owned(),
            "write { secret = \"env:NAME\" }",
        );
    };
    match &entry.node.value {
        Value::Text(_) if secret_source(reference).is_some() => Ok(()),
        Value::Text(text) => problem(
            entry,
            format!("`{text}` is not a reference"),
            "allowed: `env:` and the name of a variable that rmx finds when it applies, or `ssm:` and the name of a parameter \
             such as /renders/token",
        ),
        value => problem(
            entry,
            format!("this is {}", value.what()),
            "allowed: \"env:NAME\", \"ssm:/NAME\"",
        ),
    }
}

/// Names of environment variables as Lambda takes them.
fn variable_name_valid(name: &str) -> bool {
    name.len() >= 2
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Names that Lambda keeps for itself (Lambda developer guide, "Defined runtime environment variables").
fn variable_name_reserved(name: &str) -> bool {
    name.starts_with("AWS_") || name.starts_with("LAMBDA_") || name.starts_with('_')
}
