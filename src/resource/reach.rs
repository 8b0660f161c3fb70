//! What a change of an IAM policy does to what it reaches: more, less, or the same.
//!
//! The comparison errs on one side: what it calls equal or narrowed grants nothing new. Statements with `NotAction`,
//! `NotResource` or `NotPrincipal` are only ever compared as a whole.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::RoleSpec;
use super::policy::canonical;

/// What a change does to what may be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Nothing more and nothing less.
    Equal,
    /// Something less, and nothing more.
    Narrowed,
    /// Something more, perhaps.
    Widened,
}

impl Reach {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "equal",
            Self::Narrowed => "narrowed",
            Self::Widened => "widened",
        }
    }
}

/// What the change from `before` to `after` does as a whole.
pub fn of_change(before: &Value, after: &Value) -> Reach {
    if canonical(before) == canonical(after) {
        return Reach::Equal;
    }
    let gone = statements(before)
        .into_iter()
        .map(|one| of_removed(one, before, after));
    let new = statements(after)
        .into_iter()
        .map(|one| of_added(one, before, after));
    gone.chain(new).max().unwrap_or(Reach::Equal)
}

/// What the change does through the inline policies that others put beside the role's own.
pub fn of_other_policies(before: &RoleSpec, after: &RoleSpec) -> Reach {
    let (before, after) = (&before.other_policies, &after.other_policies);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let each = names.into_iter().map(|name| {
        let side = |policies: &BTreeMap<String, Value>| policies.get(name).cloned();
        of_change(
            &side(before).unwrap_or_default(),
            &side(after).unwrap_or_default(),
        )
    });
    each.max().unwrap_or(Reach::Equal)
}

/// What the change does through the managed policies that are attached to the role.
pub fn of_attached_policies(before: &RoleSpec, after: &RoleSpec) -> Reach {
    let (before, after) = (&before.attached_policies, &after.attached_policies);
    let gone = before.difference(after).map(|arn| of_detached(arn));
    let new = after.difference(before).map(|_| Reach::Widened);
    gone.chain(new).max().unwrap_or(Reach::Equal)
}

/// What it does that a managed policy is detached. What it says is not read: it may deny something, unless it is one of
/// AWS's own that gives access by its name (`AdministratorAccess`, `AmazonS3FullAccess`, `ReadOnlyAccess`) or is made for
/// functions (`service-role/AWSLambda...`). Others of AWS's deny, such as `AWSLakeFormationDataAdmin` ("AWS managed policy
/// reference").
pub fn of_detached(arn: &str) -> Reach {
    let name = arn.split_once(":iam::aws:policy/").map(|(_, name)| name);
    let grants =
        |name: &str| name.ends_with("Access") || name.starts_with("service-role/AWSLambda");
    match name.is_some_and(grants) {
        true => Reach::Narrowed,
        false => Reach::Widened,
    }
}

/// What it does that `statement` of `after` is not in `before` as it stands.
pub fn of_added(statement: &Value, before: &Value, after: &Value) -> Reach {
    match (allows(statement), covered(statement, before, after)) {
        (_, true) => Reach::Equal,
        (true, false) => Reach::Widened,
        (false, false) => Reach::Narrowed,
    }
}

/// What it does that `statement` of `before` is not in `after` as it stands.
pub fn of_removed(statement: &Value, before: &Value, after: &Value) -> Reach {
    match (allows(statement), covered(statement, after, before)) {
        (_, true) => Reach::Equal,
        (true, false) => Reach::Narrowed,
        (false, false) => Reach::Widened,
    }
}

/// The statements of a policy as they are written.
fn statements(policy: &Value) -> Vec<&Value> {
    match policy.get("Statement") {
        Some(Value::Array(statements)) => statements.iter().collect(),
        Some(single) => vec![single],
        None => Vec::new(),
    }
}

fn allows(statement: &Value) -> bool {
    // Whatever is not surely a denial counts as a grant.
    statement.get("Effect").and_then(Value::as_str) != Some("Deny")
}

/// Whether everything `statement` of the policy `home` speaks of is spoken of by statements with the same effect in
/// `policy`.
fn covered(statement: &Value, policy: &Value, home: &Value) -> bool {
    // The version decides what `${...}` means.
    if version(policy) != version(home) {
        return false;
    }
    let Some(statement) = parts(statement) else {
        return false;
    };
    let others: Vec<Map<String, Value>> = statements(policy)
        .into_iter()
        .filter_map(parts)
        .filter(|other| other.get("Effect") == statement.get("Effect"))
        .collect();
    if others.contains(&statement) {
        return true;
    }
    if whole_only(&statement) {
        return false;
    }
    let actions = texts(statement.get("Action"));
    // Trust policies have no resource.
    let resources = statement
        .get("Resource")
        .map(|resources| texts(Some(resources)));
    actions.iter().all(|action| {
        let each = resources.clone().unwrap_or_else(|| vec![""]);
        each.iter().all(|resource| {
            others.iter().any(|other| {
                !whole_only(other)
                    && other.get("Resource").is_some() == resources.is_some()
                    && matches_any(&texts(other.get("Action")), action)
                    && (resources.is_none() || matches_any(&texts(other.get("Resource")), resource))
                    && other.get("Principal") == statement.get("Principal")
                    && (other.get("Condition").is_none()
                        || other.get("Condition") == statement.get("Condition"))
            })
        })
    })
}

fn version(policy: &Value) -> &str {
    let version = policy.get("Version").and_then(Value::as_str);
    version.unwrap_or("2008-10-17")
}

/// A statement in its canonical form.
fn parts(statement: &Value) -> Option<Map<String, Value>> {
    let policy = canonical(&serde_json::json!({ "Statement": [statement] }));
    policy.pointer("/Statement/0")?.as_object().cloned()
}

fn whole_only(statement: &Map<String, Value>) -> bool {
    const KNOWN: [&str; 5] = ["Effect", "Action", "Resource", "Principal", "Condition"];
    !statement.keys().all(|key| KNOWN.contains(&key.as_str()))
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).collect()
}

fn matches_any(patterns: &[&str], text: &str) -> bool {
    patterns
        .iter()
        .any(|pattern| includes(pattern.as_bytes(), text.as_bytes()))
}

/// Whether everything that the pattern `inner` matches is matched by `outer`: a star of `inner` must fall into a star
/// of `outer`.
fn includes(outer: &[u8], inner: &[u8]) -> bool {
    // `reached[i]`: the part of `outer` so far can match the first `i` bytes of `inner`.
    let mut reached = vec![false; inner.len() + 1];
    reached[0] = true;
    for &symbol in outer {
        let mut next = vec![false; inner.len() + 1];
        if symbol == b'*' {
            let mut any = false;
            for (index, reached) in reached.iter().enumerate() {
                any |= reached;
                next[index] = any;
            }
        } else {
            for (index, &byte) in inner.iter().enumerate() {
                let one = byte == symbol || (symbol == b'?' && byte != b'*');
                next[index + 1] = reached[index] && one && byte != b'*';
            }
        }
        reached = next;
    }
    reached[inner.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn policy(statements: Value) -> Value {
        json!({ "Version": "2012-10-17", "Statement": statements })
    }

    fn allow(action: Value, resource: Value) -> Value {
        json!({ "Effect": "Allow", "Action": action, "Resource": resource })
    }

    #[test]
    fn what_may_deny_is_not_detached_as_if_it_granted() {
        for (arn, reach) in [
            (
                "arn:aws:iam::aws:policy/AdministratorAccess",
                Reach::Narrowed,
            ),
            (
                "arn:aws:iam::aws:policy/AmazonS3FullAccess",
                Reach::Narrowed,
            ),
            (
                "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
                Reach::Narrowed,
            ),
            (
                "arn:aws:iam::aws:policy/AWSLakeFormationDataAdmin",
                Reach::Widened,
            ),
            ("arn:aws:iam::aws:policy/AWSDenyAll", Reach::Widened),
            (
                "arn:aws:iam::123456789012:policy/FullAccess",
                Reach::Widened,
            ),
        ] {
            assert_eq!(of_detached(arn), reach, "{arn}");
        }
    }

    #[track_caller]
    fn check(before: Value, after: Value, expected: Reach, back: Reach) {
        let (before, after) = (policy(before), policy(after));
        assert_eq!(of_change(&before, &after), expected);
        assert_eq!(of_change(&after, &before), back);
    }

    #[test]
    fn more_and_less_are_told_apart() {
        use Reach::{Equal, Narrowed, Widened};
        let one = allow(json!("s3:GetObject"), json!("arn:x/a"));
        // Other clothes, and a statement in two halves.
        check(
            json!(one),
            json!([allow(json!(["s3:getobject"]), json!(["arn:x/a"]))]),
            Equal,
            Equal,
        );
        let both = allow(json!(["s3:GetObject", "s3:PutObject"]), json!("arn:x/a"));
        let halves = json!([one, allow(json!("s3:PutObject"), json!("arn:x/a"))]);
        check(json!([both]), halves, Equal, Equal);
        // Another action, a wider pattern, another resource, no condition.
        check(json!([one]), json!([both]), Widened, Narrowed);
        for wider in [
            allow(json!("s3:*"), json!("arn:x/a")),
            allow(json!("s3:Get?bject"), json!("arn:x/a")),
            allow(json!("s3:GetObject"), json!("arn:x/*")),
            allow(json!("s3:GetObject"), json!(["arn:x/a", "arn:y"])),
        ] {
            check(json!([one]), json!([wider]), Widened, Narrowed);
        }
        let mut bounded = one.clone();
        bounded["Condition"] = json!({ "Bool": { "aws:SecureTransport": "true" } });
        check(json!([bounded]), json!([one]), Widened, Narrowed);
        // A denial is the other way round.
        let deny = json!({ "Effect": "Deny", "Action": "s3:*", "Resource": "*" });
        check(json!([one]), json!([one, deny]), Narrowed, Widened);
        // One thing more and one less is more.
        let other = allow(json!("s3:PutObject"), json!("arn:x/a"));
        check(json!([one]), json!([other]), Widened, Widened);
        // What is turned round is not looked into.
        let all_but =
            json!({ "Effect": "Allow", "NotAction": "s3:GetObject", "Resource": "arn:x/a" });
        check(
            json!([allow(json!("*"), json!("*"))]),
            json!([all_but]),
            Widened,
            Widened,
        );
        // Who may assume a role.
        let trust = |service: &str| json!([{ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": service } }]);
        check(
            trust("lambda.amazonaws.com"),
            trust("ec2.amazonaws.com"),
            Widened,
            Widened,
        );
    }

    #[test]
    fn the_version_decides_what_variables_mean() {
        let statement = json!([allow(json!("s3:GetObject"), json!("arn:x/${aws:username}"))]);
        let old = json!({ "Version": "2008-10-17", "Statement": statement });
        assert_eq!(of_change(&old, &policy(statement)), Reach::Widened);
    }

    #[test]
    fn patterns_include_patterns() {
        for (outer, inner, expected) in [
            ("*", "", true),
            ("*", "a*", true),
            ("a*", "ab*c", true),
            ("a*c", "ab*c", true),
            ("a?c", "abc", true),
            ("a?c", "a?c", true),
            ("a?c", "a*c", false),
            ("a*b", "a*", false),
            ("abc", "ab", false),
            ("ab", "a?", false),
            ("a**b", "axb", true),
        ] {
            assert_eq!(
                includes(outer.as_bytes(), inner.as_bytes()),
                expected,
                "{outer} {inner}"
            );
        }
    }
}
