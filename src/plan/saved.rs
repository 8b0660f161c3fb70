//! A plan in a file, bound to what it was made from: the config, the artefacts, the account and region, the state's
//! lineage and serial, and the live revision of every object.
//!
//! Nothing is trusted from the file but the decision. Whoever applies it makes the same plan again; unless that comes
//! out the same, [`SavedPlan::moved`] says what is another by now. Secrets are in the file as digests only: their
//! values are looked up again where the config says, and compared.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::change::{Action, Change, OLD_VERSIONS_FIELD, Plan};
use super::code_size::CodeSize;
use super::cost::Estimate;
use super::gate::Violation;
use super::loss::{Loss, LossKind};
use super::preflight::Preflight;
use super::request::PlanRequest;
use super::retention::Retention;
use crate::digest::Digest;
use crate::names::{Lineage, ProjectName, StageName};
use crate::resource::{Address, Resource, changed_fields};
use crate::state::{CloudIdentity, State};

/// The format this rmx writes, and the only one it reads.
const FORMAT: u64 = 1;

/// A plan and what it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedPlan {
    /// When, RFC 3339.
    pub made_at: String,
    /// Of which project, by which config, on which state.
    pub basis: Basis,
    /// Which kind of plan.
    pub request: PlanRequest,
    /// What to do. Its changes hold the digests of the artefacts and every object's revision.
    pub plan: Plan,
    /// What would be lost for ever, as it was then.
    pub losses: Vec<Loss>,
    /// What preflight found then; `None` if nothing was asked.
    #[serde(default)]
    pub preflight: Option<Preflight>,
    /// What it does to the cost of rendering, as it was estimated then.
    #[serde(default)]
    pub cost: Option<Estimate>,
    /// What it does to the size of the function's code; `None` where that stays.
    #[serde(default)]
    pub code_size: Option<CodeSize>,
    /// Why it was refused then, besides what preflight found; nothing if it was not.
    #[serde(default)]
    pub refusals: Vec<Violation>,
}

/// What a plan is made from besides the cloud and the artefacts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Basis {
    /// The project.
    pub project: ProjectName,
    /// The stage.
    pub stage: Option<StageName>,
    /// Digest of the config's file and the stage.
    pub config: Digest,
    /// The state's lineage; `None` if nothing was recorded yet, for then it has none that lasts.
    pub lineage: Option<Lineage>,
    /// The state's serial.
    pub serial: u64,
}

impl Basis {
    /// The basis of a plan that is made now.
    pub fn new(
        project: &ProjectName,
        stage: Option<&StageName>,
        config: Digest,
        state: &State,
    ) -> Self {
        Self {
            project: project.clone(),
            stage: stage.cloned(),
            config,
            lineage: (state.serial > 0).then(|| state.lineage.clone()),
            serial: state.serial,
        }
    }
}

/// Why bytes are not a plan that this rmx can carry out.
#[derive(Debug, thiserror::Error)]
pub enum SavedPlanError {
    /// It is no JSON, or not of that shape.
    #[error("it is not a saved plan, or it is damaged")]
    Damaged(#[source] serde_json::Error),
    /// Its checksum does not fit.
    #[error("its checksum does not fit its content: it was changed after it was saved")]
    Edited,
    /// It is of another format, whatever wrote it.
    #[error("its format is {found}; this rmx reads format {FORMAT}")]
    OtherFormat {
        /// Which.
        found: String,
    },
    /// Another rmx wrote it.
    #[error("it was written by rmx {written_by}; this is rmx {}", env!("CARGO_PKG_VERSION"))]
    OtherVersion {
        /// Which.
        written_by: String,
    },
}

#[derive(Serialize, Deserialize)]
struct Document {
    format: u64,
    rmx_version: String,
    checksum: Digest,
    saved_plan: Value,
}

impl SavedPlan {
    /// The file's content.
    ///
    /// # Errors
    /// None that a plan of this program could cause.
    pub fn encode(&self) -> serde_json::Result<Vec<u8>> {
        let saved_plan = serde_json::to_value(self)?;
        let document = Document {
            format: FORMAT,
            rmx_version: env!("CARGO_PKG_VERSION").to_owned(),
            checksum: Digest::of(saved_plan.to_string()),
            saved_plan,
        };
        let mut bytes = serde_json::to_vec_pretty(&document)?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The plan in a file's content.
    ///
    /// # Errors
    /// It is damaged, was changed, or another version of rmx wrote it: what a plan means is fixed only within one.
    pub fn decode(bytes: &[u8]) -> Result<Self, SavedPlanError> {
        let whole: Value = serde_json::from_slice(bytes).map_err(SavedPlanError::Damaged)?;
        // Before anything else is expected of it: another version's file may look different altogether.
        let written_by = whole.get("rmx_version").and_then(Value::as_str);
        if let Some(written_by) = written_by
            && written_by != env!("CARGO_PKG_VERSION")
        {
            return Err(SavedPlanError::OtherVersion {
                written_by: written_by.to_owned(),
            });
        }
        let format = whole.get("format");
        if let Some(found) = format.filter(|format| format.as_u64() != Some(FORMAT)) {
            return Err(SavedPlanError::OtherFormat {
                found: found.to_string(),
            });
        }
        let document: Document = serde_json::from_value(whole).map_err(SavedPlanError::Damaged)?;
        if Digest::of(document.saved_plan.to_string()) != document.checksum {
            return Err(SavedPlanError::Edited);
        }
        serde_json::from_value(document.saved_plan).map_err(SavedPlanError::Damaged)
    }

    /// Whether `rmx apply` would carry it out, as far as is known.
    pub fn is_applyable(&self) -> bool {
        let mut preflight = self.preflight.iter();
        let refused = preflight.any(|preflight| preflight.refusals().next().is_some());
        !self.plan.is_empty() && self.refusals.is_empty() && !refused
    }

    /// What would be lost besides what the plan shows: `losses` are those of now. Logs grow by themselves and do not count.
    pub fn lost_besides(&self, losses: &[Loss]) -> Vec<Moved> {
        let objects = losses.iter().filter(|loss| loss.kind == LossKind::Objects);
        let grown = objects.filter_map(|now| {
            let mut then = self.losses.iter();
            let then = then.find(|then| then.address == now.address && then.kind == now.kind);
            let (planned, size_bytes) = then.map_or((0, 0), |then| (then.count, then.size_bytes));
            (now.count > planned || now.size_bytes > size_bytes).then(|| Moved::Lost {
                address: now.address.clone(),
                planned,
                found: now.count,
            })
        });
        grown.collect()
    }

    /// What is another than when the plan was made; nothing if it may be carried out. `basis` and `plan` are what
    /// the same request leads to now.
    pub fn moved(&self, basis: &Basis, plan: &Plan) -> Vec<Moved> {
        let mut moved = Vec::new();
        if (&basis.project, &basis.stage) != (&self.basis.project, &self.basis.stage) {
            moved.push(Moved::Project {
                stage: self.basis.stage.clone(),
            });
        } else if basis.config != self.basis.config {
            moved.push(Moved::Config);
        }
        if plan.identity != self.plan.identity {
            moved.push(Moved::Cloud {
                planned: self.plan.identity.clone(),
                found: plan.identity.clone(),
            });
        }
        if (&basis.lineage, basis.serial) != (&self.basis.lineage, self.basis.serial) {
            moved.push(Moved::State {
                planned: self.basis.serial,
                found: basis.serial,
                // Without a record there was no deployment that this could be another of.
                other_lineage: match (&self.basis.lineage, &basis.lineage) {
                    (Some(planned), Some(found)) => planned != found,
                    _ => false,
                },
            });
        }
        let find = |plan: &Plan, address: &Address| -> Option<Change> {
            let mut changes = plan.changes.iter();
            changes.find(|change| change.address == *address).cloned()
        };
        for then in &self.plan.changes {
            moved.extend(object(then, find(plan, &then.address).as_ref()));
        }
        for now in &plan.changes {
            if find(&self.plan, &now.address).is_none() {
                moved.push(Moved::Appeared(now.address.clone()));
            }
        }
        if moved.is_empty() && *plan != self.plan {
            moved.push(Moved::Other);
        }
        moved
    }

    /// Makes `plan`, to which the same request leads now, delete the old versions that were shown, and no others, wherever
    /// nothing else is another. Which versions are in use changes with every render that begins or ends, and nobody has to
    /// look at a plan again for that: a version that came into use stays all the same, because apply looks before it deletes.
    pub fn carry_over_old_versions(&self, plan: &mut Plan) {
        for now in &mut plan.changes {
            let mut then = self.plan.changes.iter();
            let then = then.find(|then| then.address == now.address);
            if let Some(then) = then
                && without_old_versions(then) == without_old_versions(now)
            {
                *now = then.clone();
            }
        }
    }
}

/// The change as it would be if old versions were left alone.
fn without_old_versions(change: &Change) -> Change {
    let mut change = Change {
        retention: Retention::default(),
        ..change.clone()
    };
    change
        .fields
        .retain(|field| field.path != OLD_VERSIONS_FIELD);
    if change.action == Action::Update && change.fields.is_empty() {
        change.action = Action::NoOp;
    }
    change
}

fn object(then: &Change, now: Option<&Change>) -> Vec<Moved> {
    let address = then.address.clone();
    let Some(now) = now else {
        return vec![Moved::Disappeared(address)];
    };
    let fields = |one: &Option<Resource>, other: &Option<Resource>| -> Vec<String> {
        let fields = changed_fields(one.as_ref(), other.as_ref());
        fields.into_iter().map(|field| field.path).collect()
    };
    let mut moved = Vec::new();
    if then.revision != now.revision {
        moved.push(match (&then.before, &now.before) {
            (None, _) => Moved::Created(address.clone()),
            (_, None) => Moved::Deleted(address.clone()),
            (before, after) => Moved::Changed {
                address: address.clone(),
                fields: fields(before, after),
            },
        });
    }
    if then.after != now.after {
        moved.push(Moved::Wanted {
            address,
            fields: fields(&then.after, &now.after),
        });
    }
    moved
}

/// What is another than when a plan was made. Its text is a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Moved {
    /// More objects would be lost than somebody agreed to.
    Lost {
        /// The bucket.
        address: Address,
        /// How many there were.
        planned: u64,
        /// How many there are.
        found: u64,
    },
    /// It is a plan of another project or stage.
    Project {
        /// The plan's stage.
        stage: Option<StageName>,
    },
    /// The config's file.
    Config,
    /// The account or region.
    Cloud {
        /// That of the plan.
        planned: CloudIdentity,
        /// This one.
        found: CloudIdentity,
    },
    /// The state was written, or is another one.
    State {
        /// The serial of the plan.
        planned: u64,
        /// The serial now.
        found: u64,
        /// It is the state of another deployment.
        other_lineage: bool,
    },
    /// A resource that the plan does not know.
    Appeared(Address),
    /// A resource of the plan that is neither wanted nor recorded.
    Disappeared(Address),
    /// The object was made, by somebody or by an apply of this very plan that was cut off.
    Created(Address),
    /// Somebody deleted the object.
    Deleted(Address),
    /// Somebody changed the object.
    Changed {
        /// Which.
        address: Address,
        /// Fields that differ; none if it was changed and changed back, or where no field shows it.
        fields: Vec<String>,
    },
    /// What is wanted is another: an artefact or a secret value.
    Wanted {
        /// Of which resource.
        address: Address,
        /// Fields that differ.
        fields: Vec<String>,
    },
    /// The same request leads to another plan for a reason of its own.
    Other,
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        /// More names than this say no more.
        const LISTED_MAX: usize = 8;
        let listed = |fields: &[String]| match fields.len() {
            0 => String::new(),
            1..=LISTED_MAX => format!(": {}", fields.join(", ")),
            count => format!(
                ": {} and {} more",
                fields[..LISTED_MAX].join(", "),
                count - LISTED_MAX
            ),
        };
        match self {
            Self::Project { stage: Some(stage) } => {
                write!(
                    f,
                    "it is a plan of another project or stage: its own is `--stage {stage}`"
                )
            }
            Self::Project { stage: None } => {
                write!(
                    f,
                    "it is a plan of another project or stage: its own is without --stage"
                )
            }
            Self::Lost {
                address,
                planned,
                found,
            } => write!(
                f,
                "{address} holds {found} objects that would be lost; it held {planned} when somebody agreed to that"
            ),
            Self::Config => write!(f, "the configuration was edited"),
            Self::Cloud { planned, found } => write!(
                f,
                "it is a plan for account {}, region {}; this is account {}, region {}",
                planned.account, planned.region, found.account, found.region
            ),
            Self::State {
                other_lineage: true,
                ..
            } => write!(f, "the state is that of another deployment"),
            Self::State { planned, found, .. } => write!(
                f,
                "the state was written: it had serial {planned} and has serial {found}"
            ),
            Self::Appeared(address) => write!(f, "{address} is not in the plan"),
            Self::Disappeared(address) => {
                write!(f, "{address} is neither wanted nor recorded any more")
            }
            Self::Created(address) => write!(f, "{address} was created meanwhile"),
            Self::Deleted(address) => write!(f, "{address} was deleted meanwhile"),
            Self::Changed { address, fields } if fields.is_empty() => write!(
                f,
                "{address} was changed in the cloud: its revision is another, though no field shows it"
            ),
            Self::Changed { address, fields } => {
                write!(f, "{address} was changed in the cloud{}", listed(fields))
            }
            Self::Wanted { address, fields } => write!(
                f,
                "{address} is to be something else than was planned{}",
                listed(fields)
            ),
            Self::Other => write!(f, "the same request leads to another plan"),
        }
    }
}
