//! `status`: how far a render is, by its progress document.

use serde_json::Value;

use super::failure::Failure;
use super::{Farm, reply};
use crate::env::now_ms;
use crate::names::{BucketName, RenderId};
use crate::wire::output::{Place, default_name};
use crate::wire::progress::{self, Progress};
use crate::wire::request;
use crate::wire::status::{StatusReply, Surroundings};

pub(super) async fn status(farm: &Farm, request: &request::Status) -> Result<Value, Failure> {
    let id: RenderId = request.render_id.parse()?;
    let bucket: BucketName = request.bucket_name.parse()?;
    let progress = read(farm, &bucket, &id).await?;
    let place = match &progress.render_metadata {
        None => None,
        Some(metadata) => {
            let codec = metadata
                .codec
                .as_deref()
                .ok_or(Failure::Still(id.clone()))?;
            let name = default_name(codec, metadata.audio_codec.as_deref());
            Some(Place::of(&bucket, &id, metadata.out_name.as_ref(), &name)?)
        }
    };
    reply(StatusReply::new(
        &progress,
        Surroundings {
            render_id: id.as_str(),
            bucket: bucket.as_str(),
            place: place.as_ref(),
            now_ms: now_ms(),
            rates: farm.rates,
        },
    ))
}

/// The progress document of a render.
pub(super) async fn read(
    farm: &Farm,
    bucket: &BucketName,
    id: &RenderId,
) -> Result<Progress, Failure> {
    let content = match farm.cloud.get_object(bucket, &progress::key(id)).await {
        Ok(content) => content,
        Err(error) if error.is_not_found() => {
            return Err(Failure::NoRender {
                id: id.clone(),
                bucket: bucket.clone(),
                region: farm.region().to_owned(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    serde_json::from_slice(&content).map_err(|error| Failure::Document {
        what: format!("the progress document of the render {id}"),
        reason: error.to_string(),
    })
}
