//! What is kept of functions: one document a region, and the phases computed from its timestamps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::digest::Digest;
use crate::names::FunctionName;

use super::error::{Kind, ServiceError};
use super::reference::{Place, Reference};

/// How long a new function is `Pending` and an update `InProgress`. AWS takes one to some seconds; short
/// here, and long enough that a client which does not wait is caught.
pub(super) const PHASE_MS: u64 = 150;

/// The functions of one region.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Functions(pub(super) BTreeMap<FunctionName, Function>);

/// A function: what `$LATEST` is, and everything hung on it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Function {
    /// `$LATEST`.
    pub(super) latest: Version,
    /// What invocations of `$LATEST` see while the update that made `latest` is in progress.
    pub(super) before_update: Option<Version>,
    /// Published versions.
    pub(super) versions: BTreeMap<u64, Version>,
    /// The number the next published version gets. Numbers are never used again.
    pub(super) next_version: u64,
    pub(super) aliases: BTreeMap<String, Alias>,
    pub(super) tags: BTreeMap<String, String>,
    /// By qualifier.
    pub(super) event_invoke: BTreeMap<String, EventInvoke>,
    /// By qualifier.
    pub(super) runtime_management: BTreeMap<String, RuntimeManagement>,
    pub(super) reserved_concurrency: Option<u32>,
}

/// Code and configuration at one time: `$LATEST` or a published, frozen version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Version {
    /// `$LATEST` or a number.
    pub(super) name: String,
    pub(super) configuration: Configuration,
    pub(super) code: Code,
    pub(super) revision_id: String,
    /// What is shown instead of `revision_id` while an update is in progress. AWS gives a function another revision once
    /// the update has settled, so that the one in the answer to an update is good for nothing (aws/aws-sdk#377).
    #[serde(default)]
    pub(super) passing_revision_id: Option<String>,
    /// When it came to be, milliseconds since the epoch.
    pub(super) created_ms: u64,
    /// When it was last changed; the same as `created_ms` where it never was.
    pub(super) modified_ms: u64,
}

/// The zip: kept as a file named by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Code {
    pub(super) sha256: Digest,
    pub(super) size_bytes: u64,
}

/// What `UpdateFunctionConfiguration` can change, with every default filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Configuration {
    pub(super) runtime: String,
    pub(super) role: String,
    pub(super) handler: String,
    pub(super) description: String,
    pub(super) timeout_s: u32,
    pub(super) memory_mb: u32,
    pub(super) disk_mb: u32,
    pub(super) architecture: String,
    pub(super) environment: Option<BTreeMap<String, String>>,
    pub(super) layers: Vec<String>,
    /// Sizes of the zips of those that are in the embedded cloud.
    #[serde(default)]
    pub(super) layer_bytes: BTreeMap<String, u64>,
    /// As given: subnets, security groups.
    pub(super) vpc: Option<Value>,
    pub(super) log_group: String,
    pub(super) tracing_mode: String,
}

/// A name for a version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Alias {
    pub(super) version: String,
    /// Other versions, and the share of invocations that goes to each.
    #[serde(default)]
    pub(super) weights: BTreeMap<String, f64>,
    pub(super) description: String,
    pub(super) revision_id: String,
}

impl Alias {
    /// Whether invocations of it go to that version.
    pub(super) fn invokes(&self, version: &str) -> bool {
        self.version == version || self.weights.contains_key(version)
    }
}

/// What happens to asynchronous invocations.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct EventInvoke {
    pub(super) retries_max: Option<u32>,
    pub(super) age_max_s: Option<u32>,
    pub(super) modified_ms: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct RuntimeManagement {
    pub(super) update_runtime_on: String,
    pub(super) runtime_version_arn: Option<String>,
}

/// A new revision id.
pub(super) fn revision_id() -> String {
    uuid::Uuid::new_v4().to_string()
}

impl Functions {
    pub(super) fn get(
        &self,
        place: &Place,
        name: &FunctionName,
    ) -> Result<&Function, ServiceError> {
        self.0
            .get(name)
            .ok_or_else(|| ServiceError::not_found(&place.function_arn(name)))
    }

    pub(super) fn get_mut(
        &mut self,
        place: &Place,
        name: &FunctionName,
    ) -> Result<&mut Function, ServiceError> {
        self.0
            .get_mut(name)
            .ok_or_else(|| ServiceError::not_found(&place.function_arn(name)))
    }

    /// The function and the version that `reference` means.
    pub(super) fn version(
        &self,
        place: &Place,
        reference: &Reference,
    ) -> Result<(&Function, &Version), ServiceError> {
        let missing = || ServiceError::not_found(&place.arn(reference));
        let function = self.0.get(&reference.name).ok_or_else(missing)?;
        let version = function
            .version(reference.qualifier.as_deref())
            .ok_or_else(missing)?;
        Ok((function, version))
    }

    /// The function and the version that an invocation of `reference` goes to.
    pub(super) fn routed(
        &self,
        place: &Place,
        reference: &Reference,
    ) -> Result<(&Function, &Version), ServiceError> {
        let (function, version) = self.version(place, reference)?;
        let lot = f64::from(uuid::Uuid::new_v4().as_fields().0) / f64::from(u32::MAX);
        let routed = function.routed(reference.qualifier.as_deref(), lot);
        Ok((function, routed.unwrap_or(version)))
    }
}

impl Function {
    /// The version meant by a qualifier: an alias, a number, `$LATEST`, or none.
    pub(super) fn version(&self, qualifier: Option<&str>) -> Option<&Version> {
        let name = match qualifier {
            Some(qualifier) => self
                .aliases
                .get(qualifier)
                .map_or(qualifier, |alias| alias.version.as_str()),
            None => "$LATEST",
        };
        match name {
            "$LATEST" => Some(&self.latest),
            number => self.versions.get(&number.parse().ok()?),
        }
    }

    /// The version that an invocation goes to. `lot`, drawn from 0 to 1, decides where an alias has weights.
    pub(super) fn routed(&self, qualifier: Option<&str>, lot: f64) -> Option<&Version> {
        let alias = qualifier.and_then(|qualifier| self.aliases.get(qualifier));
        let mut reached = 0.0;
        for (version, weight) in alias.iter().flat_map(|alias| &alias.weights) {
            reached += weight;
            if lot < reached {
                return self.version(Some(version));
            }
        }
        self.version(qualifier)
    }

    /// Publishes `$LATEST` as a new version, or returns the last one when nothing has changed since.
    pub(super) fn publish(&mut self, description: Option<String>, now_ms: u64) -> &Version {
        let unchanged = self.versions.last_key_value().is_some_and(|(_, last)| {
            let description = last.configuration.description.clone();
            let latest = Configuration {
                description,
                ..self.latest.configuration.clone()
            };
            last.code == self.latest.code && last.configuration == latest
        });
        if !unchanged {
            let number = self.next_version;
            self.next_version += 1;
            let mut version = self.latest.clone();
            version.name = number.to_string();
            version.revision_id = revision_id();
            version.created_ms = now_ms;
            version.modified_ms = now_ms;
            if let Some(description) = description {
                version.configuration.description = description;
            }
            if let Some(management) = self.runtime_management.get("$LATEST").cloned() {
                self.runtime_management
                    .insert(number.to_string(), management);
            }
            self.versions.insert(number, version);
            self.latest.revision_id = revision_id();
        }
        let (_, last) = self
            .versions
            .last_key_value()
            .expect("one was there or has been inserted");
        last
    }

    /// Refuses a change while another one is not finished, as AWS does, and one made against an old revision.
    pub(super) fn check_changeable(
        &self,
        arn: &str,
        revision_id: Option<&str>,
        now_ms: u64,
    ) -> Result<(), ServiceError> {
        self.latest.check_created(now_ms)?;
        if self.latest.is_updating(now_ms) {
            return Err(ServiceError::new(
                Kind::ResourceConflict,
                format!(
                    "The operation cannot be performed at this time. An update is in progress for resource: {arn}"
                ),
            ));
        }
        match revision_id {
            Some(revision) if revision != self.latest.revision_id => {
                Err(ServiceError::stale_revision())
            }
            _ => Ok(()),
        }
    }

    /// Makes room for an update of `$LATEST`: remembers what is served meanwhile, and marks the change.
    pub(super) fn begin_update(&mut self, now_ms: u64) -> &mut Version {
        self.before_update = Some(self.latest.clone());
        self.latest.revision_id = revision_id();
        self.latest.passing_revision_id = Some(revision_id());
        self.latest.modified_ms = now_ms;
        &mut self.latest
    }

    /// What an invocation of `version` runs: during an update, `$LATEST` is still what it was.
    pub(super) fn serving<'a>(&'a self, version: &'a Version, now_ms: u64) -> &'a Version {
        match &self.before_update {
            Some(before) if version.name == "$LATEST" && version.is_updating(now_ms) => before,
            _ => version,
        }
    }
}

impl Version {
    pub(super) fn is_pending(&self, now_ms: u64) -> bool {
        now_ms < self.created_ms + PHASE_MS
    }

    pub(super) fn is_updating(&self, now_ms: u64) -> bool {
        self.modified_ms != self.created_ms && now_ms < self.modified_ms + PHASE_MS
    }

    /// The revision that is told at `now_ms`.
    pub(super) fn revision_at(&self, now_ms: u64) -> &str {
        match &self.passing_revision_id {
            Some(passing) if self.is_updating(now_ms) => passing,
            _ => &self.revision_id,
        }
    }

    /// Refuses what a function cannot do before it is `Active`.
    pub(super) fn check_created(&self, now_ms: u64) -> Result<(), ServiceError> {
        if self.is_pending(now_ms) {
            return Err(ServiceError::new(
                Kind::ResourceConflict,
                "The operation cannot be performed at this time. \
                 The function is currently in the following state: Pending",
            ));
        }
        Ok(())
    }
}
