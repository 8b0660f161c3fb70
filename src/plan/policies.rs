//! What the people and pipelines around a farm may have to call, and policies that allow it and nothing else.
//!
//! Pure. What a deployer needs is not written down once more: it is what [`calls`] says of every change that the config could
//! lead to, whatever state the farm is found in.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::calls::{Surroundings, arn, calls};
use super::change::{Action, Change, Desired, Protection};
use super::desired::{self, Ingredients};
use super::retention::Retention;
use crate::bundle::SiteBundle;
use crate::config::{Config, EnvironmentValue, ResourceNames, RoleConfig};
use crate::digest::Digest;
use crate::protocol::running;
use crate::resource::role::bucket_arn;
use crate::resource::site::{self, code_key};
use crate::resource::{Address, Resource, changed_fields};
use crate::state::CloudIdentity;

/// An action and what it is done to, as policies write them.
pub type Need = (&'static str, String);

/// What `plan`, `apply`, `destroy`, `import`, `versions` and `rollback` call for this config. `principal` is the ARN of the user
/// or role that does it: preflight asks IAM what that may do, and needs to be allowed to. With `smoke` new versions render before they
/// go live, as `rmx apply --smoke` has them.
pub fn deployer_needs(
    config: &Config,
    identity: &CloudIdentity,
    principal: Option<&str>,
    smoke: bool,
) -> Vec<Need> {
    let names = ResourceNames::derive(config, &identity.account, &identity.region);
    let surroundings = Surroundings {
        identity,
        code_bucket: Some(&names.bucket),
        smoke: smoke || config.function.smoke,
    };
    let desired = wanted(config, identity);
    let mut needs = BTreeSet::new();
    for (address, after) in &desired.resources {
        for change in every_change(address, after) {
            let called = calls(&change, surroundings, Some(&names.bucket));
            needs.extend(called.into_iter().map(|call| (call.action, call.resource)));
        }
        // What would be lost with it is looked at before it is deleted.
        if let Resource::LogGroup(spec) = after {
            let group = format!("log-group:{}:log-stream:", spec.name);
            needs.insert(("logs:DescribeLogStreams", arn(identity, "logs", &group)));
        }
    }
    needs.insert(("lambda:GetAccountSettings", "*".to_owned()));
    let parameters = config.function.environment.values();
    needs.extend(parameters.filter_map(|value| match value {
        EnvironmentValue::FromParameter(name) => {
            // A version is no part of the resource.
            let name = name.split(':').next().unwrap_or_default();
            let parameter = format!("parameter/{}", name.trim_start_matches('/'));
            Some(("ssm:GetParameters", arn(identity, "ssm", &parameter)))
        }
        EnvironmentValue::Plain(_) | EnvironmentValue::FromEnvironment(_) => None,
    }));
    needs.extend(desired::state_needs(config, identity));
    needs.extend(desired::state_backup_needs(config, identity));
    needs.extend(preflight_needs(config, principal));
    least(any_code(needs))
}

/// What `plan` calls for this config: what a deployer reads, but for what only uploading looks at. `principal` is the
/// ARN of the role that will apply (`rmx plan --preflight-as`).
pub fn planner_needs(
    config: &Config,
    identity: &CloudIdentity,
    principal: Option<&str>,
) -> Vec<Need> {
    let reads = |action: &str| {
        let verb = action.split_once(':').map_or(action, |(_, verb)| verb);
        let prefixes = ["Get", "List", "Describe", "Simulate"];
        prefixes.iter().any(|prefix| verb.starts_with(prefix))
    };
    let unread = |(action, resource): &Need| match *action {
        "s3:GetObject" => resource.ends_with(&format!("{}*", site::CODE_PREFIX)),
        // Asked only of whoever calls in an assumed role.
        "iam:GetRole" => Some(resource.as_str()) == principal,
        _ => false,
    };
    let mut needs = deployer_needs(config, identity, principal, false);
    needs.retain(|need| reads(need.0) && !unread(need));
    needs
}

/// What `render`, `still`, `compositions`, `renders` and `logs` call for this config.
pub fn renderer_needs(config: &Config, identity: &CloudIdentity) -> Vec<Need> {
    let names = ResourceNames::derive(config, &identity.account, &identity.region);
    let bucket = bucket_arn(&identity.region, &names.bucket);
    let renders = format!("{bucket}/{}*", running::PREFIX);
    let objects = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"];
    let mut needs: BTreeSet<Need> = objects.map(|action| (action, renders.clone())).into();
    // Props of a render that is detached, if they are too large for an event.
    needs.insert(("s3:PutObject", format!("{bucket}/input-props/*")));
    // Without it S3 answers 403 instead of 404 where there is no object.
    needs.insert(("s3:ListBucket", bucket));
    let stream = |stream: &str| {
        let group = &names.log_group;
        arn(
            identity,
            "logs",
            &format!("log-group:{group}:log-stream:{stream}"),
        )
    };
    needs.insert(("logs:FilterLogEvents", stream("")));
    needs.insert(("logs:GetLogEvents", stream("*")));
    needs.insert(("lambda:GetAccountSettings", "*".to_owned()));
    // A render pins the version that is live when it begins.
    needs.extend(names.functions.iter().map(|name| {
        let version = arn(identity, "lambda", &format!("function:{name}:*"));
        ("lambda:InvokeFunction", version)
    }));
    // The state is read and not locked.
    let mut state = desired::state_needs(config, identity).into_iter();
    needs.extend(state.find(|(action, _)| *action == "s3:GetObject"));
    least(needs)
}

/// A policy document that allows `needs` and nothing else.
pub fn document(needs: &[Need]) -> Value {
    let mut by_resource: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (action, resource) in needs {
        by_resource.entry(resource).or_default().insert(action);
    }
    // The same actions on several resources make one statement.
    let mut by_actions: BTreeMap<BTreeSet<&str>, Vec<&str>> = BTreeMap::new();
    for (resource, actions) in by_resource {
        by_actions.entry(actions).or_default().push(resource);
    }
    let statements: Vec<Value> = by_actions
        .into_iter()
        .map(|(actions, resources)| json!({ "Effect": "Allow", "Action": actions, "Resource": resources }))
        .collect();
    json!({ "Version": "2012-10-17", "Statement": statements })
}

/// What the config asks for, with sites of one file each: policies name folders, not files.
fn wanted(config: &Config, identity: &CloudIdentity) -> Desired {
    let sites = config.sites.iter().map(|site| {
        let bundle = SiteBundle {
            folder: site.folder.clone(),
            digest: Digest::of(""),
            files: BTreeMap::from([("index.html".to_owned(), Digest::of(""))]),
            size_bytes: 0,
        };
        (site.name.clone(), bundle)
    });
    let ingredients = Ingredients {
        identity,
        code_sha256: Digest::of(""),
        sites: &sites.collect(),
        secrets: &BTreeMap::new(),
    };
    Desired::from_config(config, ingredients)
}

/// Everything that can happen to a resource: it is made, mended wherever somebody changed it, and deleted.
fn every_change(address: &Address, after: &Resource) -> [Change; 3] {
    let other = otherwise(after);
    let change = |action, before: Option<&Resource>, after: Option<&Resource>| Change {
        address: address.clone(),
        action,
        before: before.cloned(),
        after: after.cloned(),
        fields: changed_fields(before, after),
        outputs: BTreeMap::new(),
        revision: None,
        replacement_requested: false,
        protect: Protection::default(),
        retention: match after {
            Some(Resource::Function(_)) => Retention {
                delete: vec![1],
                ..Retention::default()
            },
            _ => Retention::default(),
        },
        live: None,
    };
    [
        change(Action::Create, None, Some(after)),
        change(Action::Update, Some(&other), Some(after)),
        change(Action::Delete, Some(&other), None),
    ]
}

/// The same object as it could be found: every field that can be changed in place is another.
fn otherwise(resource: &Resource) -> Resource {
    let other_text = || "other".to_owned();
    let mut other = resource.clone();
    match &mut other {
        Resource::LogGroup(spec) => spec.retention_days = None,
        Resource::Role(spec) => {
            spec.trust_policy = Value::Null;
            spec.policy = Value::Null;
            spec.permissions_boundary = match spec.permissions_boundary {
                Some(_) => None,
                None => Some(other_text()),
            };
            spec.other_policies.insert(other_text(), Value::Null);
            spec.attached_policies.insert(other_text());
        }
        Resource::Bucket(spec) => {
            spec.expire_renders_days = None;
            spec.abort_uploads_days = None;
            spec.expire_days.clear();
            spec.block_public_access = false;
            spec.owner_enforced = false;
            // From a farm of Remotion's own function, or to one.
            spec.public_read = !spec.public_read && spec.name.is_of_remotion();
        }
        Resource::Function(spec) => {
            spec.runtime_version_arn = match &spec.runtime_version_arn {
                None if spec.name.is_of_remotion() => Some(other_text()),
                Some(_) | None => None,
            };
            spec.memory_mb = 0;
            spec.code_sha256 = Digest::of("other");
            spec.published = false;
        }
        Resource::Site(spec) => {
            spec.files = BTreeMap::from([(other_text(), Digest::of("other"))]);
        }
    }
    other
}

/// What preflight asks.
fn preflight_needs(config: &Config, principal: Option<&str>) -> Vec<Need> {
    let mut needs = Vec::new();
    if let Some(principal) = principal {
        needs.push(("iam:SimulatePrincipalPolicy", principal.to_owned()));
        if principal.contains(":role/") {
            // The path of whoever assumed it is not in the caller's ARN.
            needs.push(("iam:GetRole", principal.to_owned()));
        }
    }
    match &config.role {
        RoleConfig::Managed {
            permissions_boundary,
            ..
        } => {
            needs.push(("iam:SimulateCustomPolicy", "*".to_owned()));
            if let Some(boundary) = permissions_boundary {
                let read = ["iam:GetPolicy", "iam:GetPolicyVersion"];
                needs.extend(read.map(|action| (action, boundary.clone())));
            }
        }
        RoleConfig::Existing { arn } => {
            needs.push(("iam:SimulatePrincipalPolicy", arn.clone()));
        }
    }
    needs
}

/// The same needs for whatever code is deployed.
fn any_code(needs: BTreeSet<Need>) -> BTreeSet<Need> {
    let codes = [Digest::of(""), Digest::of("other")].map(|digest| code_key(&digest));
    let any = |(action, resource): Need| {
        let code = codes.iter().find_map(|key| resource.strip_suffix(key));
        match code {
            Some(bucket) => (action, format!("{bucket}{}*", site::CODE_PREFIX)),
            None => (action, resource),
        }
    };
    needs.into_iter().map(any).collect()
}

/// Without what another need allows as well.
fn least(needs: BTreeSet<Need>) -> Vec<Need> {
    let covered = |(action, resource): &Need| {
        needs.iter().any(|(other_action, other)| {
            let prefix = other.strip_suffix('*');
            other_action == action
                && other != resource
                && prefix.is_some_and(|prefix| resource.starts_with(prefix))
        })
    };
    let kept = needs.iter().filter(|need| !covered(need)).cloned();
    kept.collect()
}
