//! Who reads objects without having signed anything: everybody, where the bucket's policy says so and its settings let it.

use s3s::access::{S3Access, S3AccessContext};
use s3s::{S3Result, s3_error};
use serde_json::Value;

use super::data::BucketData;
use super::record::BucketRecord;
use crate::local::iam;
use crate::local::store::Store;

/// What may be done unsigned, and the action it takes.
const READS: [&str; 2] = ["GetObject", "HeadObject"];
const ACTION: &str = "s3:GetObject";

/// Lets requests through that are signed, and those that need not be.
pub(super) struct PublicAccess {
    pub(super) store: Store,
}

#[async_trait::async_trait]
impl S3Access for PublicAccess {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        if context.credentials().is_some() {
            return Ok(());
        }
        let object = context.s3_path().as_object();
        if let Some((bucket, key)) = object.filter(|_| READS.contains(&context.s3_op().name()))
            && may_be_read(
                &BucketData::open(&self.store, bucket)?.record,
                &format!("arn:aws:s3:::{bucket}/{key}"),
            )
        {
            return Ok(());
        }
        Err(s3_error!(AccessDenied, "Access Denied"))
    }
}

/// Whether everybody may read the object with the ARN `object`.
pub(super) fn may_be_read(bucket: &BucketRecord, object: &str) -> bool {
    let restricted = bucket
        .public_access_block
        .is_some_and(|block| block.restrict_public_buckets);
    let policy = bucket.policy.as_deref();
    let policy = policy.and_then(|text| serde_json::from_str::<Value>(text).ok());
    !restricted && policy.is_some_and(|policy| iam::allows_everybody(&policy, ACTION, object))
}
