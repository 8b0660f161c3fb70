//! From the function's disk into the bucket: an output, and what the page emitted beside it.

use std::path::Path;

use super::Farm;
use super::failure::Failure;
use crate::cloud::{PutOptions, PutOutcome};
use crate::env::Env;
use crate::names::{BucketName, RenderId};
use crate::protocol::running;
use crate::render::{ArtifactFile, is_work, new_render_id};
use crate::resource::expiry;
use crate::wire::output::{Place, disposition};
use crate::wire::progress::{self, Artifact};
use crate::wire::request::{DownloadBehavior, OutName, Privacy};
use crate::worker::scratch::Scratch;

/// What a client says of where its output goes and who may have it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wishes<'a> {
    pub(super) bucket_name: Option<&'a str>,
    pub(super) out_name: Option<&'a OutName>,
    pub(super) privacy: Option<Privacy>,
    pub(super) delete_after: Option<&'a str>,
    pub(super) storage_class: Option<&'a str>,
}

impl Wishes<'_> {
    /// Refuses what would change what comes out, and is not done.
    ///
    /// # Errors
    /// Names the option, and what to do instead.
    pub(super) fn check(&self, farm_bucket: &BucketName) -> Result<(), Failure> {
        if self.privacy.unwrap_or(Privacy::Public) == Privacy::Public {
            return Err(Failure::option(
                "privacy",
                "the farm's bucket blocks public access, so the output cannot be public (which is Remotion's default). Pass \
                 `privacy: \"private\"` or \"no-acl\", and hand the file out with presignUrl()",
            ));
        }
        if self
            .bucket_name
            .is_some_and(|name| name != farm_bucket.as_str())
        {
            let reason = format!(
                "the function may write to the farm's bucket alone, which is {farm_bucket}"
            );
            return Err(Failure::option("forceBucketName", reason));
        }
        if let Some(age) = self.delete_after
            && !expiry::ages().any(|known| known == age)
        {
            let known: Vec<&str> = expiry::ages().collect();
            let reason = format!("`{age}` is none of {}", known.join(", "));
            return Err(Failure::option("deleteAfter", reason));
        }
        if self.storage_class.is_some() {
            return Err(Failure::not_yet("storageClass", "leave it out"));
        }
        Ok(())
    }

    /// The id of a render with these wishes, once they are checked: the bucket's rules know by its beginning when it goes.
    pub(super) fn render_id(&self) -> RenderId {
        let id = new_render_id();
        match self.delete_after {
            None => id,
            Some(age) => format!("{age}-{id}").parse().unwrap_or(id),
        }
    }

    /// Where the output goes, `default_name` being that of a file nobody has named.
    ///
    /// # Errors
    /// It cannot go there.
    pub(super) fn place(
        &self,
        farm: &Farm,
        id: &RenderId,
        default_name: &str,
    ) -> Result<Place, Failure> {
        let place = Place::of(&farm.bucket, id, self.out_name, default_name)?;
        let taken = [progress::key(id), progress::cancel_key(id)].contains(&place.key);
        if taken || is_work(id, &place.key) {
            let reason = "rmx keeps this name for itself; choose another one";
            return Err(Failure::option("outName", reason));
        }
        Ok(place)
    }
}

/// Requires that the function may write to `place`, before anything is rendered for it. Below `renders/` of the farm's bucket it
/// always may.
///
/// # Errors
/// It may not.
pub(super) async fn check(farm: &Farm, place: &Place) -> Result<(), Failure> {
    if place.bucket == farm.bucket && place.key.starts_with(running::PREFIX) {
        return Ok(());
    }
    let checked = farm.cloud.check_writable(&place.bucket, &place.key);
    checked.await.map_err(Failure::at(place))
}

/// A folder for what is on its way. If this process dies, it goes when the next one starts.
///
/// # Errors
/// The disk says no.
pub(super) fn scratch(env: &Env) -> Result<Scratch, Failure> {
    let folder = env.variable("TMPDIR").unwrap_or("/tmp");
    Scratch::new(Path::new(folder)).map_err(|error| Failure::Disk {
        what: "making a folder for the output",
        error,
    })
}

/// Uploads the output.
///
/// # Errors
/// The cloud says no, or there is one already and it may not be replaced.
pub(super) async fn output(
    farm: &Farm,
    place: &Place,
    file: &Path,
    options: PutOptions,
) -> Result<(), Failure> {
    let written = farm
        .cloud
        .put_object_file(&place.bucket, &place.key, file, &options);
    match written.await.map_err(Failure::at(place))? {
        PutOutcome::Written => Ok(()),
        PutOutcome::AlreadyThere => Err(Failure::Exists(place.clone())),
    }
}

/// Uploads what the page emitted.
///
/// # Errors
/// The cloud says no.
pub(super) async fn artifacts(
    farm: &Farm,
    id: &RenderId,
    files: &[ArtifactFile],
    behavior: Option<&DownloadBehavior>,
) -> Result<Vec<Artifact>, Failure> {
    let options = PutOptions {
        content_disposition: disposition(behavior),
        ..PutOptions::default()
    };
    let mut artifacts = Vec::new();
    for file in files {
        let place = Place {
            bucket: farm.bucket.clone(),
            key: format!("renders/{id}/artifacts/{}", file.name),
        };
        output(farm, &place, &file.path, options.clone()).await?;
        artifacts.push(Artifact {
            filename: file.name.clone(),
            size_in_bytes: file.size_bytes,
            s3_url: place.url(farm.region()),
            s3_key: place.key,
        });
    }
    Ok(artifacts)
}
