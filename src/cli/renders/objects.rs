//! What lies below a render's folder in the bucket, and what is left there for it.

use serde_json::json;

use super::RENDERS;
use crate::cli::farm::Farm;
use crate::cloud::{CloudError, PutOptions};
use crate::env::now_ms;
use crate::names::{BucketName, RenderId};
use crate::wire::progress;

/// Leaves the object for which a render looks out that can be cancelled.
///
/// # Errors
/// The cloud says no.
pub(in crate::cli) async fn ask_to_end(
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<(), CloudError> {
    let content = json!({ "cancelledAt": now_ms() }).to_string();
    let key = progress::cancel_key(id);
    let options = PutOptions::default();
    let put = farm
        .cloud
        .put_object(bucket, &key, content.into(), &options);
    put.await.map(drop)
}

/// Removes everything of a render that has ended from the bucket.
///
/// # Errors
/// The cloud says no.
pub(in crate::cli) async fn remove(
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<(), CloudError> {
    let objects = objects_of(farm, bucket, id).await?;
    remove_objects(farm, bucket, id, objects).await
}

/// The keys of everything below a render's folder.
pub(super) async fn objects_of(
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<Vec<String>, CloudError> {
    let folder = format!("{RENDERS}{id}/");
    let objects = farm.cloud.list_objects(bucket, &folder).await?;
    Ok(objects.into_iter().map(|object| object.key).collect())
}

/// Removes them, the document last: whoever is interrupted can delete the rest.
pub(super) async fn remove_objects(
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
    objects: Vec<String>,
) -> Result<(), CloudError> {
    let document = progress::key(id);
    let (last, first): (Vec<String>, Vec<String>) =
        objects.into_iter().partition(|key| *key == document);
    farm.cloud.delete_objects(bucket, &first).await?;
    farm.cloud.delete_objects(bucket, &last).await
}
