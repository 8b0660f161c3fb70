//! Reading a function's configuration from a request, with AWS's limits. What the embedded cloud cannot do
//! is refused by name: a setting that is accepted is a setting that works or is only descriptive.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::names::{AccountId, FunctionName, LogGroupName};

use super::error::{Kind, ServiceError};
use super::model::Configuration;

/// Runtimes of the API model that still can be created. Executed are only those whose name begins with
/// `provided` or, by this machine's own Node.js, with `nodejs`; the rest need AWS's own runtime images.
const RUNTIMES: [&str; 26] = [
    "provided.al2023",
    "provided.al2",
    "nodejs24.x",
    "nodejs22.x",
    "nodejs20.x",
    "nodejs18.x",
    "python3.14",
    "python3.13",
    "python3.12",
    "python3.11",
    "python3.10",
    "python3.9",
    "java25",
    "java21",
    "java17",
    "java11",
    "java8.al2",
    "dotnet10",
    "dotnet8",
    "dotnet6",
    "ruby4.0",
    "ruby3.4",
    "ruby3.3",
    "ruby3.2",
    "provided",
    "go1.x",
];

/// Names a function's environment may not set (developer guide, "Defined runtime environment variables").
const RESERVED_VARIABLES: [&str; 17] = [
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_LAMBDA_RUNTIME_API",
    "LAMBDA_TASK_ROOT",
    "LAMBDA_RUNTIME_DIR",
];

/// The limit on a function's environment variables, all names and values together.
const ENVIRONMENT_BYTES_MAX: usize = 4096;

const LAYERS_MAX: usize = 5;

/// The members of `CreateFunction` and `UpdateFunctionConfiguration` that make up the configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(super) struct Change {
    runtime: Option<String>,
    role: Option<String>,
    handler: Option<String>,
    description: Option<String>,
    timeout: Option<i64>,
    memory_size: Option<i64>,
    ephemeral_storage: Option<EphemeralStorage>,
    environment: Option<Environment>,
    layers: Option<Vec<String>>,
    vpc_config: Option<VpcConfig>,
    logging_config: Option<LoggingConfig>,
    tracing_config: Option<TracingConfig>,
    snap_start: Option<SnapStart>,
    dead_letter_config: Option<BTreeMap<String, Value>>,
    #[serde(rename = "KMSKeyArn")]
    kms_key_arn: Option<String>,
    file_system_configs: Option<Vec<Value>>,
    image_config: Option<BTreeMap<String, Value>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct EphemeralStorage {
    size: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Environment {
    variables: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize, serde::Serialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct VpcConfig {
    subnet_ids: Vec<String>,
    security_group_ids: Vec<String>,
    ipv6_allowed_for_dual_stack: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct LoggingConfig {
    log_format: Option<String>,
    log_group: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct TracingConfig {
    mode: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SnapStart {
    apply_on: Option<String>,
}

/// Parses `body` as a JSON object's known members; an unknown member is refused by its name.
pub(super) fn parse<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, ServiceError> {
    serde_json::from_value(body)
        .map_err(|error| ServiceError::parameter(format!("Could not parse request body: {error}")))
}

/// The configuration of a function that says nothing: AWS's defaults.
pub(super) fn defaults(name: &FunctionName, architecture: String) -> Configuration {
    Configuration {
        runtime: String::new(),
        role: String::new(),
        handler: String::new(),
        description: String::new(),
        timeout_s: 3,
        memory_mb: 128,
        disk_mb: 512,
        architecture,
        environment: None,
        layers: Vec::new(),
        layer_bytes: BTreeMap::new(),
        vpc: None,
        log_group: format!("/aws/lambda/{name}"),
        tracing_mode: "PassThrough".to_owned(),
    }
}

impl Change {
    /// The role named by the request.
    pub(super) fn role(&self) -> Option<&str> {
        self.role.as_deref()
    }

    /// The layers named by the request.
    pub(super) fn layers(&self) -> Option<&[String]> {
        self.layers.as_deref()
    }

    /// Writes what the request says over `configuration`.
    pub(super) fn apply(
        self,
        name: &FunctionName,
        configuration: &mut Configuration,
    ) -> Result<(), ServiceError> {
        let Self {
            runtime,
            role,
            handler,
            description,
            timeout,
            memory_size,
            ephemeral_storage,
            environment,
            layers,
            vpc_config,
            logging_config,
            tracing_config,
            snap_start,
            dead_letter_config,
            kms_key_arn,
            file_system_configs,
            image_config,
        } = self;
        if let Some(runtime) = runtime {
            if !RUNTIMES.contains(&runtime.as_str()) {
                return Err(ServiceError::parameter(format!(
                    "Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum value set: \
                     [{}] or be a valid ARN",
                    RUNTIMES.join(", ")
                )));
            }
            configuration.runtime = runtime;
        }
        if let Some(role) = role {
            configuration.role = role;
        }
        if let Some(handler) = handler {
            if handler.len() > 128 || handler.contains(char::is_whitespace) {
                return Err(ServiceError::constraint(
                    handler,
                    "handler",
                    "satisfy regular expression pattern: [^\\s]+ and have length less than or equal to 128",
                ));
            }
            configuration.handler = handler;
        }
        if let Some(description) = description {
            check_description(&description)?;
            configuration.description = description;
        }
        if let Some(timeout) = timeout {
            configuration.timeout_s = within(timeout, 1, 900, "timeout")?;
        }
        if let Some(memory) = memory_size {
            configuration.memory_mb = within(memory, 128, 10_240, "memorySize")?;
        }
        if let Some(disk) = ephemeral_storage {
            configuration.disk_mb = within(disk.size, 512, 10_240, "ephemeralStorage.size")?;
        }
        if let Some(environment) = environment {
            configuration.environment = environment
                .variables
                .map(checked_environment)
                .transpose()?
                .filter(|variables| !variables.is_empty());
        }
        if let Some(layers) = layers {
            check_layers(&layers)?;
            configuration.layers = layers;
        }
        if let Some(vpc) = vpc_config {
            configuration.vpc = Some(serde_json::to_value(vpc).map_err(std::io::Error::from)?);
        }
        if let Some(logging) = logging_config {
            if logging.log_format.is_some_and(|format| format != "Text") {
                return Err(ServiceError::unsupported(
                    "LoggingConfig.LogFormat other than Text",
                ));
            }
            configuration.log_group = match logging.log_group {
                Some(group) => {
                    let group: LogGroupName = group.parse().map_err(|_| {
                        ServiceError::constraint(
                            &group,
                            "loggingConfig.logGroup",
                            "satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
                        )
                    })?;
                    group.into()
                }
                None => format!("/aws/lambda/{name}"),
            };
        }
        if let Some(mode) = tracing_config.and_then(|tracing| tracing.mode) {
            if mode != "Active" && mode != "PassThrough" {
                return Err(ServiceError::constraint(
                    mode,
                    "tracingConfig.mode",
                    "satisfy enum value set: [Active, PassThrough]",
                ));
            }
            configuration.tracing_mode = mode;
        }
        let refused = [
            (
                "SnapStart",
                snap_start.is_some_and(|s| s.apply_on.is_some_and(|on| on != "None")),
            ),
            (
                "DeadLetterConfig",
                dead_letter_config.is_some_and(|config| !config.is_empty()),
            ),
            ("KMSKeyArn", kms_key_arn.is_some_and(|arn| !arn.is_empty())),
            (
                "FileSystemConfigs",
                file_system_configs.is_some_and(|configs| !configs.is_empty()),
            ),
            (
                "ImageConfig",
                image_config.is_some_and(|config| !config.is_empty()),
            ),
        ];
        match refused.into_iter().find(|(_, given)| *given) {
            Some((member, _)) => Err(ServiceError::unsupported(member)),
            None => Ok(()),
        }
    }
}

pub(super) fn check_description(description: &str) -> Result<(), ServiceError> {
    if description.chars().count() > 256 {
        return Err(ServiceError::constraint(
            description,
            "description",
            "have length less than or equal to 256",
        ));
    }
    Ok(())
}

/// `value` as a number from `low` to `high`.
pub(super) fn within(value: i64, low: u32, high: u32, member: &str) -> Result<u32, ServiceError> {
    match u32::try_from(value) {
        Ok(number) if (low..=high).contains(&number) => Ok(number),
        _ if value < i64::from(low) => Err(ServiceError::constraint(
            value,
            member,
            &format!("have value greater than or equal to {low}"),
        )),
        _ => Err(ServiceError::constraint(
            value,
            member,
            &format!("have value less than or equal to {high}"),
        )),
    }
}

fn checked_environment(
    variables: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ServiceError> {
    let prefix = "Lambda was unable to configure your environment variables because the environment variables \
                  you have provided";
    let reserved: Vec<&str> = variables
        .keys()
        .map(String::as_str)
        .filter(|name| RESERVED_VARIABLES.contains(name))
        .collect();
    if !reserved.is_empty() {
        return Err(ServiceError::parameter(format!(
            "{prefix} contains reserved keys that are currently not supported for modification. \
             Reserved keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    if let Some(bad) = variables.keys().find(|name| {
        name.len() < 2
            || !name.starts_with(|c: char| c.is_ascii_alphabetic())
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    }) {
        return Err(ServiceError::constraint(
            bad,
            "environment.variables",
            "satisfy constraint: [Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]",
        ));
    }
    if variables.values().any(|value| value.contains('\0')) {
        return Err(ServiceError::parameter(
            "an environment variable contains a NUL character",
        ));
    }
    let size: usize = variables
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if size > ENVIRONMENT_BYTES_MAX {
        return Err(ServiceError::parameter(format!(
            "{prefix} exceeded the 4KB limit."
        )));
    }
    Ok(variables)
}

/// Requires that they are ARNs of layers' versions, and not too many.
pub(super) fn check_layers(layers: &[String]) -> Result<(), ServiceError> {
    if layers.len() > LAYERS_MAX {
        return Err(ServiceError::parameter(format!(
            "Layers consists of {} layer versions; a function can have at most {LAYERS_MAX}.",
            layers.len()
        )));
    }
    for layer in layers {
        let parts: Vec<&str> = layer.split(':').collect();
        let valid = matches!(parts.as_slice(), ["arn", _, "lambda", _, _, "layer", name, version]
            if !name.is_empty() && version.parse::<u64>().is_ok());
        if !valid {
            return Err(ServiceError::constraint(
                layer,
                "layers",
                "satisfy regular expression pattern: \
                 arn:[a-zA-Z0-9-]+:lambda:[a-zA-Z0-9-]+:\\d{12}:layer:[a-zA-Z0-9-_]+:[0-9]+",
            ));
        }
    }
    Ok(())
}

/// The role's name (without its path) from its ARN, refusing what is not a role of this account.
pub(super) fn role_name<'a>(arn: &'a str, account: &AccountId) -> Result<&'a str, ServiceError> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let role = match parts.as_slice() {
        ["arn", _, "iam", "", owner, resource] if owner.parse::<AccountId>().is_ok() => {
            resource.strip_prefix("role/").map(|path| (*owner, path))
        }
        _ => None,
    };
    match role {
        Some((owner, _)) if owner != account.as_str() => Err(ServiceError::new(
            Kind::CrossAccountRole,
            "Cross-account pass role is not allowed.",
        )),
        Some((_, path)) if !path.is_empty() => Ok(path.rsplit('/').next().unwrap_or(path)),
        _ => Err(ServiceError::constraint(
            arn,
            "role",
            "satisfy regular expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
        )),
    }
}
