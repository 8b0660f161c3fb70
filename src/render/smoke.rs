//! The smoke render: whether a version of a function can render at all, before anything depends on it.

use crate::digest::Digest;
use crate::protocol::smoke::{SmokeMismatch, SmokeTask};
use crate::protocol::{Answer, PROTOCOL_VERSION, WorkerTask};

use super::RenderFailure;
use super::dispatch::{self, Session, Unit};

/// A version that did not pass.
#[derive(Debug, thiserror::Error)]
pub enum SmokeError {
    /// The worker failed, crashed or could not be reached.
    #[error("{0}")]
    Worker(Box<super::ChunkFailure>),
    /// It took too long.
    #[error("there was no video within {} s", waited_ms / 1_000)]
    Deadline {
        /// How long it had.
        waited_ms: u64,
    },
    /// The user stopped it.
    #[error("it was interrupted")]
    Cancelled,
    /// There is a video, and it is not the right one.
    #[error(transparent)]
    Mismatch(#[from] SmokeMismatch),
    /// The worker answered something else.
    #[error("the worker answered something else than it was asked")]
    Answer,
}

/// Has one of the session's functions render the built-in composition, and requires that the video is right: every frame
/// there, in its place, with its colours. Returns the video's checksum.
///
/// # Errors
/// It is not, or there is none. Nothing is tried again but invocations that were throttled.
pub async fn smoke(session: Session<'_>) -> Result<Digest, SmokeError> {
    let unit = Unit {
        frame_count: 1,
        done: false,
    };
    let limits = session.workers.limits(1, 0);
    let task = |_, _| {
        WorkerTask::Smoke(SmokeTask {
            protocol: PROTOCOL_VERSION,
        })
    };
    let answers = dispatch::run(session, limits, &[unit], task, |_| {}).await;
    let answers = answers.map_err(|failure| match failure {
        RenderFailure::Chunk { failure, .. } | RenderFailure::RetryBudget { failure, .. } => {
            SmokeError::Worker(failure)
        }
        RenderFailure::Deadline { waited_ms, .. } => SmokeError::Deadline { waited_ms },
        RenderFailure::Cancelled => SmokeError::Cancelled,
    })?;
    match answers.into_iter().next().flatten() {
        Some(Answer::Smoke(video)) => Ok(video.verify()?),
        _ => Err(SmokeError::Answer),
    }
}
