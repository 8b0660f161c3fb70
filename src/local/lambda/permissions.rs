//! What Lambda requests need to be allowed ("Actions, resources, and condition keys for AWS Lambda").

use serde_json::Value;

use super::reference::Place;
use super::route::{self, Operation};
use crate::local::http::Request;
use crate::local::permission::Permission;

/// What a caller needs who attaches a function to a VPC (developer guide, "Giving Lambda functions access to resources in
/// an Amazon VPC"). These actions know no narrower resource.
const VPC_ACTIONS: [&str; 3] = [
    "ec2:DescribeSecurityGroups",
    "ec2:DescribeSubnets",
    "ec2:DescribeVpcs",
];

/// What `request` needs; nothing if it is no request of this service, which refuses it then.
pub(crate) fn permissions(request: &Request) -> Vec<Permission> {
    use Operation as O;
    let Ok(operation) = route::route(&request.method, &request.path) else {
        return Vec::new();
    };
    let action = |name: &str| format!("lambda:{name}");
    let on =
        |name: &str, function: &str| Permission::new(action(name), function_arn(request, function));
    let body = || serde_json::from_slice::<Value>(&request.body).unwrap_or_default();
    match &operation {
        O::CreateFunction => {
            let body = body();
            let name = body["FunctionName"].as_str().unwrap_or_default();
            let mut needed = vec![on("CreateFunction", name)];
            if body["Tags"]
                .as_object()
                .is_some_and(|tags| !tags.is_empty())
            {
                needed.push(on("TagResource", name));
            }
            needed.extend(configuration(&body));
            needed.extend(code(&body["Code"]));
            needed
        }
        O::UpdateFunctionConfiguration(name) => {
            let mut needed = vec![on("UpdateFunctionConfiguration", name)];
            needed.extend(configuration(&body()));
            needed
        }
        O::UpdateFunctionCode(name) => {
            let mut needed = vec![on("UpdateFunctionCode", name)];
            needed.extend(code(&body()));
            needed
        }
        O::ListFunctions => vec![Permission::new(action("ListFunctions"), "*")],
        O::GetAccountSettings => vec![Permission::new(action("GetAccountSettings"), "*")],
        O::PublishLayerVersion(name) => {
            let mut needed = vec![Permission::new(
                action("PublishLayerVersion"),
                layer_arn(request, name),
            )];
            needed.extend(code(&body()["Content"]));
            needed
        }
        O::GetLayerVersion(name, version) => {
            let arn = format!("{}:{version}", layer_arn(request, name));
            vec![Permission::new(action("GetLayerVersion"), arn)]
        }
        O::GetLayerVersionByArn => match request.query_value("Arn") {
            Some(arn) => vec![Permission::new(action("GetLayerVersion"), arn)],
            None => vec![Permission::new(action("ListLayers"), "*")],
        },
        O::Invoke(name) | O::InvokeWithResponseStream(name) => {
            vec![Permission::new(
                action("InvokeFunction"),
                qualified_arn(request, name),
            )]
        }
        O::TagResource(arn) => vec![Permission::new(action("TagResource"), arn)],
        O::UntagResource(arn) => vec![Permission::new(action("UntagResource"), arn)],
        O::ListTags(arn) => vec![Permission::new(action("ListTags"), arn)],
        O::GetFunction(name) => vec![on("GetFunction", name)],
        O::DeleteFunction(name) => vec![on("DeleteFunction", name)],
        O::GetFunctionConfiguration(name) => vec![on("GetFunctionConfiguration", name)],
        O::PublishVersion(name) => vec![on("PublishVersion", name)],
        O::ListVersionsByFunction(name) => vec![on("ListVersionsByFunction", name)],
        O::CreateAlias(name) => vec![on("CreateAlias", name)],
        O::ListAliases(name) => vec![on("ListAliases", name)],
        O::GetAlias(name, _) => vec![on("GetAlias", name)],
        O::UpdateAlias(name, _) => vec![on("UpdateAlias", name)],
        O::DeleteAlias(name, _) => vec![on("DeleteAlias", name)],
        O::GetPolicy(name) => vec![on("GetPolicy", name)],
        O::PutFunctionEventInvokeConfig(name) => vec![on("PutFunctionEventInvokeConfig", name)],
        O::GetFunctionEventInvokeConfig(name) => vec![on("GetFunctionEventInvokeConfig", name)],
        O::UpdateFunctionEventInvokeConfig(name) => {
            vec![on("UpdateFunctionEventInvokeConfig", name)]
        }
        O::DeleteFunctionEventInvokeConfig(name) => {
            vec![on("DeleteFunctionEventInvokeConfig", name)]
        }
        O::ListFunctionEventInvokeConfigs(name) => {
            vec![on("ListFunctionEventInvokeConfigs", name)]
        }
        O::PutFunctionConcurrency(name) => vec![on("PutFunctionConcurrency", name)],
        O::GetFunctionConcurrency(name) => vec![on("GetFunctionConcurrency", name)],
        O::DeleteFunctionConcurrency(name) => vec![on("DeleteFunctionConcurrency", name)],
        O::PutRuntimeManagementConfig(name) => vec![on("PutRuntimeManagementConfig", name)],
        O::GetRuntimeManagementConfig(name) => vec![on("GetRuntimeManagementConfig", name)],
    }
}

/// What a configuration leans on: its role is handed to Lambda, its layers are read.
fn configuration(body: &Value) -> Vec<Permission> {
    let mut needed = Vec::new();
    if let Some(role) = body["Role"].as_str() {
        needed.push(Permission::new("iam:PassRole", role));
    }
    let layers = body["Layers"].as_array().into_iter().flatten();
    needed.extend(
        layers
            .filter_map(Value::as_str)
            .map(|layer| Permission::new("lambda:GetLayerVersion", layer)),
    );
    let subnets = body["VpcConfig"]["SubnetIds"].as_array();
    if subnets.is_some_and(|subnets| !subnets.is_empty()) {
        needed.extend(VPC_ACTIONS.map(|action| Permission::new(action, "*")));
    }
    needed
}

/// Code that lies in a bucket is read as whoever names it.
fn code(code: &Value) -> Option<Permission> {
    let (bucket, key) = (code["S3Bucket"].as_str()?, code["S3Key"].as_str()?);
    Some(Permission::new(
        "s3:GetObject",
        format!("arn:aws:s3:::{bucket}/{key}"),
    ))
}

/// A layer is named, or its ARN is.
fn layer_arn(request: &Request, text: &str) -> String {
    let place = Place::of(request);
    let name = text.strip_prefix(&place.layer_arn(""));
    place.layer_arn(name.unwrap_or(text))
}

fn function_arn(request: &Request, text: &str) -> String {
    let place = Place::of(request);
    match place.resolve(text, None) {
        Ok(reference) => place.function_arn(&reference.name),
        // What is no function's name is refused by the operation.
        Err(_) => "*".to_owned(),
    }
}

/// An invocation is allowed or denied by the version or alias it names.
fn qualified_arn(request: &Request, text: &str) -> String {
    let place = Place::of(request);
    match place.resolve(text, request.query_value("Qualifier")) {
        Ok(reference) => place.arn(&reference),
        Err(_) => "*".to_owned(),
    }
}
