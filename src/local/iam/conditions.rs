//! `Condition` blocks of policies (IAM user guide, "IAM JSON policy elements: Condition operators").
//!
//! Texts, ARNs and booleans are compared. Other operators are refused by name, never guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::document::texts;
use super::simulate::{matches, not_evaluated};
use crate::local::query::QueryError;

/// What is known of a request: context keys in small letters, since they are compared without regard to case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Context(BTreeMap<String, Vec<String>>);

impl Context {
    /// Adds a key.
    pub(crate) fn with(mut self, key: &str, values: Vec<String>) -> Self {
        self.0.insert(key.to_ascii_lowercase(), values);
        self
    }
}

/// What became of a block.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) met: bool,
    /// Keys that it asks for and the context does not have.
    pub(super) missing: BTreeSet<String>,
}

/// Whether all of a block holds. No block holds always.
pub(super) fn evaluate(block: Option<&Value>, context: &Context) -> Result<Outcome, QueryError> {
    let mut outcome = Outcome {
        met: true,
        missing: BTreeSet::new(),
    };
    for (operator, keys) in block.and_then(Value::as_object).into_iter().flatten() {
        for (key, wanted) in keys.as_object().into_iter().flatten() {
            let found = context.0.get(&key.to_ascii_lowercase());
            if found.is_none() && operator != "Null" {
                outcome.missing.insert(key.clone());
            }
            outcome.met &= holds(operator, wanted, found)?;
        }
    }
    Ok(outcome)
}

fn holds(operator: &str, wanted: &Value, found: Option<&Vec<String>>) -> Result<bool, QueryError> {
    let wanted: Vec<String> = match wanted {
        Value::Bool(value) => vec![value.to_string()],
        other => {
            let texts = texts(other).unwrap_or_default();
            texts.into_iter().map(str::to_owned).collect()
        }
    };
    if wanted.iter().any(|value| value.contains("${")) {
        return Err(not_evaluated("policy variables (`${...}`)"));
    }
    if operator == "Null" {
        return Ok(wanted
            .iter()
            .any(|value| (value == "true") == found.is_none()));
    }
    let (operator, if_exists) = match operator.strip_suffix("IfExists") {
        Some(operator) => (operator, true),
        None => (operator, false),
    };
    let (negated, compare): (bool, fn(&str, &str) -> bool) = match operator {
        "StringEquals" => (false, |wanted, found| wanted == found),
        "StringNotEquals" => (true, |wanted, found| wanted == found),
        "StringEqualsIgnoreCase" | "Bool" => {
            (false, |wanted, found| wanted.eq_ignore_ascii_case(found))
        }
        "StringNotEqualsIgnoreCase" => (true, |wanted, found| wanted.eq_ignore_ascii_case(found)),
        "StringLike" | "ArnEquals" | "ArnLike" => (false, matches),
        "StringNotLike" | "ArnNotEquals" | "ArnNotLike" => (true, matches),
        other => return Err(not_evaluated(&format!("the condition operator {other}"))),
    };
    let Some(found) = found else {
        // What is not there equals nothing.
        return Ok(if_exists || negated);
    };
    let any = found
        .iter()
        .any(|found| wanted.iter().any(|wanted| compare(wanted, found)));
    Ok(any != negated)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn operators_compare_as_documented() {
        let context = Context::default()
            .with("aws:RequestedRegion", vec!["eu-central-1".to_owned()])
            .with(
                "iam:PassedToService",
                vec!["lambda.amazonaws.com".to_owned()],
            );
        for (block, met, missing) in [
            (
                json!({"StringEquals": {"AWS:requestedregion": "eu-central-1"}}),
                true,
                0,
            ),
            (
                json!({"StringEquals": {"aws:RequestedRegion": ["us-east-1"]}}),
                false,
                0,
            ),
            (
                json!({"StringLike": {"iam:PassedToService": "lambda.*"}}),
                true,
                0,
            ),
            (
                json!({"StringNotEquals": {"aws:RequestedRegion": "us-east-1"}}),
                true,
                0,
            ),
            (
                json!({"StringEquals": {"aws:PrincipalTag/team": "video"}}),
                false,
                1,
            ),
            (
                json!({"StringEqualsIfExists": {"aws:PrincipalTag/team": "video"}}),
                true,
                1,
            ),
            (
                json!({"StringNotEquals": {"aws:PrincipalTag/team": "video"}}),
                true,
                1,
            ),
            (json!({"Null": {"aws:PrincipalTag/team": "true"}}), true, 0),
            (
                json!({"StringEquals": {"aws:RequestedRegion": "eu-central-1"},
                       "Bool": {"aws:SecureTransport": "true"}}),
                false,
                1,
            ),
        ] {
            let outcome = evaluate(Some(&block), &context).unwrap();
            assert_eq!(
                (outcome.met, outcome.missing.len()),
                (met, missing),
                "{block}"
            );
        }
        let unknown = json!({"NumericLessThan": {"aws:RequestedRegion": "1"}});
        assert!(evaluate(Some(&unknown), &context).is_err());
        assert!(evaluate(None, &context).unwrap().met);
    }
}
