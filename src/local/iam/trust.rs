//! Whether a trust policy lets a service use a role. Conditions are not evaluated: a statement that allows under a
//! condition counts, one that denies under a condition does not.

use serde_json::Value;

use super::document::texts;
use crate::names::AccountId;

/// Whether `policy` allows `service`, for example `lambda.amazonaws.com`, to assume the role.
pub(super) fn lets_assume(policy: &str, service: &str) -> bool {
    lets(policy, &|principal| {
        texts(&principal["Service"]).is_some_and(|names| names.contains(&service))
    })
}

/// Whether `policy` allows the user or role `caller` of `account` to assume the role: by name, or as one of the account.
pub(super) fn lets_principal_assume(policy: &str, account: &AccountId, caller: &str) -> bool {
    let root = format!("arn:aws:iam::{account}:root");
    lets(policy, &|principal| {
        texts(&principal["AWS"]).is_some_and(|names| {
            names
                .iter()
                .any(|name| ["*", account.as_str(), &root, caller].contains(name))
        })
    })
}

fn lets(policy: &str, names: &dyn Fn(&Value) -> bool) -> bool {
    let Ok(policy) = serde_json::from_str::<Value>(policy) else {
        return false;
    };
    let statements = match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(statement) => vec![statement],
        None => Vec::new(),
    };
    let says = |effect: &str| {
        statements.iter().any(|statement| {
            statement["Effect"] == effect
                && (effect == "Allow" || statement.get("Condition").is_none())
                && names_principal(statement, names)
                && names_assume_role(statement)
        })
    };
    says("Allow") && !says("Deny")
}

fn names_principal(statement: &Value, names: &dyn Fn(&Value) -> bool) -> bool {
    match &statement["Principal"] {
        Value::String(everyone) => everyone == "*",
        principal => names(principal),
    }
}

fn names_assume_role(statement: &Value) -> bool {
    texts(&statement["Action"]).is_some_and(|actions| {
        actions.iter().any(|action| {
            let action = action.to_ascii_lowercase();
            match action.strip_suffix('*') {
                Some(start) => "sts:assumerole".starts_with(start),
                None => action == "sts:assumerole",
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_account_lets_in_its_own() {
        let account = "123456789012".parse().unwrap();
        let caller = "arn:aws:iam::123456789012:user/local";
        let lets = |principal: Value| {
            let policy = json!({"Statement": {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}});
            lets_principal_assume(&policy.to_string(), &account, caller)
        };
        assert!(lets(json!({"AWS": "arn:aws:iam::123456789012:root"})));
        assert!(lets(json!({"AWS": ["123456789012"]})) && lets(json!({"AWS": caller})));
        assert!(!lets(
            json!({"AWS": "arn:aws:iam::123456789012:user/other"})
        ));
        assert!(!lets(json!({"Service": "lambda.amazonaws.com"})));
    }

    #[test]
    fn only_a_policy_that_names_the_service_lets_it_in() {
        let policy = |effect: &str, principal: Value, action: &str| json!({"Effect": effect, "Principal": principal, "Action": action});
        let lambda = || json!({"Service": ["ec2.amazonaws.com", "lambda.amazonaws.com"]});
        let lets = |statements: Value| {
            lets_assume(
                &json!({ "Statement": statements }).to_string(),
                "lambda.amazonaws.com",
            )
        };
        assert!(lets(policy("Allow", lambda(), "sts:AssumeRole")));
        assert!(lets(json!([policy("Allow", json!("*"), "sts:*")])));
        assert!(!lets(policy(
            "Allow",
            json!({"Service": "ec2.amazonaws.com"}),
            "sts:AssumeRole"
        )));
        assert!(!lets(policy("Allow", lambda(), "sts:AssumeRoleWithSAML")));
        assert!(!lets(json!([
            policy("Allow", lambda(), "sts:AssumeRole"),
            policy("Deny", lambda(), "sts:AssumeRole")
        ])));
        assert!(!lets_assume("no policy", "lambda.amazonaws.com"));
    }
}
