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
            Self::Folder(folder) => Ok(inside(folder, relative).await.ok().flatten()),
            Self::Bucket {
                cloud,
                bucket,
                prefix,
                cache,
            } => fetch(cloud, bucket, &format!("{prefix}{path}"), cache).await,
        }
    }
}

/// The file `relative` of `folder`. A link that leads out of the folder leads nowhere.
async fn inside(folder: &Path, relative: &Path) -> std::io::Result<Option<PathBuf>> {
    let file = tokio::fs::canonicalize(folder.join(relative)).await?;
    let is_inside = file.starts_with(tokio::fs::canonicalize(folder).await?);
    let is_file = tokio::fs::metadata(&file).await?.is_file();
    Ok((is_inside && is_file).then_some(file))
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
    // Removed again unless the whole object arrives.
    let (partial, path) = tempfile::NamedTempFile::new_in(cache)
        .map_err(failed)?
        .into_parts();
    let mut target = tokio::fs::File::from_std(partial);
    tokio::io::copy(&mut object.body, &mut target)
        .await
        .map_err(failed)?;
    target.flush().await.map_err(failed)?;
    path.persist(&file).map_err(|error| failed(error.error))?;
    Ok(Some(file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn nothing_outside_of_the_folder_is_served() {
        let (outside, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("secret"), "secret").unwrap();
        std::fs::write(folder.path().join("page.js"), "page").unwrap();
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link")).unwrap();
        let site = Site::Folder(folder.path().to_owned());
        assert!(site.file("page.js").await.unwrap().is_some());
        for path in ["link/secret", "../secret", "/etc/passwd", "absent", ""] {
            assert_eq!(site.file(path).await.unwrap(), None, "{path}");
        }
    }
}
