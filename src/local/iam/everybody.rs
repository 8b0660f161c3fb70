//! Policies of resources: what they let everybody do. Nothing else of them is evaluated here.

use serde_json::Value;

use super::document::texts;
use super::simulate::matches;

/// Whether some statement of a resource's `policy` lets everybody do something, without a condition.
pub(in crate::local) fn is_public(policy: &Value) -> bool {
    statements(policy).any(|statement| statement["Effect"] == "Allow" && is_everybody(statement))
}

/// Whether everybody may do `action` on `resource` by the resource's `policy`: some statement allows it and none denies it.
pub(in crate::local) fn allows_everybody(policy: &Value, action: &str, resource: &str) -> bool {
    let says = |effect: &str| {
        statements(policy).any(|statement| {
            let names = |field: &str, text: &str| {
                let patterns = texts(&statement[field]).unwrap_or_default();
                patterns.iter().any(|pattern| matches(pattern, text))
            };
            statement["Effect"] == effect
                && is_everybody(statement)
                && names("Action", action)
                && names("Resource", resource)
        })
    };
    says("Allow") && !says("Deny")
}

fn statements(policy: &Value) -> impl Iterator<Item = &Value> {
    let (list, single) = match &policy["Statement"] {
        Value::Array(statements) => (statements.as_slice(), None),
        single => (&[][..], Some(single)),
    };
    list.iter().chain(single)
}

/// Whether a statement is about everybody whatever the circumstances.
fn is_everybody(statement: &Value) -> bool {
    let principal = &statement["Principal"];
    let named = texts(principal)
        .or_else(|| texts(&principal["AWS"]))
        .unwrap_or_default();
    named.contains(&"*") && statement.get("Condition").is_none()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everybody_may_do_what_is_allowed_without_a_condition_and_not_denied() {
        let statement = |effect: &str, resource: &str| {
            json!({
                "Effect": effect, "Principal": "*", "Action": ["s3:Get*"], "Resource": resource,
            })
        };
        let allow = statement("Allow", "arn:aws:s3:::b/*");
        let read = |policy: &Value| allows_everybody(policy, "s3:GetObject", "arn:aws:s3:::b/a");
        assert!(read(&json!({ "Statement": allow })));
        assert!(read(&json!({ "Statement": [allow] })));
        let mut listed = allow.clone();
        listed["Principal"] = json!({ "AWS": ["*"] });
        assert!(read(&json!({ "Statement": [listed] })));
        let denied = statement("Deny", "arn:aws:s3:::b/a");
        assert!(!read(&json!({ "Statement": [allow, denied] })));
        let elsewhere = statement("Allow", "arn:aws:s3:::b/sites/*");
        assert!(!read(&json!({ "Statement": [elsewhere] })));
        for (field, value) in [
            (
                "Principal",
                json!({ "AWS": "arn:aws:iam::111122223333:root" }),
            ),
            ("Action", json!("s3:ListBucket")),
            (
                "Condition",
                json!({ "Bool": { "aws:SecureTransport": "true" } }),
            ),
        ] {
            let mut other = allow.clone();
            other[field] = value;
            assert!(!read(&json!({ "Statement": [other] })), "{field}");
        }
    }
}
