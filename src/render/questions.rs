//! What a worker is asked besides chunks: a site's compositions, one of them resolved, a single frame.

use std::path::Path;

use crate::protocol::{
    Answer, Composition, FailureKind, ResolveTask, StillTask, WorkerMessage, WorkerTask,
};

use super::dispatch::{self, DispatchEvent, Session, Unit};
use super::output::{OutputError, OutputFile};
use super::request::{PageOptions, StillRequest};
use super::{
    ArtifactFile, ChunkFailure, RenderError, RenderEvent, RenderFailure, artifacts, document,
};

/// The unknown composition's most similar neighbours that are named.
const SIMILAR_MAX: usize = 5;

/// A page that is asked something, and by whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) session: Session<'a>,
    pub(super) page: &'a PageOptions,
    pub(super) retries: u32,
}

impl Question<'_> {
    /// Asks one worker; the same retries and deadlines as for a chunk.
    pub(super) async fn ask(
        &self,
        what: &'static str,
        task: WorkerTask,
        on_event: &mut impl FnMut(RenderEvent<'_>),
    ) -> Result<Answer, RenderError> {
        let unit = Unit {
            frame_count: 1,
            done: false,
        };
        let limits = self.session.workers.limits(1, self.retries);
        let task = |_, _| task.clone();
        let pass_on = |event: DispatchEvent<'_>| match event {
            DispatchEvent::Message {
                message: WorkerMessage::Log { level, text },
                ..
            } => on_event(RenderEvent::Log {
                frames: None,
                level,
                text,
            }),
            DispatchEvent::Ended(invoked) => on_event(RenderEvent::InvocationEnded(invoked)),
            DispatchEvent::Note(note) => on_event(RenderEvent::Note { frames: None, note }),
            DispatchEvent::Message { .. }
            | DispatchEvent::Done { .. }
            | DispatchEvent::Status { .. } => {}
        };
        let answers = dispatch::run(self.session, limits, &[unit], task, pass_on)
            .await
            .map_err(|failure| RenderError::Work {
                what,
                frames: None,
                failure: Box::new(failure),
            })?;
        let answer = answers.into_iter().next().flatten();
        Ok(answer.expect("a finished run has the answer of its unit"))
    }

    async fn compositions(
        &self,
        on_event: &mut impl FnMut(RenderEvent<'_>),
    ) -> Result<Vec<Composition>, RenderError> {
        let task = WorkerTask::Compositions(self.page.task());
        match self.ask("listing the compositions", task, on_event).await? {
            Answer::Compositions { compositions } => Ok(compositions),
            _ => Err(RenderError::Answer),
        }
    }

    /// The composition `id` with its props and metadata.
    pub(super) async fn resolve(
        &self,
        id: &str,
        on_event: &mut impl FnMut(RenderEvent<'_>),
    ) -> Result<Composition, RenderError> {
        let task = WorkerTask::Resolve(ResolveTask {
            page: self.page.task(),
            composition: id.to_owned(),
        });
        match self.ask("resolving the composition", task, on_event).await {
            Ok(Answer::Composition { composition }) => Ok(composition),
            Ok(_) => Err(RenderError::Answer),
            Err(RenderError::Work { failure, .. }) if is_unknown_composition(&failure) => {
                let known = self.compositions(on_event).await?;
                Err(RenderError::UnknownComposition {
                    asked: id.to_owned(),
                    known: most_similar_first(id, known.into_iter().map(|c| c.id).collect()),
                })
            }
            Err(error) => Err(error),
        }
    }
}

fn is_unknown_composition(failure: &RenderFailure) -> bool {
    matches!(
        failure,
        RenderFailure::Chunk { failure, .. }
            if matches!(&**failure, ChunkFailure::Task(task) if task.kind == FailureKind::UnknownComposition)
    )
}

fn most_similar_first(asked: &str, mut known: Vec<String>) -> Vec<String> {
    let likeness = |id: &String| strsim::jaro_winkler(&asked.to_lowercase(), &id.to_lowercase());
    known.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    known.truncate(SIMILAR_MAX);
    known
}

/// The compositions of a site, in the page's order.
///
/// # Errors
/// The page cannot be loaded, throws, or does not speak the page contract; the workers cannot be reached.
pub async fn compositions(
    page: &PageOptions,
    retries: u32,
    session: Session<'_>,
    mut on_event: impl FnMut(RenderEvent<'_>),
) -> Result<Vec<Composition>, RenderError> {
    let question = Question {
        session,
        page,
        retries,
    };
    question.compositions(&mut on_event).await
}

/// A finished image.
#[derive(Debug, Clone, PartialEq)]
pub struct StillOutput {
    /// What it is of.
    pub composition: Composition,
    /// Its size.
    pub size_bytes: u64,
    /// Files that the page emitted.
    pub artifacts: Vec<ArtifactFile>,
}

/// Renders one frame into an image, and brings what the page emits below `artifacts_folder`.
///
/// # Errors
/// As for [`super::render`].
pub async fn still(
    request: &StillRequest,
    output: OutputFile,
    artifacts_folder: &Path,
    session: Session<'_>,
    mut on_event: impl FnMut(RenderEvent<'_>),
) -> Result<StillOutput, RenderError> {
    let Session { cloud, workers, .. } = session;
    let options = request.options();
    let question = Question {
        session,
        page: &options.page,
        retries: options.retries,
    };
    let composition = question
        .resolve(&options.composition, &mut on_event)
        .await?;
    let (composition, frame, capture) = request.settle(composition)?;
    let id = document::new_render_id();
    let key = format!("{}still.{}", document::prefix(&id), options.format);
    let task = WorkerTask::Still(Box::new(StillTask {
        page: options.page.task(),
        render_id: id.clone(),
        composition: composition.clone(),
        frame,
        format: options.format,
        capture,
        bucket: workers.bucket.clone(),
        key: key.clone(),
        artifacts_prefix: document::artifact_prefix(&id),
    }));
    let answer = question.ask("rendering", task, &mut on_event).await?;
    let Answer::Still {
        size_bytes,
        artifacts: emitted,
    } = answer
    else {
        return Err(RenderError::Answer);
    };
    let found = match emitted {
        0 => Vec::new(),
        _ => artifacts::find(cloud, &workers.bucket, &id).await?,
    };
    let image = cloud.get_object(&workers.bucket, &key).await?;
    std::fs::write(output.part(), &image).map_err(|error| OutputError::Io {
        path: output.path().to_owned(),
        error,
    })?;
    let path = output.commit()?;
    let artifacts = artifacts::fetch_beside(&path, session, found, artifacts_folder).await?;
    if let Err(error) = document::remove(cloud, &workers.bucket, &id).await {
        on_event(RenderEvent::NotCleaned { error: &error });
    }
    Ok(StillOutput {
        composition,
        size_bytes,
        artifacts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_come_first() {
        let known = ["Outro", "HelloWorld", "Title"].map(str::to_owned).to_vec();
        assert_eq!(most_similar_first("helo-world", known)[0], "HelloWorld");
    }
}
