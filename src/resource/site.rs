//! Where a site and what belongs to it lie in the bucket, and the manifest that tells whether it is still as it was uploaded.
//!
//! S3 knows an entity tag for every object but not the SHA-256 of its content, and asking for each object's
//! metadata would cost one request a file. So every upload ends with a manifest: path → digest, entity tag, size.
//! One listing beside it then shows every object that was changed, added or deleted since.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::SiteSpec;
use crate::digest::Digest;
use crate::names::{BucketName, Lineage, SiteName};

/// The only format there is.
const FORMAT: u32 = 1;

/// What rmx last uploaded as a site.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteManifest {
    /// Format of this document.
    pub format: u32,
    /// The deployment the site belongs to.
    pub lineage: Lineage,
    /// [`SiteSpec::digest`]; `None` until the first upload is complete.
    pub digest: Option<Digest>,
    /// Path below the site's prefix → what was uploaded there.
    pub files: BTreeMap<String, SiteFile>,
}

/// One uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteFile {
    /// SHA-256 of the content.
    pub sha256: Digest,
    /// The entity tag S3 gave the object.
    pub etag: String,
    /// Size of the content.
    pub size_bytes: u64,
}

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedFile {
    /// Path below the site's prefix.
    pub path: String,
    /// Entity tag.
    pub etag: String,
    /// Size.
    pub size_bytes: u64,
}

/// The prefix of what rmx keeps in the bucket for itself.
pub const OWN_PREFIX: &str = "rmx/";

/// The prefix of function zips that are too large for a request.
pub const CODE_PREFIX: &str = "rmx/code/";

/// The key of a function zip that is too large for a request.
pub fn code_key(code_sha256: &Digest) -> String {
    format!("{CODE_PREFIX}{code_sha256}.zip")
}

/// Where sites lie.
const SITES: &str = "sites/";

/// The prefix of a site's objects: `sites/NAME/`.
pub fn prefix(site: &SiteName) -> String {
    format!("{SITES}{site}/")
}

/// The name of the site whose objects have this prefix.
pub fn name_of(prefix: &str) -> &str {
    let name = prefix.strip_prefix(SITES).unwrap_or(prefix);
    name.trim_end_matches('/')
}

/// The key of a site's manifest.
pub fn manifest_key(site: &SiteName) -> String {
    format!("{OWN_PREFIX}{SITES}{site}.json")
}

/// The identity of a site that somebody else uploaded, of which nothing is known but the entity tag of each file by its path.
pub fn listed_digest(etags: &BTreeMap<String, String>) -> Digest {
    Digest::of(serde_json::to_vec(etags).expect("a map with text keys is JSON"))
}

impl SiteManifest {
    /// A claim on a site that is about to be uploaded for the first time.
    pub fn claim(lineage: Lineage) -> Self {
        Self {
            format: FORMAT,
            lineage,
            digest: None,
            files: BTreeMap::new(),
        }
    }

    /// The manifest of a complete upload.
    pub fn complete(lineage: Lineage, digest: Digest, files: BTreeMap<String, SiteFile>) -> Self {
        Self {
            format: FORMAT,
            lineage,
            digest: Some(digest),
            files,
        }
    }

    /// Reads a manifest; `None` if it is not one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(bytes)
            .ok()
            .filter(|manifest| manifest.format == FORMAT)
    }

    /// The document.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a map with text keys is JSON")
    }

    /// The site as it is now. Content that is not what was uploaded gets a digest of its own that no file has.
    pub fn observed(&self, name: SiteName, bucket: BucketName, listed: &[ListedFile]) -> SiteSpec {
        let files: BTreeMap<String, Digest> = listed
            .iter()
            .map(|object| {
                let uploaded = self.files.get(&object.path).filter(|file| {
                    file.etag == object.etag && file.size_bytes == object.size_bytes
                });
                let digest = match uploaded {
                    Some(file) => file.sha256,
                    None => Digest::of(format!("unknown content {}", object.etag)),
                };
                (object.path.clone(), digest)
            })
            .collect();
        let as_uploaded = self
            .files
            .iter()
            .map(|(path, file)| (path, &file.sha256))
            .eq(&files);
        let digest = match self.digest {
            Some(digest) if as_uploaded => digest,
            _ => Digest::of(serde_json::to_vec(&files).unwrap_or_default()),
        };
        SiteSpec {
            name,
            bucket,
            digest,
            files,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(path: &str, etag: &str) -> ListedFile {
        ListedFile {
            path: path.to_owned(),
            etag: etag.to_owned(),
            size_bytes: 3,
        }
    }

    #[test]
    fn every_change_behind_our_back_shows() {
        let file = |etag: &str| SiteFile {
            sha256: Digest::of(etag),
            etag: etag.to_owned(),
            size_bytes: 3,
        };
        let manifest = SiteManifest::complete(
            "6f0f2b0e-0000-4000-8000-000000000000".parse().unwrap(),
            Digest::of("whole"),
            [("a.js", "1"), ("index.html", "2")]
                .map(|(path, etag)| (path.to_owned(), file(etag)))
                .into(),
        );
        let manifest = SiteManifest::parse(&manifest.to_json()).unwrap();
        let observe = |listing: &[ListedFile]| {
            manifest.observed("hello".parse().unwrap(), "bucket".parse().unwrap(), listing)
        };
        let intact = observe(&[listed("a.js", "1"), listed("index.html", "2")]);
        assert_eq!(intact.digest, Digest::of("whole"));
        assert_eq!(intact.files["a.js"], Digest::of("1"));
        for changed in [
            vec![listed("a.js", "1")],
            vec![listed("a.js", "9"), listed("index.html", "2")],
            vec![
                listed("a.js", "1"),
                listed("b.js", "1"),
                listed("index.html", "2"),
            ],
        ] {
            let site = observe(&changed);
            assert_ne!(site.digest, intact.digest, "{changed:?}");
            assert_ne!(site.files, intact.files, "{changed:?}");
        }
    }
}
