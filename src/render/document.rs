//! The render's document in the bucket: what was asked for, so that a render can be taken up again.
//!
//! It holds digests of the request's parts and the composition as it was resolved. Props and environment variables are
//! not in it in clear, but for the resolved props, without which the remaining chunks could come out different from
//! those that are there.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cloud::{Cloud, CloudError, PutOptions};
use crate::digest::Digest;
use crate::env;
use crate::media::{Container, FrameRange};
use crate::names::{BucketName, RenderId};
use crate::protocol::running::{self, RunningRender};
use crate::protocol::{Composition, EncodeSettings};

use super::chunks::ChunkPlan;
use super::dispatch::Workers;

/// Raised when the document changes its meaning.
const FORMAT: u32 = 1;

/// `renders/ID/render.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RenderDocument {
    format: u32,
    rmx_version: String,
    began_at: String,
    /// The parts of the request on which frames depend, and their digests.
    parts: BTreeMap<String, Digest>,
    /// The composition as it was resolved, before overrides.
    pub(super) composition: Composition,
    /// What others must leave alone while it may be running.
    running: RunningRender,
}

/// A render cannot be taken up again.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// There is no such render.
    #[error("there is no render `{0}` to be taken up")]
    Unknown(RenderId),
    /// The document is damaged or of another version.
    #[error("the document of the render `{id}` cannot be read: {reason}")]
    Damaged {
        /// The render.
        id: RenderId,
        /// Why.
        reason: String,
    },
    /// It would not be the same video.
    #[error("the render `{id}` was begun with other values: {} differ", parts.join(", "))]
    Different {
        /// The render.
        id: RenderId,
        /// What differs.
        parts: Vec<String>,
    },
    /// The cloud says no.
    #[error("{0}")]
    Cloud(#[from] CloudError),
}

/// Ten random lower-case letters and digits.
pub fn new_render_id() -> RenderId {
    const LETTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let random = uuid::Uuid::new_v4();
    // The first six bytes and the last four hold no fixed bits of the UUID.
    let bytes = random.as_bytes();
    let text: String = bytes[..6]
        .iter()
        .chain(&bytes[12..])
        .map(|byte| char::from(LETTERS[usize::from(*byte) % LETTERS.len()]))
        .collect();
    text.parse()
        .expect("ten letters and digits are a render id")
}

/// Prefix of everything of a render.
pub(super) fn prefix(id: &RenderId) -> String {
    format!("{}{id}/", running::PREFIX)
}

fn document_key(id: &RenderId) -> String {
    format!("{}{}", prefix(id), running::DOCUMENT)
}

/// Name of the object that says which run works on a render.
const LEASE: &str = "lease.json";

/// Names of objects in which whoever orchestrates a render in a Lambda keeps what it was asked for, to take it up again.
const LAUNCH: &str = "launch.json";
const PROPS: &str = "input-props.json";

/// Where an orchestrator keeps what a render was asked for, until the render is done.
pub fn launch_key(id: &RenderId) -> String {
    format!("{}{LAUNCH}", prefix(id))
}

/// Where it keeps props that were too large for an event.
pub fn props_key(id: &RenderId) -> String {
    format!("{}{PROPS}", prefix(id))
}

/// Its key.
pub(super) fn lease_key(id: &RenderId) -> String {
    format!("{}{LEASE}", prefix(id))
}

/// Prefix of a render's segments.
pub(super) fn segment_prefix(id: &RenderId) -> String {
    format!("{}segments/", prefix(id))
}

/// Key of the segment with these frames. Numbers are padded so that listings are in the order of the video. A chunk of
/// which only the sound counts leaves an empty object.
pub(super) fn segment_key(
    id: &RenderId,
    frames: FrameRange,
    encode: Option<&EncodeSettings>,
) -> String {
    let pictures = encode.and_then(|encode| encode.codec.rules().pictures);
    format!(
        "{}{:07}-{:07}.{}",
        segment_prefix(id),
        frames.start(),
        frames.last(),
        pictures.map_or("heard", |pictures| pictures.segment.as_str())
    )
}

/// Prefix of the files that pages of a render emit; frame and name follow.
pub(super) fn artifact_prefix(id: &RenderId) -> String {
    format!("{}artifacts/", prefix(id))
}

/// Prefix of everything about a render's sound.
pub(super) fn sound_prefix(id: &RenderId) -> String {
    format!("{}sound", prefix(id))
}

/// Key of the report of the chunk with these frames.
pub(super) fn report_key(id: &RenderId, frames: FrameRange) -> String {
    format!(
        "{}/{:07}-{:07}.ndjson",
        sound_prefix(id),
        frames.start(),
        frames.last()
    )
}

/// Key of the sound of the whole video.
pub(super) fn sound_key(id: &RenderId, container: Container) -> String {
    format!("{}.{container}", sound_prefix(id))
}

/// The parts of a request together with the workers that serve it.
pub(super) fn parts(
    mut request: BTreeMap<String, Digest>,
    workers: &Workers,
) -> BTreeMap<String, Digest> {
    let functions: Vec<String> = workers
        .functions
        .iter()
        .map(|function| format!("{}:{}", function.name, function.version))
        .collect();
    request.insert(
        "worker versions".to_owned(),
        Digest::of(functions.join(" ")),
    );
    request
}

/// The versions that `workers` pin, for as long as a render of `chunks` chunks that begins now may take.
pub(super) fn running(workers: &Workers, chunks: u32, retries_per_chunk: u32) -> RunningRender {
    let functions = workers.functions.iter();
    RunningRender {
        functions: functions
            .map(|function| (function.name.to_string(), function.version.clone()))
            .collect(),
        may_run_until_ms: env::now_ms() + workers.limits(chunks, retries_per_chunk).render_ms,
    }
}

impl RenderDocument {
    pub(super) fn new(
        parts: BTreeMap<String, Digest>,
        composition: Composition,
        running: RunningRender,
    ) -> Self {
        Self {
            format: FORMAT,
            rmx_version: env!("CARGO_PKG_VERSION").to_owned(),
            began_at: env::timestamp(env::now()),
            parts,
            composition,
            running,
        }
    }

    /// The same render, taken up now.
    pub(super) fn again(self, running: RunningRender) -> Self {
        Self { running, ..self }
    }

    /// Writes it, so that the render can be taken up from now on.
    pub(super) async fn save(
        &self,
        cloud: &Cloud,
        bucket: &BucketName,
        id: &RenderId,
    ) -> Result<(), CloudError> {
        let content = serde_json::to_vec_pretty(self)
            .expect("a document has string keys only, so it can be written as JSON");
        let options = PutOptions {
            content_type: Some("application/json".to_owned()),
            ..PutOptions::default()
        };
        cloud
            .put_object(bucket, &document_key(id), Bytes::from(content), &options)
            .await?;
        Ok(())
    }

    /// Reads the document of a render that was begun with these parts.
    pub(super) async fn load(
        cloud: &Cloud,
        bucket: &BucketName,
        id: &RenderId,
        parts: &BTreeMap<String, Digest>,
    ) -> Result<Self, ResumeError> {
        let content = match cloud.get_object(bucket, &document_key(id)).await {
            Ok(content) => content,
            Err(error) if error.is_not_found() => return Err(ResumeError::Unknown(id.clone())),
            Err(error) => return Err(error.into()),
        };
        let document: Self =
            serde_json::from_slice(&content).map_err(|error| ResumeError::Damaged {
                id: id.clone(),
                reason: error.to_string(),
            })?;
        if document.format != FORMAT {
            return Err(ResumeError::Damaged {
                id: id.clone(),
                reason: format!("it has format {}, not {FORMAT}", document.format),
            });
        }
        let differing: Vec<String> = parts
            .iter()
            .filter(|(part, digest)| document.parts.get(*part) != Some(digest))
            .map(|(part, _)| part.clone())
            .collect();
        if differing.is_empty() {
            Ok(document)
        } else {
            Err(ResumeError::Different {
                id: id.clone(),
                parts: differing,
            })
        }
    }
}

/// Sizes of the segments that are there, each in its chunk's place.
pub(super) async fn segments_there(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
    chunks: &ChunkPlan,
    encode: Option<&EncodeSettings>,
) -> Result<Vec<Option<u64>>, CloudError> {
    let objects: BTreeMap<String, u64> = cloud
        .list_objects(bucket, &segment_prefix(id))
        .await?
        .into_iter()
        .map(|object| (object.key, object.size_bytes))
        .collect();
    Ok(chunks
        .chunks()
        .map(|chunk| {
            let key = segment_key(id, chunk.frames, encode);
            objects.get(&key).copied()
        })
        .collect())
}

/// Whether `key` is that of an object with which the render `id` works: all that lies below its prefix, but for what it is
/// asked for and what others write of it.
pub fn is_work(id: &RenderId, key: &str) -> bool {
    let Some(rest) = key.strip_prefix(&prefix(id)) else {
        return false;
    };
    // An artifact as its worker has left it: behind the number of a frame.
    let numbered = |rest: &str| {
        let frame = rest.split_once('/').map_or("", |(frame, _)| frame);
        frame.len() >= 7 && frame.bytes().all(|byte| byte.is_ascii_digit())
    };
    rest == running::DOCUMENT
        || [LEASE, LAUNCH, PROPS].contains(&rest)
        || rest.starts_with("segments/")
        || rest.starts_with("sound/")
        || Container::ALL
            .iter()
            .any(|kind| *key == sound_key(id, *kind))
        || rest.strip_prefix("artifacts/").is_some_and(numbered)
}

/// Removes what a render that has ended works with from the bucket, and leaves what lies beside it, and the lease under which
/// it is done.
///
/// # Errors
/// The cloud says no.
pub async fn remove_work(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<(), CloudError> {
    let lease = lease_key(id);
    remove_those(cloud, bucket, id, |key| is_work(id, key) && *key != lease).await
}

/// Whether the render `id` was begun: its document is there.
///
/// # Errors
/// The cloud says no.
pub async fn is_begun(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<bool, CloudError> {
    let document = cloud.head_object(bucket, &document_key(id)).await?;
    Ok(document.is_some())
}

/// What the document of a render tells others; nothing where it is damaged or of another version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begun {
    /// The composition's id.
    pub composition: Option<String>,
    /// When, in UTC.
    pub began_at: Option<String>,
}

/// What is told of the render `id`, if it was begun.
///
/// # Errors
/// The cloud says no.
pub async fn begun(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<Option<Begun>, CloudError> {
    let content = match cloud.get_object(bucket, &document_key(id)).await {
        Ok(content) => content,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let document = serde_json::from_slice(&content);
    Ok(Some(match document {
        Ok(RenderDocument {
            composition,
            began_at,
            ..
        }) => Begun {
            composition: Some(composition.id),
            began_at: Some(began_at),
        },
        Err(_) => Begun::default(),
    }))
}

/// Removes everything of a render from the bucket.
pub(super) async fn remove(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<(), CloudError> {
    remove_those(cloud, bucket, id, |_| true).await
}

/// Removes `those` objects of a render: the document last, so that a removal which was cut off can be told from one that is
/// done. Workers leave nothing where there is no document any more; what one of them was leaving meanwhile is looked for once
/// more.
async fn remove_those(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
    those: impl Fn(&String) -> bool,
) -> Result<(), CloudError> {
    let document = document_key(id);
    let below = async || {
        let objects = cloud.list_objects(bucket, &prefix(id)).await?;
        let keys = objects.into_iter().map(|object| object.key);
        Ok(keys.filter(&those))
    };
    let keys: Vec<String> = below().await?.filter(|key| *key != document).collect();
    cloud.delete_objects(bucket, &keys).await?;
    cloud.delete_objects(bucket, &[document]).await?;
    let late: Vec<String> = below().await?.collect();
    match late[..] {
        [] => Ok(()),
        _ => cloud.delete_objects(bucket, &late).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ten_letters_and_differ() {
        let ids: std::collections::BTreeSet<_> = (0..100).map(|_| new_render_id()).collect();
        assert_eq!(ids.len(), 100);
        assert!(ids.iter().all(|id| id.as_str().len() == 10));
    }

    #[test]
    fn what_a_render_works_with_is_told_from_what_lies_beside_it() {
        let id: RenderId = "abc".parse().unwrap();
        let frames = FrameRange::new(0, 20).unwrap();
        let artifact = format!("{}0000007/a.txt", artifact_prefix(&id));
        let own = [
            document_key(&id),
            launch_key(&id),
            props_key(&id),
            segment_key(&id, frames, None),
            report_key(&id, frames),
            sound_key(&id, Container::M4a),
            artifact,
        ];
        for key in own {
            assert!(is_work(&id, &key), "{key}");
        }
        for name in [
            "out.mp4",
            "progress.json",
            "soundtrack.mp4",
            "artifacts/a.txt",
        ] {
            assert!(!is_work(&id, &format!("renders/abc/{name}")), "{name}");
        }
        assert!(!is_work(&id, "renders/abcd/render.json"));
    }

    #[test]
    fn keys_sort_as_the_video_runs() {
        let id: RenderId = "abc".parse().unwrap();
        let encode = EncodeSettings::default();
        let frames = |start, end| FrameRange::new(start, end).unwrap();
        let key = |start, end| segment_key(&id, frames(start, end), Some(&encode));
        assert_eq!(
            segment_key(&id, frames(0, 20), None),
            "renders/abc/segments/0000000-0000019.heard"
        );
        assert_eq!(key(0, 20), "renders/abc/segments/0000000-0000019.mp4");
        assert!(key(9_980, 10_000) < key(10_000, 10_020));
    }
}
