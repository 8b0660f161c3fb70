//! Sites: changed objects go up, `index.html` last, stale ones go, the manifest tells that it is complete.

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::{ChangeError, Executor, check_file};
use crate::cloud::PutOptions;
use crate::digest::Digest;
use crate::resource::SiteSpec;
use crate::resource::site::{self, SiteFile, SiteManifest};

/// Uploads at the same time.
const UPLOADS_IN_FLIGHT: usize = 8;

/// The page that names all other files. It must not name one that is not there yet.
const ENTRY_PAGE: &str = "index.html";

impl Executor<'_> {
    pub(super) async fn upload_site(
        &self,
        now: Option<&SiteSpec>,
        after: &SiteSpec,
    ) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let bucket = &after.bucket;
        let lineage = &self.state.lineage;
        let folder = self.inputs.artefacts.sites.get(&after.name);
        let folder = folder.ok_or_else(|| ChangeError::NoFolder(after.name.clone()))?;
        let uploaded = self.manifest(after, now.is_some()).await?;
        if uploaded.is_none() {
            // Whoever finds these objects half way through can tell whose they are.
            self.put_manifest(after, &SiteManifest::claim(lineage.clone()))
                .await?;
        }
        let is_there = |path: &str, digest: &Digest| {
            now.is_some_and(|now| now.files.get(path) == Some(digest))
        };
        let (mut files, changed): (BTreeMap<String, SiteFile>, Vec<(&String, &Digest)>) = {
            let known = uploaded.map(|manifest| manifest.files).unwrap_or_default();
            let (kept, changed): (Vec<_>, Vec<_>) = after
                .files
                .iter()
                .partition(|(path, digest)| is_there(path, digest) && known.contains_key(*path));
            let kept = kept
                .into_iter()
                .filter_map(|(path, _)| Some((path.clone(), known.get(path)?.clone())));
            (kept.collect(), changed)
        };
        let (entry, others): (Vec<_>, Vec<_>) = changed
            .into_iter()
            .partition(|(path, _)| path.as_str() == ENTRY_PAGE);
        for group in [others, entry] {
            let sent: Vec<(String, SiteFile)> = futures::stream::iter(group)
                .map(|(path, digest)| self.upload_file(after, folder, path, *digest))
                .buffer_unordered(UPLOADS_IN_FLIGHT)
                .try_collect()
                .await?;
            files.extend(sent);
        }
        let prefix = site::prefix(&after.name);
        let stale: Vec<String> = now
            .into_iter()
            .flat_map(|now| now.files.keys())
            .filter(|path| !after.files.contains_key(*path))
            .map(|path| format!("{prefix}{path}"))
            .collect();
        cloud.delete_objects(bucket, &stale).await?;
        let manifest = SiteManifest::complete(lineage.clone(), after.digest, files);
        self.put_manifest(after, &manifest).await
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

    async fn manifest(
        &self,
        spec: &SiteSpec,
        exists: bool,
    ) -> Result<Option<SiteManifest>, ChangeError> {
        if !exists {
            return Ok(None);
        }
        let key = site::manifest_key(&spec.name);
        match self.inputs.cloud.get_object(&spec.bucket, &key).await {
            Ok(bytes) => Ok(SiteManifest::parse(&bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn put_manifest(
        &self,
        spec: &SiteSpec,
        manifest: &SiteManifest,
    ) -> Result<(), ChangeError> {
        let key = site::manifest_key(&spec.name);
        let options = PutOptions {
            content_type: Some("application/json".to_owned()),
            ..PutOptions::default()
        };
        let document = Bytes::from(manifest.to_json());
        let cloud = self.inputs.cloud;
        cloud
            .put_object(&spec.bucket, &key, document, &options)
            .await?;
        Ok(())
    }

    /// Uploads one file, which must still be what the plan was made of.
    async fn upload_file(
        &self,
        spec: &SiteSpec,
        folder: &Path,
        path: &str,
        planned: Digest,
    ) -> Result<(String, SiteFile), ChangeError> {
        let file = folder.join(path);
        let size_bytes = check_file(&file, planned).await?;
        let key = format!("{}{path}", site::prefix(&spec.name));
        let written = self
            .inputs
            .cloud
            .write_object_file(&spec.bucket, &key, &file, &options(path))
            .await?;
        let etag = written.unwrap_or_default();
        let uploaded = SiteFile {
            sha256: planned,
            etag,
            size_bytes,
        };
        Ok((path.to_owned(), uploaded))
    }
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
        if_absent: false,
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
