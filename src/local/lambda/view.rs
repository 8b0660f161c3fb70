//! Functions as AWS's JSON shows them.

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::names::FunctionName;

use super::model::{Alias, EventInvoke, Function, Version};
use super::reference::Place;

/// Whether a document says how far creation and update are. Lists leave it out, as AWS's do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Shown { now_ms: u64 },
    Hidden,
}

/// `FunctionConfiguration`. `qualified` is what stands behind the name in the ARN, if anything.
pub(super) fn configuration(
    place: &Place,
    name: &FunctionName,
    version: &Version,
    qualified: Option<&str>,
    phase: Phase,
) -> Value {
    let config = &version.configuration;
    let mut arn = place.function_arn(name);
    if let Some(qualifier) = qualified {
        arn = format!("{arn}:{qualifier}");
    }
    let mut view = json!({
        "FunctionName": name,
        "FunctionArn": arn,
        "Runtime": config.runtime,
        "Role": config.role,
        "Handler": config.handler,
        "CodeSize": version.code.size_bytes,
        "Description": config.description,
        "Timeout": config.timeout_s,
        "MemorySize": config.memory_mb,
        "LastModified": last_modified(version.modified_ms),
        "CodeSha256": version.code.sha256.base64(),
        "Version": version.name,
        "TracingConfig": { "Mode": config.tracing_mode },
        "RevisionId": version.revision_id,
        "PackageType": "Zip",
        "Architectures": [config.architecture],
        "EphemeralStorage": { "Size": config.disk_mb },
        "SnapStart": { "ApplyOn": "None", "OptimizationStatus": "Off" },
        "LoggingConfig": { "LogFormat": "Text", "LogGroup": config.log_group },
    });
    if let Some(variables) = &config.environment {
        view["Environment"] = json!({ "Variables": variables });
    }
    if !config.layers.is_empty() {
        view["Layers"] = config
            .layers
            .iter()
            .map(|arn| json!({ "Arn": arn, "CodeSize": config.layer_bytes.get(arn).unwrap_or(&0) }))
            .collect();
    }
    if let Some(vpc) = &config.vpc {
        view["VpcConfig"] = vpc.clone();
        view["VpcConfig"]["VpcId"] = "".into();
    }
    if let Phase::Shown { now_ms } = phase {
        view["RevisionId"] = version.revision_at(now_ms).into();
        view["RuntimeVersionConfig"] = json!({
            "RuntimeVersionArn": format!("arn:aws:lambda:{}::runtime:{}", place.region, "0".repeat(64)),
        });
        if version.is_pending(now_ms) {
            view["State"] = "Pending".into();
            view["StateReason"] = "The function is being created.".into();
            view["StateReasonCode"] = "Creating".into();
        } else {
            view["State"] = "Active".into();
            view["LastUpdateStatus"] = if version.is_updating(now_ms) {
                view["LastUpdateStatusReason"] = "The function is being updated.".into();
                view["LastUpdateStatusReasonCode"] = "Creating".into();
                "InProgress".into()
            } else {
                "Successful".into()
            };
        }
    }
    view
}

/// `AliasConfiguration`.
pub(super) fn alias(place: &Place, function: &FunctionName, name: &str, alias: &Alias) -> Value {
    let mut view = json!({
        "AliasArn": format!("{}:{name}", place.function_arn(function)),
        "Name": name,
        "FunctionVersion": alias.version,
        "Description": alias.description,
        "RevisionId": alias.revision_id,
    });
    if !alias.weights.is_empty() {
        view["RoutingConfig"] = json!({ "AdditionalVersionWeights": alias.weights });
    }
    view
}

/// `FunctionEventInvokeConfig`.
pub(super) fn event_invoke(
    place: &Place,
    function: &FunctionName,
    qualifier: &str,
    config: &EventInvoke,
) -> Value {
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since the epoch fit 53 bits"
    )]
    let seconds = config.modified_ms as f64 / 1000.0;
    let mut view = json!({
        "LastModified": seconds,
        "FunctionArn": format!("{}:{qualifier}", place.function_arn(function)),
        "DestinationConfig": { "OnSuccess": {}, "OnFailure": {} },
    });
    if let Some(retries) = config.retries_max {
        view["MaximumRetryAttempts"] = retries.into();
    }
    if let Some(age) = config.age_max_s {
        view["MaximumEventAgeInSeconds"] = age.into();
    }
    view
}

/// `GetFunction`'s document around the configuration.
pub(super) fn function(function: &Function, configuration: Value) -> Value {
    let mut view = json!({
        "Configuration": configuration,
        "Code": { "RepositoryType": "S3" },
    });
    if !function.tags.is_empty() {
        view["Tags"] = json!(function.tags);
    }
    if let Some(reserved) = function.reserved_concurrency {
        view["Concurrency"] = json!({ "ReservedConcurrentExecutions": reserved });
    }
    view
}

/// AWS's form of `LastModified`: `2026-11-23T08:00:00.123+0000`.
pub(super) fn last_modified(time_ms: u64) -> String {
    let format = format_description!(
        "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+0000"
    );
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(time_ms) * 1_000_000)
        .ok()
        .and_then(|time| time.format(format).ok())
        .unwrap_or_default()
}
