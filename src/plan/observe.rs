//! What the cloud has now, in the same words as what is wanted.
//!
//! Everything desired or recorded is read at the same time; no resource takes more than two round trips one after
//! the other. AWS's answers are turned into the same specs that the config is turned into, with the same defaults,
//! so that two specs differ only where the resources do.
//!
//! Ours is what carries our lineage. Everything else of the same name is [`Observation::Foreign`].

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;

use super::change::{
    AliasRevision, Desired, Observation, Observed, Precondition, Present, SiteTags,
};
use super::in_use;

use super::retention::Versions;
use crate::cloud::{
    BucketPresence, Cloud, CloudError, CloudErrorKind, FunctionDescription, LIVE_ALIAS, STACK_TAG,
    Tags,
};
use crate::digest::Digest;
use crate::names::{BucketName, FunctionName, Lineage, LogGroupName, RoleName, SiteName};
use crate::resource::function::{LATEST, RUNTIME, invokes_latest};
use crate::resource::site::{self, ListedFile, SiteManifest};
use crate::resource::{
    Address, BucketSpec, EnvironmentSpec, FunctionSpec, LogGroupSpec, Resource, RoleReference,
    RoleSpec, role,
};
use crate::state::{ARN_OUTPUT, Claim, CloudIdentity, RUNTIME_OUTPUT, Record, State};

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
        lineage: &state.lineage,
    };
    let addresses: BTreeSet<&Address> = desired
        .resources
        .keys()
        .chain(state.records.keys())
        .collect();
    let resources = try_join_all(addresses.into_iter().map(|address| async {
        let wanted = desired.resources.get(address);
        let record = state.records.get(address);
        Ok::<_, CloudError>((address.clone(), observer.either(wanted, record).await?))
    }));
    let resources = async { Ok(resources.await?.into_iter().collect()) };
    let resources = in_use::add_versions(cloud, desired, state, resources).await?;
    Ok(Observed {
        identity,
        resources,
    })
}

/// Reads one resource after another, when it is known which ones.
#[derive(Debug, Clone, Copy)]
pub struct Observer<'a> {
    /// Where to look.
    pub cloud: &'a Cloud,
    /// What `cloud` is connected to.
    pub identity: &'a CloudIdentity,
    /// What is ours.
    pub lineage: &'a Lineage,
}

impl Observer<'_> {
    /// What there is under the recorded name, or else under the desired one.
    async fn either(
        &self,
        wanted: Option<&Resource>,
        record: Option<&Record>,
    ) -> Result<Observation, CloudError> {
        let recorded = record.map(|record| &record.applied);
        let claim = Claim::of(record);
        let known: Vec<&Resource> = wanted.into_iter().chain(recorded).collect();
        if let Some(recorded) = recorded {
            let found = self.read(recorded, &known, claim).await?;
            if !matches!(found, Observation::Absent) {
                return Ok(found);
            }
        }
        match wanted {
            Some(wanted) if recorded.is_none_or(|recorded| !same_object(recorded, wanted)) => {
                self.read(wanted, &known, claim).await
            }
            _ => Ok(Observation::Absent),
        }
    }

    /// Reads the object that `spec` names. `known` are the specs that tell how its values are meant (which
    /// environment variables are secret, which role is ours), the desired one first. `claim` is what is recorded of it.
    ///
    /// # Errors
    /// It could not be read. That it is not there is no error.
    pub async fn read(
        &self,
        spec: &Resource,
        known: &[&Resource],
        claim: Claim,
    ) -> Result<Observation, CloudError> {
        // On the heap: a call of the SDK is a large future, and many of these run at the same time.
        match spec {
            Resource::LogGroup(spec) => Box::pin(self.log_group(&spec.name)).await,
            Resource::Role(spec) => Box::pin(self.role(&spec.name)).await,
            Resource::Bucket(spec) => Box::pin(self.bucket(&spec.name, claim)).await,
            Resource::Function(spec) => {
                let known: Vec<&FunctionSpec> = known
                    .iter()
                    .filter_map(|known| match known {
                        Resource::Function(known) => Some(known),
                        _ => None,
                    })
                    .collect();
                Box::pin(self.function(&spec.name, &known)).await
            }
            Resource::Site(spec) => Box::pin(self.site(&spec.name, &spec.bucket, claim)).await,
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
        let spec = Resource::LogGroup(spec);
        Ok(self.owned(&found.tags, spec, outputs, Precondition::None))
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
            other_policies: found.other_policies,
            attached_policies: found.attached_policies,
        };
        let outputs = outputs([("arn", found.arn), ("id", found.id)]);
        let spec = Resource::Role(spec);
        Ok(self.owned(&found.tags, spec, outputs, Precondition::None))
    }

    async fn bucket(&self, name: &BucketName, claim: Claim) -> Result<Observation, CloudError> {
        let found = match self.cloud.bucket(name).await? {
            BucketPresence::Absent => return Ok(Observation::Absent),
            BucketPresence::Denied => {
                return Ok(Observation::Foreign {
                    id: role::bucket_arn(&self.identity.region, name),
                    owner: None,
                });
            }
            BucketPresence::Present(found) => found,
        };
        let spec = Resource::Bucket(BucketSpec {
            name: name.clone(),
            expire_renders_days: found.lifecycle.expire_renders_days,
            abort_uploads_days: found.lifecycle.abort_uploads_days,
            expire_days: found.lifecycle.expire_days,
            block_public_access: found.block_public_access,
            owner_enforced: found.owner_enforced,
            // Nobody asks for it under another name, and then the policy is none of our business.
            public_read: name.is_of_remotion() && self.cloud.public_read(name).await?,
        });
        let mut outputs = outputs([
            (ARN_OUTPUT, role::bucket_arn(&self.identity.region, name)),
            ("region", self.identity.region.to_string()),
        ]);
        // A bucket gets its tags after its creation. One without any, whose creation we began, is ours, and only that:
        // as long as nobody records its ARN.
        if claim == Claim::Begun && found.tags.is_empty() {
            outputs.remove(ARN_OUTPUT);
            return Ok(present(spec, outputs, Precondition::None));
        }
        Ok(self.owned(&found.tags, spec, outputs, Precondition::None))
    }

    async fn function(
        &self,
        name: &FunctionName,
        known: &[&FunctionSpec],
    ) -> Result<Observation, CloudError> {
        // Nobody asks for one under another name, and then whether one is kept is none of our business, unless the function has
        // another runtime than rmx's, as one that is taken over: it would not belong to that which it gets.
        let kept_runtime = async {
            match name.is_of_remotion() {
                true => self.cloud.runtime_version_arn(name).await,
                false => Ok(None),
            }
        };
        let (latest, live, alias, retries, kept_runtime) = tokio::join!(
            self.cloud.function_at_rest(name),
            self.cloud.live_function(name),
            self.cloud.live_alias(name),
            self.cloud.retries(name, LIVE_ALIAS),
            kept_runtime,
        );
        let Some(latest) = latest? else {
            return Ok(Observation::Absent);
        };
        let (live, alias, retries, mut kept_runtime) = (live?, alias?, retries?, kept_runtime?);
        let runtime = &latest.settings.runtime;
        if !name.is_of_remotion() && runtime != RUNTIME {
            kept_runtime = self.cloud.runtime_version_arn(name).await?;
        }
        // An alias of `$LATEST` freezes nothing.
        let frozen = live.as_ref();
        let frozen = frozen.filter(|live| live.version.parse::<u64>().is_ok());
        let frozen_as_it_is =
            frozen.is_some_and(|live| live.settings == latest.settings && retries == Some(0));
        let published = frozen_as_it_is && self.retries_by_name_fit(name, runtime).await?;
        let other = frozen.filter(|live| live.settings != latest.settings);
        let spec = |found, published| FunctionSpec {
            runtime_version_arn: kept_runtime.clone(),
            ..self.function_spec(name, known, found, published)
        };
        let served = other.map(|live| spec(live, false));
        let spec = spec(&latest, published);
        let mut outputs = outputs([
            ("arn", latest.arn.clone()),
            ("revision_id", latest.revision_id.clone()),
        ]);
        if let Some(live) = &live {
            outputs.insert("version".to_owned(), live.version.clone());
            outputs.insert(RUNTIME_OUTPUT.to_owned(), live.settings.runtime.clone());
            outputs.insert("alias".to_owned(), LIVE_ALIAS.to_owned());
        }
        let precondition = Precondition::Function {
            revision_id: latest.revision_id,
            alias: alias.map(|alias| AliasRevision {
                version: alias.version,
                revision_id: alias.revision_id,
            }),
        };
        let spec = Resource::Function(spec);
        let mut found = self.owned(&latest.tags, spec, outputs, precondition);
        if let Observation::Present(present) = &mut found {
            present.live = served.map(Resource::Function);
        }
        Ok(found)
    }

    /// Whether events that are for the name alone are repeated as they should be: of Remotion's function they are not, of rmx's worker
    /// with a name of Remotion's they are, as that may have been Remotion's. Nobody sets it for other names.
    async fn retries_by_name_fit(
        &self,
        name: &FunctionName,
        runtime: &str,
    ) -> Result<bool, CloudError> {
        if !name.is_of_remotion() {
            return Ok(true);
        }
        let turned_off = self.cloud.retries(name, LATEST).await? == Some(0);
        Ok(turned_off == invokes_latest(runtime))
    }

    fn function_spec(
        &self,
        name: &FunctionName,
        known: &[&FunctionSpec],
        found: &FunctionDescription,
        published: bool,
    ) -> FunctionSpec {
        let settings = &found.settings;
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
            runtime: settings.runtime.clone(),
            handler: settings.handler.clone(),
            runtime_version_arn: None,
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

    async fn site(
        &self,
        name: &SiteName,
        bucket: &BucketName,
        claim: Claim,
    ) -> Result<Observation, CloudError> {
        let prefix = site::prefix(name);
        let manifest_key = site::manifest_key(name);
        let (listing, manifest) = tokio::join!(
            self.cloud.list_objects(bucket, &prefix),
            self.cloud.object(bucket, &manifest_key),
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
        let manifest_object = match manifest {
            Ok(object) => Some(object),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let manifest = manifest_object
            .as_ref()
            .and_then(|object| SiteManifest::parse(&object.content));
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
        if listing.is_empty() && manifest_object.is_none() {
            return Ok(Observation::Absent);
        }
        let owner = manifest.as_ref().map(|manifest| manifest.lineage.clone());
        // Without a manifest the record is the only witness.
        let ours = match &owner {
            Some(owner) => owner == self.lineage,
            None => claim != Claim::None,
        };
        if !ours {
            return Ok(Observation::Foreign {
                id: format!("s3://{bucket}/{prefix}"),
                owner: owner.map(String::from),
            });
        }
        let tags = SiteTags {
            manifest_etag: manifest_object.map(|object| object.etag),
            manifest: manifest.clone(),
            files: listing
                .iter()
                .map(|file| (file.path.clone(), file.etag.clone()))
                .collect(),
        };
        let manifest = manifest.unwrap_or_else(|| SiteManifest::claim(self.lineage.clone()));
        let spec = manifest.observed(name.clone(), bucket.clone(), &listing);
        Ok(present(
            Resource::Site(spec),
            outputs([("bucket", bucket.to_string()), ("prefix", prefix)]),
            Precondition::Site(tags),
        ))
    }

    /// Present if the tags carry our lineage, foreign otherwise.
    fn owned(
        &self,
        tags: &Tags,
        spec: Resource,
        outputs: BTreeMap<String, String>,
        precondition: Precondition,
    ) -> Observation {
        let owner = tags.get(STACK_TAG);
        if owner.map(String::as_str) == Some(self.lineage.as_str()) {
            return present(spec, outputs, precondition);
        }
        Observation::Foreign {
            id: outputs.get("arn").cloned().unwrap_or_default(),
            owner: owner.cloned(),
        }
    }
}

fn present(
    spec: Resource,
    outputs: BTreeMap<String, String>,
    precondition: Precondition,
) -> Observation {
    let revision = serde_json::to_vec(&(&spec, &outputs, &precondition)).unwrap_or_default();
    Observation::Present(Box::new(Present {
        revision: Digest::of(revision).to_string(),
        spec,
        outputs,
        precondition,
        versions: Versions::default(),
        live: None,
    }))
}

fn outputs<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// Whether two specs name the same object in the cloud.
pub(super) fn same_object(one: &Resource, other: &Resource) -> bool {
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
