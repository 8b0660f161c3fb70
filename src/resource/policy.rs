//! IAM policies compared by meaning.
//!
//! IAM hands a policy back in other clothes than it was given: percent-encoded, and people write the same policy
//! in many ways. Two documents mean the same if their canonical forms are equal.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

/// Reads a policy as IAM returns it: JSON, percent-encoded as RFC 3986 says, or plain.
///
/// `None` if it is not a JSON object.
pub fn parse(document: &str) -> Option<Value> {
    let object = |text: &str| {
        serde_json::from_str(text)
            .ok()
            .filter(serde_json::Value::is_object)
    };
    // A plain document may hold `%` itself, so decoding comes second.
    object(document).or_else(|| object(&percent_decode_str(document).decode_utf8().ok()?))
}

/// Whether two policies grant and deny the same.
pub fn same_meaning(one: &Value, other: &Value) -> bool {
    canonical(one) == canonical(other)
}

/// The one form of all policies with the same meaning.
///
/// A single value and a list of one are the same; order and repetition do not matter; `Sid` and `Id` are labels;
/// actions and condition keys ignore case (IAM user guide, "IAM JSON policy elements reference").
pub fn canonical(policy: &Value) -> Value {
    let Value::Object(fields) = policy else {
        return policy.clone();
    };
    let mut fields = sorted(fields.iter().filter(|(name, _)| *name != "Id").map(
        |(name, value)| {
            let value = match name.as_str() {
                "Statement" => list(value, statement),
                _ => value.clone(),
            };
            (name.clone(), value)
        },
    ));
    // The version IAM assumes.
    fields
        .entry("Version")
        .or_insert_with(|| Value::from("2008-10-17"));
    Value::Object(fields)
}

fn statement(value: &Value) -> Value {
    let Value::Object(fields) = value else {
        return value.clone();
    };
    let fields = fields.iter().filter(|(name, _)| *name != "Sid");
    Value::Object(sorted(fields.map(|(name, value)| {
        let value = match name.as_str() {
            "Action" | "NotAction" => list(value, lower_case),
            "Resource" | "NotResource" => list(value, Value::clone),
            "Principal" | "NotPrincipal" => principal(value),
            "Condition" => condition(value),
            _ => value.clone(),
        };
        (name.clone(), value)
    })))
}

fn principal(value: &Value) -> Value {
    match value {
        // `"*"` and `{"AWS": "*"}` both mean everybody.
        Value::String(_) => principal(&serde_json::json!({ "AWS": value })),
        Value::Object(kinds) => Value::Object(sorted(
            kinds
                .iter()
                .map(|(kind, who)| (kind.clone(), list(who, Value::clone))),
        )),
        _ => value.clone(),
    }
}

fn condition(value: &Value) -> Value {
    let Value::Object(operators) = value else {
        return value.clone();
    };
    Value::Object(sorted(operators.iter().map(|(operator, keys)| {
        let keys = match keys {
            Value::Object(keys) => Value::Object(sorted(
                keys.iter()
                    .map(|(key, values)| (key.to_ascii_lowercase(), list(values, text))),
            )),
            _ => keys.clone(),
        };
        (operator.clone(), keys)
    })))
}

/// A value or a list of them as a sorted list without repetition, each made canonical by `item`.
fn list(value: &Value, item: impl Fn(&Value) -> Value) -> Value {
    let items: BTreeMap<String, Value> = match value {
        Value::Array(items) => items.iter().map(&item).collect(),
        single => vec![item(single)],
    }
    .into_iter()
    .map(|value| (value.to_string(), value))
    .collect();
    items.into_values().collect()
}

fn lower_case(value: &Value) -> Value {
    value
        .as_str()
        .map_or_else(|| value.clone(), |s| s.to_ascii_lowercase().into())
}

/// Conditions compare text: `true` and `"true"` are the same.
fn text(value: &Value) -> Value {
    match value {
        Value::Bool(_) | Value::Number(_) => value.to_string().into(),
        _ => value.clone(),
    }
}

/// A JSON object with its keys in order, so that its text can be compared.
fn sorted(fields: impl Iterator<Item = (String, Value)>) -> Map<String, Value> {
    fields.collect::<BTreeMap<_, _>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clothes_do_not_matter() {
        let one = json!({
            "Version": "2012-10-17",
            "Statement": [
                {"Sid": "A", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": "arn:x"},
                {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*",
                 "Condition": {"Bool": {"aws:SecureTransport": true}}},
            ],
        });
        let other = json!({
            "Statement": [
                {"Resource": ["*"], "Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["*"],
                 "Condition": {"Bool": {"AWS:SecureTransport": ["true"]}}},
                {"Effect": "Allow", "Resource": ["arn:x"], "Action": ["s3:PUTObject", "s3:getobject", "s3:GetObject"]},
            ],
            "Version": "2012-10-17",
        });
        assert!(same_meaning(&one, &other));
        let single = json!({"Version": "2012-10-17", "Statement": one["Statement"][0]});
        let listed = json!({"Version": "2012-10-17", "Statement": [one["Statement"][0]]});
        assert!(same_meaning(&single, &listed));
    }

    #[test]
    fn meaning_matters() {
        let base = json!({"Version": "2012-10-17", "Statement": [
            {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:x/A"}]});
        for (pointer, value) in [
            ("/Version", "2008-10-17"),
            ("/Statement/0/Effect", "Deny"),
            ("/Statement/0/Action", "s3:Get*"),
            ("/Statement/0/Resource", "arn:x/a"),
        ] {
            let mut changed = base.clone();
            *changed.pointer_mut(pointer).unwrap() = value.into();
            assert!(!same_meaning(&base, &changed), "{pointer}");
        }
    }

    #[test]
    fn documents_may_be_percent_encoded() {
        let plain = r#"{"Version":"2012-10-17","Statement":[]}"#;
        let encoded =
            percent_encoding::utf8_percent_encode(plain, percent_encoding::NON_ALPHANUMERIC);
        assert_eq!(parse(&encoded.to_string()), parse(plain));
        assert!(parse(plain).is_some());
        assert_eq!(parse("\"text\""), None);
        assert_eq!(parse("%"), None);
    }
}
