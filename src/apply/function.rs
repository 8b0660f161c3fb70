//! Functions: configuration and code, version, alias. In this order, each step after the one before has settled.
//!
//! Every step names the revision it goes on from, and Lambda refuses it if the function or the alias is another by then. As
//! the revision changes once more while a change settles, what connects two steps is the content: what has settled must
//! be what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use super::{ApplyEvent, ChangeError, Executor, Outputs, check_file, overtaken};
use crate::cloud::wait::{self, Patience};
use crate::cloud::{
    CloudError, CloudErrorKind, FunctionCode, FunctionDescription, FunctionPhase, FunctionSettings,
    LIVE_ALIAS, PutOptions, Retries,
};
use crate::digest::Digest;
use crate::names::FunctionName;
use crate::plan::change::AliasRevision;
use crate::plan::in_use;
use crate::resource::function::LATEST;
use crate::resource::{EnvironmentSpec, FunctionSpec, RoleReference, role, site};

/// Old versions whose deletion is denied, once it was tried.
pub(super) type Undeletable = OnceLock<BTreeSet<u64>>;

impl Executor<'_> {
    pub(super) async fn create_function(&self, spec: &FunctionSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let settings = self.settings(spec)?;
        let code = self.code(spec).await?;
        let tags = self.tags();
        let patience = self.inputs.role_patience;
        let mut waiting = false;
        let created = wait::until(patience, async || {
            let created = cloud
                .create_function(&spec.name, &settings, &code, &tags)
                .await;
            self.or_wait_for_role(&settings, &mut waiting, created)
        });
        created
            .await?
            .ok_or_else(|| role_not_ready(&settings, patience))?;
        let now = self.settled(&spec.name, "create").await?;
        self.publish(spec, now, None).await
    }

    /// Changes the function that was found as `found`, at `revision_id`, and whose alias is `alias`.
    pub(super) async fn update_function(
        &self,
        found: &FunctionSpec,
        revision_id: &str,
        alias: Option<&AliasRevision>,
        spec: &FunctionSpec,
    ) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let name = &spec.name;
        let mut now = cloud
            .settled_function(name)
            .await?
            .ok_or(ChangeError::Vanished)?;
        if now.revision_id != revision_id {
            return Err(ChangeError::Moved);
        }
        if matches!(now.phase, FunctionPhase::CreateFailed(_)) {
            // Lambda never mends such a function. It never worked, so nothing is lost with it.
            cloud.delete_function(name).await?;
            return self.create_function(spec).await;
        }
        // Before anything else: another runtime has no such version.
        if found.runtime_version_arn.is_some()
            && (spec.runtime_version_arn.is_none() || found.runtime != spec.runtime)
        {
            now = self.keep_runtime(name, None, now).await?;
        }
        let settings = self.settings(spec)?;
        let has = |layer: &String| now.settings.layers.contains(layer);
        if !same_code(&now.settings, &settings) && !settings.layers.iter().all(has) {
            // Lambda unzips 250 MB of code and layers together: layers go before other code comes, and come after it.
            let fewer = FunctionSettings {
                layers: settings
                    .layers
                    .iter()
                    .filter(|layer| has(layer))
                    .cloned()
                    .collect(),
                ..settings.clone()
            };
            now = self.with_configuration(name, &fewer, now).await?;
            now = self.with_code(spec, &settings, now).await?;
        }
        now = self.with_configuration(name, &settings, now).await?;
        now = self.with_code(spec, &settings, now).await?;
        self.publish(spec, now, alias).await
    }

    /// The function, which is as `now`, with the configuration that `settings` say.
    async fn with_configuration(
        &self,
        name: &FunctionName,
        settings: &FunctionSettings,
        now: FunctionDescription,
    ) -> Result<FunctionDescription, ChangeError> {
        match same_configuration(&now.settings, settings) {
            true => Ok(now),
            false => self.change_configuration(name, settings, &now).await,
        }
    }

    /// The function, which is as `now`, with the code that `settings` say.
    async fn with_code(
        &self,
        spec: &FunctionSpec,
        settings: &FunctionSettings,
        now: FunctionDescription,
    ) -> Result<FunctionDescription, ChangeError> {
        match same_code(&now.settings, settings) {
            true => Ok(now),
            false => self.change_code(spec, settings, &now).await,
        }
    }

    async fn change_configuration(
        &self,
        name: &FunctionName,
        settings: &FunctionSettings,
        now: &FunctionDescription,
    ) -> Result<FunctionDescription, ChangeError> {
        let patience = self.inputs.role_patience;
        let mut waiting = false;
        let changed = wait::until(patience, async || {
            let changed = self
                .inputs
                .cloud
                .update_function_configuration(name, settings, &now.revision_id)
                .await;
            self.or_wait_for_role(settings, &mut waiting, changed)
        });
        let wanted = FunctionSettings {
            architecture: now.settings.architecture.clone(),
            code_sha256: now.settings.code_sha256,
            ..settings.clone()
        };
        let changed = changed.await.transpose();
        let changed = changed.ok_or_else(|| role_not_ready(settings, patience))?;
        self.settled_as(name, changed, wanted).await
    }

    async fn change_code(
        &self,
        spec: &FunctionSpec,
        settings: &FunctionSettings,
        now: &FunctionDescription,
    ) -> Result<FunctionDescription, ChangeError> {
        let code = self.code(spec).await?;
        let cloud = self.inputs.cloud;
        let changed = cloud
            .update_function_code(&spec.name, &settings.architecture, &code, &now.revision_id)
            .await;
        let wanted = FunctionSettings {
            architecture: settings.architecture.clone(),
            code_sha256: settings.code_sha256,
            ..now.settings.clone()
        };
        self.settled_as(&spec.name, changed, wanted).await
    }

    /// The function after a change has settled, which must be what the answer to the change said; or `wanted`, where the
    /// change was refused because the function is another by now: that can be the doing of a try whose answer got lost.
    async fn settled_as(
        &self,
        name: &FunctionName,
        changed: Result<FunctionSettings, CloudError>,
        wanted: FunctionSettings,
    ) -> Result<FunctionDescription, ChangeError> {
        let expected = match changed {
            Ok(answered) => answered,
            Err(error) if overtaken(&error) => wanted,
            Err(error) => return Err(error.into()),
        };
        let settled = self.settled(name, "update").await?;
        match settled.settings == expected {
            true => Ok(settled),
            false => Err(ChangeError::Moved),
        }
    }

    /// Publishes the function as it is `now` and moves the alias to that, then clears away old versions.
    async fn publish(
        &self,
        spec: &FunctionSpec,
        now: FunctionDescription,
        alias: Option<&AliasRevision>,
    ) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let name = &spec.name;
        let now = self.with_runtime_version(spec, now).await?;
        let version = self.publish_version(spec, &now).await?;
        sound(cloud.settled_version(name, &version).await?, "publish")?;
        if alias.is_none_or(|alias| alias.version != version) {
            self.require_smoke(spec, &version, alias).await?;
            self.move_alias(name, &version, alias).await?;
        }
        cloud.turn_off_retries(name, LIVE_ALIAS).await?;
        if name.is_of_remotion() {
            // Whoever invokes rmx's worker by its name has a lost orchestrator repeated; of Remotion's it is not, and this may have been that.
            let turned_off = cloud.retries(name, LATEST).await? == Some(0);
            match spec.invokes_latest() {
                true if !turned_off => cloud.set_retries(name, LATEST, Retries::None).await?,
                false if turned_off => cloud.set_retries(name, LATEST, Retries::Default).await?,
                _ => {}
            }
        }
        self.delete_old_versions(name).await
    }

    /// The function, which is as `now`, keeping the version of the runtime that is wanted, if one is.
    async fn with_runtime_version(
        &self,
        spec: &FunctionSpec,
        now: FunctionDescription,
    ) -> Result<FunctionDescription, ChangeError> {
        let Some(wanted) = &spec.runtime_version_arn else {
            return Ok(now);
        };
        let kept = self.inputs.cloud.runtime_version_arn(&spec.name).await?;
        match kept.as_ref() == Some(wanted) {
            true => Ok(now),
            false => self.keep_runtime(&spec.name, Some(wanted), now).await,
        }
    }

    /// The function, which is as `now`, keeping that version of its runtime, or none.
    async fn keep_runtime(
        &self,
        name: &FunctionName,
        version_arn: Option<&str>,
        now: FunctionDescription,
    ) -> Result<FunctionDescription, ChangeError> {
        let cloud = self.inputs.cloud;
        cloud.keep_runtime_version(name, version_arn).await?;
        let same = now.settings;
        self.settled_as(name, Ok(same.clone()), same).await
    }

    async fn publish_version(
        &self,
        spec: &FunctionSpec,
        now: &FunctionDescription,
    ) -> Result<String, ChangeError> {
        let publish = |revision_id: String| async move {
            let cloud = self.inputs.cloud;
            cloud
                .publish_version(&spec.name, &spec.code_sha256, &revision_id)
                .await
        };
        match publish(now.revision_id.clone()).await {
            Err(error) if overtaken(&error) => {
                // A new version gives the function another revision; published again, it is the same version.
                let same = now.settings.clone();
                let again = self.settled_as(&spec.name, Err(error), same).await?;
                Ok(publish(again.revision_id).await?)
            }
            published => Ok(published?),
        }
    }

    async fn move_alias(
        &self,
        name: &FunctionName,
        version: &str,
        alias: Option<&AliasRevision>,
    ) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let moved = match alias {
            Some(alias) => {
                let revision_id = &alias.revision_id;
                cloud.move_live_alias(name, version, revision_id).await
            }
            None => cloud.create_live_alias(name, version).await,
        };
        match moved {
            Err(error) if overtaken(&error) => match cloud.live_alias(name).await? {
                Some(found) if found.version == version => Ok(()),
                _ => Err(ChangeError::Moved),
            },
            moved => Ok(moved?),
        }
    }

    /// Deletes the old versions that the plan names. One that came into use since then stays for the next plan.
    async fn delete_old_versions(&self, name: &FunctionName) -> Result<(), ChangeError> {
        let doomed = &self.change.retention.delete;
        if doomed.is_empty() {
            return Ok(());
        }
        let cloud = self.inputs.cloud;
        let buckets = self.bucket().map(|spec| &spec.name).into_iter().collect();
        let listed = in_use::list(cloud, &BTreeSet::from([name])).await?;
        let now = listed.with_renders(cloud, &buckets).await?;
        let now = now.get(name).cloned().unwrap_or_default();
        let mut denied = in_use::undeletable(&self.change.outputs);
        for version in doomed {
            denied.remove(version);
            let users = now.users.get(version).into_iter().flatten();
            let users: Vec<&str> = users.chain(&now.unclear).map(String::as_str).collect();
            if !users.is_empty() {
                self.keeps(*version, format!("in use by {}", users.join(", ")));
                continue;
            }
            match cloud.delete_function_version(name, *version).await {
                Ok(()) => {}
                Err(error) if error.kind == CloudErrorKind::Conflict => {
                    self.keeps(*version, "an alias was pointed to it just now".to_owned());
                }
                // Some accounts let nobody delete anything. It costs storage and nothing else.
                Err(error) if error.kind == CloudErrorKind::AccessDenied => {
                    self.keeps(*version, error.to_string());
                    denied.insert(*version);
                }
                Err(error) => return Err(error.into()),
            }
        }
        denied.retain(|version| now.there.contains(version));
        // Nobody else clears away versions of this change.
        drop(self.undeletable.set(denied));
        Ok(())
    }

    /// The outputs of the change's object, with the versions whose deletion was denied.
    pub(super) fn with_undeletable(&self, mut outputs: Outputs) -> Outputs {
        let known = || in_use::undeletable(&self.change.outputs);
        let versions = self.undeletable.get().cloned().unwrap_or_else(known);
        in_use::set_undeletable(&mut outputs, &versions);
        outputs
    }

    fn keeps(&self, version: u64, reason: String) {
        (self.on_event)(ApplyEvent::Kept {
            address: self.change.address.clone(),
            version,
            reason,
        });
    }

    /// The function after Lambda has worked in its last change, or why it could not.
    async fn settled(
        &self,
        name: &FunctionName,
        what: &'static str,
    ) -> Result<FunctionDescription, ChangeError> {
        sound(self.inputs.cloud.settled_function(name).await?, what)
    }

    /// Turns "the role cannot be used yet" into another look later, saying so the first time.
    fn or_wait_for_role<T>(
        &self,
        settings: &FunctionSettings,
        waiting: &mut bool,
        result: Result<T, CloudError>,
    ) -> Result<Option<T>, CloudError> {
        match result {
            Ok(done) => Ok(Some(done)),
            Err(error) if error.kind == CloudErrorKind::RoleNotReady => {
                if !*waiting {
                    *waiting = true;
                    self.wait_for(format!("Lambda to see the role {}", settings.role_arn));
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn settings(&self, spec: &FunctionSpec) -> Result<FunctionSettings, ChangeError> {
        let identity = &self.inputs.plan.identity;
        Ok(FunctionSettings {
            role_arn: match &spec.role {
                RoleReference::Managed { name, path } => {
                    role::role_arn(&identity.region, &identity.account, path, name)
                }
                RoleReference::Arn(arn) => arn.clone(),
            },
            runtime: spec.runtime.clone(),
            handler: spec.handler.clone(),
            architecture: spec.architecture.clone(),
            memory_mb: spec.memory_mb,
            timeout_s: spec.timeout_s,
            disk_mb: spec.disk_mb,
            environment: self.environment(spec)?,
            layers: spec.layers.clone(),
            subnet_ids: spec.subnet_ids.clone(),
            security_group_ids: spec.security_group_ids.clone(),
            log_group: spec.log_group.to_string(),
            code_sha256: Some(spec.code_sha256),
        })
    }

    fn environment(&self, spec: &FunctionSpec) -> Result<BTreeMap<String, String>, ChangeError> {
        let resolve = |name: &String, value: &EnvironmentSpec| match value {
            EnvironmentSpec::Plain(value) => Ok(value.clone()),
            EnvironmentSpec::Secret(digest) => {
                let problem = match self.inputs.secrets.get(name) {
                    Some(value) if Digest::of(value) == *digest => return Ok(value.clone()),
                    Some(_) => "is not the one the plan was made with; make a new plan",
                    None => "is not set",
                };
                Err(ChangeError::Secret {
                    name: name.clone(),
                    problem,
                })
            }
        };
        spec.environment
            .iter()
            .map(|(name, value)| Ok((name.clone(), resolve(name, value)?)))
            .collect()
    }

    /// The function's zip: within the request if it is small, through the bucket if not.
    async fn code(&self, spec: &FunctionSpec) -> Result<FunctionCode, ChangeError> {
        let path = self
            .inputs
            .artefacts
            .code
            .as_ref()
            .ok_or_else(|| ChangeError::NoCode(spec.name.clone()))?;
        let size_bytes = check_file(path, spec.code_sha256).await?;
        if size_bytes <= self.inputs.inline_code_bytes_max {
            let zip = tokio::fs::read(path).await;
            let zip = zip.map_err(|source| ChangeError::ReadFile {
                path: path.clone(),
                source,
            })?;
            return Ok(FunctionCode::Inline(zip.into()));
        }
        let bucket = self
            .bucket()
            .ok_or_else(|| ChangeError::NoBucketForCode(spec.name.clone()))?;
        let key = site::code_key(&spec.code_sha256);
        // The key is made of the content, so what is there is what would be written.
        let options = PutOptions {
            content_type: Some("application/zip".to_owned()),
            if_absent: true,
            ..PutOptions::default()
        };
        let cloud = self.inputs.cloud;
        if cloud.head_object(&bucket.name, &key).await?.is_none() {
            cloud
                .put_object_file(&bucket.name, &key, path, &options)
                .await?;
        }
        Ok(FunctionCode::Object {
            bucket: bucket.name.clone(),
            key,
        })
    }
}

/// Everything that `UpdateFunctionConfiguration` sets; code and architecture go another way.
fn same_configuration(now: &FunctionSettings, after: &FunctionSettings) -> bool {
    let configuration = |settings: &FunctionSettings| FunctionSettings {
        architecture: String::new(),
        code_sha256: None,
        ..settings.clone()
    };
    configuration(now) == configuration(after)
}

/// What `UpdateFunctionCode` sets.
fn same_code(now: &FunctionSettings, after: &FunctionSettings) -> bool {
    now.code_sha256 == after.code_sha256 && now.architecture == after.architecture
}

fn role_not_ready(settings: &FunctionSettings, patience: Patience) -> ChangeError {
    ChangeError::RoleNotReady {
        role_arn: settings.role_arn.clone(),
        waited: patience.total,
    }
}

/// The function, unless Lambda could not make it what it was to be.
fn sound(
    settled: Option<FunctionDescription>,
    what: &'static str,
) -> Result<FunctionDescription, ChangeError> {
    let settled = settled.ok_or(ChangeError::Vanished)?;
    match settled.phase {
        FunctionPhase::CreateFailed(reason) | FunctionPhase::UpdateFailed(reason) => {
            Err(ChangeError::Lambda { what, reason })
        }
        FunctionPhase::Settled | FunctionPhase::Changing => Ok(settled),
    }
}
