//! What is recorded of roles and policies.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::no_such;
use crate::env;
use crate::local::query::{QueryError, Xml};
use crate::names::AccountId;

/// The whole document.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Iam {
    pub(super) roles: BTreeMap<String, Role>,
    /// Managed policies made here, by ARN.
    pub(super) policies: BTreeMap<String, ManagedPolicy>,
    pub(super) user: Option<LocalUser>,
}

/// A role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) id: String,
    pub(super) path: String,
    pub(super) created_ms: u64,
    /// As it was written.
    pub(super) trust_policy: String,
    pub(super) description: Option<String>,
    pub(super) session_max_s: u32,
    /// ARN of a policy.
    pub(super) permissions_boundary: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// Inline policies by name, as they were written.
    pub(super) inline: BTreeMap<String, String>,
    /// ARNs of managed policies.
    pub(super) attached: BTreeSet<String>,
}

/// A managed policy of the account. It has one version.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct ManagedPolicy {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) created_ms: u64,
    pub(super) description: Option<String>,
    pub(super) document: String,
    pub(super) tags: BTreeMap<String, String>,
}

/// The user that every request comes from.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in crate::local) struct LocalUser {
    pub(in crate::local) id: String,
    pub(super) created_ms: u64,
}

impl LocalUser {
    pub(super) const NAME: &str = "local";

    pub(super) fn new(now_ms: u64) -> Self {
        Self {
            id: unique_id("AIDA"),
            created_ms: now_ms,
        }
    }

    /// `arn:aws:iam::ACCOUNT:user/local`.
    pub(in crate::local) fn arn(&self, account: &AccountId) -> String {
        format!("arn:aws:iam::{account}:user/{}", Self::NAME)
    }
}

impl Iam {
    pub(super) fn role(&self, name: &str) -> Result<&Role, QueryError> {
        self.roles.get(name).ok_or_else(|| no_role(name))
    }

    pub(super) fn role_mut(&mut self, name: &str) -> Result<&mut Role, QueryError> {
        self.roles.get_mut(name).ok_or_else(|| no_role(name))
    }
}

impl Role {
    /// Adds the role as `GetRole` tells it.
    pub(super) fn describe(&self, xml: &mut Xml, name: &str, account: &AccountId) {
        self.describe_in_list(xml, name, account);
        if let Some(arn) = &self.permissions_boundary {
            xml.element("PermissionsBoundary", |xml| {
                xml.text("PermissionsBoundaryType", "Policy")
                    .text("PermissionsBoundaryArn", arn);
            });
        }
        if !self.tags.is_empty() {
            tags(xml, &self.tags);
        }
        xml.element("RoleLastUsed", |_| {});
    }

    /// Adds the role as `ListRoles` tells it: without boundary, tags and use (API reference, `ListRoles`).
    pub(super) fn describe_in_list(&self, xml: &mut Xml, name: &str, account: &AccountId) {
        xml.text("Path", &self.path)
            .text("RoleName", name)
            .text("RoleId", &self.id)
            .text(
                "Arn",
                format!("arn:aws:iam::{account}:role{}{name}", self.path),
            )
            .text("CreateDate", date(self.created_ms))
            .text("AssumeRolePolicyDocument", encoded(&self.trust_policy))
            .text("MaxSessionDuration", self.session_max_s);
        if let Some(description) = &self.description {
            xml.text("Description", description);
        }
    }
}

impl ManagedPolicy {
    /// Adds the policy as `GetPolicy` tells it.
    pub(super) fn describe(&self, xml: &mut Xml, arn: &str, attachment_count: usize) {
        xml.text("PolicyName", &self.name)
            .text("PolicyId", &self.id)
            .text("Arn", arn)
            .text("Path", &self.path)
            .text("DefaultVersionId", "v1")
            .text("AttachmentCount", attachment_count)
            .text("IsAttachable", true)
            .text("CreateDate", date(self.created_ms))
            .text("UpdateDate", date(self.created_ms));
        if let Some(description) = &self.description {
            xml.text("Description", description);
        }
        if !self.tags.is_empty() {
            tags(xml, &self.tags);
        }
    }
}

/// Adds a list of tags.
pub(super) fn tags(xml: &mut Xml, tags: &BTreeMap<String, String>) {
    xml.list("Tags", tags, |xml, (key, value)| {
        xml.text("Key", key).text("Value", value);
    });
}

/// A policy as IAM hands it out: percent-encoded as RFC 3986 says.
pub(super) fn encoded(policy: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'.')
        .remove(b'_')
        .remove(b'~');
    utf8_percent_encode(policy, RESERVED).to_string()
}

/// Milliseconds since the epoch as IAM writes times.
pub(in crate::local) fn date(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or_default();
    time::OffsetDateTime::from_unix_timestamp(seconds)
        .map(env::timestamp)
        .unwrap_or_default()
}

/// An id in AWS's shape: a prefix for the kind and 17 capitals and digits.
pub(super) fn unique_id(prefix: &str) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string().to_uppercase();
    format!("{prefix}{}", &random[..17])
}

pub(super) fn no_role(name: &str) -> QueryError {
    no_such(format!("The role with name {name} cannot be found."))
}
