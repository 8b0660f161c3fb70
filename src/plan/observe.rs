//! What the cloud has now, in the same words as what is wanted.
//!
//! Everything desired or recorded is read at the same time; no resource takes more than two round trips one after
//! the other. AWS's answers are turned into the same specs that the config is turned into, with the same defaults,
//! so that two specs differ only where the resources do.
//!
//! Ours is what carries our lineage. Everything else of the same name is [`Observation::Foreign`].

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::change::{Desired, Observation, Observed, Present};
use crate::cloud::{
    BucketPresence, Cloud, CloudError, CloudErrorKind, FunctionDescription, LIVE_ALIAS, STACK_TAG,
    Tags,
};
use crate::digest::Digest;
use crate::names::{BucketName, FunctionName, LogGroupName, RoleName, SiteName};
use crate::resource::function::{HANDLER, RUNTIME};
use crate::resource::site::{self, ListedFile, SiteManifest};
use crate::resource::{
    Address, BucketSpec, EnvironmentSpec, FunctionSpec, LogGroupSpec, Resource, RoleReference,
    RoleSpec, SiteSpec, role,
};
use crate::state::{CloudIdentity, RecordStatus, State};

/// Reads everything that is desired or recorded.
///
/// `identity` is the account and region that `cloud` was found to be connected to.
///
/// # Errors
/// Something could not be read. That it is not there is no error.
pub async fn observe(
    cloud: &Cloud,
    identity: CloudIdentity,
    desired: &Desired,
    state: &State,
) -> Result<Observed, CloudError> {
    let observer = Observer {
        cloud,
        identity: &identity,
        desired,
        state,
    };
    let addresses: BTreeSet<&Address> = desired
        .resources
        .keys()
        .chain(state.records.keys())
        .collect();
    let resources = try_join_all(addresses.into_iter().map(|address| async {
        Ok::<_, CloudError>((address.clone(), observer.observe(address).await?))
    }))
    .await?
    .into_iter()
    .collect();
    Ok(Observed {
        identity,
        resources,
    })
}

#[derive(Clone, Copy)]
struct Observer<'a> {
    cloud: &'a Cloud,
    identity: &'a CloudIdentity,
    desired: &'a Desired,
    state: &'a State,
}

impl Observer<'_> {
    /// What there is at `address`: under the recorded name, or else under the desired one.
    async fn observe(&self, address: &Address) -> Result<Observation, CloudError> {
        let record = self.state.records.get(address);
        let recorded = record.map(|record| &record.applied);
        let wanted = self.desired.resources.get(address);
        let pending = record.is_some_and(|record| record.status == RecordStatus::Pending);
        let known: Vec<&Resource> = wanted.into_iter().chain(recorded).collect();
        if let Some(recorded) = recorded {
            let found = self.read(recorded, &known, pending).await?;
            if !matches!(found, Observation::Absent) {
                return Ok(found);
            }
        }
        match wanted {
            Some(wanted) if recorded.is_none_or(|recorded| !same_object(recorded, wanted)) => {
                self.read(wanted, &known, pending).await
            }
            _ => Ok(Observation::Absent),
        }
    }

    /// Reads the object that `spec` names. `known` are the specs that tell how its values are meant, the desired
    /// one first. `pending`: a change of it was begun and not recorded as finished.
    async fn read(
        &self,
        spec: &Resource,
        known: &[&Resource],
        pending: bool,
    ) -> Result<Observation, CloudError> {
        match spec {
            Resource::LogGroup(spec) => self.log_group(&spec.name).await,
            Resource::Role(spec) => self.role(&spec.name).await,
            Resource::Bucket(spec) => self.bucket(&spec.name, pending).await,
            Resource::Function(spec) => {
                let known: Vec<&FunctionSpec> = known
                    .iter()
                    .filter_map(|known| match known {
                        Resource::Function(known) => Some(known),
                        _ => None,
                    })
                    .collect();
                self.function(&spec.name, &known).await
            }
            Resource::Site(spec) => self.site(&spec.name, &spec.bucket).await,
        }
    }

    async fn log_group(&self, name: &LogGroupName) -> Result<Observation, CloudError> {
        let Some(found) = self.cloud.log_group(name).await? else {
            return Ok(Observation::Absent);
        };
        let spec = LogGroupSpec {
            name: name.clone(),
            retention_days: found.retention_days,
        };
        let outputs = outputs([("arn", found.arn)]);
        Ok(self.owned(&found.tags, Resource::LogGroup(spec), outputs))
    }

    async fn role(&self, name: &RoleName) -> Result<Observation, CloudError> {
        let Some(found) = self.cloud.role(name).await? else {
            return Ok(Observation::Absent);
        };
        let spec = RoleSpec {
            name: name.clone(),
            path: found.path,
            permissions_boundary: found.permissions_boundary,
            trust_policy: found.trust_policy,
            policy: found.policy.unwrap_or_default(),
        };
        let outputs = outputs([("arn", found.arn), ("id", found.id)]);
        Ok(self.owned(&found.tags, Resource::Role(spec), outputs))
    }

    async fn bucket(&self, name: &BucketName, pending: bool) -> Result<Observation, CloudError> {
        let found = match self.cloud.bucket(name).await? {
            BucketPresence::Absent => return Ok(Observation::Absent),
            BucketPresence::Denied => {
                return Ok(Observation::Foreign {
                    id: name.to_string(),
                    owner: None,
                });
            }
            BucketPresence::Present(found) => found,
        };
        let spec = Resource::Bucket(BucketSpec {
            name: name.clone(),
            expire_renders_days: found.lifecycle.expire_renders_days,
            abort_uploads_days: found.lifecycle.abort_uploads_days,
            block_public_access: found.block_public_access,
            owner_enforced: found.owner_enforced,
        });
        let region = &self.identity.region;
        let arn = format!("arn:{}:s3:::{name}", role::partition(region));
        let outputs = outputs([("arn", arn), ("region", region.to_string())]);
        // A bucket gets its tags after its creation. One without any, whose creation we began, is ours.
        if pending && !found.tags.contains_key(STACK_TAG) {
            return Ok(present(spec, outputs));
        }
        Ok(self.owned(&found.tags, spec, outputs))
    }

    async fn function(
        &self,
        name: &FunctionName,
        known: &[&FunctionSpec],
    ) -> Result<Observation, CloudError> {
        let (latest, live, retries) = tokio::join!(
            self.cloud.function(name),
            self.cloud.live_function(name),
            self.cloud.live_retries(name),
        );
        let Some(latest) = latest? else {
            return Ok(Observation::Absent);
        };
        let (live, retries) = (live?, retries?);
        let published = live.as_ref().is_some_and(|live| {
            live.settings == latest.settings
                && retries == Some(0)
                && live.settings.runtime == RUNTIME
                && live.settings.handler == HANDLER
        });
        let spec = self.function_spec(name, known, &latest, published);
        let mut outputs = outputs([
            ("arn", latest.arn.clone()),
            ("revision_id", latest.revision_id.clone()),
        ]);
        if let Some(live) = &live {
            outputs.insert("version".to_owned(), live.version.clone());
            outputs.insert("alias".to_owned(), LIVE_ALIAS.to_owned());
        }
        Ok(self.owned(&latest.tags, Resource::Function(spec), outputs))
    }

    fn function_spec(
        &self,
        name: &FunctionName,
        known: &[&FunctionSpec],
        latest: &FunctionDescription,
        published: bool,
    ) -> FunctionSpec {
        let settings = &latest.settings;
        let managed = known.iter().map(|known| &known.role).find(|role| {
            matches!(role, RoleReference::Managed { name, path }
                if role::role_arn(&self.identity.region, &self.identity.account, path, name)
                    == settings.role_arn)
        });
        FunctionSpec {
            name: name.clone(),
            role: managed
                .cloned()
                .unwrap_or_else(|| RoleReference::Arn(settings.role_arn.clone())),
            architecture: settings.architecture.clone(),
            memory_mb: settings.memory_mb,
            timeout_s: settings.timeout_s,
            disk_mb: settings.disk_mb,
            environment: settings
                .environment
                .iter()
                .map(|(key, value)| {
                    let meant = known.iter().find_map(|known| known.environment.get(key));
                    let value = match meant {
                        Some(EnvironmentSpec::Plain(_)) => EnvironmentSpec::Plain(value.clone()),
                        // Nobody said that a value which is not ours may be shown.
                        Some(EnvironmentSpec::Secret(_)) | None => {
                            EnvironmentSpec::Secret(Digest::of(value))
                        }
                    };
                    (key.clone(), value)
                })
                .collect(),
            layers: settings.layers.clone(),
            subnet_ids: settings.subnet_ids.clone(),
            security_group_ids: settings.security_group_ids.clone(),
            log_group: settings
                .log_group
                .parse()
                .or_else(|_| format!("/aws/lambda/{name}").parse())
                .expect("a function name is made of characters that log group names may have"),
            code_sha256: settings.code_sha256.unwrap_or_else(|| Digest::of("no zip")),
            published,
        }
    }

    async fn site(&self, name: &SiteName, bucket: &BucketName) -> Result<Observation, CloudError> {
        let prefix = site::prefix(name);
        let manifest_key = site::manifest_key(name);
        let (listing, manifest) = tokio::join!(
            self.cloud.list_objects(bucket, &prefix),
            self.cloud.get_object(bucket, &manifest_key),
        );
        let listing = match listing {
            Ok(listing) => listing,
            Err(error) if error.is_not_found() => return Ok(Observation::Absent),
            // The bucket itself shows as foreign, which says more than this error would.
            Err(error) if error.kind == CloudErrorKind::AccessDenied => {
                return Ok(Observation::Foreign {
                    id: format!("s3://{bucket}/{prefix}"),
                    owner: None,
                });
            }
            Err(error) => return Err(error),
        };
        let manifest = match manifest {
            Ok(bytes) => SiteManifest::parse(&bytes),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let listing: Vec<ListedFile> = listing
            .into_iter()
            .filter_map(|object| {
                Some(ListedFile {
                    path: object.key.strip_prefix(&prefix)?.to_owned(),
                    etag: object.etag,
                    size_bytes: object.size_bytes,
                })
            })
            .collect();
        if listing.is_empty() && manifest.is_none() {
            return Ok(Observation::Absent);
        }
        let owner = manifest.as_ref().map(|manifest| manifest.lineage.clone());
        let recorded = self.state.records.values().any(|record| {
            matches!(&record.applied, Resource::Site(SiteSpec { name: n, bucket: b, .. })
                if n == name && b == bucket)
        });
        if owner.as_ref() != Some(&self.state.lineage) && (owner.is_some() || !recorded) {
            return Ok(Observation::Foreign {
                id: format!("s3://{bucket}/{prefix}"),
                owner: owner.map(String::from),
            });
        }
        let manifest = manifest.unwrap_or_else(|| SiteManifest::claim(self.state.lineage.clone()));
        let spec = manifest.observed(name.clone(), bucket.clone(), &listing);
        Ok(present(
            Resource::Site(spec),
            outputs([("bucket", bucket.to_string()), ("prefix", prefix)]),
        ))
    }

    /// Present if the tags carry our lineage, foreign otherwise.
    fn owned(&self, tags: &Tags, spec: Resource, outputs: BTreeMap<String, String>) -> Observation {
        let owner = tags.get(STACK_TAG);
        if owner.map(String::as_str) == Some(self.state.lineage.as_str()) {
            return present(spec, outputs);
        }
        Observation::Foreign {
            id: outputs.get("arn").cloned().unwrap_or_default(),
            owner: owner.cloned(),
        }
    }
}

fn present(spec: Resource, outputs: BTreeMap<String, String>) -> Observation {
    let revision = serde_json::to_vec(&(&spec, &outputs)).unwrap_or_default();
    Observation::Present(Box::new(Present {
        revision: Digest::of(revision).to_string(),
        spec,
        outputs,
    }))
}

fn outputs<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Whether two specs name the same object in the cloud.
fn same_object(one: &Resource, other: &Resource) -> bool {
    match (one, other) {
        (Resource::LogGroup(one), Resource::LogGroup(other)) => one.name == other.name,
        (Resource::Role(one), Resource::Role(other)) => one.name == other.name,
        (Resource::Bucket(one), Resource::Bucket(other)) => one.name == other.name,
        (Resource::Function(one), Resource::Function(other)) => one.name == other.name,
        (Resource::Site(one), Resource::Site(other)) => {
            one.name == other.name && one.bucket == other.bucket
        }
        _ => false,
    }
}
