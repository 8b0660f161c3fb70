//! Takes over what exists and is not ours: it gets our tag and a record. Nothing else of it is changed.

use super::SaveError;
use crate::cloud::{Cloud, CloudError, STACK_TAG, Tags};
use crate::plan::change::{Observation, Present};
use crate::plan::observe::Observer;
use crate::resource::{Address, Resource};
use crate::state::{Claim, CloudIdentity, Record, RecordStatus, State};

/// What is to be taken over.
#[derive(Debug, Clone, Copy)]
pub struct Import<'a> {
    /// As which resource.
    pub address: &'a Address,
    /// What the config wants it to be; names the object.
    pub wanted: &'a Resource,
    /// It may belong to another deployment, which loses it.
    pub force: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It was nobody's, or another deployment's, and is ours now.
    Taken {
        /// Whose it was.
        from: Option<String>,
    },
    /// It was ours already and only lacked its record.
    Ours,
}

/// Why it was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is nothing of that name.
    #[error("there is no such object to be imported as {0}")]
    NotThere(Address),
    /// It belongs to somebody else.
    #[error("`{id}` belongs to the deployment {owner}")]
    Owned {
        /// ARN or name.
        id: String,
        /// Its `rmx:stack` tag.
        owner: String,
    },
    /// Sites are not imported.
    #[error(
        "{0} is no object of its own: its files are in the bucket, and `rmx apply` uploads them"
    )]
    Site(Address),
    /// A call failed.
    #[error(transparent)]
    Cloud(#[from] CloudError),
    /// The state could not be saved. Nothing is tagged that could not be recorded.
    #[error("the state could not be saved")]
    SaveState(#[source] SaveError),
}

/// Takes it over. The state is saved before the object gets the tag that names the state's lineage: killed in between, the
/// next plan finds an object of ours without a record, and adopts it. Doing it twice is the same as doing it once.
///
/// # Errors
/// It is not there, belongs to somebody else, or a call failed.
pub async fn import(
    import: Import<'_>,
    cloud: &Cloud,
    identity: &CloudIdentity,
    state: &mut State,
    save: &mut impl AsyncFnMut(&mut State) -> Result<(), SaveError>,
) -> Result<Imported, ImportError> {
    let Import {
        address,
        wanted,
        force,
    } = import;
    let lineage = state.lineage.clone();
    let observer = Observer {
        cloud,
        identity,
        lineage: &lineage,
    };
    let look = || observer.read(wanted, std::slice::from_ref(&wanted), Claim::None);
    let (present, imported) = match look().await? {
        Observation::Absent => return Err(ImportError::NotThere(address.clone())),
        Observation::Present(present) => (present, Imported::Ours),
        Observation::Foreign {
            id,
            owner: Some(owner),
        } if !force => return Err(ImportError::Owned { id, owner }),
        Observation::Foreign { id, owner } => {
            state.deployed_to = Some(identity.clone());
            save(state).await.map_err(ImportError::SaveState)?;
            let tags = Tags::from([(STACK_TAG.to_owned(), lineage.to_string())]);
            match wanted {
                Resource::LogGroup(_) => cloud.tag_log_group(&id, &tags).await?,
                Resource::Role(spec) => cloud.tag_role(&spec.name, &tags).await?,
                Resource::Bucket(spec) => cloud.tag_bucket(&spec.name, &tags).await?,
                Resource::Function(_) => cloud.tag_function(&id, &tags).await?,
                Resource::Site(_) => return Err(ImportError::Site(address.clone())),
            }
            match look().await? {
                Observation::Present(present) => (present, Imported::Taken { from: owner }),
                Observation::Absent => return Err(ImportError::NotThere(address.clone())),
                Observation::Foreign { id, owner } => {
                    let owner = owner.unwrap_or_else(|| "nobody, though it was tagged".to_owned());
                    return Err(ImportError::Owned { id, owner });
                }
            }
        }
    };
    state.deployed_to = Some(identity.clone());
    state.records.insert(address.clone(), record(*present));
    save(state).await.map_err(ImportError::SaveState)?;
    Ok(imported)
}

/// As it is: the next plan shows what is to be changed of it.
fn record(present: Present) -> Record {
    let mut record = Record {
        applied: present.spec,
        outputs: present.outputs,
        status: RecordStatus::Complete,
        protect: false,
        releases: Vec::new(),
    };
    if let (Resource::Function(_), Some(version)) = (&record.applied, record.version()) {
        record.release(version);
    }
    record
}
