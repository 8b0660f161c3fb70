//! The recorded state of a verb's project: where it is, and what helps when it cannot be used.

use crate::apply::SaveError;
use crate::cloud::{Cloud, CloudErrorKind, Connection};
use crate::config::{Config, ResourceNames, StateConfig};
use crate::state::{Backup, LeaseTerms, S3Location, State, StateError, StateStore};

use super::context::Context;
use super::error::{CommandError, CommandErrorKind};
use super::farm::{self, Farm};
use super::lock::GO_ON;

/// Where the state of `config`'s project and stage is kept.
///
/// # Errors
/// It is to be kept in the farm's own bucket.
pub(crate) async fn state_store(config: &Config, farm: &Farm) -> Result<StateStore, CommandError> {
    let store = local_store(config);
    let StateConfig::S3 {
        bucket,
        key,
        region,
    } = &config.state
    else {
        return Ok(store);
    };
    let identity = &farm.identity;
    let names = ResourceNames::derive(config, &identity.account, &identity.region);
    if names.bucket == *bucket {
        return Err(
            CommandError::usage("The state would lie in the bucket that it records")
                .detail(format!(
                    "`{bucket}` is the farm's own bucket: it is made with the farm and goes with it."
                ))
                .hint("name another bucket under [state]"),
        );
    }
    let location = S3Location {
        cloud: match region == &identity.region {
            true => farm.cloud.clone(),
            false => {
                let connection = Connection {
                    region: region.clone(),
                    ..farm.connection.clone()
                };
                Cloud::connect(&connection).await
            }
        },
        bucket: bucket.clone(),
        key: key
            .clone()
            .unwrap_or_else(|| StateStore::default_key(&config.project, config.stage.as_ref())),
    };
    Ok(store.in_s3(location, LeaseTerms::default()))
}

/// The place beside the configuration.
pub(crate) fn local_store(config: &Config) -> StateStore {
    StateStore::new(&config.directory, &config.project, config.stage.as_ref())
}

/// The state of a verb that needs no farm: there is a connection only where the state takes one.
pub(crate) struct Recorded {
    /// Where it is kept.
    pub(crate) store: StateStore,
    farm: Option<Farm>,
}

impl Recorded {
    /// Connects if need be.
    ///
    /// # Errors
    /// The cloud cannot be reached, or is not the one the configuration allows.
    pub(crate) async fn open(context: &Context, config: &Config) -> Result<Self, CommandError> {
        Ok(match config.state {
            StateConfig::Local => Self {
                store: local_store(config),
                farm: None,
            },
            StateConfig::S3 { .. } => {
                let farm = farm::connect(context, config).await?;
                Self {
                    store: state_store(config, &farm).await?,
                    farm: Some(farm),
                }
            }
        })
    }

    /// Ends the embedded cloud, if that was needed.
    pub(crate) async fn close(self) {
        if let Some(farm) = self.farm {
            farm.shutdown().await;
        }
    }
}

/// What is recorded; `None` before the first apply.
///
/// # Errors
/// It cannot be read.
pub(crate) async fn recorded_state(
    context: &Context,
    config: &Config,
) -> Result<Option<State>, CommandError> {
    let recorded = Recorded::open(context, config).await?;
    let state = recorded.store.load().await;
    recorded.close().await;
    Ok(state?)
}

/// What it means that a change could not be recorded, and what helps.
pub(crate) fn not_recorded(cause: &SaveError) -> (CommandErrorKind, String) {
    match cause.downcast_ref::<StateError>() {
        Some(error) => (kind(error), hint(error)),
        None => (CommandErrorKind::Error, GO_ON.to_owned()),
    }
}

fn kind(error: &StateError) -> CommandErrorKind {
    match error {
        StateError::Locked { .. } | StateError::LockLost { .. } => CommandErrorKind::Locked,
        StateError::Cloud { source, .. } if source.kind == CloudErrorKind::Credentials => {
            CommandErrorKind::Credentials
        }
        _ => CommandErrorKind::Error,
    }
}

impl From<StateError> for CommandError {
    fn from(error: StateError) -> Self {
        let hint = hint(&error);
        if let StateError::Cloud { source, place } = &error {
            return CommandError::from((**source).clone()).detail(format!("The state is {place}."));
        }
        let kind = kind(&error);
        let holder = match &error {
            StateError::Locked { holder, .. }
            | StateError::LockLost { holder, .. }
            | StateError::OtherLock { holder, .. } => holder.as_deref(),
            StateError::HeldByProcess { holder, .. } => Some(&**holder),
            _ => None,
        };
        let holder = holder.and_then(|holder| serde_json::to_value(holder).ok());
        CommandError::new(kind, summary(&error))
            .diagnostics(holder.into_iter().collect())
            .cause(error)
            .hint(hint)
    }
}

fn summary(error: &StateError) -> &'static str {
    match error {
        StateError::Damaged { .. } => "The state is damaged",
        StateError::Edited { .. } => "The state was changed by something other than rmx",
        StateError::Newer { .. } => "The state was written by a later rmx",
        StateError::OtherProject { .. } => "The state belongs to another project",
        StateError::Locked { .. } => "The state is locked",
        StateError::LockLost { .. } => "The lock of the state was lost",
        StateError::NotLocked { .. } => "The state is not locked",
        StateError::OtherLock { .. } => "That is not the lock of the state",
        StateError::HeldByProcess { .. } => "The lock of the state cannot be removed",
        StateError::Read { .. } => "Cannot read the state",
        StateError::Lock { .. } => "Cannot lock the state",
        StateError::Save { .. } => "Cannot save the state",
        StateError::Moved { .. } => "The state is kept elsewhere",
        StateError::NotMigrated { .. } => "The state was not moved yet",
        StateError::TwoStates { .. } => "There are two states",
        StateError::Gone { .. } => "The state is gone",
        StateError::Nothing { .. } => "There is no state",
        StateError::OtherLineage { .. } => "The state belongs to another deployment",
        StateError::NotNewer { .. } => "The state there is not older",
        StateError::NoBucket { .. } => "The bucket of the state does not exist",
        StateError::Cloud { .. } => "Cannot reach the state",
    }
}

/// The one action that helps.
pub(crate) fn hint(error: &StateError) -> String {
    match error {
        StateError::Damaged { place, backup, .. } | StateError::Edited { place, backup } => {
            return restore(place, backup.as_ref());
        }
        StateError::Newer { written_by, .. } => return format!("use rmx {written_by} or later"),
        StateError::OtherProject { found, .. } => {
            return format!(
                "give the configuration its old name back, or destroy what belongs to {found} first"
            );
        }
        StateError::Locked {
            holder,
            expires: Some(_),
            ..
        } => {
            return match holder {
                Some(holder) => format!(
                    "wait until it is done (`--lock-timeout SECONDS` does, where the command has it). If it is gone, its lock runs out by itself, or `rmx state unlock {}` removes it",
                    holder.id
                ),
                None => "run the same command again".to_owned(),
            };
        }
        StateError::HeldByProcess { holder, .. } => {
            return format!(
                "wait for it, or end the process {} on {}",
                holder.pid, holder.host
            );
        }
        StateError::Moved { to, .. } if !to.starts_with("s3://") => {
            return format!(
                "{to} is on the machine where `rmx state migrate` took it: work there, with a [state] that names no bucket, or bring it back from there with a [state] \
                 that names S3 and `rmx state migrate`, which also finishes a move that was cut off"
            );
        }
        StateError::Moved { to, .. } => {
            return format!(
                "let [state] name {to}, or bring it here with `rmx state migrate`, which also finishes a move that was cut off"
            );
        }
        StateError::TwoStates { place, other } => {
            return format!(
                "`rmx state migrate` settles it if they are of the same deployment; else move {other} away if {place} is right"
            );
        }
        StateError::Cloud { source, .. } if source.kind == CloudErrorKind::Credentials => {
            return format!("log in again, then {GO_ON}");
        }
        StateError::Gone { place, signpost } if !place.starts_with("s3://") => {
            return format!(
                "put a backup back where it was ({place}): they are in the folder `backups` beside it. Or delete {signpost} to begin a \
                 new deployment"
            );
        }
        StateError::Gone { place, signpost } => {
            return format!(
                "put a backup or another whole file back (`aws s3 ls {place}.backups/`, then `aws s3 cp` one to {place}), or delete \
                 {signpost} to begin a new deployment"
            );
        }
        _ => {}
    }
    let text = match error {
        StateError::Locked { .. } => {
            "wait until it is done (`--lock-timeout SECONDS` does, where the command has it); the lock ends with the process that holds it"
        }
        StateError::LockLost { .. } => {
            "look at `rmx plan`: what was under way when the lock was lost is looked at again"
        }
        StateError::NotLocked { .. } => "there is nothing to do",
        StateError::OtherLock { .. } => {
            "pass the id that the error above names, if that is the lock you mean"
        }
        StateError::Read { .. } => {
            "make the file readable; without it rmx does not know what it has made"
        }
        StateError::Lock { .. } => "make the folder writable",
        StateError::Save { .. } => {
            "make room or make the folder writable, then run the same command again"
        }
        StateError::NotMigrated { .. } => "move it with `rmx state migrate`",
        StateError::Nothing { .. } => "there is nothing to move; `rmx apply` begins a state",
        StateError::OtherLineage { .. } => {
            "keep them apart: give one of them another key, stage or folder"
        }
        StateError::NotNewer { .. } => "use the newer one",
        StateError::NoBucket { .. } => {
            "make it with `rmx state create-bucket`, or name another one under [state]"
        }
        _ => "run the same command again: nothing is done twice",
    };
    text.to_owned()
}

fn restore(place: &str, backup: Option<&Backup>) -> String {
    let copy = match place.starts_with("s3://") {
        true => "aws s3 cp",
        false => "cp",
    };
    match backup {
        Some(Backup {
            place: from,
            serial,
        }) => format!(
            "put back the newest backup (serial {serial}) with `{copy} {from} {place}`, then look at `rmx plan`"
        ),
        None => format!(
            "there is no backup: put back a copy of your own. Without one, move {place} away; what it recorded \
             must then be deleted by hand, because a new state does not know it as its own"
        ),
    }
}
