//! What an invocation leaves in the log besides its warnings: which render it was for, so that it can be found, and how it failed.
//!
//! The first line has the form of the official function's, after which Remotion's own links to CloudWatch search.

use std::fmt;

use tracing_subscriber::filter::{Directive, LevelFilter};

use crate::protocol::{TaskFailure, WorkerMessage, WorkerTask};

/// The `tracing` target of first lines, which are written whatever the filter says.
const TARGET: &str = "invocation";

/// Lines of a page's console that one invocation keeps.
const PAGE_LINES_MAX: u32 = 100;

/// What has to be added to a filter for first lines to be written.
pub(super) fn directive() -> Directive {
    let filter = LevelFilter::INFO;
    format!("{TARGET}={filter}")
        .parse()
        .expect("it is a target and a level")
}

/// The first line: `method=…,renderId=…,`.
pub(super) fn note_invocation(what: fmt::Arguments<'_>) {
    tracing::info!(target: TARGET, "{what}");
}

/// The first line of a worker. Lookups of compositions belong to no render.
pub(super) fn note_task(task: &WorkerTask, is_warm: bool) {
    match task {
        WorkerTask::Chunk(task) => note_invocation(format_args!(
            "method=renderer,renderId={},chunk={},attempt={},isWarm={is_warm}",
            task.render_id, task.chunk, task.attempt
        )),
        WorkerTask::Still(task) => note_invocation(format_args!(
            "method=renderer,renderId={},isWarm={is_warm}",
            task.render_id
        )),
        WorkerTask::Sound(task) => note_invocation(format_args!(
            "method=sound,renderId={},isWarm={is_warm}",
            task.render_id
        )),
        WorkerTask::Info(_)
        | WorkerTask::Compositions(_)
        | WorkerTask::Resolve(_)
        | WorkerTask::Smoke(_) => {}
    }
}

/// What one invocation has kept of what it told.
#[derive(Debug, Default)]
pub(super) struct Kept {
    page_lines: u32,
}

impl Kept {
    /// Writes down what somebody may want to know when nobody listens any more: how a task failed, and what its page warned of.
    pub(super) fn keep(&mut self, message: &WorkerMessage) {
        match message {
            WorkerMessage::Failed { failure } => tracing::error!("{}", told(failure)),
            WorkerMessage::Log { level, text } if matches!(&level[..], "error" | "warning") => {
                self.page_lines += 1;
                match self.page_lines {
                    lines if lines < PAGE_LINES_MAX => tracing::warn!("page: {text}"),
                    PAGE_LINES_MAX => tracing::warn!("page: more such lines are not kept"),
                    _ => {}
                }
            }
            WorkerMessage::Log { .. }
            | WorkerMessage::Started { .. }
            | WorkerMessage::Progress { .. }
            | WorkerMessage::Done { .. } => {}
        }
    }
}

fn told(failure: &TaskFailure) -> String {
    let frame = failure.frame.map(|frame| format!("frame {frame}: "));
    let stack = failure.stack.as_ref().map(|stack| format!("\n{stack}"));
    format!(
        "{}{failure}{}",
        frame.unwrap_or_default(),
        stack.unwrap_or_default()
    )
}
