//! What a routine fails with, and how a failed render is told in its progress document.

use crate::cloud::{CloudError, CloudErrorKind};
use crate::names::{BucketName, NameError, RenderId};
use crate::protocol::FailureKind;
use crate::render::request::RequestError;
use crate::render::scheduler::{ChunkFailure, RenderFailure};
use crate::render::{RenderError, output::OutputError};
use crate::wire::output::{Place, PlaceError};
use crate::wire::progress::{CANCELLED, ErrorInfo, ErrorKind};
use crate::wire::request;
use crate::wire::status::timeout_error;

/// Why a routine fails.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The payload.
    #[error(transparent)]
    Payload(#[from] request::RequestError),
    /// An option has a value that is not known.
    #[error("{option}: {reason}")]
    Option {
        option: &'static str,
        reason: String,
    },
    /// What is asked for cannot be rendered.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The output cannot go there.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The output is there already.
    #[error(
        "Output file \"{}\" in bucket \"{}\" already exists. Pass `overwrite: true`, or another `outName`", .0.key, .0.bucket
    )]
    Exists(Place),
    /// No such site.
    #[error(
        "the site `{name}` is not deployed to the bucket {bucket}: declare it as a `[[site]]` in remotion.toml and run \
         `rmx apply`, or pass the address of a bundle that anybody can read"
    )]
    Site { name: String, bucket: BucketName },
    /// No such render. Clients know the beginning of this text.
    #[error("No render with ID \"{id}\" found in bucket {bucket} and region {region}")]
    NoRender {
        id: RenderId,
        bucket: BucketName,
        region: String,
    },
    /// A document that is not what it should be.
    #[error("{what} cannot be read: {reason}")]
    Document { what: String, reason: String },
    /// What the plan tells the function.
    #[error(
        "the function has no environment variable {}: it was not deployed by this rmx; run `rmx apply`", .0
    )]
    NotSet(&'static str),
    /// What the plan tells the function.
    #[error("reading the function's environment: {0}")]
    Name(#[from] NameError),
    /// The cloud says no.
    #[error("{0}")]
    Cloud(#[from] CloudError),
    /// The render.
    #[error("{}", told(.0).message)]
    Render(#[from] Box<RenderError>),
    /// The output's folder.
    #[error(transparent)]
    Output(#[from] OutputError),
    /// The function may not write there.
    #[error(
        "outName: the function's role may not write to s3://{}/{}: {error}. The role that rmx makes may write below `renders/` of the \
         farm's bucket; choose an `outName` there, or give the function a role of your own with `[role] arn` in remotion.toml",
        .place.bucket, .place.key
    )]
    Denied {
        place: Place,
        error: Box<CloudError>,
    },
    /// Lambda would end the function soon.
    #[error(
        "The main function had no time left after {0} s. Raise `[function] timeout_s` in remotion.toml and run `rmx apply`, or \
         render with more workers at the same time."
    )]
    NoTime(u32),
    /// A question that has no answer.
    #[error("the render {0} is a still: it was over when its id became known, and has no progress")]
    Still(RenderId),
    /// The disk.
    #[error("{what}: {error}")]
    Disk {
        what: &'static str,
        error: std::io::Error,
    },
    /// An answer that is no JSON.
    #[error("writing the answer: {0}")]
    Reply(String),
}

impl From<RenderError> for Failure {
    fn from(error: RenderError) -> Self {
        Self::Render(Box::new(error))
    }
}

impl Failure {
    /// An option with a value that is not taken.
    pub(super) fn option(option: &'static str, reason: impl Into<String>) -> Self {
        Self::Option {
            option,
            reason: reason.into(),
        }
    }

    /// What is made of the cloud's refusal to write to `place`.
    pub(super) fn at(place: &Place) -> impl FnOnce(CloudError) -> Self {
        |error| match error.kind {
            CloudErrorKind::AccessDenied => Self::Denied {
                place: place.clone(),
                error: Box::new(error),
            },
            _ => error.into(),
        }
    }

    /// An option that rmx does not have, and what to do instead.
    pub(super) fn not_yet(option: &'static str, instead: &str) -> Self {
        Self::option(option, format!("rmx does not do this yet; {instead}"))
    }

    /// What Lambda's `errorType` says of an invocation that fails with it. These names stay.
    pub(super) fn error_type(&self) -> &'static str {
        match self {
            Self::Payload(_) | Self::Option { .. } | Self::Request(_) | Self::Place(_) => {
                "InvalidRequest"
            }
            Self::Exists(_) => "OutputExists",
            Self::Site { .. } => "SiteNotFound",
            Self::NoRender { .. } => "RenderNotFound",
            Self::Still(_) => "RenderIsStill",
            Self::Document { .. } => "UnreadableDocument",
            Self::NotSet(_) | Self::Name(_) => "InvalidEnvironment",
            Self::Denied { .. } => "AccessDenied",
            Self::Cloud(error) => match error.kind {
                CloudErrorKind::AccessDenied => "AccessDenied",
                CloudErrorKind::Throttled => "Throttled",
                _ => "CloudError",
            },
            Self::Render(_) => "RenderFailed",
            Self::NoTime(_) => "TimeoutError",
            Self::Output(_) | Self::Disk { .. } => "DiskError",
            Self::Reply(_) => "InvalidReply",
        }
    }

    /// As the progress document tells it.
    pub(super) fn info(&self) -> ErrorInfo {
        match self {
            Self::Render(error) => told(error),
            Self::NoTime(_) => timeout_error(&self.to_string()),
            other => ErrorInfo::fatal("Error", chain(other)),
        }
    }
}

/// What a full disk is called in every error and by every program.
const DISK_IS_FULL: &str = "No space left on device";

const RAISE_DISK: &str = "Raise `[function] disk_mb` in remotion.toml and run `rmx apply`";

/// An error with its causes, and what to do where that is known: nobody sees the machine on which it happened.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !text.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        cause = error.source();
    }
    if text.contains(DISK_IS_FULL) {
        text = format!("{text}. {RAISE_DISK}");
    }
    text
}

fn told(error: &RenderError) -> ErrorInfo {
    let RenderError::Work {
        what,
        failure,
        frames,
    } = error
    else {
        return match error {
            RenderError::UnknownComposition { asked, known } => ErrorInfo::fatal(
                "Error",
                format!(
                    "No composition with the ID {asked} found. The following compositions were found instead: {}.",
                    known.join(", ")
                ),
            ),
            other => ErrorInfo::fatal("Error", chain(other)),
        };
    };
    match &**failure {
        RenderFailure::Cancelled => {
            ErrorInfo::fatal(CANCELLED, "The render was cancelled.".to_owned())
        }
        RenderFailure::Deadline { waited_ms, .. } => ErrorInfo::fatal(
            "TimeoutError",
            format!("{what} took longer than {} s", waited_ms / 1_000),
        ),
        RenderFailure::RetryBudget {
            chunk,
            failure,
            retries,
        } => ErrorInfo {
            attempt: retries + 1,
            total_attempts: retries + 1,
            ..of_chunk(frames.map(|_| *chunk), failure)
        },
        RenderFailure::Chunk {
            chunk,
            attempts,
            failure,
        } => ErrorInfo {
            attempt: *attempts,
            total_attempts: *attempts,
            ..of_chunk(frames.map(|_| *chunk), failure)
        },
    }
}

/// How a chunk has failed, or a question that was asked of a worker.
pub(super) fn of_chunk(chunk: Option<u32>, failure: &ChunkFailure) -> ErrorInfo {
    let message = match help(failure) {
        Some(help) => format!("{failure}. {help}"),
        None => failure.to_string(),
    };
    let told = ErrorInfo {
        kind: ErrorKind::Renderer,
        chunk,
        ..ErrorInfo::fatal("Error", message)
    };
    match failure {
        ChunkFailure::Task(task) => ErrorInfo {
            name: match task.kind {
                FailureKind::DelayRenderTimeout => "TimeoutError".to_owned(),
                _ => told.name,
            },
            frame: task.frame,
            stack: match &task.stack {
                Some(stack) => format!("Error: {}\n{stack}", task.message),
                None => told.stack,
            },
            ..told
        },
        ChunkFailure::Crashed { .. }
        | ChunkFailure::CutOff
        | ChunkFailure::Protocol(_)
        | ChunkFailure::Cloud { .. }
        | ChunkFailure::NeverStarted { .. }
        | ChunkFailure::Silent { .. }
        | ChunkFailure::TooLong { .. } => told,
    }
}

/// What to do about it, where the failure does not say so itself. What a page throws is told as it is: programs look at it.
fn help(failure: &ChunkFailure) -> Option<&'static str> {
    match failure {
        ChunkFailure::Task(task) if task.message.contains(DISK_IS_FULL) => Some(RAISE_DISK),
        ChunkFailure::Task(task) => match task.kind {
            FailureKind::Browser | FailureKind::Encoder => Some(
                "`rmx doctor` says whether the function's browser and ffmpeg are found and run",
            ),
            _ => None,
        },
        ChunkFailure::Crashed { .. } => Some(
            "Raise `[function] memory_mb` (or `timeout_s`, if it ran out of time) in remotion.toml and run `rmx apply`",
        ),
        ChunkFailure::TooLong { .. } => Some(
            "Raise `[function] timeout_s` in remotion.toml and run `rmx apply`, or render with fewer frames per Lambda",
        ),
        ChunkFailure::Protocol(_) => Some(
            "Run `rmx apply`; if `[function] package` is set, it must hold a worker of the same rmx",
        ),
        ChunkFailure::CutOff | ChunkFailure::NeverStarted { .. } | ChunkFailure::Silent { .. } => {
            Some("Render again; if it stays so, `rmx logs` shows what the function wrote")
        }
        ChunkFailure::Cloud { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::protocol::TaskFailure;
    use crate::render::JoinError;

    #[test]
    fn what_ends_a_render_is_told_with_its_cause_and_what_helps() {
        let full = || io::Error::from_raw_os_error(28);
        let path = || "/tmp/rmx-launch-x/output/out.mp4".into();
        let output = || OutputError::Io {
            path: path(),
            error: full(),
        };
        for failure in [
            Failure::from(RenderError::from(output())),
            Failure::from(output()),
            Failure::from(RenderError::WithoutArtifacts {
                video: path(),
                error: Box::new(output().into()),
            }),
            Failure::from(RenderError::from(JoinError::Scratch {
                path: path(),
                error: full(),
            })),
        ] {
            let message = failure.info().message;
            for part in ["cannot be written", "disk_mb"] {
                assert!(message.contains(part), "no {part:?} in {message}");
            }
            assert_eq!(message.matches(DISK_IS_FULL).count(), 1, "{message}");
        }
    }

    #[test]
    fn what_ends_a_chunk_is_told_with_what_helps() {
        let worker = |kind, message: &str| {
            ChunkFailure::Task(TaskFailure {
                kind,
                message: message.to_owned(),
                frame: Some(7),
                stack: None,
                retryable: true,
            })
        };
        let crashed = ChunkFailure::Crashed {
            code: "Runtime.ExitError".to_owned(),
            details: None,
        };
        for (failure, help) in [
            (crashed, "memory_mb"),
            (ChunkFailure::TooLong { waited_ms: 9_000 }, "timeout_s"),
            (ChunkFailure::CutOff, "rmx logs"),
            (
                worker(FailureKind::Internal, &format!("writing: {DISK_IS_FULL}")),
                "disk_mb",
            ),
            (
                worker(FailureKind::Browser, "starting the browser"),
                "rmx doctor",
            ),
        ] {
            let told = of_chunk(Some(3), &failure);
            let (cause, told) = (failure.to_string(), told.message);
            assert!(told.starts_with(&cause) && told.contains(help), "{told}");
        }
        let thrown = of_chunk(None, &worker(FailureKind::PageError, "drawing: Error: no"));
        assert_eq!(thrown.message, "drawing: Error: no");
    }
}
