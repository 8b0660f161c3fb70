//! Lambda functions as Lambda has them.
//!
//! Lambda takes one change at a time and works on it after it has answered. Every change is therefore to be
//! followed by [`Cloud::settled_function`], whose answer also has the revision that the next change may build on:
//! the revision in the answer to an update is already stale when it arrives.

use std::collections::BTreeMap;
use std::fmt;

use aws_sdk_lambda::types::{Architecture, FunctionConfiguration, LastUpdateStatus, State};

use super::error::cloud_error;
use super::wait::{self, Patience};
use super::{Cloud, CloudError, CloudErrorKind, Tags};
use crate::digest::Digest;
use crate::names::FunctionName;
use crate::resource::function::LATEST;

/// The alias that renders go through.
pub const LIVE_ALIAS: &str = "live";

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

    /// The function, if possible at rest: a change under way gets half a minute to settle, since the revision that is told
    /// before is another one than that after it.
    pub async fn function_at_rest(
        &self,
        name: &FunctionName,
    ) -> Result<Option<FunctionDescription>, CloudError> {
        let at_rest = wait::until(Patience::LOOK, async || {
            Ok(match self.function(name).await? {
                Some(function) if function.phase == FunctionPhase::Changing => None,
                other => Some(other),
            })
        });
        match at_rest.await? {
            Some(found) => Ok(found),
            None => self.function(name).await,
        }
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
}

pub(super) fn describe(
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
