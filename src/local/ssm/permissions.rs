//! What a request to Systems Manager needs to be allowed.

use serde_json::Value;

use super::TARGET_PREFIX;
use crate::local::http::Request;
use crate::local::permission::Permission;

/// By the tables of AWS's service authorization reference: the operation, on each parameter that it names.
pub(crate) fn permissions(request: &Request) -> Vec<Permission> {
    let target = request.headers.get("x-amz-target");
    let target = target.and_then(|target| target.to_str().ok());
    let Some(operation) = target.and_then(|target| target.strip_prefix(TARGET_PREFIX)) else {
        return Vec::new();
    };
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let single = ["Name", "ResourceId"].map(|member| body[member].as_str());
    let many = body["Names"].as_array().into_iter().flatten();
    let names = many.map(Value::as_str).chain(single).flatten();
    let needed = names.map(|name| {
        // A version or a label is no part of the resource.
        let name = name.split(':').next().unwrap_or_default();
        let resource = format!(
            "arn:aws:ssm:{}:{}:parameter/{}",
            request.region,
            request.account,
            name.trim_start_matches('/')
        );
        Permission::new(format!("ssm:{operation}"), resource)
    });
    needed.collect()
}
