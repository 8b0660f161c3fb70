//! Policy documents: what AWS refuses when they are written (IAM user guide, "IAM JSON policy elements reference").

use serde_json::{Map, Value};

use crate::local::query::QueryError;

/// AWS's quotas, in characters that are not white space.
const TRUST_CHARACTERS_MAX: usize = 2048;
const INLINE_CHARACTERS_MAX: usize = 10_240;
const MANAGED_CHARACTERS_MAX: usize = 6144;

/// The API model's bound on any document.
const DOCUMENT_CHARACTERS_MAX: usize = 131_072;

/// Which rules a policy follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Says who may use a role.
    Trust,
    /// Says what a role may do.
    Identity,
}

/// Whether AWS takes `text` as a policy of that kind.
pub(super) fn check(text: &str, kind: Kind) -> Result<(), QueryError> {
    if text.chars().count() > DOCUMENT_CHARACTERS_MAX {
        return Err(QueryError::constraint(
            "...",
            "policyDocument",
            "have length less than or equal to 131072",
        ));
    }
    let Ok(policy) = serde_json::from_str::<Value>(text) else {
        return Err(malformed("This policy contains invalid Json"));
    };
    let Value::Object(policy) = policy else {
        return Err(malformed("Syntax errors in policy."));
    };
    known_keys(&policy, &["Version", "Id", "Statement"])?;
    match policy.get("Version") {
        None => {}
        Some(Value::String(version)) if matches!(&**version, "2012-10-17" | "2008-10-17") => {}
        Some(_) => return Err(malformed("The policy must contain a valid version string.")),
    }
    let statements: Vec<&Value> = match policy.get("Statement") {
        Some(Value::Array(statements)) if !statements.is_empty() => statements.iter().collect(),
        Some(statement @ Value::Object(_)) => vec![statement],
        _ => return Err(malformed("Syntax errors in policy.")),
    };
    let mut labels = Vec::new();
    for statement in statements {
        let Value::Object(statement) = statement else {
            return Err(malformed("Syntax errors in policy."));
        };
        check_statement(statement, kind)?;
        if let Some(label) = statement.get("Sid") {
            if labels.contains(&label) {
                return Err(malformed(
                    "Statement IDs (SID) in a single policy must be unique.",
                ));
            }
            labels.push(label);
        }
    }
    Ok(())
}

/// A trust policy within its quota.
pub(super) fn check_trust_size(policy: &str) -> Result<(), QueryError> {
    if characters(policy) > TRUST_CHARACTERS_MAX {
        return Err(limit(format!(
            "Cannot exceed quota for ACLSizePerRole: {TRUST_CHARACTERS_MAX}"
        )));
    }
    Ok(())
}

/// A managed policy within its quota.
pub(super) fn check_managed_size(policy: &str) -> Result<(), QueryError> {
    if characters(policy) > MANAGED_CHARACTERS_MAX {
        return Err(limit(format!(
            "Cannot exceed quota for PolicySize: {MANAGED_CHARACTERS_MAX}"
        )));
    }
    Ok(())
}

/// A role's inline policies within their quota, which they share.
pub(super) fn check_inline_size<'a>(
    role: &str,
    policies: impl Iterator<Item = &'a String>,
) -> Result<(), QueryError> {
    if policies.map(|policy| characters(policy)).sum::<usize>() > INLINE_CHARACTERS_MAX {
        return Err(limit(format!(
            "Maximum policy size of {INLINE_CHARACTERS_MAX} bytes exceeded for role {role}"
        )));
    }
    Ok(())
}

fn check_statement(statement: &Map<String, Value>, kind: Kind) -> Result<(), QueryError> {
    known_keys(
        statement,
        &[
            "Sid",
            "Effect",
            "Principal",
            "NotPrincipal",
            "Action",
            "NotAction",
            "Resource",
            "NotResource",
            "Condition",
        ],
    )?;
    if !matches!(statement.get("Effect"), Some(Value::String(effect)) if effect == "Allow" || effect == "Deny")
        || !matches!(statement.get("Sid"), None | Some(Value::String(_)))
        || !matches!(statement.get("Condition"), None | Some(Value::Object(_)))
    {
        return Err(malformed("Syntax errors in policy."));
    }
    let actions = one_of(statement, "Action", "NotAction")?
        .ok_or_else(|| malformed("Policy statement must contain actions."))?;
    for action in &actions {
        let vendor = action.split_once(':').map(|(vendor, _)| vendor);
        let named = vendor.is_some_and(|vendor| {
            !vendor.is_empty()
                && vendor
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        });
        if *action != "*" && !named {
            return Err(malformed(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
            ));
        }
    }
    match kind {
        Kind::Trust => check_trust(statement, &actions),
        Kind::Identity => check_identity(statement),
    }
}

fn check_trust(statement: &Map<String, Value>, actions: &[&str]) -> Result<(), QueryError> {
    for field in ["Resource", "NotResource"] {
        if statement.contains_key(field) {
            return Err(malformed(format!("Has prohibited field {field}")));
        }
    }
    if actions
        .iter()
        .any(|action| !action.to_ascii_lowercase().starts_with("sts:") && *action != "*")
    {
        return Err(malformed(
            "AssumeRole policy may only specify STS AssumeRole actions.",
        ));
    }
    let principal = statement
        .get("Principal")
        .or_else(|| statement.get("NotPrincipal"));
    match principal {
        None => Err(malformed("Missing required field Principal")),
        Some(Value::String(text)) if text == "*" => Ok(()),
        Some(Value::Object(principals)) if !principals.is_empty() => {
            known_keys(
                principals,
                &["AWS", "Service", "Federated", "CanonicalUser"],
            )?;
            for (kind, values) in principals {
                let values = texts(values).ok_or_else(|| malformed("Syntax errors in policy."))?;
                if let Some(wrong) = values.iter().find(|value| !principal_exists(kind, value)) {
                    return Err(malformed(format!(
                        "Invalid principal in policy: \"{}\":\"{wrong}\"",
                        if kind == "Service" { "SERVICE" } else { kind }
                    )));
                }
            }
            Ok(())
        }
        Some(_) => Err(malformed("Invalid principal in policy.")),
    }
}

fn principal_exists(kind: &str, value: &str) -> bool {
    match kind {
        "Service" => value
            .strip_suffix(".amazonaws.com")
            .or_else(|| value.strip_suffix(".amazonaws.com.cn"))
            .is_some_and(|name| !name.is_empty()),
        "AWS" => {
            value == "*"
                || value.starts_with("arn:aws")
                || value.len() == 12 && value.bytes().all(|b| b.is_ascii_digit())
        }
        _ => !value.is_empty(),
    }
}

fn check_identity(statement: &Map<String, Value>) -> Result<(), QueryError> {
    if statement.contains_key("Principal") || statement.contains_key("NotPrincipal") {
        return Err(malformed("Policy document should not specify a principal."));
    }
    let resources = one_of(statement, "Resource", "NotResource")?
        .ok_or_else(|| malformed("Policy statement must contain resources."))?;
    for resource in resources {
        if resource != "*" && !resource.starts_with("arn:") {
            return Err(malformed(format!(
                "Resource {resource} must be in ARN format or \"*\"."
            )));
        }
    }
    Ok(())
}

/// The texts of one of two fields that exclude each other.
fn one_of<'a>(
    statement: &'a Map<String, Value>,
    field: &str,
    not_field: &str,
) -> Result<Option<Vec<&'a str>>, QueryError> {
    match (statement.get(field), statement.get(not_field)) {
        (Some(_), Some(_)) => Err(malformed("Syntax errors in policy.")),
        (None, None) => Ok(None),
        (Some(value), None) | (None, Some(value)) => texts(value)
            .filter(|texts| !texts.is_empty())
            .map(Some)
            .ok_or_else(|| malformed("Syntax errors in policy.")),
    }
}

/// A text, or a list of texts.
pub(super) fn texts(value: &Value) -> Option<Vec<&str>> {
    match value {
        Value::String(text) => Some(vec![text]),
        Value::Array(values) => values.iter().map(Value::as_str).collect(),
        _ => None,
    }
}

fn known_keys(object: &Map<String, Value>, known: &[&str]) -> Result<(), QueryError> {
    if object.keys().all(|key| known.contains(&key.as_str())) {
        Ok(())
    } else {
        Err(malformed("Syntax errors in policy."))
    }
}

fn characters(policy: &str) -> usize {
    policy.chars().filter(|c| !c.is_whitespace()).count()
}

fn malformed(message: impl Into<String>) -> QueryError {
    QueryError::new(400, "MalformedPolicyDocument", message)
}

fn limit(message: String) -> QueryError {
    QueryError::new(409, "LimitExceeded", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str, kind: Kind) -> String {
        check(text, kind).map_or_else(|error| error.message, |()| "taken".to_owned())
    }

    #[test]
    fn what_a_role_may_do() {
        let statement = |inner: &str| {
            format!(r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", {inner}}}}}"#)
        };
        for (inner, says) in [
            (r#""Action": "s3:GetObject", "Resource": "*""#, "taken"),
            (
                r#""NotAction": ["s3:*"], "NotResource": ["arn:aws:s3:::b/*"]"#,
                "taken",
            ),
            (
                r#""Action": "GetObject", "Resource": "*""#,
                "prefaced by a vendor",
            ),
            (r#""Action": "s3:*", "Resource": "bucket""#, "ARN format"),
            (r#""Action": "s3:*""#, "must contain resources"),
            (r#""Resource": "*""#, "must contain actions"),
            (r#""Action": [], "Resource": "*""#, "Syntax errors"),
            (
                r#""Action": "s3:*", "NotAction": "s3:*", "Resource": "*""#,
                "Syntax errors",
            ),
            (
                r#""Action": "s3:*", "Resource": "*", "Principal": "*""#,
                "not specify a principal",
            ),
            (
                r#""Action": "s3:*", "Resource": "*", "Colour": "red""#,
                "Syntax errors",
            ),
        ] {
            let refusal = refusal(&statement(inner), Kind::Identity);
            assert!(refusal.contains(says), "{inner}: {refusal}");
        }
    }

    #[test]
    fn who_may_use_a_role() {
        let statement = |inner: &str| {
            format!(r#"{{"Version": "2012-10-17", "Statement": [{{"Effect": "Allow", {inner}}}]}}"#)
        };
        let lambda = r#""Principal": {"Service": "lambda.amazonaws.com"}"#;
        for (inner, says) in [
            (format!(r#"{lambda}, "Action": "sts:AssumeRole""#), "taken"),
            (
                r#""Action": "sts:AssumeRole""#.to_owned(),
                "required field Principal",
            ),
            (
                format!(r#"{lambda}, "Action": "s3:GetObject""#),
                "only specify STS",
            ),
            (
                format!(r#"{lambda}, "Action": "sts:AssumeRole", "Resource": "*""#),
                "prohibited field",
            ),
            (
                r#""Principal": {"Service": "lambda"}, "Action": "sts:AssumeRole""#.to_owned(),
                "Invalid principal",
            ),
        ] {
            let refusal = refusal(&statement(&inner), Kind::Trust);
            assert!(refusal.contains(says), "{inner}: {refusal}");
        }
    }

    #[test]
    fn what_is_no_policy_at_all() {
        for (text, says) in [
            ("{not json", "invalid Json"),
            ("[]", "Syntax errors"),
            (r#"{"Version": "2012-10-17"}"#, "Syntax errors"),
            (
                r#"{"Version": "2012-10-17", "Statement": []}"#,
                "Syntax errors",
            ),
            (
                r#"{"Version": "2020-01-01", "Statement": []}"#,
                "version string",
            ),
            (
                r#"{"Statement": [{"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"},
                    {"Sid": "a", "Effect": "Deny", "Action": "*", "Resource": "*"}]}"#,
                "must be unique",
            ),
        ] {
            let refusal = refusal(text, Kind::Identity);
            assert!(refusal.contains(says), "{text}: {refusal}");
        }
    }
}
