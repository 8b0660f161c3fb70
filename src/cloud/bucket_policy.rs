//! Whether everybody may read a bucket's objects: one statement of its policy. Statements of others stay as they are.

use serde_json::{Value, json};

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind};
use crate::names::BucketName;
use crate::resource::policy::same_meaning;
use crate::resource::role::bucket_arn;

/// What Remotion calls the statement.
const SID: &str = "PublicReadGetObject";

impl Cloud {
    /// Whether the bucket's policy lets everybody read its objects, in the words in which [`Cloud::set_public_read`] says it.
    pub async fn public_read(&self, name: &BucketName) -> Result<bool, CloudError> {
        let policy = self.bucket_policy(name).await?;
        let ours = self.public_statement(name);
        Ok(statements(policy).iter().any(|one| is_same(one, &ours)))
    }

    /// Lets everybody read the bucket's objects, or not any more.
    ///
    /// # Errors
    /// `AccessDenied` if the bucket's public access block forbids it, besides what S3 refuses.
    pub async fn set_public_read(&self, name: &BucketName, on: bool) -> Result<(), CloudError> {
        let operation = "set the policy of bucket";
        let ours = self.public_statement(name);
        let policy = self.bucket_policy(name).await?;
        let mut statements = statements(policy);
        statements.retain(|one| one["Sid"] != SID && !is_same(one, &ours));
        if on {
            statements.push(ours);
        }
        let s3 = &self.clients.s3;
        if statements.is_empty() {
            let deleted = s3.delete_bucket_policy().bucket(name.as_str()).send();
            return deleted
                .await
                .map(drop)
                .map_err(|error| cloud_error(operation, name, &error));
        }
        s3.put_bucket_policy()
            .bucket(name.as_str())
            .policy(document(statements).to_string())
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

fn document(statements: Vec<Value>) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn statements(policy: Option<Value>) -> Vec<Value> {
    match policy.map(|mut policy| policy["Statement"].take()) {
        Some(Value::Array(statements)) => statements,
        Some(Value::Null) | None => Vec::new(),
        Some(single) => vec![single],
    }
}

/// Whether two statements say the same, whatever they are called.
fn is_same(one: &Value, other: &Value) -> bool {
    let policy = |statement: &Value| document(vec![statement.clone()]);
    same_meaning(&policy(one), &policy(other))
}
