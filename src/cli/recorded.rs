//! The recorded state of a verb's project, and what helps when it cannot be used.

use std::path::Path;

use crate::config::Config;
use crate::state::{Backup, StateError, StateStore};

use super::error::{CommandError, CommandErrorKind};

/// Where the state of `config`'s project and stage is kept.
pub(crate) fn state_store(config: &Config) -> StateStore {
    StateStore::new(&config.directory, &config.project, config.stage.as_ref())
}

impl From<StateError> for CommandError {
    fn from(error: StateError) -> Self {
        match &error {
            StateError::Damaged { path, backup, .. } => {
                let hint = restore(path, backup.as_ref());
                CommandError::error("The state is damaged")
                    .cause(error)
                    .hint(hint)
            }
            StateError::Edited { path, backup } => {
                let hint = restore(path, backup.as_ref());
                CommandError::error("The state was changed by something other than rmx")
                    .cause(error)
                    .hint(hint)
            }
            StateError::Newer { written_by, .. } => {
                let hint = format!("use rmx {written_by} or later");
                CommandError::error("The state was written by a later rmx")
                    .cause(error)
                    .hint(hint)
            }
            StateError::OtherProject { found, .. } => {
                let hint = format!(
                    "give the configuration its old name back, or destroy what belongs to {found} first"
                );
                CommandError::error("The state belongs to another project")
                    .cause(error)
                    .hint(hint)
            }
            StateError::Locked { .. } => {
                CommandError::new(CommandErrorKind::Locked, "The state is locked")
                    .cause(error)
                    .hint("wait until it is done; the lock ends with the process that holds it")
            }
            StateError::Read { .. } => CommandError::error("Cannot read the state")
                .cause(error)
                .hint("make the file readable; without it rmx does not know what it has made"),
            StateError::Lock { .. } => CommandError::error("Cannot lock the state")
                .cause(error)
                .hint("make the folder writable"),
            StateError::Save { .. } => CommandError::error("Cannot save the state")
                .cause(error)
                .hint("make room or make the folder writable, then run the same command again"),
        }
    }
}

fn restore(path: &Path, backup: Option<&Backup>) -> String {
    let path = path.display();
    match backup {
        Some(Backup { path: from, serial }) => format!(
            "put back the newest backup (serial {serial}) with `cp {} {path}`, then look at `rmx plan`",
            from.display()
        ),
        None => format!(
            "there is no backup: put back a copy of your own. Without one, move {path} away; what it recorded \
             must then be deleted by hand, because a new state does not know it as its own"
        ),
    }
}
