//! Which operation a method and a path mean (AWS's REST paths; the dates in them are AWS's own).

use http::Method;
use percent_encoding::percent_decode_str;

use super::error::{Kind, ServiceError};

/// An operation of the Lambda API, with what its path carries: the function as the client wrote it (name,
/// partial or full ARN, with or without a qualifier), an alias, or a resource's ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Operation {
    CreateFunction,
    ListFunctions,
    GetFunction(String),
    DeleteFunction(String),
    GetFunctionConfiguration(String),
    UpdateFunctionConfiguration(String),
    UpdateFunctionCode(String),
    PublishVersion(String),
    ListVersionsByFunction(String),
    CreateAlias(String),
    ListAliases(String),
    GetAlias(String, String),
    UpdateAlias(String, String),
    DeleteAlias(String, String),
    GetPolicy(String),
    Invoke(String),
    InvokeWithResponseStream(String),
    TagResource(String),
    UntagResource(String),
    ListTags(String),
    PutFunctionEventInvokeConfig(String),
    GetFunctionEventInvokeConfig(String),
    UpdateFunctionEventInvokeConfig(String),
    DeleteFunctionEventInvokeConfig(String),
    ListFunctionEventInvokeConfigs(String),
    PutFunctionConcurrency(String),
    GetFunctionConcurrency(String),
    DeleteFunctionConcurrency(String),
    GetAccountSettings,
    PublishLayerVersion(String),
    GetLayerVersion(String, String),
    /// Or a list of all layers, by the query.
    GetLayerVersionByArn,
    PutRuntimeManagementConfig(String),
    GetRuntimeManagementConfig(String),
}

/// The operation meant by `method` and the percent-encoded `path`.
pub(super) fn route(method: &Method, path: &str) -> Result<Operation, ServiceError> {
    use Operation as O;
    let decoded: Vec<String> = path
        .trim_matches('/')
        .split('/')
        .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
        .collect();
    let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
    let name = || decoded.get(2).cloned().unwrap_or_default();
    let alias = || decoded.get(4).cloned().unwrap_or_default();
    let operation = match (method.as_str(), segments.as_slice()) {
        ("POST", ["2015-03-31", "functions"]) => O::CreateFunction,
        ("GET", ["2015-03-31", "functions"]) => O::ListFunctions,
        ("GET", ["2015-03-31", "functions", _]) => O::GetFunction(name()),
        ("DELETE", ["2015-03-31", "functions", _]) => O::DeleteFunction(name()),
        ("GET", ["2015-03-31", "functions", _, "configuration"]) => {
            O::GetFunctionConfiguration(name())
        }
        ("PUT", ["2015-03-31", "functions", _, "configuration"]) => {
            O::UpdateFunctionConfiguration(name())
        }
        ("PUT", ["2015-03-31", "functions", _, "code"]) => O::UpdateFunctionCode(name()),
        ("POST", ["2015-03-31", "functions", _, "versions"]) => O::PublishVersion(name()),
        ("GET", ["2015-03-31", "functions", _, "versions"]) => O::ListVersionsByFunction(name()),
        ("POST", ["2015-03-31", "functions", _, "aliases"]) => O::CreateAlias(name()),
        ("GET", ["2015-03-31", "functions", _, "aliases"]) => O::ListAliases(name()),
        ("GET", ["2015-03-31", "functions", _, "aliases", _]) => O::GetAlias(name(), alias()),
        ("PUT", ["2015-03-31", "functions", _, "aliases", _]) => O::UpdateAlias(name(), alias()),
        ("DELETE", ["2015-03-31", "functions", _, "aliases", _]) => O::DeleteAlias(name(), alias()),
        ("GET", ["2015-03-31", "functions", _, "policy"]) => O::GetPolicy(name()),
        ("POST", ["2015-03-31", "functions", _, "invocations"]) => O::Invoke(name()),
        (
            "POST",
            [
                "2021-11-15",
                "functions",
                _,
                "response-streaming-invocations",
            ],
        ) => O::InvokeWithResponseStream(name()),
        ("POST", ["2017-03-31", "tags", rest @ ..]) => O::TagResource(rest.join("/")),
        ("DELETE", ["2017-03-31", "tags", rest @ ..]) => O::UntagResource(rest.join("/")),
        ("GET", ["2017-03-31", "tags", rest @ ..]) => O::ListTags(rest.join("/")),
        ("PUT", ["2019-09-25", "functions", _, "event-invoke-config"]) => {
            O::PutFunctionEventInvokeConfig(name())
        }
        ("GET", ["2019-09-25", "functions", _, "event-invoke-config"]) => {
            O::GetFunctionEventInvokeConfig(name())
        }
        ("POST", ["2019-09-25", "functions", _, "event-invoke-config"]) => {
            O::UpdateFunctionEventInvokeConfig(name())
        }
        ("DELETE", ["2019-09-25", "functions", _, "event-invoke-config"]) => {
            O::DeleteFunctionEventInvokeConfig(name())
        }
        ("GET", ["2019-09-25", "functions", _, "event-invoke-config", "list"]) => {
            O::ListFunctionEventInvokeConfigs(name())
        }
        ("PUT", ["2017-10-31", "functions", _, "concurrency"]) => O::PutFunctionConcurrency(name()),
        ("GET", ["2019-09-30", "functions", _, "concurrency"]) => O::GetFunctionConcurrency(name()),
        ("DELETE", ["2017-10-31", "functions", _, "concurrency"]) => {
            O::DeleteFunctionConcurrency(name())
        }
        ("GET", ["2016-08-19", "account-settings"]) => O::GetAccountSettings,
        ("POST", ["2018-10-31", "layers", _, "versions"]) => O::PublishLayerVersion(name()),
        ("GET", ["2018-10-31", "layers", _, "versions", _]) => O::GetLayerVersion(name(), alias()),
        ("GET", ["2018-10-31", "layers"]) => O::GetLayerVersionByArn,
        ("PUT", ["2021-07-20", "functions", _, "runtime-management-config"]) => {
            O::PutRuntimeManagementConfig(name())
        }
        ("GET", ["2021-07-20", "functions", _, "runtime-management-config"]) => {
            O::GetRuntimeManagementConfig(name())
        }
        (method, segments) => {
            return Err(ServiceError::new(
                Kind::NotImplemented,
                format!(
                    "the embedded cloud does not implement lambda {}",
                    missing_operation(method, segments)
                        .map_or_else(|| format!("{method} {path}"), str::to_owned)
                ),
            ));
        }
    };
    Ok(operation)
}

/// Names of operations that clients are known to try.
fn missing_operation(method: &str, segments: &[&str]) -> Option<&'static str> {
    Some(match (method, segments) {
        ("POST", ["2015-03-31", "functions", _, "policy"]) => "AddPermission",
        ("DELETE", ["2015-03-31", "functions", _, "policy", _]) => "RemovePermission",
        ("POST", ["2014-11-13", "functions", _, "invoke-async"]) => "InvokeAsync",
        ("POST", ["2021-10-31", "functions", _, "url"]) => "CreateFunctionUrlConfig",
        ("GET", ["2021-10-31", "functions", _, "url"]) => "GetFunctionUrlConfig",
        ("PUT", ["2024-08-31", "functions", _, "recursion-config"]) => "PutFunctionRecursionConfig",
        ("GET", ["2024-08-31", "functions", _, "recursion-config"]) => "GetFunctionRecursionConfig",
        ("GET", ["2020-06-30", "functions", _, "code-signing-config"]) => {
            "GetFunctionCodeSigningConfig"
        }
        ("PUT", ["2019-09-30", "functions", _, "provisioned-concurrency"]) => {
            "PutProvisionedConcurrencyConfig"
        }
        ("POST", ["2015-03-31", "event-source-mappings"]) => "CreateEventSourceMapping",
        ("GET", ["2015-03-31", "event-source-mappings"]) => "ListEventSourceMappings",
        ("GET", ["2018-10-31", "layers", _, "versions"]) => "ListLayerVersions",
        ("DELETE", ["2018-10-31", "layers", _, "versions", _]) => "DeleteLayerVersion",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_operations_and_the_rest_is_refused_by_name() {
        assert_eq!(
            route(&Method::PUT, "/2015-03-31/functions/arn%3Aaws%3Af/code").unwrap(),
            Operation::UpdateFunctionCode("arn:aws:f".to_owned())
        );
        assert_eq!(
            route(&Method::GET, "/2015-03-31/functions/").unwrap(),
            Operation::ListFunctions
        );
        let refused = route(&Method::POST, "/2015-03-31/functions/f/policy").unwrap_err();
        assert_eq!(refused.kind, Kind::NotImplemented);
        assert!(
            refused.message.contains("AddPermission"),
            "{}",
            refused.message
        );
    }
}
