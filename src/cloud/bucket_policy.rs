//! Whether everybody may read a bucket's objects: one statement of its policy. Statements of others stay as they are.

use serde_json::{Value, json};

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind};
use crate::names::BucketName;
use crate::resource::policy::same_meaning;
use crate::resource::role::bucket_arn;

/// What Remotion calls the statement.
const SID: &str = "PublicReadGetObject";

/// Of the language of a policy that is made anew.
const VERSION: &str = "2012-10-17";

impl Cloud {
    /// Whether the bucket's policy lets everybody read its objects, in the words in which [`Cloud::set_public_read`] says it.
    pub async fn public_read(&self, name: &BucketName) -> Result<bool, CloudError> {
        let policy = self.bucket_policy(name).await?;
        let ours = self.public_statement(name);
        let statements = policy.map(|mut policy| take_statements(&mut policy));
        let statements = statements.unwrap_or_default();
        Ok(statements.iter().any(|one| is_same(one, &ours)))
    }

    /// Lets everybody read the bucket's objects, or not any more.
    ///
    /// # Errors
    /// `AccessDenied` if the bucket's public access block forbids it, besides what S3 refuses.
    pub async fn set_public_read(&self, name: &BucketName, on: bool) -> Result<(), CloudError> {
        let operation = "set the policy of bucket";
        let ours = self.public_statement(name);
        let policy = self.bucket_policy(name).await?;
        let changed = changed(
            policy.unwrap_or_else(|| json!({ "Version": VERSION })),
            ours,
            on,
        );
        let s3 = &self.clients.s3;
        let Some(changed) = changed else {
            let deleted = s3.delete_bucket_policy().bucket(name.as_str()).send();
            return deleted
                .await
                .map(drop)
                .map_err(|error| cloud_error(operation, name, &error));
        };
        s3.put_bucket_policy()
            .bucket(name.as_str())
            .policy(changed.to_string())
            .send()
            .await
            .map(drop)
            .map_err(|error| cloud_error(operation, name, &error))
    }

    async fn bucket_policy(&self, name: &BucketName) -> Result<Option<Value>, CloudError> {
        let operation = "read the policy of bucket";
        let answer = self
            .clients
            .s3
            .get_bucket_policy()
            .bucket(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error));
        let text = match answer {
            Ok(answer) => answer.policy.unwrap_or_default(),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let parsed = serde_json::from_str(&text);
        parsed.map(Some).map_err(|error| {
            CloudError::own(operation, name, CloudErrorKind::Invalid, error.to_string())
        })
    }

    fn public_statement(&self, name: &BucketName) -> Value {
        json!({
            "Sid": SID, "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
            "Resource": [format!("{}/*", bucket_arn(self.region(), name))],
        })
    }
}

/// `policy` with our statement or without it, and with all else that it says. `None`: it says nothing then.
fn changed(mut policy: Value, mut ours: Value, on: bool) -> Option<Value> {
    let mut statements = take_statements(&mut policy);
    statements.retain(|one| !is_same(one, &ours));
    if on {
        // Two statements of a policy never have the same name.
        if statements.iter().any(|one| one["Sid"] == SID) {
            let ours = ours.as_object_mut().expect("a statement is an object");
            ours.remove("Sid");
        }
        statements.push(ours);
    }
    if statements.is_empty() {
        return None;
    }
    policy["Statement"] = Value::Array(statements);
    Some(policy)
}

/// The statements of a policy; a single one need not be in a list.
fn take_statements(policy: &mut Value) -> Vec<Value> {
    match policy["Statement"].take() {
        Value::Array(statements) => statements,
        Value::Null => Vec::new(),
        single => vec![single],
    }
}

/// Whether two statements say the same, whatever they are called.
fn is_same(one: &Value, other: &Value) -> bool {
    let policy = |statement: &Value| json!({ "Version": VERSION, "Statement": [statement] });
    same_meaning(&policy(one), &policy(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({
            "Sid": SID, "Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
            "Resource": ["arn:aws:s3:::mine/*"],
        })
    }

    #[test]
    fn what_others_say_in_the_policy_stays_as_it_is() {
        let alone = changed(json!({ "Version": VERSION }), ours(), true).unwrap();
        assert_eq!(alone, json!({ "Version": VERSION, "Statement": [ours()] }));
        assert_eq!(changed(alone, ours(), false), None);

        let theirs = json!({
            "Sid": SID, "Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::mine/secret/*",
        });
        let before = json!({ "Version": "2008-10-17", "Id": "theirs", "Statement": theirs });
        let with = changed(before, ours(), true).unwrap();
        assert_eq!(
            (&with["Version"], &with["Id"]),
            (&json!("2008-10-17"), &json!("theirs"))
        );
        assert_eq!(with["Statement"][0], theirs);
        let added = &with["Statement"][1];
        assert!(
            is_same(added, &ours()) && added.get("Sid").is_none(),
            "{added}"
        );
        assert_eq!(changed(with.clone(), ours(), true), Some(with.clone()));

        let without = changed(with, ours(), false).unwrap();
        let expected = json!({ "Version": "2008-10-17", "Id": "theirs", "Statement": [theirs] });
        assert_eq!(without, expected);
    }
}
