//! One render, as what lies in the bucket tells of it.

use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::RENDERS;
use crate::cli::error::CommandError;
use crate::cli::farm::Farm;
use crate::cli::foreign::{lines, one_line};
use crate::cloud::Cloud;
use crate::config::WorkerKind;
use crate::env::{now_ms, timestamp};
use crate::names::{BucketName, RenderId};
use crate::render::{Begun, begun};
use crate::wire::output::Place;
use crate::wire::progress::{self, MediaKind, Progress, RenderMetadata};
use crate::wire::status::{dead_from_ms, is_dead, overall_progress};

/// A render, by what lies in the bucket.
pub(super) struct Found {
    pub(super) id: RenderId,
    /// Of one that a client began.
    pub(super) progress: Option<Progress>,
    /// Of one that `rmx render` drives, or drove.
    begun: Option<Begun>,
    /// Why the document of one that a client began cannot be read.
    pub(super) unreadable: Option<String>,
    /// Whether its picture is there, if it is a still: its document is written before that.
    drawn: bool,
}

/// How much of a render is done, each of how much.
pub(super) struct Parts {
    pub(super) chunks: (u32, u32),
    /// Nothing until it is known.
    pub(super) frames: Option<(u32, u32)>,
}

impl Found {
    /// The render `id`; nothing if there is none.
    pub(super) async fn read(
        cloud: &Cloud,
        bucket: &BucketName,
        id: RenderId,
    ) -> Result<Option<Self>, CommandError> {
        match cloud.get_object(bucket, &progress::key(&id)).await {
            Ok(content) => {
                let read: Result<Progress, _> = serde_json::from_slice(&content);
                let unreadable = read.as_ref().err().map(ToString::to_string);
                let mut found = Self {
                    id,
                    progress: read.ok(),
                    begun: None,
                    unreadable,
                    drawn: false,
                };
                if let Some(place) = found.picture(bucket) {
                    // In somebody else's bucket it cannot be looked for.
                    found.drawn = place.bucket != *bucket
                        || cloud.head_object(bucket, &place.key).await?.is_some();
                }
                Ok(Some(found))
            }
            Err(error) if error.is_not_found() => {
                let begun = begun(cloud, bucket, &id).await?;
                Ok(begun.map(|begun| Self {
                    id,
                    progress: None,
                    begun: Some(begun),
                    unreadable: None,
                    drawn: false,
                }))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The render `id`, which has to be there.
    pub(super) async fn required(
        farm: &Farm,
        bucket: &BucketName,
        id: &RenderId,
    ) -> Result<Self, CommandError> {
        let found = Self::read(&farm.cloud, bucket, id.clone()).await?;
        found.ok_or_else(|| {
            CommandError::error(format!("There is no render {id}"))
                .hint("`rmx renders list` shows those there are")
        })
    }

    pub(super) fn status(&self) -> &'static str {
        if self.unreadable.is_some() {
            return "unreadable";
        }
        let Some(progress) = &self.progress else {
            return "unfinished";
        };
        if progress.post_render_data.is_some() {
            "done"
        } else if self.drawn {
            "still"
        } else if progress.cancelled() {
            "cancelled"
        } else if progress.failed() {
            "failed"
        } else if is_dead(progress, now_ms()) {
            "dead"
        } else {
            "running"
        }
    }

    /// What is said of it, if it is a still.
    fn still(&self) -> Option<&RenderMetadata> {
        let metadata = self.progress.as_ref()?.render_metadata.as_ref()?;
        (metadata.kind == MediaKind::Still).then_some(metadata)
    }

    /// How much of it is rendered; nothing of a still.
    pub(super) fn parts(&self) -> Option<Parts> {
        let progress = self.progress.as_ref()?;
        let metadata = progress.render_metadata.as_ref()?;
        let (total, frames) = (metadata.total_chunks, progress.frame_count());
        let parts = match self.status() {
            // What is at its end counts no more frames.
            "done" => Parts {
                chunks: (total, total),
                frames: frames.map(|frames| (frames, frames)),
            },
            _ => Parts {
                chunks: (u32::try_from(progress.chunks.len()).unwrap_or(total), total),
                frames: frames.map(|frames| (progress.frames_rendered, frames)),
            },
        };
        self.still().is_none().then_some(parts)
    }

    /// From when on it counts as dead, if it goes on and nothing is heard of it before.
    pub(super) fn dead_from(&self) -> Option<String> {
        let progress = self.progress.as_ref().filter(|_| self.is_running())?;
        moment(dead_from_ms(progress))
    }

    pub(super) fn is_running(&self) -> bool {
        self.status() == "running"
    }

    pub(super) fn composition(&self) -> Option<&str> {
        if let Some(begun) = &self.begun {
            return begun.composition.as_deref();
        }
        let metadata = self.progress.as_ref()?.render_metadata.as_ref()?;
        Some(&metadata.composition_id)
    }

    fn percent(&self) -> Option<f64> {
        let progress = self.progress.as_ref()?;
        let part = match self.status() {
            "done" | "still" => 1.0,
            _ => overall_progress(progress),
        };
        Some((part * 100.0).round())
    }

    pub(super) fn begun_at(&self) -> Option<String> {
        if let Some(begun) = &self.begun {
            return begun.began_at.clone();
        }
        let progress = self.progress.as_ref()?;
        let metadata = progress.render_metadata.as_ref();
        let begun = metadata.map(|metadata| metadata.started_date);
        moment(begun.or(progress.function_launched)?)
    }

    fn errors(&self) -> Vec<Value> {
        if let Some(reason) = &self.unreadable {
            let message = format!("its document cannot be read: {reason}");
            return vec![json!({ "message": message, "fatal": true })];
        }
        let errors = self.progress.iter().flat_map(|progress| &progress.errors);
        let errors = errors.map(|error| {
            json!({
                "message": error.message,
                "stack": error.stack,
                "frame": error.frame,
                "chunk": error.chunk,
                "fatal": error.is_fatal,
            })
        });
        errors.collect()
    }

    /// On one line, with the id in so many columns.
    pub(super) fn line(&self, width: usize) -> String {
        let percent = self
            .percent()
            .map_or_else(|| "-".to_owned(), |percent| format!("{percent} %"));
        format!(
            "{:<width$}  {:<10}  {percent:>5}  {:<20}  {}",
            self.id.as_str(),
            self.status(),
            self.begun_at().as_deref().unwrap_or("-"),
            self.composition().map_or_else(|| "-".into(), one_line),
        )
    }

    pub(super) fn fatal_message(&self) -> Option<String> {
        Some(lines(&self.progress.as_ref()?.cause()?.message))
    }

    /// The output's address, once it is there.
    pub(super) fn output(&self, bucket: &BucketName) -> Option<String> {
        if let (true, Some(still)) = (self.drawn, self.still()) {
            return Some(self.picture(bucket)?.url(&still.region));
        }
        let done = self.progress.as_ref()?.post_render_data.as_ref()?;
        Some(done.output_file.clone())
    }

    /// What can be done with it as it is.
    pub(super) fn next_step(&self, worker: WorkerKind) -> String {
        let id = &self.id;
        match self.status() {
            "running" => {
                format!("`rmx renders watch {id}` follows it, `rmx renders cancel {id}` ends it")
            }
            "failed" | "cancelled" | "dead" if worker == WorkerKind::Remotion => {
                format!("`rmx renders delete {id}` deletes what is left of it")
            }
            "failed" | "cancelled" | "dead" => format!(
                "`rmx renders resume {id}` renders what is missing, `rmx renders delete {id}` deletes it"
            ),
            "unfinished" => format!(
                "if `rmx render` still drives it, press Ctrl-C there; `rmx renders delete {id}` deletes what is left of it"
            ),
            "unreadable" => {
                format!("`rmx renders delete {id}` deletes what is there of it")
            }
            _ => format!(
                "`rmx renders show {id}` tells of it, `rmx renders delete {id}` deletes it with its output"
            ),
        }
    }

    /// What is said of a render that an `rmx render` drives, or drove, and whose options are known there alone.
    pub(super) fn of_a_client(&self, what: &str) -> CommandError {
        let id = &self.id;
        CommandError::error(format!("The render {id} cannot be {what} from here"))
            .detail(
                "It was begun by `rmx render`, which drives it itself and alone knows its options.",
            )
            .hint(format!(
                "if that has ended, run the same command again with --resume {id}"
            ))
    }

    pub(super) fn to_json(&self, bucket: &BucketName) -> Value {
        let progress = self.progress.as_ref();
        let done = progress.and_then(|progress| progress.post_render_data.as_ref());
        let parts = self.parts();
        let frames = parts.as_ref().and_then(|parts| parts.frames);
        json!({
            "id": self.id,
            "status": self.status(),
            "composition": self.composition(),
            "percent": self.percent(),
            "chunks": parts.map(|parts| json!({ "done": parts.chunks.0, "total": parts.chunks.1 })),
            "frames": frames.map(|(done, total)| json!({ "done": done, "total": total })),
            "begun_at": self.begun_at(),
            "dead_from": self.dead_from(),
            "output": self.output(bucket),
            "size_bytes": done.map(|done| done.output_size),
            "cost_usd": done.map(|done| done.cost.estimated_cost),
            "errors": self.errors(),
        })
    }

    /// The key of the output, if it lies in the farm's bucket and not below the render's folder.
    pub(super) fn output_elsewhere(&self, bucket: &BucketName) -> Option<String> {
        let progress = self.progress.as_ref()?;
        let place = match self.picture(bucket) {
            Some(picture) => picture,
            None => {
                progress.post_render_data.as_ref()?;
                let name = progress.render_metadata.as_ref()?.out_name.as_ref();
                Place::of(bucket, &self.id, name, "").ok()?
            }
        };
        let inside = place.key.starts_with(&format!("{RENDERS}{}/", self.id));
        (place.bucket == *bucket && !inside).then_some(place.key)
    }

    /// Where the picture of a still is, or will be.
    fn picture(&self, bucket: &BucketName) -> Option<Place> {
        let still = self.still()?;
        let default_name = format!("out.{}", still.image_format.as_deref()?);
        Place::of(bucket, &self.id, still.out_name.as_ref(), &default_name).ok()
    }
}

/// So many milliseconds after 1970, as it is shown; nothing of what no calendar has, as anything may stand in a document.
fn moment(unix_ms: u64) -> Option<String> {
    let since = Duration::from_millis(unix_ms).try_into().ok()?;
    let moment = OffsetDateTime::UNIX_EPOCH.checked_add(since)?;
    Some(timestamp(moment))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_calendar_has_is_not_shown() {
        let shown = moment(1_764_144_000_000);
        assert_eq!(shown.as_deref(), Some("2025-11-26T08:00:00Z"));
        assert_eq!(moment(u64::MAX), None);
    }
}
