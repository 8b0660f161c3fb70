//! What rmx can own: a closed enum of specs. Pure data; a spec is complete, with every default filled in.

pub mod expiry;
mod field;
pub mod function;
pub mod policy;
pub mod price;
pub mod reach;
pub mod remotion;
pub mod role;
pub mod site;

pub use field::{
    FieldChange, FieldValue, PUBLISHED_FIELD, RUNTIME_VERSION_FIELD, changed_fields, field_count,
};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::names::{BucketName, FunctionName, LogGroupName, RoleName, SiteName};

/// Kinds of resource, in the order in which they are created. Deletes run in reverse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ResourceKind {
    /// A CloudWatch log group.
    LogGroup,
    /// An IAM role with its inline policy.
    Role,
    /// An S3 bucket with its settings.
    Bucket,
    /// A Lambda function with its published version and `live` alias.
    Function,
    /// A site: objects below `sites/NAME/` in the bucket.
    Site,
}

impl ResourceKind {
    /// All kinds in order of creation.
    pub const ALL: [Self; 5] = [
        Self::LogGroup,
        Self::Role,
        Self::Bucket,
        Self::Function,
        Self::Site,
    ];

    /// The word used in addresses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LogGroup => "log_group",
            Self::Role => "role",
            Self::Bucket => "bucket",
            Self::Function => "function",
            Self::Site => "site",
        }
    }
}

impl fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Identity of a resource in config, plan and state: `function.worker`, `site.hello`. Not the AWS name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    /// The kind.
    pub kind: ResourceKind,
    /// The name: `worker` (then `worker-2`, ...) for functions, the site's name for sites, `main` otherwise.
    pub name: String,
}

impl Address {
    /// An address of its parts.
    pub fn new(kind: ResourceKind, name: impl Into<String>) -> Self {
        Self {
            kind,
            name: name.into(),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}.{}", self.kind, self.name))
    }
}

/// The text is not `KIND.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a resource address: KIND.NAME is needed, \
     KIND being log_group, role, bucket, function or site (as in `function.worker`)"
)]
pub struct AddressError(pub String);

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || AddressError(text.to_owned());
        let (kind, name) = text.split_once('.').ok_or_else(error)?;
        let kind = ResourceKind::ALL
            .into_iter()
            .find(|k| k.as_str() == kind)
            .ok_or_else(error)?;
        if name.is_empty() {
            Err(error())
        } else {
            Ok(Self::new(kind, name))
        }
    }
}

impl TryFrom<String> for Address {
    type Error = AddressError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.to_string()
    }
}

/// What a resource is, in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// See [`LogGroupSpec`].
    LogGroup(LogGroupSpec),
    /// See [`RoleSpec`].
    Role(RoleSpec),
    /// See [`BucketSpec`].
    Bucket(BucketSpec),
    /// See [`FunctionSpec`].
    Function(FunctionSpec),
    /// See [`SiteSpec`].
    Site(SiteSpec),
}

impl Resource {
    /// Its kind.
    pub fn kind(&self) -> ResourceKind {
        match self {
            Self::LogGroup(_) => ResourceKind::LogGroup,
            Self::Role(_) => ResourceKind::Role,
            Self::Bucket(_) => ResourceKind::Bucket,
            Self::Function(_) => ResourceKind::Function,
            Self::Site(_) => ResourceKind::Site,
        }
    }
}

/// A CloudWatch log group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogGroupSpec {
    /// AWS name; a change of it replaces the group.
    pub name: LogGroupName,
    /// Days until events expire.
    pub retention_days: Option<u32>,
}

/// An IAM role with one inline policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoleSpec {
    /// AWS name; a change of it replaces the role.
    pub name: RoleName,
    /// Path, begins and ends with `/`; a change of it replaces the role.
    pub path: String,
    /// Permissions boundary, a policy ARN.
    pub permissions_boundary: Option<String>,
    /// Trust policy, a JSON document. Compared by meaning.
    pub trust_policy: serde_json::Value,
    /// Inline policy, a JSON document. Compared by meaning.
    pub policy: serde_json::Value,
    /// Inline policies that somebody else put beside it, by name. Never wanted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_policies: BTreeMap<String, serde_json::Value>,
    /// ARNs of managed policies that somebody else attached. Never wanted.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub attached_policies: BTreeSet<String>,
}

/// An S3 bucket with the settings rmx stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSpec {
    /// AWS name; a change of it replaces the bucket.
    pub name: BucketName,
    /// Objects below `renders/` expire after so many days.
    pub expire_renders_days: Option<u32>,
    /// Parts of abandoned multipart uploads are removed after so many days.
    pub abort_uploads_days: Option<u32>,
    /// Objects below these key prefixes expire after so many days, see [`expiry`].
    #[serde(default)]
    pub expire_days: BTreeMap<String, u32>,
    /// All four public access blocks are on.
    pub block_public_access: bool,
    /// ACLs are off (`BucketOwnerEnforced`).
    pub owner_enforced: bool,
    /// The bucket's policy lets everybody read its objects.
    #[serde(default)]
    pub public_read: bool,
}

/// A Lambda function: its configuration, its code, and through them its published version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionSpec {
    /// AWS name; a change of it replaces the function.
    pub name: FunctionName,
    /// The role it runs as.
    pub role: RoleReference,
    /// Lambda's runtime.
    #[serde(default = "function::own_runtime")]
    pub runtime: String,
    /// What Lambda starts.
    #[serde(default = "function::own_handler")]
    pub handler: String,
    /// The one version of the runtime that it keeps, an ARN; `None`: Lambda updates it.
    #[serde(default)]
    pub runtime_version_arn: Option<String>,
    /// `arm64` or `x86_64`.
    pub architecture: String,
    /// Memory.
    pub memory_mb: u32,
    /// Timeout.
    pub timeout_s: u32,
    /// Size of `/tmp`.
    pub disk_mb: u32,
    /// Environment: plain values as they are, secret ones as digests.
    pub environment: BTreeMap<String, EnvironmentSpec>,
    /// Layer version ARNs, in order.
    pub layers: Vec<String>,
    /// VPC subnets, sorted; empty without a VPC.
    pub subnet_ids: Vec<String>,
    /// VPC security groups, sorted.
    pub security_group_ids: Vec<String>,
    /// Where it logs.
    pub log_group: LogGroupName,
    /// SHA-256 of the function zip: Lambda's `CodeSha256`.
    pub code_sha256: Digest,
    /// The `live` alias points to a version with exactly this code and configuration, and Lambda does not try
    /// failed asynchronous invocations again. Always wanted; observed as `false` when somebody moved or removed
    /// the alias, or when an apply was interrupted before it got there.
    pub published: bool,
}

/// The role a function runs as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RoleReference {
    /// The role of that name and path which rmx owns; its ARN is known after its creation.
    Managed {
        /// Role name.
        name: RoleName,
        /// Role path.
        path: String,
    },
    /// A role of the user's own.
    Arn(String),
}

/// An environment variable's value as it is recorded and compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EnvironmentSpec {
    /// In clear.
    Plain(String),
    /// Secret: SHA-256 of the value.
    Secret(Digest),
}

/// A site: the objects below `sites/NAME/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteSpec {
    /// Its name.
    pub name: SiteName,
    /// The bucket it lies in; a change of it replaces the site.
    pub bucket: BucketName,
    /// Digest of the sorted entries (path, mode, content).
    pub digest: Digest,
    /// Path below `sites/NAME/` → SHA-256 of the content.
    pub files: BTreeMap<String, Digest>,
}
