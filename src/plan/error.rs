//! Why there is no plan.

use std::fmt;

use crate::names::Lineage;
use crate::resource::Address;
use crate::state::CloudIdentity;

/// A plan that cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The name is taken by something that is not ours.
    #[error(
        "{address} cannot be made: `{id}` exists and {}; rmx does not touch what it did not make",
        match owner {
            Some(owner) => format!("belongs to the deployment {owner}"),
            None => "carries no tag `rmx:stack`".to_owned(),
        }
    )]
    Foreign {
        /// Which of our resources.
        address: Address,
        /// ARN or name of what is there.
        id: String,
        /// The `rmx:stack` tag it carries.
        owner: Option<String>,
    },
    /// What is recorded is there, and does not say any more that it is ours.
    #[error("{}", objects.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    NotOurs {
        /// What, one at least.
        objects: Vec<NotOurs>,
        /// What they should carry as their tag.
        lineage: Lineage,
    },
    /// Two addresses would be one object, and what is done to one of them would be done to the other.
    #[error("{address} is an object that the state records as {recorded}")]
    RecordedElsewhere {
        /// As what it is declared.
        address: Address,
        /// As what it is recorded.
        recorded: Address,
    },
    /// The state is of another account or region.
    #[error(
        "the state records what is in account {}, region {}; this is account {}, region {}",
        recorded.account, recorded.region, found.account, found.region
    )]
    OtherCloud {
        /// Where the recorded resources are.
        recorded: CloudIdentity,
        /// What we are connected to.
        found: CloudIdentity,
    },
    /// Something is to be replaced that the config does not ask for.
    #[error("{0} cannot be replaced: the configuration declares no such resource")]
    NotDesired(Address),
    /// A plan came out that must never come out.
    #[error("the plan is wrong: {0}")]
    Wrong(String),
}

/// A recorded object that does not say any more that it is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOurs {
    /// Which of our resources.
    pub address: Address,
    /// ARN or name of what is there.
    pub id: String,
    /// The `rmx:stack` tag it carries.
    pub owner: Option<String>,
}

impl fmt::Display for NotOurs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is recorded as `{}`, which is there and ",
            self.address, self.id
        )?;
        match &self.owner {
            Some(owner) => write!(f, "belongs to the deployment {owner} by now"),
            None => f.write_str(
                "carries no tag `rmx:stack` any more: somebody took it away, made another of that name, or it may not be read",
            ),
        }
    }
}
