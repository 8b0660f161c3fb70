//! What can go wrong with the recorded state. Each error names the place; what helps is told by `cli`.
//!
//! A place is a file's path, or `s3://BUCKET/KEY`.

use std::io;
use std::path::PathBuf;

use super::lock::Holder;
use crate::cloud::CloudError;

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
    #[error("{place} is damaged: {reason}")]
    Damaged {
        /// Where it is.
        place: String,
        /// What is wrong with it, with the place in the file where that is known.
        reason: String,
        /// The newest backup that is whole.
        backup: Option<Backup>,
    },
    /// The file's content is not what its checksum was made of.
    #[error(
        "{place} was changed by something other than rmx: its content does not fit its checksum"
    )]
    Edited {
        /// Where it is.
        place: String,
        /// The newest backup that is whole.
        backup: Option<Backup>,
    },
    /// The file was written by a later rmx.
    #[error(
        "{place} has format {format}, written by rmx {written_by}; this is rmx {}, which reads format {} at most",
        env!("CARGO_PKG_VERSION"), super::file::FORMAT
    )]
    Newer {
        /// Where it is.
        place: String,
        /// Its format.
        format: u64,
        /// The version of the rmx that wrote it.
        written_by: String,
    },
    /// The file belongs to another project or stage.
    #[error("{place} is the state of {found}, not of {wanted}")]
    OtherProject {
        /// Where it is.
        place: String,
        /// Whose it is.
        found: String,
        /// Whose was wanted.
        wanted: String,
    },
    /// Somebody else is changing the state.
    #[error("the state {place} is locked{}{}",
        holder.as_ref().map(|holder| format!(" by {holder}")).unwrap_or_default(),
        expires.as_ref().map(|time| format!("; it ends at {time} unless it is renewed")).unwrap_or_default(),
    )]
    Locked {
        /// Where the state is.
        place: String,
        /// Who holds the lock, unless they are just taking it or leaving it.
        holder: Option<Box<Holder>>,
        /// When it ends by itself, RFC 3339; a kernel's lock has no such time.
        expires: Option<String>,
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
    /// The lock ran out, or was removed: somebody else has it, or may have it. Nothing of theirs was overwritten.
    #[error("the lock of the state {place} was lost{}", match holder {
        Some(holder) => format!(": it is held by {holder} by now"),
        None => ": it could not be renewed in time, or somebody else removed it".to_owned(),
    })]
    LockLost {
        /// Where the state is.
        place: String,
        /// Who has it now.
        holder: Option<Box<Holder>>,
    },
    /// There is nothing to unlock.
    #[error("the state {place} is not locked")]
    NotLocked {
        /// Where the state is.
        place: String,
    },
    /// The lock is another one than the one to be removed.
    #[error("`{given}` is not the lock of the state {place}{}", match holder {
        Some(holder) => format!(": that is held by {holder}"),
        None => String::new(),
    })]
    OtherLock {
        /// Where the state is.
        place: String,
        /// The id that was given.
        given: String,
        /// Who holds the lock.
        holder: Option<Box<Holder>>,
    },
    /// The lock belongs to a process that lives on this machine.
    #[error(
        "the lock of the state {place} is held by {holder}: it ends with that process and cannot be taken from it"
    )]
    HeldByProcess {
        /// Where the state is.
        place: String,
        /// Who holds the lock.
        holder: Box<Holder>,
    },
    /// The state is kept somewhere else.
    #[error("the state is not in {place}: it is kept in {to}")]
    Moved {
        /// Where it was.
        place: String,
        /// Where it went.
        to: String,
    },
    /// The state has to be moved first: it is not where it should be, but where it was.
    #[error("there is no state in {place} yet, but one in {left_in}")]
    NotMigrated {
        /// Where it should be.
        place: String,
        /// Where it is.
        left_in: String,
    },
    /// There are two, and neither knows of the other.
    #[error("there are two states of this project and stage: one in {place}, one in {other}")]
    TwoStates {
        /// Where it should be.
        place: String,
        /// Where it should not be.
        other: String,
    },
    /// It was there and is gone.
    #[error("the state {place} is gone: {signpost} says that it is there")]
    Gone {
        /// Where it was.
        place: String,
        /// The file that says so.
        signpost: String,
    },
    /// There is nothing that could be moved.
    #[error("there is no state in {place}")]
    Nothing {
        /// Where it was looked for.
        place: String,
    },
    /// A state would take the place of another deployment's.
    #[error("{place} is the state of the deployment {found}, not of {given}")]
    OtherLineage {
        /// What would be replaced.
        place: String,
        /// Its lineage.
        found: String,
        /// The lineage of what would replace it.
        given: String,
    },
    /// A state would take the place of a newer one.
    #[error("{place} has serial {found}{}", match found == given {
        true => " too, and another content".to_owned(),
        false => format!(", which is newer than {given}"),
    })]
    NotNewer {
        /// What would be replaced.
        place: String,
        /// Its serial.
        found: u64,
        /// The serial of what would replace it.
        given: u64,
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
    /// The bucket of the state is not there.
    #[error("the bucket `{bucket}` does not exist")]
    NoBucket {
        /// The bucket.
        bucket: String,
    },
    /// S3 cannot be asked. If that was a write, what was there before is there, or what was to be written.
    #[error("cannot reach the state {place}")]
    Cloud {
        /// Where the state is.
        place: String,
        /// Why.
        #[source]
        source: Box<CloudError>,
    },
}

/// An earlier save of the same state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Where it is.
    pub place: String,
    /// Its serial.
    pub serial: u64,
}
