//! A site's files: from a folder, or from the bucket, fetched when the page first asks for them.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use tokio::io::AsyncWriteExt as _;

use super::failure::{TaskResult, internal, storage};
use crate::cloud::Cloud;
use crate::digest::Digest;
use crate::names::BucketName;

/// Where the files of a site come from.
#[derive(Debug, Clone)]
pub(super) enum Site {
    /// A folder on this machine.
    Folder(PathBuf),
    /// Objects below a prefix. Each is fetched once and kept below `cache`.
    Bucket {
        cloud: Cloud,
        bucket: BucketName,
        prefix: String,
        cache: Arc<PathBuf>,
    },
    /// A public address: the page loads from there, nothing is served.
    Url(String),
}

impl Site {
    /// The file on disk that `path` (decoded, without a leading `/`) stands for; `None` where there is none.
    pub(super) async fn file(&self, path: &str) -> TaskResult<Option<PathBuf>> {
        let relative = Path::new(path);
        if !relative
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
        {
            return Ok(None);
        }
        match self {
            Self::Url(_) => Ok(None),
            Self::Folder(folder) => {
                let file = folder.join(relative);
                let is_file = tokio::fs::metadata(&file)
                    .await
                    .is_ok_and(|metadata| metadata.is_file());
                Ok(is_file.then_some(file))
            }
            Self::Bucket {
                cloud,
                bucket,
                prefix,
                cache,
            } => fetch(cloud, bucket, &format!("{prefix}{path}"), cache).await,
        }
    }
}

async fn fetch(
    cloud: &Cloud,
    bucket: &BucketName,
    key: &str,
    cache: &Path,
) -> TaskResult<Option<PathBuf>> {
    let file = cache.join(Digest::of(key).to_string());
    if tokio::fs::try_exists(&file).await.unwrap_or(false) {
        return Ok(Some(file));
    }
    let mut object = match cloud.read_object(bucket, key, None).await {
        Ok(object) => object,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(storage(&error)),
    };
    let failed = |error: std::io::Error| internal(&format!("fetching s3://{bucket}/{key}"), error);
    let partial = cache.join(uuid::Uuid::new_v4().to_string());
    let mut target = tokio::fs::File::create(&partial).await.map_err(failed)?;
    tokio::io::copy(&mut object.body, &mut target)
        .await
        .map_err(failed)?;
    target.flush().await.map_err(failed)?;
    tokio::fs::rename(&partial, &file).await.map_err(failed)?;
    Ok(Some(file))
}
