//! What CloudWatch Logs requests need to be allowed. Resources are spelled as in AWS's own refusals: an operation on a
//! group names the group and an empty stream, which is why policies that work end in `:*`.

use serde_json::Value;

use super::TARGET_PREFIX;
use crate::local::http::Request;
use crate::local::permission::Permission;

/// What `request` needs; nothing if it is no request of this service, which refuses it then.
pub(crate) fn permissions(request: &Request) -> Vec<Permission> {
    let target = request.headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let Some(operation) = target.and_then(|target| target.strip_prefix(TARGET_PREFIX)) else {
        return Vec::new();
    };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let text = |name: &str| body[name].as_str().unwrap_or_default();
    let groups = format!(
        "arn:aws:logs:{}:{}:log-group:",
        request.region, request.account
    );
    let resource = match operation {
        "TagResource" | "UntagResource" | "ListTagsForResource" => text("resourceArn").to_owned(),
        _ => {
            let (group, stream) = (text("logGroupName"), text("logStreamName"));
            format!("{groups}{group}:log-stream:{stream}")
        }
    };
    let mut needed = vec![Permission::new(format!("logs:{operation}"), resource)];
    let tags = body["tags"].as_object();
    if operation == "CreateLogGroup" && tags.is_some_and(|tags| !tags.is_empty()) {
        let group = format!("{groups}{}", text("logGroupName"));
        needed.push(Permission::new("logs:TagResource", group));
    }
    needed
}
