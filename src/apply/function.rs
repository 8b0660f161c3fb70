//! Functions: configuration, code, version, alias. In this order, each step after the one before has settled.

use std::collections::BTreeMap;

use super::{ChangeError, Executor, check_file};
use crate::cloud::wait::{self, Patience};
use crate::cloud::{
    CloudErrorKind, FunctionCode, FunctionDescription, FunctionPhase, FunctionSettings, PutOptions,
};
use crate::digest::Digest;
use crate::names::FunctionName;
use crate::resource::function::{HANDLER, RUNTIME};
use crate::resource::{EnvironmentSpec, FunctionSpec, RoleReference, role, site};

/// Published versions that are kept besides the live one: renders that began on one go on with it.
const VERSIONS_KEPT: usize = 5;

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
        self.settled(&spec.name, "create").await?;
        self.publish(spec).await
    }

    pub(super) async fn update_function(&self, spec: &FunctionSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let name = &spec.name;
        let mut now = cloud
            .settled_function(name)
            .await?
            .ok_or(ChangeError::Vanished)?;
        if matches!(now.phase, FunctionPhase::CreateFailed(_)) {
            // Lambda never mends such a function. It never worked, so nothing is lost with it.
            cloud.delete_function(name).await?;
            return self.create_function(spec).await;
        }
        let settings = self.settings(spec)?;
        if !same_configuration(&now.settings, &settings) {
            let patience = self.inputs.role_patience;
            let mut waiting = false;
            let changed = wait::until(patience, async || {
                let changed = cloud
                    .update_function_configuration(name, &settings, &now.revision_id)
                    .await;
                self.or_wait_for_role(&settings, &mut waiting, changed)
            });
            changed
                .await?
                .ok_or_else(|| role_not_ready(&settings, patience))?;
            now = self.settled(name, "update").await?;
        }
        if now.settings.code_sha256 != settings.code_sha256
            || now.settings.architecture != settings.architecture
        {
            let code = self.code(spec).await?;
            cloud
                .update_function_code(name, &settings.architecture, &code, &now.revision_id)
                .await?;
            self.settled(name, "update").await?;
        }
        self.publish(spec).await
    }

    /// Publishes what is there and moves the alias to it, then clears away old versions.
    async fn publish(&self, spec: &FunctionSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let name = &spec.name;
        let version = cloud.publish_version(name, &spec.code_sha256).await?;
        cloud.settled_version(name, &version).await?;
        cloud.point_live_alias(name, &version).await?;
        cloud.turn_off_live_retries(name).await?;
        self.delete_old_versions(name, &version).await;
        Ok(())
    }

    /// A version that stays behind costs storage and nothing else, so it is tried again after the next change.
    async fn delete_old_versions(&self, name: &FunctionName, live: &str) {
        let cloud = self.inputs.cloud;
        let versions = match cloud.function_versions(name).await {
            Ok(versions) => versions,
            Err(error) => {
                tracing::warn!(%error, "old versions are not cleared away");
                return;
            }
        };
        let old: Vec<u64> = versions
            .into_iter()
            .map(|version| version.number)
            .filter(|version| version.to_string() != live)
            .collect();
        for version in &old[..old.len().saturating_sub(VERSIONS_KEPT)] {
            match cloud.delete_function_version(name, *version).await {
                Ok(()) => {}
                // Somebody else's alias points to it.
                Err(error) if error.kind == CloudErrorKind::Conflict => {}
                Err(error) => tracing::warn!(%error, "an old version is not cleared away"),
            }
        }
    }

    /// The function after Lambda has worked in its last change, or why it could not.
    async fn settled(
        &self,
        name: &FunctionName,
        what: &'static str,
    ) -> Result<FunctionDescription, ChangeError> {
        let settled = self.inputs.cloud.settled_function(name).await?;
        let settled = settled.ok_or(ChangeError::Vanished)?;
        match settled.phase {
            FunctionPhase::CreateFailed(reason) | FunctionPhase::UpdateFailed(reason) => {
                Err(ChangeError::Lambda { what, reason })
            }
            FunctionPhase::Settled | FunctionPhase::Changing => Ok(settled),
        }
    }

    /// Turns "the role cannot be used yet" into another look later, saying so the first time.
    fn or_wait_for_role(
        &self,
        settings: &FunctionSettings,
        waiting: &mut bool,
        result: Result<(), crate::cloud::CloudError>,
    ) -> Result<Option<()>, crate::cloud::CloudError> {
        match result {
            Ok(()) => Ok(Some(())),
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
            runtime: RUNTIME.to_owned(),
            handler: HANDLER.to_owned(),
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

fn role_not_ready(settings: &FunctionSettings, patience: Patience) -> ChangeError {
    ChangeError::RoleNotReady {
        role_arn: settings.role_arn.clone(),
        waited: patience.total,
    }
}
