//! What a config asks for, in specs. Pure: digests and names come in, nothing is read.

use std::collections::BTreeMap;

use serde_json::Value;

use super::change::Desired;
use crate::bundle::SiteBundle;
use crate::config::{
    Config, EnvironmentValue, LogsConfig, ResourceNames, RoleConfig, StateConfig, WorkerKind,
};
use crate::digest::Digest;
use crate::env::variable;
use crate::names::SiteName;
use crate::resource::expiry;
use crate::resource::function::{HANDLER, REMOTION_HANDLER, REMOTION_RUNTIME, RUNTIME};
use crate::resource::remotion;
use crate::resource::role::{self, WorkerAccess};
use crate::resource::{
    Address, BucketSpec, EnvironmentSpec, FunctionSpec, LogGroupSpec, Resource, ResourceKind,
    RoleReference, RoleSpec, SiteSpec,
};
use crate::state::{CloudIdentity, StateStore};

/// Parts of uploads that nobody completed are paid for until they are removed. No upload takes days.
const ABORT_UPLOADS_DAYS: u32 = 1;

/// What a config depends on besides itself.
#[derive(Debug, Clone, Copy)]
pub struct Ingredients<'a> {
    /// Where it is to be deployed.
    pub identity: &'a CloudIdentity,
    /// SHA-256 of the function zip.
    pub code_sha256: Digest,
    /// The sites as they are on the disk, by name.
    pub sites: &'a BTreeMap<SiteName, SiteBundle>,
    /// Values of the function's secret environment variables, by the variable's name.
    pub secrets: &'a BTreeMap<String, String>,
}

impl Desired {
    /// What `config` asks for. Sites and secrets that are not among the ingredients are not desired, so the caller
    /// hands over all that the config names.
    pub fn from_config(config: &Config, ingredients: Ingredients<'_>) -> Self {
        let identity = ingredients.identity;
        let names = ResourceNames::derive(config, &identity.account, &identity.region);
        let log_group = log_group(config, &names);
        let role = role(config, &names, identity);
        let bucket = bucket(config, &names);
        let functions = functions(config, &names, ingredients);
        let sites = sites(config, &names, ingredients);
        let main = [log_group, role, Some(bucket)].into_iter().flatten();
        let main = main.map(|resource| (Address::new(resource.kind(), "main"), resource));
        let resources: BTreeMap<_, _> = main.chain(functions).chain(sites).collect();
        let protect = resources
            .keys()
            .filter_map(|address| Some((address.clone(), protect(config, address)?)));
        Self {
            protect: protect.collect(),
            keep_versions: Some(config.function.keep_versions),
            resources,
        }
    }
}

impl Desired {
    /// Nothing, but for what the configuration protects of what is recorded.
    pub fn protection<'a>(config: &Config, recorded: impl Iterator<Item = &'a Address>) -> Self {
        let protect =
            recorded.filter_map(|address| Some((address.clone(), protect(config, address)?)));
        Self {
            protect: protect.collect(),
            ..Self::default()
        }
    }
}

/// What the block that declares the resource says of `protect`, if anything.
fn protect(config: &Config, address: &Address) -> Option<bool> {
    match address.kind {
        ResourceKind::LogGroup => match config.logs {
            LogsConfig::Managed { protect, .. } => protect,
            LogsConfig::Unmanaged => None,
        },
        ResourceKind::Role => match config.role {
            RoleConfig::Managed { protect, .. } => protect,
            RoleConfig::Existing { .. } => None,
        },
        ResourceKind::Bucket => config.bucket.protect,
        ResourceKind::Function => config.function.protect,
        ResourceKind::Site => {
            let mut sites = config.sites.iter();
            sites
                .find(|site| site.name.as_str() == address.name)?
                .protect
        }
    }
}

fn log_group(config: &Config, names: &ResourceNames) -> Option<Resource> {
    match config.logs {
        LogsConfig::Managed { retention_days, .. } => Some(Resource::LogGroup(LogGroupSpec {
            name: names.log_group.clone(),
            retention_days: Some(retention_days),
        })),
        LogsConfig::Unmanaged => None,
    }
}

fn role(config: &Config, names: &ResourceNames, identity: &CloudIdentity) -> Option<Resource> {
    let RoleConfig::Managed {
        permissions_boundary,
        path,
        ..
    } = &config.role
    else {
        return None;
    };
    Some(Resource::Role(RoleSpec {
        name: names.role.clone(),
        path: path.clone(),
        permissions_boundary: permissions_boundary.clone(),
        trust_policy: role::trust_policy(),
        policy: policy(config, names, identity),
        other_policies: BTreeMap::new(),
        attached_policies: std::collections::BTreeSet::new(),
    }))
}

/// The policy of the workers' role, whoever makes that role.
pub fn worker_policy(config: &Config, identity: &CloudIdentity) -> Value {
    let names = ResourceNames::derive(config, &identity.account, &identity.region);
    policy(config, &names, identity)
}

fn policy(config: &Config, names: &ResourceNames, identity: &CloudIdentity) -> Value {
    match config.function.worker {
        WorkerKind::Rmx => role::policy_document(&access(config, names, identity)),
        WorkerKind::Remotion => remotion::policy_document(&identity.region),
    }
}

/// What the workers of `config` do, and on what.
pub fn worker_needs(config: &Config, identity: &CloudIdentity) -> Vec<(&'static str, String)> {
    let names = ResourceNames::derive(config, &identity.account, &identity.region);
    let access = access(config, &names, identity);
    match config.function.worker {
        WorkerKind::Rmx => role::worker_needs(&access),
        WorkerKind::Remotion => remotion::worker_needs(&access),
    }
}

/// How the key of a state's lock ends.
pub(super) const LOCK_SUFFIX: &str = ".lock";

/// What a command that changes the state cannot do without where that is kept in S3; nothing where it is in a folder.
pub fn state_needs(config: &Config, identity: &CloudIdentity) -> Vec<(&'static str, String)> {
    let objects = [
        ("s3:GetObject", ""),
        ("s3:PutObject", ""),
        ("s3:GetObject", LOCK_SUFFIX),
        ("s3:PutObject", LOCK_SUFFIX),
        ("s3:DeleteObject", LOCK_SUFFIX),
    ];
    let Some((bucket, key)) = state_arns(config, identity) else {
        return Vec::new();
    };
    let objects = objects.map(|(action, end)| (action, format!("{key}{end}")));
    let list = ("s3:ListBucket", bucket);
    objects.into_iter().chain([list]).collect()
}

/// What it does besides. Backups that cannot be made or cleared away stop nobody.
pub fn state_backup_needs(
    config: &Config,
    identity: &CloudIdentity,
) -> Vec<(&'static str, String)> {
    let needs = |(_, key): (String, String)| {
        ["s3:PutObject", "s3:DeleteObject"].map(|action| (action, format!("{key}.backups/*")))
    };
    let needs = state_arns(config, identity).map(needs);
    needs.into_iter().flatten().collect()
}

/// The ARNs of the state's bucket and of its object.
fn state_arns(config: &Config, identity: &CloudIdentity) -> Option<(String, String)> {
    let StateConfig::S3 { bucket, key, .. } = &config.state else {
        return None;
    };
    let default_key = || StateStore::default_key(&config.project, config.stage.as_ref());
    let key = key.clone().unwrap_or_else(default_key);
    let bucket = role::bucket_arn(&identity.region, bucket);
    let object = format!("{bucket}/{key}");
    Some((bucket, object))
}

fn access<'a>(
    config: &Config,
    names: &'a ResourceNames,
    identity: &'a CloudIdentity,
) -> WorkerAccess<'a> {
    WorkerAccess {
        account: &identity.account,
        region: &identity.region,
        bucket: &names.bucket,
        functions: &names.functions,
        log_group: &names.log_group,
        log_group_managed: matches!(config.logs, LogsConfig::Managed { .. }),
        in_vpc: config.function.vpc.is_some(),
    }
}

fn bucket(config: &Config, names: &ResourceNames) -> Resource {
    // The browser of Remotion's function fetches the site as anybody does, and it sets ACLs on what it writes.
    let public = config.function.worker == WorkerKind::Remotion;
    Resource::Bucket(BucketSpec {
        name: names.bucket.clone(),
        expire_renders_days: config.bucket.expire_renders_days,
        abort_uploads_days: Some(ABORT_UPLOADS_DAYS),
        expire_days: expiry::expire_days(),
        block_public_access: !public,
        owner_enforced: !public,
        public_read: public,
    })
}

fn functions(
    config: &Config,
    names: &ResourceNames,
    ingredients: Ingredients<'_>,
) -> Vec<(Address, Resource)> {
    let function = &config.function;
    let environment = function.environment.iter().filter_map(|(name, value)| {
        let value = match value {
            EnvironmentValue::Plain(text) => EnvironmentSpec::Plain(text.clone()),
            EnvironmentValue::FromEnvironment(_) | EnvironmentValue::FromParameter(_) => {
                EnvironmentSpec::Secret(Digest::of(ingredients.secrets.get(name)?))
            }
        };
        Some((name.clone(), value))
    });
    // What the function tells Remotion Lambda's clients that ask nothing but its name.
    let own = [
        (variable::BUCKET, names.bucket.to_string()),
        (
            variable::REMOTION_VERSION,
            function.remotion_version.clone(),
        ),
    ];
    let own = own.map(|(name, value)| (name.to_owned(), EnvironmentSpec::Plain(value)));
    let region = &ingredients.identity.region;
    let (runtime, handler, runtime_version_arn, own, usual_layers) = match function.worker {
        WorkerKind::Rmx => (RUNTIME, HANDLER, None, Some(own), Vec::new()),
        WorkerKind::Remotion => (
            REMOTION_RUNTIME,
            REMOTION_HANDLER,
            remotion::runtime_version_arn(region),
            None,
            remotion::layers(region),
        ),
    };
    let environment: BTreeMap<_, _> = environment.chain(own.into_iter().flatten()).collect();
    let layers = match function.layers.is_empty() {
        true => usual_layers,
        false => function.layers.clone(),
    };
    let role = match &config.role {
        RoleConfig::Managed { path, .. } => RoleReference::Managed {
            name: names.role.clone(),
            path: path.clone(),
        },
        RoleConfig::Existing { arn } => RoleReference::Arn(arn.clone()),
    };
    let (subnet_ids, security_group_ids) = match &function.vpc {
        Some(vpc) => (vpc.subnet_ids.clone(), vpc.security_group_ids.clone()),
        None => Default::default(),
    };
    let spec = |name| FunctionSpec {
        name,
        role: role.clone(),
        runtime: runtime.to_owned(),
        handler: handler.to_owned(),
        runtime_version_arn: runtime_version_arn.clone(),
        architecture: function.architecture.as_str().to_owned(),
        memory_mb: function.memory_mb,
        timeout_s: function.timeout_s,
        disk_mb: function.disk_mb,
        environment: environment.clone(),
        layers: layers.clone(),
        subnet_ids: subnet_ids.clone(),
        security_group_ids: security_group_ids.clone(),
        log_group: names.log_group.clone(),
        code_sha256: ingredients.code_sha256,
        published: true,
    };
    let replicas = names.functions.iter().zip(1..);
    replicas
        .map(|(name, number)| {
            let address = match number {
                1 => "worker".to_owned(),
                _ => format!("worker-{number}"),
            };
            (
                Address::new(ResourceKind::Function, address),
                Resource::Function(spec(name.clone())),
            )
        })
        .collect()
}

fn sites(
    config: &Config,
    names: &ResourceNames,
    ingredients: Ingredients<'_>,
) -> Vec<(Address, Resource)> {
    let sites = config.sites.iter().filter_map(|site| {
        let bundle = ingredients.sites.get(&site.name)?;
        let spec = SiteSpec {
            name: site.name.clone(),
            bucket: names.bucket.clone(),
            digest: bundle.digest,
            files: bundle.files.clone(),
        };
        Some((
            Address::new(ResourceKind::Site, site.name.as_str()),
            Resource::Site(spec),
        ))
    });
    sites.collect()
}
