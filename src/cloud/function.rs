//! Lambda functions: create, change, publish, point the `live` alias, delete.
//!
//! Lambda takes one change at a time and works on it after it has answered. Every change here is therefore to be
//! followed by [`Cloud::settled_function`], whose answer also has the revision that the next change may build on:
//! the revision in the answer to an update is already stale when it arrives.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, Environment, EphemeralStorage, FunctionCode as SdkCode, FunctionConfiguration,
    LastUpdateStatus, LogFormat, LoggingConfig, Runtime, State, VpcConfig,
};
use bytes::Bytes;

use super::error::cloud_error;
use super::iam::gone_is_fine;
use super::wait::{self, Patience};
use super::{Cloud, CloudError, CloudErrorKind, Tags};
use crate::digest::Digest;
use crate::names::{BucketName, FunctionName};

/// The alias that renders go through.
pub const LIVE_ALIAS: &str = "live";

/// Lambda's name for the version that can be changed.
const LATEST: &str = "$LATEST";

/// Pages of versions read: 50 versions each.
const VERSION_PAGES_MAX: usize = 100;

/// Everything about a function that a published version freezes.
#[derive(Clone, PartialEq, Eq)]
pub struct FunctionSettings {
    /// ARN of the role it runs as.
    pub role_arn: String,
    /// `provided.al2023`.
    pub runtime: String,
    /// `bootstrap`.
    pub handler: String,
    /// `arm64` or `x86_64`.
    pub architecture: String,
    /// Memory.
    pub memory_mb: u32,
    /// Timeout.
    pub timeout_s: u32,
    /// Size of `/tmp`.
    pub disk_mb: u32,
    /// Environment variables in clear. Left out of `Debug`.
    pub environment: BTreeMap<String, String>,
    /// Layer version ARNs, in order.
    pub layers: Vec<String>,
    /// VPC subnets, sorted.
    pub subnet_ids: Vec<String>,
    /// VPC security groups, sorted.
    pub security_group_ids: Vec<String>,
    /// Name of the log group.
    pub log_group: String,
    /// SHA-256 of the zip.
    pub code_sha256: Option<Digest>,
}

impl fmt::Debug for FunctionSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionSettings")
            .field("role_arn", &self.role_arn)
            .field("memory_mb", &self.memory_mb)
            .field("code_sha256", &self.code_sha256)
            .finish_non_exhaustive()
    }
}

/// A function, or one version of it, as Lambda has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionDescription {
    /// ARN; of the version or alias, if one was asked for.
    pub arn: String,
    /// `$LATEST`, or the number of the version.
    pub version: String,
    /// Changes with every change.
    pub revision_id: String,
    /// Configuration and code.
    pub settings: FunctionSettings,
    /// What Lambda is doing with it.
    pub phase: FunctionPhase,
    /// Concurrent executions set aside for it.
    pub reserved_concurrency: Option<u32>,
    /// Tags.
    pub tags: Tags,
}

/// What Lambda is doing with a function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FunctionPhase {
    /// The last change has come to its end.
    Settled,
    /// A change is under way.
    Changing,
    /// Its creation failed. It cannot be used and not be mended either.
    CreateFailed(String),
    /// The last update failed; the function is as it was before.
    UpdateFailed(String),
}

/// The code of a function.
#[derive(Debug, Clone)]
pub enum FunctionCode {
    /// The zip itself, within the request.
    Inline(Bytes),
    /// An object in a bucket of the same region.
    Object {
        /// Bucket.
        bucket: BucketName,
        /// Key.
        key: String,
    },
}

impl Cloud {
    /// The function as it can be changed (`$LATEST`); `None` if there is none.
    pub async fn function(
        &self,
        name: &FunctionName,
    ) -> Result<Option<FunctionDescription>, CloudError> {
        self.function_at(name, None).await
    }

    /// The version that the `live` alias points to; `None` if there is no alias, or no function.
    pub async fn live_function(
        &self,
        name: &FunctionName,
    ) -> Result<Option<FunctionDescription>, CloudError> {
        self.function_at(name, Some(LIVE_ALIAS)).await
    }

    async fn function_at(
        &self,
        name: &FunctionName,
        qualifier: Option<&str>,
    ) -> Result<Option<FunctionDescription>, CloudError> {
        let answer = self
            .clients
            .lambda
            .get_function()
            .function_name(name.as_str())
            .set_qualifier(qualifier.map(str::to_owned))
            .send()
            .await
            .map_err(|error| cloud_error("read the function", name, &error));
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let reserved_concurrency = answer
            .concurrency
            .and_then(|concurrency| concurrency.reserved_concurrent_executions)
            .and_then(|count| u32::try_from(count).ok());
        let tags = answer.tags.unwrap_or_default().into_iter().collect();
        Ok(answer
            .configuration
            .map(|configuration| describe(configuration, reserved_concurrency, tags)))
    }

    /// The function once no change of it is under way any more; `None` if there is none (any more).
    ///
    /// # Errors
    /// `Unavailable` if it takes longer than ten minutes.
    pub async fn settled_function(
        &self,
        name: &FunctionName,
    ) -> Result<Option<FunctionDescription>, CloudError> {
        self.settled_at(name, None).await
    }

    /// The same for a published version, which takes a moment to become usable.
    pub async fn settled_version(
        &self,
        name: &FunctionName,
        version: &str,
    ) -> Result<Option<FunctionDescription>, CloudError> {
        self.settled_at(name, Some(version)).await
    }

    async fn settled_at(
        &self,
        name: &FunctionName,
        qualifier: Option<&str>,
    ) -> Result<Option<FunctionDescription>, CloudError> {
        let settled = wait::until(Patience::FUNCTION, async || {
            Ok(match self.function_at(name, qualifier).await? {
                Some(function) if function.phase == FunctionPhase::Changing => None,
                other => Some(other),
            })
        });
        settled.await?.ok_or_else(|| {
            CloudError::own(
                "wait for the last change of function",
                name,
                CloudErrorKind::Unavailable,
                "Lambda has been working on it for ten minutes",
            )
        })
    }

    /// Creates a function.
    ///
    /// # Errors
    /// `AlreadyExists`; `RoleNotReady` for some seconds after its role was made; besides what Lambda refuses.
    pub async fn create_function(
        &self,
        name: &FunctionName,
        settings: &FunctionSettings,
        code: &FunctionCode,
        tags: &Tags,
    ) -> Result<(), CloudError> {
        let (zip, bucket, key) = code_parts(code);
        let code = SdkCode::builder()
            .set_zip_file(zip)
            .set_s3_bucket(bucket)
            .set_s3_key(key)
            .build();
        let created = self
            .clients
            .lambda
            .create_function()
            .function_name(name.as_str())
            .description("Worker of a render farm. Managed by rmx.")
            .role(&settings.role_arn)
            .runtime(Runtime::from(settings.runtime.as_str()))
            .handler(&settings.handler)
            .architectures(Architecture::from(settings.architecture.as_str()))
            .memory_size(number(settings.memory_mb))
            .timeout(number(settings.timeout_s))
            .ephemeral_storage(disk(settings))
            .environment(environment(settings))
            .set_layers(Some(settings.layers.clone()))
            .set_vpc_config((!settings.subnet_ids.is_empty()).then(|| vpc(settings)))
            .logging_config(logging(settings))
            .code(code)
            .set_tags(Some(tags.clone().into_iter().collect()))
            .send()
            .await;
        match created.map_err(|error| cloud_error("create the function", name, &error)) {
            Ok(_) => Ok(()),
            // Lambda has one code for "exists" and "is being changed"; here it can only be the first.
            Err(error) if error.kind == CloudErrorKind::Conflict => Err(CloudError {
                kind: CloudErrorKind::AlreadyExists,
                ..error
            }),
            Err(error) => Err(error),
        }
    }

    /// Writes the whole configuration, if the function is still at `revision_id`.
    ///
    /// # Errors
    /// `PreconditionFailed` if it is not; `Conflict` while another change is under way; `RoleNotReady`; besides
    /// what Lambda refuses.
    pub async fn update_function_configuration(
        &self,
        name: &FunctionName,
        settings: &FunctionSettings,
        revision_id: &str,
    ) -> Result<(), CloudError> {
        self.clients
            .lambda
            .update_function_configuration()
            .function_name(name.as_str())
            .revision_id(revision_id)
            .role(&settings.role_arn)
            .runtime(Runtime::from(settings.runtime.as_str()))
            .handler(&settings.handler)
            .memory_size(number(settings.memory_mb))
            .timeout(number(settings.timeout_s))
            .ephemeral_storage(disk(settings))
            .environment(environment(settings))
            .set_layers(Some(settings.layers.clone()))
            .vpc_config(vpc(settings))
            .logging_config(logging(settings))
            .send()
            .await
            .map_err(|error| cloud_error("change the configuration of function", name, &error))?;
        Ok(())
    }

    /// Writes code and architecture, if the function is still at `revision_id`.
    ///
    /// # Errors
    /// `PreconditionFailed` if it is not; `Conflict` while another change is under way; besides what Lambda
    /// refuses.
    pub async fn update_function_code(
        &self,
        name: &FunctionName,
        architecture: &str,
        code: &FunctionCode,
        revision_id: &str,
    ) -> Result<(), CloudError> {
        let (zip, bucket, key) = code_parts(code);
        self.clients
            .lambda
            .update_function_code()
            .function_name(name.as_str())
            .revision_id(revision_id)
            .architectures(Architecture::from(architecture))
            .set_zip_file(zip)
            .set_s3_bucket(bucket)
            .set_s3_key(key)
            .send()
            .await
            .map_err(|error| cloud_error("change the code of function", name, &error))?;
        Ok(())
    }

    /// Freezes code and configuration as a version and returns its number. Nothing changed since the last version:
    /// its number again.
    ///
    /// # Errors
    /// `Invalid` if the code is not the one of `code_sha256`; besides what Lambda refuses.
    pub async fn publish_version(
        &self,
        name: &FunctionName,
        code_sha256: &Digest,
    ) -> Result<String, CloudError> {
        let operation = "publish a version of function";
        let version = self
            .clients
            .lambda
            .publish_version()
            .function_name(name.as_str())
            .code_sha256(code_sha256.base64())
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?
            .version;
        version.ok_or_else(|| {
            let kind = CloudErrorKind::Other;
            CloudError::own(operation, name, kind, "the answer names no version")
        })
    }

    /// Points the `live` alias to a version, making it if there is none.
    pub async fn point_live_alias(
        &self,
        name: &FunctionName,
        version: &str,
    ) -> Result<(), CloudError> {
        let operation = "point the `live` alias of function";
        let lambda = &self.clients.lambda;
        let updated = lambda
            .update_alias()
            .function_name(name.as_str())
            .name(LIVE_ALIAS)
            .function_version(version)
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error));
        match updated {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => {
                lambda
                    .create_alias()
                    .function_name(name.as_str())
                    .name(LIVE_ALIAS)
                    .function_version(version)
                    .description("What renders use. Managed by rmx.")
                    .send()
                    .await
                    .map_err(|error| cloud_error(operation, name, &error))?;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// How often Lambda tries a failed asynchronous invocation of the `live` alias again; `None`: its default (2).
    pub async fn live_retries(&self, name: &FunctionName) -> Result<Option<u32>, CloudError> {
        let answer = self
            .clients
            .lambda
            .get_function_event_invoke_config()
            .function_name(name.as_str())
            .qualifier(LIVE_ALIAS)
            .send()
            .await
            .map_err(|error| cloud_error("read the retries of function", name, &error));
        match answer {
            Ok(config) => Ok(config
                .maximum_retry_attempts
                .and_then(|count| u32::try_from(count).ok())),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes Lambda not try failed asynchronous invocations of the `live` alias again: a render that failed half
    /// way must not start anew behind its owner's back.
    pub async fn turn_off_live_retries(&self, name: &FunctionName) -> Result<(), CloudError> {
        self.clients
            .lambda
            .put_function_event_invoke_config()
            .function_name(name.as_str())
            .qualifier(LIVE_ALIAS)
            .maximum_retry_attempts(0)
            .send()
            .await
            .map_err(|error| cloud_error("turn off the retries of function", name, &error))?;
        Ok(())
    }

    /// Numbers of the published versions, oldest first.
    pub async fn function_versions(&self, name: &FunctionName) -> Result<Vec<u64>, CloudError> {
        let mut versions = Vec::new();
        let mut marker = None;
        for _ in 0..VERSION_PAGES_MAX {
            let page = self
                .clients
                .lambda
                .list_versions_by_function()
                .function_name(name.as_str())
                .set_marker(marker)
                .send()
                .await
                .map_err(|error| cloud_error("list the versions of function", name, &error))?;
            versions.extend(
                page.versions
                    .unwrap_or_default()
                    .into_iter()
                    .filter_map(|version| version.version?.parse::<u64>().ok()),
            );
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        versions.sort_unstable();
        Ok(versions)
    }

    /// Deletes one version. Success if there is none.
    ///
    /// # Errors
    /// `Conflict` if an alias points to it, besides what Lambda refuses.
    pub async fn delete_function_version(
        &self,
        name: &FunctionName,
        version: u64,
    ) -> Result<(), CloudError> {
        let deleted = self
            .clients
            .lambda
            .delete_function()
            .function_name(name.as_str())
            .qualifier(version.to_string())
            .send()
            .await;
        gone_is_fine(
            deleted
                .map(|_| ())
                .map_err(|error| cloud_error("delete a version of function", name, &error)),
        )
    }

    /// Deletes a function with all versions and aliases. Success if there is none.
    pub async fn delete_function(&self, name: &FunctionName) -> Result<(), CloudError> {
        let deleted = self
            .clients
            .lambda
            .delete_function()
            .function_name(name.as_str())
            .send()
            .await;
        gone_is_fine(
            deleted
                .map(|_| ())
                .map_err(|error| cloud_error("delete the function", name, &error)),
        )
    }
}

fn describe(
    configuration: FunctionConfiguration,
    reserved_concurrency: Option<u32>,
    tags: Tags,
) -> FunctionDescription {
    let phase = phase(&configuration);
    let vpc = configuration.vpc_config;
    let mut subnet_ids = vpc
        .as_ref()
        .and_then(|vpc| vpc.subnet_ids.clone())
        .unwrap_or_default();
    subnet_ids.sort();
    let mut security_group_ids = vpc
        .and_then(|vpc| vpc.security_group_ids)
        .unwrap_or_default();
    security_group_ids.sort();
    let count = |value: Option<i32>| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
    FunctionDescription {
        arn: configuration.function_arn.unwrap_or_default(),
        version: configuration.version.unwrap_or_else(|| LATEST.to_owned()),
        revision_id: configuration.revision_id.unwrap_or_default(),
        settings: FunctionSettings {
            role_arn: configuration.role.unwrap_or_default(),
            runtime: configuration
                .runtime
                .map(|runtime| runtime.as_str().to_owned())
                .unwrap_or_default(),
            handler: configuration.handler.unwrap_or_default(),
            architecture: configuration
                .architectures
                .and_then(|all| all.into_iter().next())
                // What Lambda assumes where none was given.
                .unwrap_or(Architecture::X8664)
                .as_str()
                .to_owned(),
            memory_mb: count(configuration.memory_size),
            timeout_s: count(configuration.timeout),
            disk_mb: count(configuration.ephemeral_storage.map(|disk| disk.size)),
            environment: configuration
                .environment
                .and_then(|environment| environment.variables)
                .unwrap_or_default()
                .into_iter()
                .collect(),
            layers: configuration
                .layers
                .unwrap_or_default()
                .into_iter()
                .filter_map(|layer| layer.arn)
                .collect(),
            subnet_ids,
            security_group_ids,
            log_group: configuration
                .logging_config
                .and_then(|logging| logging.log_group)
                .unwrap_or_default(),
            code_sha256: configuration
                .code_sha256
                .and_then(|text| Digest::from_base64(&text)),
        },
        phase,
        reserved_concurrency,
        tags,
    }
}

fn phase(configuration: &FunctionConfiguration) -> FunctionPhase {
    let reason = |reason: Option<&str>| reason.unwrap_or("Lambda gives no reason").to_owned();
    match (configuration.state(), configuration.last_update_status()) {
        (Some(State::Failed), _) => {
            FunctionPhase::CreateFailed(reason(configuration.state_reason()))
        }
        (Some(State::Pending), _) | (_, Some(LastUpdateStatus::InProgress)) => {
            FunctionPhase::Changing
        }
        (_, Some(LastUpdateStatus::Failed)) => {
            FunctionPhase::UpdateFailed(reason(configuration.last_update_status_reason()))
        }
        _ => FunctionPhase::Settled,
    }
}

fn code_parts(code: &FunctionCode) -> (Option<Blob>, Option<String>, Option<String>) {
    match code {
        FunctionCode::Inline(zip) => (Some(Blob::new(zip.to_vec())), None, None),
        FunctionCode::Object { bucket, key } => {
            (None, Some(bucket.as_str().to_owned()), Some(key.clone()))
        }
    }
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn disk(settings: &FunctionSettings) -> EphemeralStorage {
    EphemeralStorage::builder()
        .size(number(settings.disk_mb))
        .build()
        .expect("the one required field is set")
}

fn environment(settings: &FunctionSettings) -> Environment {
    Environment::builder()
        .set_variables(Some(settings.environment.clone().into_iter().collect()))
        .build()
}

/// Empty lists detach a function from its VPC.
fn vpc(settings: &FunctionSettings) -> VpcConfig {
    VpcConfig::builder()
        .set_subnet_ids(Some(settings.subnet_ids.clone()))
        .set_security_group_ids(Some(settings.security_group_ids.clone()))
        .build()
}

fn logging(settings: &FunctionSettings) -> LoggingConfig {
    LoggingConfig::builder()
        .log_format(LogFormat::Text)
        .log_group(&settings.log_group)
        .build()
}
