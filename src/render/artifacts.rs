//! Files that pages hand out beside the video (`<Artifact>`): they lie below the render's prefix in the bucket, each with
//! its frame, and come to this machine with the video.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cloud::Cloud;
use crate::names::{ArtifactName, BucketName, NameError, RenderId};

use super::RenderError;
use super::dispatch::Session;
use super::document;
use super::output::{OutputError, OutputFile};

/// A file that came with a render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFile {
    /// The name that the page gave it.
    pub name: String,
    /// The frame that emitted it, where that is told.
    pub frame: Option<u32>,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// What is in the bucket cannot become files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArtifactError {
    /// Two frames emit one file.
    #[error(
        "the artifact `{name}` was emitted at frame {first} and again at frame {second}: names must be unique"
    )]
    Twice {
        /// Its name.
        name: ArtifactName,
        /// The earlier frame.
        first: u32,
        /// The later one.
        second: u32,
    },
    /// A file would have to be a folder as well.
    #[error("the artifact `{name}` needs a folder `{folder}`, and that is an artifact too")]
    Within {
        /// Its name.
        name: ArtifactName,
        /// The other one's name.
        folder: ArtifactName,
    },
    /// No worker has left it: they check names.
    #[error("no page can have emitted the object `{key}` in the bucket")]
    Foreign {
        /// The object.
        key: String,
        /// What is wrong with its name.
        #[source]
        error: NameError,
    },
}

/// An artifact in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    name: ArtifactName,
    frame: u32,
    key: String,
}

/// What the workers of a render have left.
///
/// # Errors
/// They cannot become files, or the cloud says no.
pub(super) async fn find(
    cloud: &Cloud,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<Vec<Found>, RenderError> {
    let prefix = document::artifact_prefix(id);
    let objects = cloud.list_objects(bucket, &prefix).await?;
    let keys = objects.into_iter().map(|object| object.key);
    Ok(unique(&prefix, keys)?)
}

/// The artifacts with these keys, by name. Whoever may write to the bucket has chosen them, so no name is taken as it is.
fn unique(prefix: &str, keys: impl Iterator<Item = String>) -> Result<Vec<Found>, ArtifactError> {
    let mut found: BTreeMap<ArtifactName, Found> = BTreeMap::new();
    for key in keys {
        let parts = key
            .strip_prefix(prefix)
            .and_then(|rest| rest.split_once('/'));
        let Some((frame, name)) = parts else { continue };
        let Ok(frame) = frame.parse() else { continue };
        let name: ArtifactName = match name.parse() {
            Ok(name) => name,
            Err(error) => return Err(ArtifactError::Foreign { key, error }),
        };
        let artifact = Found {
            name: name.clone(),
            frame,
            key,
        };
        if let Some(before) = found.insert(name.clone(), artifact) {
            return Err(ArtifactError::Twice {
                name,
                first: before.frame.min(frame),
                second: before.frame.max(frame),
            });
        }
    }
    for name in found.keys() {
        let above = Path::new(name.as_str()).ancestors().skip(1);
        let above = above.filter_map(|folder| folder.to_str()?.parse().ok());
        let mut above = above.filter(|folder| found.contains_key(folder));
        if let Some(folder) = above.next() {
            let name = name.clone();
            return Err(ArtifactError::Within { name, folder });
        }
    }
    Ok(found.into_values().collect())
}

/// Brings artifacts of a video that is whole below `folder`. So much can go wrong with their names and places that it must not
/// cost the video.
///
/// # Errors
/// [`RenderError::WithoutArtifacts`].
pub(super) async fn fetch_beside(
    video: &Path,
    session: Session<'_>,
    found: Vec<Found>,
    folder: &Path,
) -> Result<Vec<ArtifactFile>, RenderError> {
    let Session {
        cloud,
        workers,
        cancel,
    } = session;
    let fetched = tokio::select! {
        biased;
        () = cancel.cancelled() => Err(RenderError::cancelled("keeping artifacts")),
        fetched = fetch(cloud, &workers.bucket, found, folder) => fetched,
    };
    fetched.map_err(|error| RenderError::WithoutArtifacts {
        video: video.to_owned(),
        error: Box::new(error),
    })
}

/// Brings artifacts below `folder`, each in one step.
async fn fetch(
    cloud: &Cloud,
    bucket: &BucketName,
    found: Vec<Found>,
    folder: &Path,
) -> Result<Vec<ArtifactFile>, RenderError> {
    let mut files = Vec::new();
    for Found { name, frame, key } in found {
        let output = OutputFile::create(&folder.join(name.as_str()), true)?;
        let content = cloud.get_object(bucket, &key).await?;
        std::fs::write(output.part(), &content).map_err(|error| OutputError::Io {
            path: output.path().to_owned(),
            error,
        })?;
        files.push(ArtifactFile {
            name: name.into(),
            frame: Some(frame),
            path: output.commit()?,
            size_bytes: content.len() as u64,
        });
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_once_in_a_render_however_it_is_cut() {
        let keys = |keys: &[&str]| {
            let keys: Vec<_> = keys
                .iter()
                .map(|key| format!("renders/a/artifacts/{key}"))
                .collect();
            unique("renders/a/artifacts/", keys.into_iter())
        };
        let found = keys(&["0000007/sub/b.txt", "0000003/a.txt"]).unwrap();
        let shown: Vec<_> = found
            .iter()
            .map(|found| (found.name.as_str(), found.frame))
            .collect();
        assert_eq!(shown, [("a.txt", 3), ("sub/b.txt", 7)]);
        assert_eq!(
            keys(&["0000003/a.txt", "0000004/b.txt", "0000012/a.txt"]).unwrap_err(),
            ArtifactError::Twice {
                name: "a.txt".parse().unwrap(),
                first: 3,
                second: 12
            }
        );
        assert_eq!(
            keys(&["0000003/a", "0000004/a/b/c", "0000005/a.b"]).unwrap_err(),
            ArtifactError::Within {
                name: "a/b/c".parse().unwrap(),
                folder: "a".parse().unwrap(),
            }
        );
        // Of others who may write to the bucket.
        for outside in ["/etc/x", "../x", "a/../../x", "", "a//b"] {
            let error = keys(&["0000002/a.txt", &format!("0000003/{outside}")]).unwrap_err();
            assert!(
                matches!(&error, ArtifactError::Foreign { key, .. } if key.ends_with(outside)),
                "{outside}: {error:?}"
            );
        }
    }
}
