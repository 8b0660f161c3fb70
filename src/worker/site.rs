//! A site's files: from a folder, or from the bucket, fetched when the page first asks for them.
//!
//! A render draws one version of a site. An `apply` may replace its objects meanwhile, so what is fetched is compared
//! with the manifest, and the manifest with the digest the render began with. A site that somebody else uploaded has no
//! manifest; then a listing stands for it, and entity tags for the content.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir, TempPath};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::OnceCell;

use super::failure::{TaskResult, internal, permanent, storage};
use crate::cloud::Cloud;
use crate::digest::Digest;
use crate::protocol::{FailureKind, SiteObjects, TaskFailure};
use crate::resource::site::{SiteManifest, listed_digest};

/// How much of an object is held in memory on its way to the disk.
const PIECE_BYTES: usize = 64 * 1024;

/// Where the files of a site come from.
#[derive(Debug, Clone)]
pub(super) enum Site {
    /// A folder on this machine.
    Folder(PathBuf),
    /// Objects that `rmx apply` uploaded, or somebody else.
    Bucket(Arc<BucketSite>),
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
            Self::Bucket(site) => site.file(path).await,
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

/// A site in a bucket. Each file is fetched once and kept for as long as this value lives.
#[derive(Debug)]
pub(super) struct BucketSite {
    cloud: Cloud,
    objects: SiteObjects,
    /// Path → what was uploaded there. Read when the first file is asked for.
    files: OnceCell<BTreeMap<String, Content>>,
    /// Files by [`Content::name`].
    kept: TempDir,
}

/// What a file's content has to be.
#[derive(Debug, Clone)]
enum Content {
    Sha256(Digest),
    Etag(String),
}

impl Content {
    /// A file name that no other content has.
    fn name(&self) -> String {
        match self {
            Self::Sha256(digest) => digest.to_string(),
            Self::Etag(etag) => Digest::of(format!("etag {etag}")).to_string(),
        }
    }
}

impl BucketSite {
    pub(super) fn new(cloud: Cloud, objects: SiteObjects, scratch: &Path) -> TaskResult<Self> {
        let kept = tempfile::Builder::new()
            .prefix("rmx-site-")
            .tempdir_in(scratch)
            .map_err(|error| internal("making a folder for the site", error))?;
        Ok(Self {
            cloud,
            objects,
            files: OnceCell::new(),
            kept,
        })
    }

    /// Where it lies.
    pub(super) fn objects(&self) -> &SiteObjects {
        &self.objects
    }

    async fn file(&self, path: &str) -> TaskResult<Option<PathBuf>> {
        let files = self.files.get_or_try_init(|| self.contents()).await?;
        // Remotion's own command bundles a site for the place where it lies: the page asks for /sites/NAME/bundle.js.
        let relative = path.strip_prefix(&self.objects.prefix).unwrap_or(path);
        let found = [path, relative].into_iter().find_map(|path| {
            let wanted = files.get(path)?;
            Some((path, wanted))
        });
        let Some((path, wanted)) = found else {
            return Ok(None);
        };
        let file = self.kept.path().join(wanted.name());
        if !tokio::fs::try_exists(&file).await.unwrap_or(false) {
            self.fetch(path, wanted, &file).await?;
        }
        Ok(Some(file))
    }

    async fn contents(&self) -> TaskResult<BTreeMap<String, Content>> {
        match &self.objects.manifest_key {
            Some(key) => self.manifest(key).await,
            None => self.listing().await,
        }
    }

    async fn listing(&self) -> TaskResult<BTreeMap<String, Content>> {
        let SiteObjects {
            bucket,
            prefix,
            digest,
            ..
        } = &self.objects;
        let etags = self.cloud.list_etags(bucket, prefix).await;
        let etags = etags.map_err(|error| storage(&error))?;
        if listed_digest(&etags) != *digest {
            return Err(self.changed(prefix));
        }
        let contents = etags.into_iter();
        Ok(contents
            .map(|(path, etag)| (path, Content::Etag(etag)))
            .collect())
    }

    async fn manifest(&self, manifest_key: &str) -> TaskResult<BTreeMap<String, Content>> {
        let SiteObjects { bucket, digest, .. } = &self.objects;
        let found = self.cloud.get_object(bucket, manifest_key).await;
        let found = match found {
            Ok(bytes) => SiteManifest::parse(&bytes),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(storage(&error)),
        };
        let found = found.filter(|manifest| manifest.digest == Some(*digest));
        let files = found.ok_or_else(|| self.changed(manifest_key))?.files;
        let contents = files.into_iter();
        Ok(contents
            .map(|(path, file)| (path, Content::Sha256(file.sha256)))
            .collect())
    }

    async fn fetch(&self, path: &str, wanted: &Content, file: &Path) -> TaskResult<()> {
        let key = format!("{}{path}", self.objects.prefix);
        let object = self
            .cloud
            .read_object(&self.objects.bucket, &key, None)
            .await;
        let mut object = match object {
            Ok(object) => object,
            Err(error) if error.is_not_found() => return Err(self.changed(&key)),
            Err(error) => return Err(storage(&error)),
        };
        let bucket = &self.objects.bucket;
        let (found, partial) = save(&mut object.body, self.kept.path())
            .await
            .map_err(|error| internal(&format!("fetching s3://{bucket}/{key}"), error))?;
        let as_wanted = match wanted {
            Content::Sha256(digest) => found == *digest,
            Content::Etag(etag) => object.etag == *etag,
        };
        if !as_wanted {
            return Err(self.changed(&key));
        }
        partial
            .persist(file)
            .map_err(|error| internal(&format!("keeping s3://{bucket}/{key}"), error.error))
    }

    fn changed(&self, key: &str) -> TaskFailure {
        let message = format!(
            "loading the page: s3://{}/{key} is not what the render began with: the site was applied anew or changed by hand",
            self.objects.bucket
        );
        permanent(FailureKind::SiteChanged, message)
    }
}

/// Writes a stream to a file that goes away again unless it is kept; returns its digest too.
async fn save(
    stream: &mut (impl AsyncRead + Unpin),
    folder: &Path,
) -> std::io::Result<(Digest, TempPath)> {
    let (file, path) = NamedTempFile::new_in(folder)?.into_parts();
    let mut file = tokio::fs::File::from_std(file);
    let mut sha256 = Sha256::new();
    let mut piece = BytesMut::with_capacity(PIECE_BYTES);
    while stream.read_buf(&mut piece).await? > 0 {
        sha256.update(&piece);
        file.write_all_buf(&mut piece).await?;
        piece.reserve(PIECE_BYTES);
    }
    file.flush().await?;
    Ok((Digest::from_sha256(sha256.finalize().into()), path))
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
