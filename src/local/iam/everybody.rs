//! Policies of resources: what they let everybody do. Nothing else of them is evaluated here.

use serde_json::Value;

use super::document::texts;
use super::simulate::matches;

/// Whether some statement of a resource's `policy` lets everybody do something, without a condition.
pub(in crate::local) fn is_public(policy: &Value) -> bool {
    statements(policy).any(|statement| statement["Effect"] == "Allow" && is_everybody(statement))
}

/// Whether everybody may do `action` on `resource` by the resource's `policy`: some statement allows it whatever the circumstances, and
/// none may deny it. A denial of somebody, under a condition or of all but something counts as one: nobody knows here who asks.
pub(in crate::local) fn allows_everybody(policy: &Value, action: &str, resource: &str) -> bool {
    let allows = |statement: &Value| {
        statement["Effect"] == "Allow"
            && is_everybody(statement)
            && names_action(statement, action) == Some(true)
            && names_resource(statement, resource) == Some(true)
    };
    let may_deny = |statement: &Value| {
        statement["Effect"] != "Allow"
            && names_action(statement, action) != Some(false)
            && names_resource(statement, resource) != Some(false)
    };
    statements(policy).any(allows) && !statements(policy).any(may_deny)
}

/// Whether a statement is about the action, of which case does not matter; `None`: it says so in another way.
fn names_action(statement: &Value, action: &str) -> Option<bool> {
    let patterns = texts(&statement["Action"])?;
    let lower = |text: &str| text.to_ascii_lowercase();
    Some(
        patterns
            .iter()
            .any(|pattern| matches(&lower(pattern), &lower(action))),
    )
}

/// The same of the resource.
fn names_resource(statement: &Value, resource: &str) -> Option<bool> {
    let patterns = texts(&statement["Resource"])?;
    Some(patterns.iter().any(|pattern| matches(pattern, resource)))
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

    #[test]
    fn what_may_deny_it_does() {
        let allow = json!({
            "Effect": "Allow", "Principal": "*", "Action": "S3:getobject", "Resource": "arn:aws:s3:::b/*",
        });
        let read = |more: &[&Value]| {
            let statements: Vec<&Value> = more.iter().copied().chain([&allow]).collect();
            let policy = json!({ "Statement": statements });
            allows_everybody(&policy, "s3:GetObject", "arn:aws:s3:::b/a")
        };
        assert!(read(&[]));
        let plain = json!({
            "Effect": "Deny", "Principal": "*", "Action": "S3:GET*", "Resource": "arn:aws:s3:::b/*",
        });
        assert!(!read(&[&plain]));
        for (taken, given, value) in [
            (
                "",
                "Condition",
                json!({ "Bool": { "aws:SecureTransport": "false" } }),
            ),
            ("Action", "NotAction", json!("s3:ListBucket")),
            ("Resource", "NotResource", json!("arn:aws:s3:::b/public/*")),
            (
                "Principal",
                "NotPrincipal",
                json!({ "AWS": "111122223333" }),
            ),
            ("", "Principal", json!({ "AWS": "111122223333" })),
        ] {
            let mut denied = plain.clone();
            denied.as_object_mut().unwrap().remove(taken);
            denied[given] = value;
            assert!(!read(&[&denied]), "{given}");
        }
        for (field, value) in [
            ("Action", json!("s3:PutObject")),
            ("Resource", json!("arn:aws:s3:::b/other/*")),
            ("Effect", json!("Allow")),
        ] {
            let mut other = plain.clone();
            other[field] = value;
            assert!(read(&[&other]), "{field}");
        }
    }
}
