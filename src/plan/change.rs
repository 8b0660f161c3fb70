//! The values a plan is made of and made from.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::in_use::FAILED_SMOKE_OUTPUT;
use super::retention::{Retention, Versions};
use crate::resource::site::SiteManifest;
use crate::resource::{Address, Resource};
pub use crate::resource::{FieldChange, FieldValue};
use crate::state::CloudIdentity;

/// What the config asks for, with every default filled in.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// By address.
    pub resources: BTreeMap<Address, Resource>,
    /// Whether they are to be protected, of those of which the config says it. All others stay as they are recorded.
    pub protect: BTreeMap<Address, bool>,
    /// How many old versions of a function are kept besides the live one; `None` leaves them alone.
    pub keep_versions: Option<u32>,
}

/// What the cloud answered just now.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The account and region that answered.
    pub identity: CloudIdentity,
    /// By address: everything desired and everything recorded.
    pub resources: BTreeMap<Address, Observation>,
}

/// One resource as the cloud has it.
#[derive(Debug, Clone, PartialEq)]
pub enum Observation {
    /// There is none.
    Absent,
    /// There is one, and it carries our lineage.
    Present(Box<Present>),
    /// There is one of that name, and it is not ours.
    Foreign {
        /// ARN or name.
        id: String,
        /// The `rmx:stack` tag it carries, if any.
        owner: Option<String>,
    },
}

/// A resource of ours as it is now.
#[derive(Debug, Clone, PartialEq)]
pub struct Present {
    /// Its spec, normalised with the same defaults as a desired one.
    pub spec: Resource,
    /// What AWS assigned; see [`crate::state::Record::outputs`].
    pub outputs: BTreeMap<String, String>,
    /// Changes whenever the live object does: Lambda's `RevisionId`, else a hash of what was read.
    pub revision: String,
    /// What its service can hold a write to.
    pub precondition: Precondition,
    /// Of a function: its published versions.
    pub versions: Versions,
    /// Of a function: what `live` serves, where that is not what `spec` (`$LATEST`) says, as after a rollback.
    pub live: Option<Resource>,
}

/// What a service can hold a write to: it refuses the write if the object is another by the time it arrives, so that
/// nobody's change is lost between a look and the write.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Precondition {
    /// Nothing: IAM, CloudWatch Logs and the settings of buckets know no conditional writes. A look just before the write is
    /// all there is.
    None,
    /// The function's revision, and that of its `live` alias.
    Function {
        /// Of `$LATEST`.
        revision_id: String,
        /// `None` if there is no alias.
        alias: Option<AliasRevision>,
    },
    /// Entity tags of the site's objects.
    Site(SiteTags),
}

/// The `live` alias as it was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AliasRevision {
    /// The version it points to.
    pub version: String,
    /// Its own revision, not that of the function.
    pub revision_id: String,
}

/// A site's objects as they were read.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct SiteTags {
    /// Entity tag of the manifest; `None` if there is none.
    pub manifest_etag: Option<String>,
    /// The manifest; `None` if there is none that can be read.
    pub manifest: Option<SiteManifest>,
    /// Path below the site's prefix → entity tag.
    pub files: BTreeMap<String, String>,
}

/// Ordered changes and the base they were computed from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Where it is to be applied.
    pub identity: CloudIdentity,
    /// One entry for every address, in the order of execution; no-ops included.
    pub changes: Vec<Change>,
    /// What changed behind rmx's back since the last apply.
    pub drift: Vec<Drift>,
}

impl Plan {
    /// Whether applying it would do nothing.
    pub fn is_empty(&self) -> bool {
        self.changes
            .iter()
            .all(|change| change.action == Action::NoOp)
    }
}

/// One planned step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Of which resource.
    pub address: Address,
    /// What is done to it.
    pub action: Action,
    /// As it is; `None` for a create.
    pub before: Option<Resource>,
    /// As it will be; `None` for a delete.
    pub after: Option<Resource>,
    /// Fields that differ between the two.
    pub fields: Vec<FieldChange>,
    /// Outputs of the live object, for steps that need them.
    pub outputs: BTreeMap<String, String>,
    /// The live object's revision that this step was planned on.
    pub revision: Option<String>,
    /// It is replaced because somebody asked for it, not because a field forces it.
    #[serde(default)]
    pub replacement_requested: bool,
    /// Whether it is protected, and will be.
    #[serde(default)]
    pub protect: Protection,
    /// Of a function: what becomes of its old versions.
    #[serde(default)]
    pub retention: Retention,
    /// Of a function whose `live` is moved on: what it serves until then, where that is not what `before` says.
    #[serde(default)]
    pub live: Option<Resource>,
}

/// The name of the field that shows which old versions of a function stay. It is in no spec either.
pub const OLD_VERSIONS_FIELD: &str = "old_versions";

/// The name of the field that shows a change of protection. It is in no spec: only the record knows of it.
pub const PROTECT_FIELD: &str = "protect";

/// Whether a resource is protected from deletion and replacement.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protection {
    /// As it is recorded. It outlives the resource's block in the config.
    pub recorded: bool,
    /// As it will be recorded.
    pub wanted: bool,
}

impl Change {
    /// Whether it stays and may be deleted or replaced from then on, which it may not be now.
    pub fn lifts_protection(&self) -> bool {
        self.after.is_some() && self.protect.recorded && !self.protect.wanted
    }

    /// What whoever uses the resource has of it now.
    pub fn serves(&self) -> Option<&Resource> {
        self.live.as_ref().or(self.before.as_ref())
    }

    /// The version of a function that has not passed its smoke render, or [`NEXT_VERSION`](super::in_use::NEXT_VERSION), so that the one
    /// that goes live next has to, unless that is Remotion's own, which cannot.
    pub fn owes_smoke_after(&self) -> Option<&str> {
        let version = self.outputs.get(FAILED_SMOKE_OUTPUT)?;
        match &self.after {
            Some(Resource::Function(after)) if after.invokes_latest() => None,
            Some(_) => Some(version),
            None => None,
        }
    }

    /// Whether carrying it out calls anything that changes the cloud.
    pub fn touches_cloud(&self) -> bool {
        match self.action {
            Action::NoOp | Action::Forget => false,
            // Protection is a matter of the record alone.
            Action::Adopt | Action::Update => {
                self.fields.iter().any(|field| field.path != PROTECT_FIELD)
            }
            Action::Create | Action::Replace | Action::Delete => true,
        }
    }
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    NoOp,
    /// Create it.
    Create,
    /// Change it in place.
    Update,
    /// Destroy it, then create it anew.
    Replace,
    /// Destroy it.
    Delete,
    /// It exists and is ours, but is not recorded: record it.
    Adopt,
    /// It is recorded, but gone and no longer wanted: drop the record.
    Forget,
}

/// A resource that differs from what was last applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Of which resource.
    pub address: Address,
    /// Whether it is gone altogether.
    pub deleted: bool,
    /// Fields that differ: `before` as applied, `after` as observed.
    pub fields: Vec<FieldChange>,
}
