//! Files that pages hand out beside the video (`<Artifact>`): they lie below the render's prefix in the bucket, each with
//! its frame, and come to this machine with the video.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::cloud::Cloud;
use crate::names::{BucketName, RenderId};

use super::RenderError;
use super::document;
use super::output::{OutputError, OutputFile};

/// A file that came with a render.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArtifactFile {
    /// The name that the page gave it.
    pub name: String,
    /// The frame that emitted it.
    pub frame: u32,
    /// Where it is.
    pub path: PathBuf,
    /// Its size.
    pub size_bytes: u64,
}

/// Two frames emit one file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the artifact `{name}` was emitted at frame {first} and again at frame {second}: names must be unique"
)]
pub struct ArtifactTwice {
    /// Its name.
    pub name: String,
    /// The earlier frame.
    pub first: u32,
    /// The later one.
    pub second: u32,
}

/// An artifact in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    name: String,
    frame: u32,
    key: String,
}

/// What the workers of a render have left.
///
/// # Errors
/// Two frames emit the same file, or the cloud says no.
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

/// The artifacts with these keys, by name.
fn unique(prefix: &str, keys: impl Iterator<Item = String>) -> Result<Vec<Found>, ArtifactTwice> {
    let mut found: BTreeMap<String, Found> = BTreeMap::new();
    for key in keys {
        let parts = key
            .strip_prefix(prefix)
            .and_then(|rest| rest.split_once('/'));
        let Some((frame, name)) = parts else { continue };
        let Ok(frame) = frame.parse() else { continue };
        let artifact = Found {
            name: name.to_owned(),
            frame,
            key: key.clone(),
        };
        if let Some(before) = found.insert(name.to_owned(), artifact) {
            return Err(ArtifactTwice {
                name: name.to_owned(),
                first: before.frame.min(frame),
                second: before.frame.max(frame),
            });
        }
    }
    Ok(found.into_values().collect())
}

/// Brings artifacts below `folder`, each in one step.
pub(super) async fn fetch(
    cloud: &Cloud,
    bucket: &BucketName,
    found: Vec<Found>,
    folder: &Path,
) -> Result<Vec<ArtifactFile>, RenderError> {
    let mut files = Vec::new();
    for Found { name, frame, key } in found {
        let output = OutputFile::create(&folder.join(&name), true)?;
        let content = cloud.get_object(bucket, &key).await?;
        std::fs::write(output.part(), &content).map_err(|error| OutputError::Io {
            path: output.path().to_owned(),
            error,
        })?;
        files.push(ArtifactFile {
            name,
            frame,
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
            .map(|found| (&found.name[..], found.frame))
            .collect();
        assert_eq!(shown, [("a.txt", 3), ("sub/b.txt", 7)]);
        assert_eq!(
            keys(&["0000003/a.txt", "0000004/b.txt", "0000012/a.txt"]).unwrap_err(),
            ArtifactTwice {
                name: "a.txt".to_owned(),
                first: 3,
                second: 12
            }
        );
    }
}
