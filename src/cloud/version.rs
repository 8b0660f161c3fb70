//! Published versions of a function, and the `live` alias that says which of them renders use.

use std::fmt;

use aws_sdk_lambda::types::{AliasConfiguration, FunctionConfiguration};

use super::error::cloud_error;
use super::function::describe;
use super::iam::gone_is_fine;
use super::{Cloud, CloudError, CloudErrorKind, LIVE_ALIAS, Tags};
use crate::digest::Digest;
use crate::names::FunctionName;
use crate::resource::function::LATEST;

/// Pages of versions read: 50 versions each.
const VERSION_PAGES_MAX: usize = 100;

/// How often Lambda tries an asynchronous invocation again that has failed:
/// <https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retries {
    /// Never.
    None = 0,
    /// As often as where nobody says otherwise.
    Default = 2,
}

/// The `live` alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveAlias {
    /// The version it points to.
    pub version: String,
    /// Changes with every change of the alias.
    pub revision_id: String,
}

/// An alias and every version that it sends invocations to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionAlias {
    /// Its name.
    pub name: String,
    /// The version it points to.
    pub version: String,
    /// Versions that take a share of its invocations.
    pub weighted: Vec<String>,
}

/// A published version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublishedVersion {
    /// Its number.
    pub number: u64,
    /// Its runtime.
    pub runtime: String,
    /// When it was published, as Lambda writes it (ISO 8601).
    pub published_at: String,
    /// Memory.
    pub memory_mb: u32,
    /// Timeout.
    pub timeout_s: u32,
    /// SHA-256 of its zip.
    pub code_sha256: Option<Digest>,
    /// Whether code and configuration are those of `$LATEST`. Where the newest version is, publishing gives it again.
    pub is_latest: bool,
}

impl Cloud {
    /// Freezes code and configuration as a version, if the function is still at `revision_id`, and returns its number.
    /// Nothing changed since the last version: its number again.
    ///
    /// # Errors
    /// `PreconditionFailed` if it is not; `Invalid` if the code is not the one of `code_sha256`; besides what Lambda
    /// refuses.
    pub async fn publish_version(
        &self,
        name: &FunctionName,
        code_sha256: &Digest,
        revision_id: &str,
    ) -> Result<String, CloudError> {
        let operation = "publish a version of function";
        let version = self
            .clients
            .lambda
            .publish_version()
            .function_name(name.as_str())
            .code_sha256(code_sha256.base64())
            .revision_id(revision_id)
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?
            .version;
        version.ok_or_else(|| {
            let kind = CloudErrorKind::Other;
            CloudError::own(operation, name, kind, "the answer names no version")
        })
    }

    /// The `live` alias; `None` if there is none.
    pub async fn live_alias(&self, name: &FunctionName) -> Result<Option<LiveAlias>, CloudError> {
        let answer = self
            .clients
            .lambda
            .get_alias()
            .function_name(name.as_str())
            .name(LIVE_ALIAS)
            .send()
            .await
            .map_err(|error| cloud_error("read the `live` alias of function", name, &error));
        match answer {
            Ok(alias) => Ok(Some(LiveAlias {
                version: alias.function_version.unwrap_or_default(),
                revision_id: alias.revision_id.unwrap_or_default(),
            })),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Every alias; none if there is no function.
    pub async fn function_aliases(
        &self,
        name: &FunctionName,
    ) -> Result<Vec<FunctionAlias>, CloudError> {
        let mut aliases = Vec::new();
        let mut marker = None;
        for _ in 0..VERSION_PAGES_MAX {
            let page = self
                .clients
                .lambda
                .list_aliases()
                .function_name(name.as_str())
                .set_marker(marker)
                .send()
                .await
                .map_err(|error| cloud_error("list the aliases of function", name, &error));
            let page = match page {
                Ok(page) => page,
                Err(error) if error.is_not_found() => break,
                Err(error) => return Err(error),
            };
            let listed = page.aliases.unwrap_or_default().into_iter();
            aliases.extend(listed.filter_map(function_alias));
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
        Ok(aliases)
    }

    /// Points the `live` alias to another version, if it is still at `revision_id`.
    ///
    /// # Errors
    /// `PreconditionFailed` if it is not; `NotFound` if there is no alias or no such version.
    pub async fn move_live_alias(
        &self,
        name: &FunctionName,
        version: impl fmt::Display,
        revision_id: &str,
    ) -> Result<(), CloudError> {
        self.clients
            .lambda
            .update_alias()
            .function_name(name.as_str())
            .name(LIVE_ALIAS)
            .function_version(version.to_string())
            .revision_id(revision_id)
            .send()
            .await
            .map_err(|error| cloud_error("move the `live` alias of function", name, &error))?;
        Ok(())
    }

    /// Makes the `live` alias, pointing to a version.
    ///
    /// # Errors
    /// `Conflict` if there is one already; `NotFound` if there is no such version.
    pub async fn create_live_alias(
        &self,
        name: &FunctionName,
        version: &str,
    ) -> Result<(), CloudError> {
        self.clients
            .lambda
            .create_alias()
            .function_name(name.as_str())
            .name(LIVE_ALIAS)
            .function_version(version)
            .description("What renders use. Managed by rmx.")
            .send()
            .await
            .map_err(|error| cloud_error("make the `live` alias of function", name, &error))?;
        Ok(())
    }

    /// How often Lambda tries a failed asynchronous invocation of `qualifier` again; `None`: its default (2).
    pub async fn retries(
        &self,
        name: &FunctionName,
        qualifier: &str,
    ) -> Result<Option<u32>, CloudError> {
        let answer = self
            .clients
            .lambda
            .get_function_event_invoke_config()
            .function_name(name.as_str())
            .qualifier(qualifier)
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

    /// Makes Lambda not try failed asynchronous invocations of `qualifier` again: a render that failed half
    /// way must not start anew behind its owner's back.
    pub async fn turn_off_retries(
        &self,
        name: &FunctionName,
        qualifier: &str,
    ) -> Result<(), CloudError> {
        self.clients
            .lambda
            .put_function_event_invoke_config()
            .function_name(name.as_str())
            .qualifier(qualifier)
            .maximum_retry_attempts(0)
            .send()
            .await
            .map_err(|error| cloud_error("turn off the retries of function", name, &error))?;
        Ok(())
    }

    /// Has Lambda try failed asynchronous invocations of `qualifier` again as often as `count`. What else is set for them stays, such as
    /// where those go that have failed.
    pub async fn set_retries(
        &self,
        name: &FunctionName,
        qualifier: &str,
        count: Retries,
    ) -> Result<(), CloudError> {
        let changed = self
            .clients
            .lambda
            .update_function_event_invoke_config()
            .function_name(name.as_str())
            .qualifier(qualifier)
            .maximum_retry_attempts(count as i32)
            .send()
            .await
            .map_err(|error| cloud_error("set the retries of function", name, &error));
        match changed {
            // Nothing is set yet, so it is as often as where nobody says otherwise.
            Err(error) if error.is_not_found() => match count {
                Retries::None => self.turn_off_retries(name, qualifier).await,
                Retries::Default => Ok(()),
            },
            changed => changed.map(drop),
        }
    }

    /// The published versions, oldest first; none if there is no function.
    pub async fn function_versions(
        &self,
        name: &FunctionName,
    ) -> Result<Vec<PublishedVersion>, CloudError> {
        let listed = self.list_versions(name).await?;
        let listed = listed.into_iter().map(|version| {
            let published_at = version.last_modified.clone();
            (describe(version, None, Tags::new()), published_at)
        });
        let (latest, frozen): (Vec<_>, Vec<_>) =
            listed.partition(|(version, _)| version.version == LATEST);
        let latest = latest.first().map(|(latest, _)| &latest.settings);
        let published = frozen.into_iter().filter_map(|(version, published_at)| {
            Some(PublishedVersion {
                number: version.version.parse().ok()?,
                published_at: published_at.unwrap_or_default(),
                memory_mb: version.settings.memory_mb,
                timeout_s: version.settings.timeout_s,
                is_latest: latest == Some(&version.settings),
                runtime: version.settings.runtime,
                code_sha256: version.settings.code_sha256,
            })
        });
        let mut published: Vec<_> = published.collect();
        published.sort_unstable_by_key(|version| version.number);
        Ok(published)
    }

    /// What the account's storage holds of a function: the code of `$LATEST` and of every version; 0 if there is no function.
    pub async fn stored_code_bytes(&self, name: &FunctionName) -> Result<u64, CloudError> {
        let listed = self.list_versions(name).await?;
        let sizes = listed.iter().map(FunctionConfiguration::code_size);
        Ok(sizes.filter_map(|size| u64::try_from(size).ok()).sum())
    }

    async fn list_versions(
        &self,
        name: &FunctionName,
    ) -> Result<Vec<FunctionConfiguration>, CloudError> {
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
                .map_err(|error| cloud_error("list the versions of function", name, &error));
            let page = match page {
                Ok(page) => page,
                Err(error) if error.is_not_found() => return Ok(Vec::new()),
                Err(error) => return Err(error),
            };
            versions.extend(page.versions.unwrap_or_default());
            marker = page.next_marker.filter(|marker| !marker.is_empty());
            if marker.is_none() {
                break;
            }
        }
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
}

fn function_alias(alias: AliasConfiguration) -> Option<FunctionAlias> {
    let weights = alias.routing_config;
    let weights = weights.and_then(|routing| routing.additional_version_weights);
    Some(FunctionAlias {
        name: alias.name?,
        version: alias.function_version?,
        weighted: weights.unwrap_or_default().into_keys().collect(),
    })
}
