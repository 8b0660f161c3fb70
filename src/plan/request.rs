//! What kind of plan is asked for. It is part of a saved plan, so that the same plan can be made again.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::change::{Desired, Observation, Observed, Plan};
use super::error::PlanError;
use super::make;
use crate::resource::{Address, Resource, ResourceKind};
use crate::state::State;

/// What kind of plan is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanRequest {
    /// What it is to lead to.
    pub mode: PlanMode,
    /// Resources that are replaced even if nothing forces it.
    pub replace: BTreeSet<Address>,
    /// What buckets and log groups hold may be lost with them.
    #[serde(default)]
    pub delete_data: bool,
}

/// What a plan is to lead to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanMode {
    /// The cloud is what the config says.
    #[default]
    Deploy,
    /// Nothing is left.
    Destroy,
    /// The record is what the cloud is. Changes nothing in the cloud.
    RefreshOnly,
}

impl PlanRequest {
    /// The plan of this kind. `desired` is what the config asks for; modes that do not care about that pass over it.
    ///
    /// # Errors
    /// As for [`make`], and an address to be replaced is not desired.
    pub fn make(
        &self,
        desired: &Desired,
        observed: &Observed,
        state: &State,
    ) -> Result<Plan, PlanError> {
        match self.mode {
            PlanMode::Deploy => {
                make::towards_desired(desired, observed, state, &self.replaced(desired)?)
            }
            PlanMode::Destroy => {
                let nothing = Desired {
                    protect: desired.protect.clone(),
                    ..Desired::default()
                };
                make(&nothing, observed, state)
            }
            PlanMode::RefreshOnly => {
                make::record_only(&as_observed(observed, state), observed, state)
            }
        }
    }

    /// Everything that has to be replaced for what is asked: a bucket takes its sites with it.
    fn replaced(&self, desired: &Desired) -> Result<BTreeSet<Address>, PlanError> {
        let mut replaced = self.replace.clone();
        if let Some(unknown) = replaced
            .iter()
            .find(|address| !desired.resources.contains_key(address))
        {
            return Err(PlanError::NotDesired(unknown.clone()));
        }
        if replaced
            .iter()
            .any(|address| address.kind == ResourceKind::Bucket)
        {
            let sites = desired.resources.keys();
            replaced.extend(
                sites
                    .filter(|address| address.kind == ResourceKind::Site)
                    .cloned(),
            );
        }
        Ok(replaced)
    }
}

/// Everything recorded that is there, as it is.
fn as_observed(observed: &Observed, state: &State) -> Desired {
    let resources =
        state
            .records
            .keys()
            .filter_map(|address| match observed.resources.get(address)? {
                Observation::Present(present) => Some((address.clone(), present.spec.clone())),
                Observation::Absent | Observation::Foreign { .. } => None,
            });
    Desired {
        resources: resources.collect::<BTreeMap<Address, Resource>>(),
        protect: BTreeMap::new(),
        keep_versions: None,
    }
}
