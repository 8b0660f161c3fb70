//! Log groups: create, delete, describe, retention, tags.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::env;
use crate::local::http::Request;
use crate::names::{LogGroupName, Region};

use super::LogsService;
use super::error::{Kind, ServiceError};
use super::file;
use super::input::{
    group_name, limit, merge_tags, parse, parse_token, required, resource_arn, token,
};
use super::model::{Group, Groups, group_arn, group_of_arn};

/// Groups of one page: AWS's default and most.
const PAGE_GROUPS_MAX: usize = 50;

/// `PutRetentionPolicy` takes these and no others (API reference, `retentionInDays`).
const RETENTION_DAYS: &[i64] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922,
    3288, 3653,
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CreateLogGroup {
    log_group_name: Option<String>,
    tags: Option<BTreeMap<String, String>>,
    log_group_class: Option<String>,
    deletion_protection_enabled: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OneGroup {
    log_group_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeLogGroups {
    log_group_name_prefix: Option<String>,
    log_group_name_pattern: Option<String>,
    log_group_class: Option<String>,
    log_group_identifiers: Option<Vec<String>>,
    next_token: Option<String>,
    limit: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutRetentionPolicy {
    log_group_name: Option<String>,
    retention_in_days: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TagResource {
    resource_arn: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntagResource {
    resource_arn: Option<String>,
    tag_keys: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OneResource {
    resource_arn: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TagLogGroup {
    log_group_name: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct UntagLogGroup {
    log_group_name: Option<String>,
    tags: Option<Vec<String>>,
}

impl LogsService {
    pub(super) fn create_log_group(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: CreateLogGroup = parse(request)?;
        let name = group_name(input.log_group_name)?;
        check_class(input.log_group_class.as_deref())?;
        if input.deletion_protection_enabled == Some(true) {
            return Err(ServiceError::unsupported("deletionProtectionEnabled"));
        }
        let mut tags = BTreeMap::new();
        merge_tags(&mut tags, input.tags.unwrap_or_default())?;
        self.store
            .update(&document(&request.region), |groups: &mut Groups| {
                if groups.0.contains_key(&name) {
                    return Err(ServiceError::new(
                        Kind::ResourceAlreadyExists,
                        "The specified log group already exists",
                    ));
                }
                self.add_group(groups, &name, Group::new(env::now_ms(), tags))?;
                Ok(json!({}))
            })
    }

    pub(super) fn delete_log_group(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: OneGroup = parse(request)?;
        let name = group_name(input.log_group_name)?;
        self.store
            .update(&document(&request.region), |groups: &mut Groups| {
                let group = groups.0.remove(&name).ok_or_else(ServiceError::no_group)?;
                match std::fs::remove_dir_all(self.folder(&group.id)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
                    _ => Ok(json!({})),
                }
            })
    }

    pub(super) fn describe_log_groups(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: DescribeLogGroups = parse(request)?;
        let size = limit(input.limit, PAGE_GROUPS_MAX, PAGE_GROUPS_MAX)?;
        check_class(input.log_group_class.as_deref())?;
        if input.log_group_name_prefix.is_some() && input.log_group_name_pattern.is_some() {
            return Err(ServiceError::parameter(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
        let prefix = input.log_group_name_prefix.unwrap_or_default();
        let pattern = input
            .log_group_name_pattern
            .unwrap_or_default()
            .to_lowercase();
        let named: Option<Vec<Option<LogGroupName>>> = input.log_group_identifiers.map(|all| {
            all.iter()
                .map(|text| {
                    group_of_arn(&request.region, &request.account, text)
                        .or_else(|| text.parse().ok())
                })
                .collect()
        });
        let after: Option<LogGroupName> = parse_token(input.next_token)?;
        let groups: Groups = self.store.read(&document(&request.region))?;
        let mut matching = groups.0.iter().filter(|(name, _)| {
            name.as_str().starts_with(&prefix)
                && name.as_str().to_lowercase().contains(&pattern)
                && after.as_ref().is_none_or(|after| *name > after)
                && named
                    .as_ref()
                    .is_none_or(|named| named.iter().flatten().any(|wanted| wanted == *name))
        });
        let page: Vec<_> = matching.by_ref().take(size).collect();
        let mut body = json!({
            "logGroups": page
                .iter()
                .map(|(name, group)| {
                    let arn = group_arn(&request.region, &request.account, name);
                    Ok(group.describe(name, &arn, self.stored_bytes(group)?))
                })
                .collect::<io::Result<Vec<_>>>()?,
        });
        if matching.next().is_some() {
            body["nextToken"] = token(&page.last().map(|(name, _)| name)).into();
        }
        Ok(body)
    }

    pub(super) fn put_retention_policy(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: PutRetentionPolicy = parse(request)?;
        let name = group_name(input.log_group_name)?;
        let days = required(input.retention_in_days, "retentionInDays")?;
        let days = Some(days)
            .filter(|days| RETENTION_DAYS.contains(days))
            .and_then(|days| u32::try_from(days).ok())
            .ok_or_else(|| {
                let allowed: Vec<String> = RETENTION_DAYS.iter().map(i64::to_string).collect();
                ServiceError::constraint(
                    days,
                    "retentionInDays",
                    &format!("satisfy enum value set: [{}]", allowed.join(", ")),
                )
            })?;
        self.change_group(request, &name, |group| {
            group.retention_days = Some(days);
            Ok(json!({}))
        })
    }

    pub(super) fn delete_retention_policy(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: OneGroup = parse(request)?;
        let name = group_name(input.log_group_name)?;
        self.change_group(request, &name, |group| {
            group.retention_days = None;
            Ok(json!({}))
        })
    }

    pub(super) fn tag_resource(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: TagResource = parse(request)?;
        let name = resource_arn(request, input.resource_arn)?;
        self.tag(request, &name, required(input.tags, "tags")?)
    }

    pub(super) fn untag_resource(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: UntagResource = parse(request)?;
        let name = resource_arn(request, input.resource_arn)?;
        self.untag(request, &name, &required(input.tag_keys, "tagKeys")?)
    }

    pub(super) fn list_tags_for_resource(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: OneResource = parse(request)?;
        let name = resource_arn(request, input.resource_arn)?;
        Ok(json!({ "tags": self.group(&request.region, &name)?.tags }))
    }

    pub(super) fn tag_log_group(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: TagLogGroup = parse(request)?;
        let name = group_name(input.log_group_name)?;
        self.tag(request, &name, required(input.tags, "tags")?)
    }

    pub(super) fn untag_log_group(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: UntagLogGroup = parse(request)?;
        let name = group_name(input.log_group_name)?;
        self.untag(request, &name, &required(input.tags, "tags")?)
    }

    pub(super) fn list_tags_log_group(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: OneGroup = parse(request)?;
        let name = group_name(input.log_group_name)?;
        Ok(json!({ "tags": self.group(&request.region, &name)?.tags }))
    }

    fn tag(
        &self,
        request: &Request,
        name: &LogGroupName,
        tags: BTreeMap<String, String>,
    ) -> Result<Value, ServiceError> {
        self.change_group(request, name, |group| {
            merge_tags(&mut group.tags, tags)?;
            Ok(json!({}))
        })
    }

    fn untag(
        &self,
        request: &Request,
        name: &LogGroupName,
        keys: &[String],
    ) -> Result<Value, ServiceError> {
        self.change_group(request, name, |group| {
            for key in keys {
                group.tags.remove(key);
            }
            Ok(json!({}))
        })
    }

    /// The log group of that name.
    pub(super) fn group(
        &self,
        region: &Region,
        name: &LogGroupName,
    ) -> Result<Group, ServiceError> {
        let mut groups: Groups = self.store.read(&document(region))?;
        groups.0.remove(name).ok_or_else(ServiceError::no_group)
    }

    /// The id of the group of that name, which is made if there is none.
    pub(super) fn ensure_group(
        &self,
        region: &Region,
        name: &LogGroupName,
        now_ms: u64,
    ) -> io::Result<String> {
        let groups: Groups = self.store.read(&document(region))?;
        if let Some(group) = groups.0.get(name) {
            return Ok(group.id.clone());
        }
        self.store.update(&document(region), |groups: &mut Groups| {
            if let Some(group) = groups.0.get(name) {
                return Ok(group.id.clone());
            }
            let group = Group::new(now_ms, BTreeMap::new());
            let id = group.id.clone();
            self.add_group(groups, name, group)?;
            Ok(id)
        })
    }

    /// The folder of the group with that id.
    pub(super) fn folder(&self, id: &str) -> PathBuf {
        self.store.path("logs").join(id)
    }

    fn add_group(&self, groups: &mut Groups, name: &LogGroupName, group: Group) -> io::Result<()> {
        std::fs::create_dir_all(self.folder(&group.id))?;
        groups.0.insert(name.clone(), group);
        Ok(())
    }

    fn change_group(
        &self,
        request: &Request,
        name: &LogGroupName,
        change: impl FnOnce(&mut Group) -> Result<Value, ServiceError>,
    ) -> Result<Value, ServiceError> {
        self.store
            .update(&document(&request.region), |groups: &mut Groups| {
                change(groups.0.get_mut(name).ok_or_else(ServiceError::no_group)?)
            })
    }

    fn stored_bytes(&self, group: &Group) -> io::Result<u64> {
        let mut total = 0;
        for stream in file::streams(&self.folder(&group.id))? {
            total += stream.size_bytes()?;
        }
        Ok(total)
    }
}

/// The name of the document that holds a region's log groups.
fn document(region: &Region) -> String {
    format!("logs-{region}.json")
}

fn check_class(class: Option<&str>) -> Result<(), ServiceError> {
    match class {
        None | Some("STANDARD") => Ok(()),
        Some(class @ ("INFREQUENT_ACCESS" | "DELIVERY")) => Err(ServiceError::unsupported(
            format!("log groups of class {class}"),
        )),
        Some(other) => Err(ServiceError::constraint(
            other,
            "logGroupClass",
            "satisfy enum value set: [STANDARD, INFREQUENT_ACCESS, DELIVERY]",
        )),
    }
}
