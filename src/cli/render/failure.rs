//! A render's failures as the user meets them: what happened where, and the one thing that helps.

use crate::names::RenderId;
use crate::protocol::{FailureKind, TaskFailure};
use crate::render::output::OutputError;
use crate::render::request::RequestError;
use crate::render::scheduler::{ChunkFailure, Refused, RenderFailure};
use crate::render::stitch::StitchError;
use crate::render::{ArtifactError, JoinError, RenderError, ResumeError};

use crate::cli::error::{CommandError, CommandErrorKind};
use crate::cli::foreign::{lines, one_line};

/// The error of a render of `composition`, which can be taken up under `resumable`.
pub(in crate::cli) fn shown(
    error: RenderError,
    composition: &str,
    resumable: Option<&RenderId>,
) -> CommandError {
    let resume = |error: CommandError| match resumable {
        Some(id) => error.hint(format!(
            "run the same command with --resume {id} to go on; what is rendered is kept"
        )),
        None => error.hint("run the same command again"),
    };
    match error {
        RenderError::Request(error) => error.into(),
        RenderError::Output(error) => error.into(),
        RenderError::Cloud(error) => error.into(),
        RenderError::Resume(error) => resume_error(error),
        error @ RenderError::Busy { .. } => {
            CommandError::error("Somebody else works on this render")
                .cause(error)
                .hint(
                    "wait until it has ended, or end it: seconds later the render can be taken up",
                )
        }
        error @ RenderError::TakenOver(_) => {
            CommandError::error("Somebody else works on this render now")
                .cause(error)
                .hint("leave it to that run: what was rendered here is of use to it")
        }
        error @ RenderError::Unsure(_) => {
            resume(CommandError::error("The render may be another run's by now").cause(error))
        }
        RenderError::WithoutArtifacts { video, error } => shown(*error, composition, resumable)
            .detail(format!("The video itself is whole: {}", video.display())),
        RenderError::UnknownComposition { asked, known } => unknown(&asked, &known),
        RenderError::Artifacts(error) => artifacts(error),
        RenderError::Answer => CommandError::error("A worker gave an unexpected answer")
            .cause(RenderError::Answer)
            .hint("run `rmx apply` to deploy the workers of this rmx"),
        RenderError::Join(error) => join(error, resume),
        RenderError::Work {
            what,
            frames,
            failure,
        } => match *failure {
            RenderFailure::Cancelled => {
                let error = CommandError::new(CommandErrorKind::Interrupted, "Interrupted");
                resume(match resumable {
                    Some(id) => error.detail(format!("The render {id} was stopped.")),
                    None => error.detail("Nothing has been rendered yet."),
                })
            }
            RenderFailure::Deadline { waited_ms, refused } => {
                let minutes = waited_ms / 60_000;
                let error = CommandError::error("The render took too long")
                    .detail(format!("It was given up after {minutes} minutes."));
                resume(match refused {
                    Some(Refused::Throttled) => error.detail(
                        "At its end the cloud refused every invocation (429): the account's limit of concurrent \
                         executions is used up by others, or is very low.",
                    ),
                    Some(Refused::NotReady) => error.detail(
                        "At its end the cloud refused every invocation (409): the function is still being made, changed \
                         or woken.",
                    ),
                    None => error,
                })
            }
            RenderFailure::RetryBudget {
                retries, failure, ..
            } => resume(
                CommandError::error("Too many chunks failed")
                    .detail(format!("{retries} retries did not help. The last failure:"))
                    .cause(*failure),
            ),
            RenderFailure::Chunk {
                attempts, failure, ..
            } => {
                let place = match frames {
                    Some(frames) => format!("the chunk {frames} of {composition}"),
                    None => format!("{what} ({composition})"),
                };
                let tries = if attempts == 1 {
                    String::new()
                } else {
                    format!(", after {attempts} attempts")
                };
                chunk(*failure, &format!("{place}{tries}"), resume)
            }
        },
    }
}

fn join(error: JoinError, resume: impl FnOnce(CommandError) -> CommandError) -> CommandError {
    match error {
        JoinError::NoFfmpeg(_) => CommandError::error("ffmpeg is missing on this machine")
            .cause(error)
            .hint(
                "install the package `ffmpeg`, or set RMX_FFMPEG to its path; H.264 and HEVC in .mp4 do without it",
            ),
        JoinError::Stitch(StitchError::Output { .. } | StitchError::Tables(_))
        | JoinError::Scratch { .. } => {
            resume(CommandError::error("The video cannot be written").cause(error))
        }
        JoinError::Stitch(StitchError::Cloud(_) | StitchError::Read { .. }) => {
            resume(CommandError::error("A segment cannot be read").cause(error))
        }
        JoinError::Stitch(StitchError::Segment { .. }) => {
            CommandError::error("The segments do not make one video")
                .cause(error)
                .hint("render again; if it stays so, please report it with the text above")
        }
        JoinError::Ffmpeg { .. } => {
            resume(CommandError::error("ffmpeg could not join the segments").cause(error))
        }
    }
}

fn chunk(
    failure: ChunkFailure,
    place: &str,
    resume: impl FnOnce(CommandError) -> CommandError,
) -> CommandError {
    match failure {
        ChunkFailure::Task(failure) => task(&failure, place, resume),
        ChunkFailure::Crashed { .. } => CommandError::error("A worker crashed")
            .detail(format!("It worked on {place}."))
            .cause(failure)
            .hint("give the function more memory (`[function] memory_mb`) or time (`timeout_s`), then `rmx apply`"),
        ChunkFailure::Protocol(_) => CommandError::error("The function does not run rmx's worker")
            .cause(failure)
            .hint("run `rmx apply`; if `[function] package` is set, it must hold a worker of this rmx"),
        ChunkFailure::Cloud { error, .. } => error.into(),
        ChunkFailure::CutOff => {
            resume(CommandError::error("A worker broke off").detail(format!("It worked on {place}.")).cause(failure))
        }
        ChunkFailure::NeverStarted { .. } | ChunkFailure::Silent { .. } => {
            resume(CommandError::error("A worker stopped answering").detail(format!("It worked on {place}.")).cause(failure))
        }
        ChunkFailure::TooLong { .. } => CommandError::error("A worker took too long")
            .detail(format!("It worked on {place}."))
            .cause(failure)
            .hint("raise `[function] timeout_s` and run `rmx apply`, or render with a smaller --frames-per-lambda"),
    }
}

fn task(
    failure: &TaskFailure,
    place: &str,
    resume: impl FnOnce(CommandError) -> CommandError,
) -> CommandError {
    let (summary, hint) = match failure.kind {
        FailureKind::BadRequest => (
            "A worker refused its task",
            "run `rmx apply` to deploy the workers of this rmx",
        ),
        FailureKind::PageLoad => (
            "The page could not be loaded",
            "look at the site's folder or address, then `rmx apply` and render again",
        ),
        FailureKind::SiteChanged => (
            "The site was changed while it was rendered",
            "render again once `rmx apply` is done: frames of two versions do not belong into one video",
        ),
        FailureKind::PageContract => (
            "The page cannot be rendered",
            "the site must be a bundle made by `npx remotion bundle`, or a page that offers the same functions",
        ),
        FailureKind::UnknownComposition => (
            "There is no such composition",
            "`rmx compositions` lists those there are",
        ),
        FailureKind::PageError => (
            "The page threw an error",
            "mend the page, run `rmx apply`, and render again",
        ),
        FailureKind::DelayRenderTimeout => (
            "The page did not get ready in time",
            "call continueRender() for each delayRender(), or allow more time with --timeout",
        ),
        FailureKind::Browser => (
            "The browser did not start or went away",
            "`rmx doctor` says whether Chromium is found and runs",
        ),
        FailureKind::Encoder => (
            "ffmpeg did not start or failed",
            "`rmx doctor` says whether ffmpeg is found and runs",
        ),
        FailureKind::Media => (
            "A media file of the page cannot be played",
            "look at the file or its address; what is only heard, --muted leaves out",
        ),
        FailureKind::Unsupported => (
            "The page asks for something rmx does not do yet",
            "leave what is named above out of the page",
        ),
        FailureKind::PageCrashed => (
            "The page crashed",
            "give the function more memory (`[function] memory_mb`), then `rmx apply`",
        ),
        FailureKind::PageStalled => (
            "The page stopped answering",
            "allow more time with --timeout, or look at what the page does at that frame",
        ),
        FailureKind::Capture => (
            "The frames cannot be captured this way",
            "--capture-method screenshot works everywhere",
        ),
        FailureKind::Storage | FailureKind::Internal => ("A worker failed", ""),
    };
    // What the system says where a disk is full (`ENOSPC`).
    let hint = match failure.message.contains("No space left on device") {
        true => {
            "give the function more disk (`[function] disk_mb`), then `rmx apply`, or render with a smaller --frames-per-lambda"
        }
        false => hint,
    };
    let mut error = CommandError::error(summary);
    error = match failure.frame {
        Some(frame) => error.detail(lines(&format!("Frame {frame}, in {place}: {failure}"))),
        None => error.detail(lines(&format!("In {place}: {failure}"))),
    };
    if let Some(stack) = &failure.stack {
        // The first line of most stacks is the message once more.
        let stack = stack.trim_end();
        let places = match stack.split_once('\n') {
            Some((first, rest)) if failure.message.ends_with(first) => rest,
            _ => stack,
        };
        if !failure.message.ends_with(places) {
            error = error.detail(lines(places));
        }
    }
    if hint.is_empty() {
        resume(error)
    } else {
        error.hint(hint)
    }
}

fn unknown(asked: &str, known: &[String]) -> CommandError {
    let error = CommandError::error("There is no such composition");
    match known {
        [] => error.detail(format!(
            "The site has no composition `{asked}`, nor any other."
        )),
        [nearest, ..] => error
            .detail(format!(
                "The site has no composition `{asked}`. Similar ones: {}.",
                one_line(&known.join(", "))
            ))
            .hint(format!(
                "did you mean `{}`? `rmx compositions` lists all",
                one_line(nearest)
            )),
    }
}

fn resume_error(error: ResumeError) -> CommandError {
    match error {
        ResumeError::Cloud(error) => error.into(),
        error @ (ResumeError::Unknown(_) | ResumeError::Damaged { .. }) => {
            CommandError::error("The render cannot be taken up")
                .cause(error)
                .hint("render without --resume")
        }
        error @ ResumeError::Different { .. } => {
            CommandError::error("The render cannot be taken up with these options")
                .cause(error)
                .hint("use the options it was begun with, or render without --resume")
        }
    }
}

impl From<RequestError> for CommandError {
    fn from(error: RequestError) -> Self {
        Self::usage("The render is not possible as asked").cause(error)
    }
}

/// Of artifacts in the bucket that cannot become files.
pub(super) fn artifacts(error: ArtifactError) -> CommandError {
    let (shown, hint) = match &error {
        ArtifactError::Twice { .. } => (
            "Two frames emit the same artifact",
            "emit it in one frame only, or put the frame into its name",
        ),
        ArtifactError::Within { .. } => (
            "An artifact has the name of a folder of another one",
            "emit one of them under another name",
        ),
        ArtifactError::Foreign { .. } => (
            "The bucket holds an artifact that no worker has left there",
            "find out who else may write to the bucket; delete the object, and run the command again",
        ),
    };
    CommandError::error(shown).cause(error).hint(hint)
}

impl From<OutputError> for CommandError {
    fn from(error: OutputError) -> Self {
        let shown = Self::error("The output file cannot be written");
        match &error {
            OutputError::Exists(_) => shown
                .cause(error)
                .hint("leave --overwrite=false out to replace it"),
            OutputError::Folder(_) => shown.cause(error).hint("name a file in it"),
            OutputError::Special(_) => shown.cause(error).hint("name a file"),
            OutputError::Busy(_) => shown
                .cause(error)
                .hint("wait for the other render, or name another file"),
            OutputError::Io { .. } => shown
                .cause(error)
                .hint("name another file, or make the folder writable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::Ui;

    #[test]
    fn a_full_disk_is_no_matter_of_resuming() {
        let failure = TaskFailure {
            kind: FailureKind::Storage,
            message: "writing /tmp/film: No space left on device (os error 28)".to_owned(),
            frame: None,
            stack: None,
            retryable: true,
        };
        let error = task(&failure, "chunk 1", |_| panic!("nothing would be gained"));
        let text = error.render(&Ui::plain());
        assert!(text.contains("`[function] disk_mb`"), "{text}");
    }
}
