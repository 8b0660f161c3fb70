//! Where a page and its props come from: the farm's own bucket, read with the worker's role, or a public address.

use super::Farm;
use super::failure::Failure;
use crate::cloud::PutOptions;
use crate::names::{BucketName, RenderId, SiteName};
use crate::protocol::{SiteLocation, SiteObjects};
use crate::render::props_key;
use crate::resource::site::{SiteManifest, listed_digest, manifest_key, prefix};
use crate::wire::output::{expanded, own_site};
use crate::wire::request::InputProps;

/// Where clients leave props that are too large for an event.
const PROPS_PREFIX: &str = "input-props/";

/// What every site has. Whoever uploads one uploads this last.
const PAGE: &str = "index.html";

/// The site that `serve_url` means. One in the farm's bucket is pinned to what it is now: by its manifest if rmx uploaded it, and
/// else, as after `npx remotion lambda sites create`, by what lies there.
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
    let manifest = farm
        .cloud
        .get_object(&farm.bucket, &manifest_key(&site))
        .await;
    let (manifest_key, digest) = match manifest {
        Ok(content) => {
            let manifest = SiteManifest::parse(&content);
            let digest = manifest.and_then(|manifest| manifest.digest);
            (Some(manifest_key(&site)), digest)
        }
        Err(error) if error.is_not_found() => {
            let etags = farm.cloud.list_etags(&farm.bucket, &prefix(&site)).await?;
            let complete = etags.contains_key(PAGE);
            (None, complete.then(|| listed_digest(&etags)))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(SiteLocation::Bucket(SiteObjects {
        bucket: farm.bucket.clone(),
        prefix: prefix(&site),
        manifest_key,
        digest: digest.ok_or_else(absent)?,
    }))
}

/// The props, wherever they are.
pub(super) async fn input_props(farm: &Farm, props: &InputProps) -> Result<String, Failure> {
    match props {
        InputProps::Payload { payload } => Ok(payload.clone()),
        InputProps::BucketUrl { hash, bucket_name } => {
            text(farm, &bucket_name.parse()?, &key(hash)).await
        }
    }
}

async fn text(farm: &Farm, bucket: &BucketName, key: &str) -> Result<String, Failure> {
    let content = farm.cloud.get_object(bucket, key).await?;
    String::from_utf8(content.into()).map_err(|error| Failure::Document {
        what: format!("the props at {key}"),
        reason: error.to_string(),
    })
}

/// Moves props that a client has left in the bucket to what else there is of the render that they are for: so they are there
/// for as long as it can be taken up, whatever becomes of other renders with the same props.
pub(super) async fn adopt_props(
    farm: &Farm,
    id: &RenderId,
    props: &InputProps,
) -> Result<(), Failure> {
    if let InputProps::BucketUrl { .. } = props {
        let text = input_props(farm, props).await?;
        let options = PutOptions::default();
        farm.cloud
            .put_object(&farm.bucket, &props_key(id), text.into(), &options)
            .await?;
        if let Err(error) = forget_props(farm, props).await {
            tracing::warn!("{error}");
        }
    }
    Ok(())
}

/// The props of a render that has adopted them.
pub(super) async fn adopted_props(
    farm: &Farm,
    id: &RenderId,
    props: &InputProps,
) -> Result<String, Failure> {
    match props {
        InputProps::Payload { payload } => Ok(payload.clone()),
        InputProps::BucketUrl { .. } => text(farm, &farm.bucket, &props_key(id)).await,
    }
}

/// Removes props that a client has left in the bucket and that nobody needs any more. Those that are named by their content stay:
/// whoever renders with the same ones at the same time has them under the same name.
pub(super) async fn forget_props(farm: &Farm, props: &InputProps) -> Result<(), Failure> {
    match props {
        InputProps::Payload { .. } => Ok(()),
        InputProps::BucketUrl { hash, .. } if is_digest(hash) => Ok(()),
        InputProps::BucketUrl { hash, bucket_name } => {
            let bucket = bucket_name.parse()?;
            Ok(farm.cloud.delete_objects(&bucket, &[key(hash)]).await?)
        }
    }
}

fn key(hash: &str) -> String {
    format!("{PROPS_PREFIX}{hash}.json")
}

/// Whether props are named by the SHA-256 of their content, as by the clients in Python, Go, PHP and Ruby. In JavaScript their
/// names are random.
fn is_digest(hash: &str) -> bool {
    hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}
