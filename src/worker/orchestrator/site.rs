//! Where a page and its props come from: the farm's own bucket, read with the worker's role, or a public address.

use super::Farm;
use super::failure::Failure;
use crate::names::SiteName;
use crate::protocol::{SiteLocation, SiteObjects};
use crate::resource::site::{SiteManifest, manifest_key, prefix};
use crate::wire::output::{expanded, own_site};
use crate::wire::request::InputProps;

/// Where clients leave props that are too large for an event.
const PROPS_PREFIX: &str = "input-props/";

/// The site that `serve_url` means. One of the farm's own is pinned to what it is now.
pub(super) async fn location(farm: &Farm, serve_url: &str) -> Result<SiteLocation, Failure> {
    let url = expanded(serve_url, &farm.bucket, farm.region());
    let Some(name) = own_site(&url, &farm.bucket, farm.region()) else {
        return Ok(SiteLocation::Url(url));
    };
    let absent = || Failure::Site {
        name: name.to_owned(),
        bucket: farm.bucket.clone(),
    };
    let site: SiteName = name.parse().map_err(|_| absent())?;
    let manifest = match farm
        .cloud
        .get_object(&farm.bucket, &manifest_key(&site))
        .await
    {
        Ok(content) => SiteManifest::parse(&content),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let digest = manifest.and_then(|manifest| manifest.digest);
    Ok(SiteLocation::Bucket(SiteObjects {
        bucket: farm.bucket.clone(),
        prefix: prefix(&site),
        manifest_key: manifest_key(&site),
        digest: digest.ok_or_else(absent)?,
    }))
}

/// The props, wherever they are.
pub(super) async fn input_props(farm: &Farm, props: &InputProps) -> Result<String, Failure> {
    match props {
        InputProps::Payload { payload } => Ok(payload.clone()),
        InputProps::BucketUrl { hash, bucket_name } => {
            let content = farm
                .cloud
                .get_object(&bucket_name.parse()?, &key(hash))
                .await?;
            String::from_utf8(content.into()).map_err(|error| Failure::Document {
                what: format!("the props at {}", key(hash)),
                reason: error.to_string(),
            })
        }
    }
}

/// Removes props that a client has left in the bucket: the render that they were for has ended.
pub(super) async fn forget_props(farm: &Farm, props: &InputProps) -> Result<(), Failure> {
    match props {
        InputProps::Payload { .. } => Ok(()),
        InputProps::BucketUrl { hash, bucket_name } => {
            let bucket = bucket_name.parse()?;
            Ok(farm.cloud.delete_objects(&bucket, &[key(hash)]).await?)
        }
    }
}

fn key(hash: &str) -> String {
    format!("{PROPS_PREFIX}{hash}.json")
}
