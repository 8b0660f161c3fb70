//! The policies of `docs/policies` read what plans really hold: each path they name is there in a real document.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rmx::cloud::PutOptions;
use serde_json::Value;

use crate::plan::{apply, project};
use crate::recovery::behind_its_back;
use crate::support::TestProject;

/// Words of Rego with a dot that are no paths.
const NO_PATHS: [&str; 1] = ["rego"];

/// Paths from `input` that a policy names. What `some NAME in PATH` names stands for the items of that path.
fn paths(policy: &str) -> BTreeSet<String> {
    let code = policy
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let mut items: BTreeMap<String, String> = BTreeMap::new();
    let mut found = BTreeSet::new();
    for line in code {
        let resolve = |word: &str, items: &BTreeMap<String, String>| {
            let (root, rest) = word.split_once('.')?;
            match root {
                "input" => Some(rest.to_owned()),
                root if NO_PATHS.contains(&root) => None,
                root => Some(format!("{}.{rest}", items.get(root)?)),
            }
        };
        if let Some((name, list)) = line
            .trim()
            .strip_prefix("some ")
            .and_then(|rest| rest.split_once(" in "))
        {
            let path = resolve(list, &items).unwrap();
            items.insert(name.to_owned(), format!("{path}.*"));
            found.insert(path);
            continue;
        }
        // Texts hold no paths.
        let bare = line.split('"').step_by(2).collect::<Vec<_>>().join(" ");
        let words = bare.split(|c: char| !(c.is_ascii_alphanumeric() || "_.".contains(c)));
        found.extend(words.filter_map(|word| resolve(word, &items)));
    }
    found
}

fn is_there(document: &Value, path: &str) -> bool {
    let (first, rest) = match path.split_once('.') {
        Some((first, rest)) => (first, Some(rest)),
        None => (path, None),
    };
    let inside = |value: &Value| rest.is_none_or(|rest| is_there(value, rest));
    match (first, document) {
        ("*", Value::Array(items)) => items.iter().any(inside),
        (name, Value::Object(fields)) => fields.get(name).is_some_and(inside),
        _ => false,
    }
}

#[track_caller]
fn document(project: &TestProject, arguments: &[&str]) -> Value {
    let output = project.rmx(arguments);
    serde_json::from_str(&output.stdout).unwrap_or_else(|_| panic!("{output}"))
}

#[test]
fn example_policies_name_what_plans_hold() {
    let project = project();
    let mut documents = vec![document(&project, &["plan", "--json"])];
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let role = "rmx-hello-us-east-1".parse().unwrap();
        let nothing = serde_json::json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*" } ] });
        cloud.put_role_policy(&role, &nothing).await.unwrap();
        let bucket = "rmx-hello-000000000000-us-east-1".parse().unwrap();
        let body = Bytes::from_static(b"mine");
        let options = PutOptions::default();
        let put = cloud.put_object(&bucket, "renders/1/out.mp4", body, &options);
        put.await.unwrap();
    });
    documents.push(document(&project, &["plan", "--json"]));
    documents.push(document(&project, &["plan", "--destroy", "--json"]));

    let policy = include_str!("../../docs/policies/farm.rego");
    let paths = paths(policy);
    assert!(paths.len() >= 15, "{paths:?}");
    assert!(
        paths.contains("resource_changes.*.change.iam.widened"),
        "{paths:?}"
    );
    for path in &paths {
        let there = documents.iter().any(|document| is_there(document, path));
        assert!(there, "no plan holds {path}");
    }
    // The search is no open door.
    assert!(!is_there(
        &documents[0],
        "resource_changes.*.change.nothing"
    ));
    assert!(!is_there(&documents[0], "resource_changes.change"));
}
