//! Which fields of a resource differ, and which of them cannot be changed in place.
//!
//! Every spec is taken apart without `..`: a new field does not compile before it is said here how it is compared.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BucketSpec, EnvironmentSpec, FunctionSpec, LogGroupSpec, Resource, RoleReference, RoleSpec,
    SiteSpec, policy,
};
use crate::digest::Digest;

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// Dotted path within the spec, for example `memory_mb` or `environment.NAME`.
    pub path: String,
    /// As it is. `None`: not set.
    pub before: Option<FieldValue>,
    /// As it will be. `None`: unset.
    pub after: Option<FieldValue>,
    /// Whether this field cannot be changed in place.
    pub forces_replacement: bool,
}

/// A field's value as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldValue {
    /// The value.
    Known(Value),
    /// Only its digest is known; it is never shown.
    Secret(Digest),
    /// AWS will assign it.
    KnownAfterApply,
}

/// The fields in which two resources of a kind differ, in the order of the spec. Without `before` these are all that
/// are set in `after`, and the other way round.
pub fn changed_fields(before: Option<&Resource>, after: Option<&Resource>) -> Vec<FieldChange> {
    let before = before.map(fields).unwrap_or_default();
    let mut after = after.map(fields).unwrap_or_default();
    let mut changes = Vec::new();
    for one in before {
        let other = match after.iter().position(|other| other.path == one.path) {
            Some(index) => after.remove(index),
            None => Field {
                value: None,
                ..one.clone()
            },
        };
        changes.push((one.clone(), other));
    }
    changes.extend(after.into_iter().map(|other| {
        (
            Field {
                value: None,
                ..other.clone()
            },
            other,
        )
    }));
    changes
        .into_iter()
        .filter(|(one, other)| !one.same(other))
        .map(|(one, other)| FieldChange {
            path: other.path,
            before: one.value,
            after: other.value,
            forces_replacement: other.forces_replacement,
        })
        .collect()
}

/// How many fields a resource has set.
pub fn field_count(resource: &Resource) -> usize {
    fields(resource)
        .iter()
        .filter(|field| field.value.is_some())
        .count()
}

#[derive(Debug, Clone)]
struct Field {
    path: String,
    value: Option<FieldValue>,
    forces_replacement: bool,
    /// Whether it is an IAM policy.
    policy: bool,
}

impl Field {
    fn same(&self, other: &Self) -> bool {
        match (&self.value, &other.value) {
            (Some(FieldValue::Known(one)), Some(FieldValue::Known(other))) if self.policy => {
                policy::same_meaning(one, other)
            }
            // The value did not change, only whether it is shown.
            (Some(FieldValue::Known(Value::String(text))), Some(FieldValue::Secret(digest)))
            | (Some(FieldValue::Secret(digest)), Some(FieldValue::Known(Value::String(text)))) => {
                Digest::of(text) == *digest
            }
            (one, other) => one == other,
        }
    }

    fn policy(self) -> Self {
        Self {
            policy: true,
            ..self
        }
    }

    /// It names the object, or nothing can change it.
    fn fixed(self) -> Self {
        Self {
            forces_replacement: true,
            ..self
        }
    }
}

fn field(path: &str, value: impl Into<Value>) -> Field {
    let value = match value.into() {
        Value::Null => None,
        Value::Array(items) if items.is_empty() => None,
        value => Some(FieldValue::Known(value)),
    };
    Field {
        path: path.to_owned(),
        value,
        forces_replacement: false,
        policy: false,
    }
}

fn fields(resource: &Resource) -> Vec<Field> {
    match resource {
        Resource::LogGroup(LogGroupSpec {
            name,
            retention_days,
        }) => vec![
            field("name", name.as_str()).fixed(),
            field("retention_days", *retention_days),
        ],
        Resource::Role(RoleSpec {
            name,
            path,
            permissions_boundary,
            trust_policy,
            policy,
            other_policies,
            attached_policies,
        }) => {
            let whole = [
                field("name", name.as_str()).fixed(),
                field("path", path.as_str()).fixed(),
                field("permissions_boundary", permissions_boundary.clone()),
                field("trust_policy", trust_policy.clone()).policy(),
                field("policy", policy.clone()).policy(),
            ];
            let others = other_policies.iter();
            let others = others.map(|(name, policy)| {
                field(&format!("other_policies.{name}"), policy.clone()).policy()
            });
            let attached: Vec<String> = attached_policies.iter().cloned().collect();
            let attached = field("attached_policies", attached);
            whole.into_iter().chain(others).chain([attached]).collect()
        }
        Resource::Bucket(BucketSpec {
            name,
            expire_renders_days,
            abort_uploads_days,
            expire_days,
            block_public_access,
            owner_enforced,
            public_read,
        }) => {
            let whole = [
                field("name", name.as_str()).fixed(),
                field("expire_renders_days", *expire_renders_days),
                field("abort_uploads_days", *abort_uploads_days),
                field("block_public_access", *block_public_access),
                field("owner_enforced", *owner_enforced),
                field("public_read", *public_read),
            ];
            let expire = expire_days.iter();
            let expire =
                expire.map(|(prefix, days)| field(&format!("expire_days.{prefix}"), *days));
            whole.into_iter().chain(expire).collect()
        }
        Resource::Function(spec) => function_fields(spec),
        Resource::Site(SiteSpec {
            name,
            bucket,
            digest,
            files,
        }) => {
            let files = files
                .iter()
                .map(|(path, digest)| field(&format!("files.{path}"), digest.to_string()));
            let whole = [
                field("name", name.as_str()).fixed(),
                field("bucket", bucket.as_str()).fixed(),
                field("digest", digest.to_string()),
            ];
            whole.into_iter().chain(files).collect()
        }
    }
}

/// Name of the field that says whether `live` serves the function as it is; see [`FunctionSpec::published`].
pub const PUBLISHED_FIELD: &str = "published";

/// Name of the field that says which version of its runtime a function keeps.
pub const RUNTIME_VERSION_FIELD: &str = "runtime_version_arn";

fn function_fields(spec: &FunctionSpec) -> Vec<Field> {
    let FunctionSpec {
        name,
        role,
        runtime,
        handler,
        runtime_version_arn,
        architecture,
        memory_mb,
        timeout_s,
        disk_mb,
        environment,
        layers,
        subnet_ids,
        security_group_ids,
        log_group,
        code_sha256,
        published,
    } = spec;
    let role = match role {
        RoleReference::Managed { name, path } => format!("role{path}{name}"),
        RoleReference::Arn(arn) => arn.clone(),
    };
    let mut fields = vec![
        field("name", name.as_str()).fixed(),
        field("role", role),
        field("runtime", runtime.as_str()),
        field("handler", handler.as_str()),
        field(RUNTIME_VERSION_FIELD, runtime_version_arn.clone()),
        field("architecture", architecture.as_str()),
        field("memory_mb", *memory_mb),
        field("timeout_s", *timeout_s),
        field("disk_mb", *disk_mb),
    ];
    fields.extend(environment_fields(environment));
    fields.extend([
        field("layers", layers.clone()),
        field("subnet_ids", subnet_ids.clone()),
        field("security_group_ids", security_group_ids.clone()),
        field("log_group", log_group.as_str()),
        field("code_sha256", code_sha256.to_string()),
        field(PUBLISHED_FIELD, *published),
    ]);
    fields
}

fn environment_fields(
    environment: &BTreeMap<String, EnvironmentSpec>,
) -> impl Iterator<Item = Field> {
    environment.iter().map(|(name, value)| Field {
        value: Some(match value {
            EnvironmentSpec::Plain(text) => FieldValue::Known(text.clone().into()),
            EnvironmentSpec::Secret(digest) => FieldValue::Secret(*digest),
        }),
        ..field(&format!("environment.{name}"), Value::Null)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn function() -> FunctionSpec {
        FunctionSpec {
            name: "rmx-hello".parse().unwrap(),
            role: RoleReference::Managed {
                name: "rmx-hello".parse().unwrap(),
                path: "/".to_owned(),
            },
            runtime: "provided.al2023".to_owned(),
            handler: "bootstrap".to_owned(),
            runtime_version_arn: None,
            architecture: "x86_64".to_owned(),
            memory_mb: 2048,
            timeout_s: 240,
            disk_mb: 512,
            environment: BTreeMap::from([
                ("A".to_owned(), EnvironmentSpec::Plain("1".to_owned())),
                ("B".to_owned(), EnvironmentSpec::Secret(Digest::of("2"))),
            ]),
            layers: vec!["one".to_owned(), "two".to_owned()],
            subnet_ids: Vec::new(),
            security_group_ids: Vec::new(),
            log_group: "/aws/lambda/rmx-hello".parse().unwrap(),
            code_sha256: Digest::of("zip"),
            published: true,
        }
    }

    #[test]
    fn a_bucket_that_was_recorded_without_rules_gets_them_in_place() {
        let recorded = json!({ "bucket": {
            "name": "rmx-hello", "expire_renders_days": null, "abort_uploads_days": 1,
            "block_public_access": true, "owner_enforced": true,
        }});
        let before: Resource = serde_json::from_value(recorded).unwrap();
        let mut after = before.clone();
        if let Resource::Bucket(spec) = &mut after {
            spec.expire_days = crate::resource::expiry::expire_days();
        }
        let changes = changed_fields(Some(&before), Some(&after));
        let paths: Vec<&str> = changes.iter().map(|change| change.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "expire_days.input-props/",
                "expire_days.renders/1-day",
                "expire_days.renders/3-days",
                "expire_days.renders/30-days",
                "expire_days.renders/7-days",
            ]
        );
        assert!(changes.iter().all(|change| !change.forces_replacement));
    }

    /// The paths that differ after `change`; `!` marks those that force a replacement.
    fn changed(change: impl FnOnce(&mut FunctionSpec)) -> Vec<String> {
        let mut after = function();
        change(&mut after);
        let (before, after) = (Resource::Function(function()), Resource::Function(after));
        changed_fields(Some(&before), Some(&after))
            .into_iter()
            .map(|field| {
                format!(
                    "{}{}",
                    field.path,
                    if field.forces_replacement { "!" } else { "" }
                )
            })
            .collect()
    }

    #[test]
    fn each_field_of_a_function_counts() {
        assert!(changed(|_| {}).is_empty());
        assert_eq!(changed(|f| f.name = "other".parse().unwrap()), ["name!"]);
        assert_eq!(
            changed(|f| f.role = RoleReference::Arn("arn".to_owned())),
            ["role"]
        );
        assert_eq!(
            changed(|f| f.architecture = "arm64".to_owned()),
            ["architecture"]
        );
        assert_eq!(changed(|f| f.memory_mb = 1), ["memory_mb"]);
        assert_eq!(changed(|f| f.timeout_s = 1), ["timeout_s"]);
        assert_eq!(changed(|f| f.disk_mb = 1), ["disk_mb"]);
        assert_eq!(changed(|f| f.layers.reverse()), ["layers"]);
        assert_eq!(
            changed(|f| f.subnet_ids.push("s".to_owned())),
            ["subnet_ids"]
        );
        assert_eq!(
            changed(|f| f.security_group_ids.push("s".to_owned())),
            ["security_group_ids"]
        );
        assert_eq!(
            changed(|f| f.log_group = "l".parse().unwrap()),
            ["log_group"]
        );
        assert_eq!(changed(|f| f.code_sha256 = Digest::of("")), ["code_sha256"]);
        assert_eq!(changed(|f| f.published = false), ["published"]);
    }

    #[test]
    fn secrets_are_compared_and_never_in_clear() {
        let set = |name: &'static str, value| {
            move |f: &mut FunctionSpec| {
                f.environment.insert(name.to_owned(), value);
            }
        };
        // Hiding a value, or showing it, changes no function.
        assert!(changed(set("A", EnvironmentSpec::Secret(Digest::of("1")))).is_empty());
        assert!(changed(set("B", EnvironmentSpec::Plain("2".to_owned()))).is_empty());
        assert_eq!(
            changed(set("B", EnvironmentSpec::Secret(Digest::of("3")))),
            ["environment.B"]
        );
        assert_eq!(
            changed(set("C", EnvironmentSpec::Plain(String::new()))),
            ["environment.C"]
        );
        assert_eq!(
            changed(|f| drop(f.environment.remove("A"))),
            ["environment.A"]
        );
    }

    #[test]
    fn policies_are_compared_by_meaning() {
        let role = |actions: Value| {
            Resource::Role(RoleSpec {
                name: "r".parse().unwrap(),
                path: "/".to_owned(),
                permissions_boundary: None,
                trust_policy: json!({"Statement": []}),
                policy: json!({"Statement": {"Effect": "Allow", "Action": actions, "Resource": "*"}}),
                other_policies: std::collections::BTreeMap::new(),
                attached_policies: std::collections::BTreeSet::new(),
            })
        };
        let one = role(json!("s3:GetObject"));
        assert!(changed_fields(Some(&one), Some(&role(json!(["s3:getobject"])))).is_empty());
        let wider = changed_fields(Some(&one), Some(&role(json!("s3:*"))));
        assert_eq!((wider.len(), wider[0].path.as_str()), (1, "policy"));
    }

    #[test]
    fn a_new_resource_shows_all_that_is_set() {
        let group = Resource::LogGroup(LogGroupSpec {
            name: "group".parse().unwrap(),
            retention_days: None,
        });
        let created = changed_fields(None, Some(&group));
        assert_eq!(created.len(), 1);
        assert_eq!(
            (created[0].before.as_ref(), created[0].path.as_str()),
            (None, "name")
        );
        let deleted = changed_fields(Some(&group), None);
        assert_eq!(deleted[0].after, None);
        assert_eq!(field_count(&group), 1);
    }
}
