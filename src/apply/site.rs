//! Sites: changed objects go up, `index.html` last, stale ones go, the manifest tells that it is complete.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{ChangeError, Executor, check_file, overtaken};
use crate::cloud::{CloudError, CloudErrorKind, ObjectInfo, PutOptions};
use crate::digest::Digest;
use crate::names::BucketName;
use crate::plan::change::SiteTags;
use crate::resource::SiteSpec;
use crate::resource::site::{self, SiteFile, SiteManifest};

/// Uploads at the same time.
const UPLOADS_IN_FLIGHT: usize = 8;

/// The page that names all other files. It must not name one that is not there yet.
const ENTRY_PAGE: &str = "index.html";

/// A site as it is now.
#[derive(Debug, Clone, Copy)]
pub(super) struct SiteNow<'a> {
    /// What it has.
    pub(super) spec: &'a SiteSpec,
    /// What writes are held to.
    pub(super) tags: &'a SiteTags,
}

impl Executor<'_> {
    /// Makes the site what `after` says. Every write names what it writes over: S3 refuses it if that is another by now.
    pub(super) async fn upload_site(
        &self,
        now: Option<SiteNow<'_>>,
        after: &SiteSpec,
    ) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let lineage = &self.state.lineage;
        let folder = self.inputs.artefacts.sites.get(&after.name);
        let folder = folder.ok_or_else(|| ChangeError::NoFolder(after.name.clone()))?;
        let nothing = SiteTags::default();
        let tags = now.map_or(&nothing, |now| now.tags);
        let mut manifest_etag = tags.manifest_etag.clone();
        if tags.manifest.is_none() {
            // Whoever finds these objects half way through can tell whose they are.
            let claim = SiteManifest::claim(lineage.clone());
            manifest_etag = Some(self.put_manifest(after, &claim, manifest_etag).await?);
        }
        let (mut files, changed) = kept_and_changed(now, after);
        let (entry, others): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|(path, _)| path.as_str() == ENTRY_PAGE);
        for group in [others, entry] {
            let sent: Vec<(String, SiteFile)> = futures::stream::iter(group)
                .map(|(path, digest)| {
                    self.upload_file(after, folder, path, *digest, tags.files.get(path))
                })
                .buffer_unordered(UPLOADS_IN_FLIGHT)
                .try_collect()
                .await?;
            files.extend(sent);
        }
        let prefix = site::prefix(&after.name);
        let stale: Vec<ObjectInfo> = tags
            .files
            .iter()
            .filter(|(path, _)| !after.files.contains_key(*path))
            .map(|(path, etag)| ObjectInfo {
                key: format!("{prefix}{path}"),
                size_bytes: 0,
                etag: etag.clone(),
            })
            .collect();
        let deleted = cloud.delete_unchanged_objects(&after.bucket, &stale).await;
        deleted.map_err(|error| match error.kind {
            CloudErrorKind::PreconditionFailed => ChangeError::Moved,
            _ => error.into(),
        })?;
        let manifest = SiteManifest::complete(lineage.clone(), after.digest, files);
        self.put_manifest(after, &manifest, manifest_etag).await?;
        Ok(())
    }

    pub(super) async fn delete_site(&self, spec: &SiteSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let prefix = site::prefix(&spec.name);
        let objects = match cloud.list_objects(&spec.bucket, &prefix).await {
            Ok(objects) => objects,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
        cloud.delete_objects(&spec.bucket, &keys).await?;
        // Last, so that an interrupted delete can tell whose the rest is.
        let manifest = [site::manifest_key(&spec.name)];
        Ok(cloud.delete_objects(&spec.bucket, &manifest).await?)
    }

    /// Writes the manifest over the one of that entity tag, or where there is none, and returns its own.
    async fn put_manifest(
        &self,
        spec: &SiteSpec,
        manifest: &SiteManifest,
        over: Option<String>,
    ) -> Result<String, ChangeError> {
        let key = site::manifest_key(&spec.name);
        let options = PutOptions {
            content_type: Some("application/json".to_owned()),
            if_absent: over.is_none(),
            if_match: over,
            ..PutOptions::default()
        };
        let document = Bytes::from(manifest.to_json());
        let planned = Digest::of(&document);
        let cloud = self.inputs.cloud;
        let written = cloud
            .write_object(&spec.bucket, &key, document, &options)
            .await;
        self.etag_of(&spec.bucket, &key, planned, written).await
    }

    /// Uploads one file, which must still be what the plan was made of, over the object of that entity tag, or where
    /// there is none.
    async fn upload_file(
        &self,
        spec: &SiteSpec,
        folder: &Path,
        path: &str,
        planned: Digest,
        over: Option<&String>,
    ) -> Result<(String, SiteFile), ChangeError> {
        let file = folder.join(path);
        let size_bytes = check_file(&file, planned).await?;
        let key = format!("{}{path}", site::prefix(&spec.name));
        let options = PutOptions {
            if_absent: over.is_none(),
            if_match: over.cloned(),
            ..options(path)
        };
        let cloud = self.inputs.cloud;
        let written = cloud
            .write_object_file(&spec.bucket, &key, &file, &options)
            .await;
        let uploaded = SiteFile {
            sha256: planned,
            etag: self.etag_of(&spec.bucket, &key, planned, written).await?,
            size_bytes,
        };
        Ok((path.to_owned(), uploaded))
    }

    /// The entity tag of what a conditional write wrote. Where S3 refused it because the object is another by now, that may
    /// be the doing of a try whose answer got lost: then the object is what was to be written.
    async fn etag_of(
        &self,
        bucket: &BucketName,
        key: &str,
        planned: Digest,
        written: Result<Option<String>, CloudError>,
    ) -> Result<String, ChangeError> {
        match written {
            Ok(Some(etag)) => return Ok(etag),
            Ok(None) => {}
            Err(error) if overtaken(&error) => {}
            Err(error) => return Err(error.into()),
        }
        let cloud = self.inputs.cloud;
        match cloud.object(bucket, key).await {
            Ok(found) if Digest::of(&found.content) == planned => Ok(found.etag),
            Ok(_) => Err(ChangeError::Moved),
            Err(error) if error.is_not_found() => Err(ChangeError::Moved),
            Err(error) => Err(error.into()),
        }
    }
}

/// What stays as it was uploaded, and what has to be uploaded.
fn kept_and_changed<'a>(
    now: Option<SiteNow<'_>>,
    after: &'a SiteSpec,
) -> (BTreeMap<String, SiteFile>, Vec<(&'a String, &'a Digest)>) {
    let uploaded = now.and_then(|now| now.tags.manifest.as_ref());
    let mut kept = BTreeMap::new();
    let mut changed = Vec::new();
    for (path, digest) in &after.files {
        let same = now.is_some_and(|now| now.spec.files.get(path) == Some(digest));
        match uploaded.and_then(|manifest| manifest.files.get(path)) {
            Some(file) if same => drop(kept.insert(path.clone(), file.clone())),
            _ => changed.push((path, digest)),
        }
    }
    (kept, changed)
}

/// Pages are asked for anew each time; what they name may be kept.
fn options(path: &str) -> PutOptions {
    let kind = mime_guess::from_path(path).first();
    let is_page = kind.as_ref().is_some_and(|kind| kind.subtype() == "html");
    let content_type = kind.map(|kind| {
        if kind.type_() == "text" {
            format!("{kind}; charset=utf-8")
        } else {
            kind.to_string()
        }
    });
    PutOptions {
        content_type,
        cache_control: is_page.then(|| "no-cache".to_owned()),
        ..PutOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_what_files_are() {
        for (path, content_type, cache_control) in [
            (
                "index.html",
                Some("text/html; charset=utf-8"),
                Some("no-cache"),
            ),
            ("a/b.js", Some("text/javascript; charset=utf-8"), None),
            ("a.wasm", Some("application/wasm"), None),
            ("video.mp4", Some("video/mp4"), None),
            ("LICENSE", None, None),
        ] {
            let options = options(path);
            assert_eq!(options.content_type.as_deref(), content_type, "{path}");
            assert_eq!(options.cache_control.as_deref(), cache_control, "{path}");
        }
    }
}
