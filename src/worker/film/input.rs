//! Where ffmpeg reads a film from.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::process::Command;

use super::remote::RemoteFile;
use crate::worker::failure::Cause;
use crate::worker::tools::{LOCAL_ONLY, SERVED_ONLY, Tools};

#[derive(Debug)]
pub(super) enum Input {
    /// A file on this machine.
    File(PathBuf),
    /// A file of another server, and the address at which the page's server has it.
    Remote {
        address: String,
        file: Arc<RemoteFile>,
    },
}

impl Input {
    /// ffmpeg with this input, and `options` of it before.
    ///
    /// # Errors
    /// It could not be unpacked.
    pub(super) async fn ffmpeg(
        &self,
        tools: &Tools,
        options: &[impl AsRef<OsStr>],
    ) -> io::Result<Command> {
        let command = tools.ffmpeg_command().await;
        let mut command = command.map_err(io::Error::other)?;
        command.arg("-nostdin").args(options);
        match self {
            Self::File(path) => command.args(LOCAL_ONLY).arg("-i").arg(path),
            Self::Remote { address, .. } => command.args(SERVED_ONLY).arg("-i").arg(address),
        };
        Ok(command)
    }

    /// Fails if a part of it could not be read.
    pub(super) fn check(&self) -> Result<(), Cause> {
        match self {
            Self::File(_) => Ok(()),
            Self::Remote { file, .. } => file.check(),
        }
    }
}
