//! What can go wrong with the recorded state. Each error names the file; what helps is told by `cli`.

use std::io;
use std::path::PathBuf;

use super::lock::Holder;

/// The state cannot be read, locked or saved.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("cannot read the state {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not a state: cut off, empty, or something else altogether.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, with the place in the file where that is known.
        reason: String,
        /// The newest backup that is whole.
        backup: Option<Backup>,
    },
    /// The file's content is not what its checksum was made of.
    #[error("{} was changed by something other than rmx: its content does not fit its checksum", path.display())]
    Edited {
        /// The file.
        path: PathBuf,
        /// The newest backup that is whole.
        backup: Option<Backup>,
    },
    /// The file was written by a later rmx.
    #[error(
        "{} has format {format}, written by rmx {written_by}; this is rmx {}, which reads format {} at most",
        path.display(), env!("CARGO_PKG_VERSION"), super::file::FORMAT
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        format: u64,
        /// The version of the rmx that wrote it.
        written_by: String,
    },
    /// The file belongs to another project or stage.
    #[error("{} is the state of {found}, not of {wanted}", path.display())]
    OtherProject {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose was wanted.
        wanted: String,
    },
    /// Somebody else is changing the state.
    #[error("the state {} is locked{}", path.display(), match holder {
        Some(holder) => format!(" by {holder}"),
        None => String::new(),
    })]
    Locked {
        /// The state's file.
        path: PathBuf,
        /// Who holds the lock, unless they are just taking it or leaving it.
        holder: Option<Box<Holder>>,
    },
    /// The lock cannot be taken for another reason than that somebody has it.
    #[error("cannot lock the state with {}", path.display())]
    Lock {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The state cannot be written. What was there before is still there.
    #[error("cannot write the state {}", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// An earlier save of the same state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// The file.
    pub path: PathBuf,
    /// Its serial.
    pub serial: u64,
}
