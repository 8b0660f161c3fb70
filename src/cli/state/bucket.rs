//! `rmx state create-bucket`: the one thing that has to be there before a state can be kept in S3.

use serde_json::json;

use crate::cloud::{BucketPresence, Cloud, CloudError, Connection};
use crate::config::StateConfig;
use crate::names::BucketName;

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::super::farm;
use super::super::recorded::state_store;

/// Makes it, unless it is there already.
pub(super) async fn create(context: &Context) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    let StateConfig::S3 { bucket, region, .. } = &config.state else {
        return Err(CommandError::usage("The state is not kept in S3")
            .hint("set `backend = \"s3\"` and `bucket` under [state]"));
    };
    let farm = farm::connect(context, &config).await?;
    // It must not be the farm's own.
    state_store(&config, &farm).await?;
    let connection = Connection {
        region: region.clone(),
        ..farm.connection.clone()
    };
    let cloud = Cloud::connect(&connection).await;
    let made = make(&cloud, bucket).await;
    farm.shutdown().await;
    let made = made?;
    if let Made::Open(what) = made {
        context.ui.warn(format_args!(
            "the bucket {bucket} {what}: whoever may read it reads the state. `aws s3api put-public-access-block --bucket \
             {bucket} --public-access-block-configuration BlockPublicAcls=true,IgnorePublicAcls=true,\
             BlockPublicPolicy=true,RestrictPublicBuckets=true` closes it"
        ));
    }
    let made = matches!(made, Made::New);
    if context.ui.json() {
        let told = json!({ "bucket": bucket, "region": region, "created": made });
        context.ui.print_json(&told)?;
    } else {
        let told = match made {
            true => "was created in",
            false => "is there already; nothing was changed. Its region should be",
        };
        context
            .ui
            .print(format_args!("The bucket {bucket} {told} {region}."))?;
    }
    Ok(ExitStatus::Success)
}

/// What became of the wish for a bucket.
enum Made {
    New,
    There,
    /// It is there, and not closed to the public: made by others, or by a command that was killed.
    Open(&'static str),
}

/// Makes it. A bucket that is there may serve others as well, so nothing of it is changed.
async fn make(cloud: &Cloud, bucket: &BucketName) -> Result<Made, CloudError> {
    if let BucketPresence::Present(found) = cloud.bucket(bucket).await? {
        return Ok(match found.block_public_access {
            true => Made::There,
            false => Made::Open("does not block public access"),
        });
    }
    cloud.create_bucket(bucket).await?;
    cloud.set_block_public_access(bucket, true).await?;
    cloud.set_owner_enforced(bucket, true).await?;
    Ok(Made::New)
}
