//! Buckets. A bucket goes only when nothing is in it but what rmx itself put there to do its work.

use super::{ChangeError, Executor};
use crate::cloud::{BucketLifecycle, ObjectInfo};
use crate::plan::loss::own_prefixes;
use crate::resource::BucketSpec;

impl Executor<'_> {
    pub(super) async fn create_bucket(&self, spec: &BucketSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let name = &spec.name;
        cloud.create_bucket(name).await?;
        cloud.tag_bucket(name, &self.tags()).await?;
        cloud
            .set_block_public_access(name, spec.block_public_access)
            .await?;
        cloud.set_owner_enforced(name, spec.owner_enforced).await?;
        if spec.public_read {
            cloud.set_public_read(name, true).await?;
        }
        if lifecycle(spec) != BucketLifecycle::default() {
            cloud.set_lifecycle(name, lifecycle(spec)).await?;
        }
        Ok(())
    }

    pub(super) async fn update_bucket(
        &self,
        now: &BucketSpec,
        after: &BucketSpec,
    ) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let name = &after.name;
        // A bucket whose creation was interrupted may lack its tag.
        cloud.tag_bucket(name, &self.tags()).await?;
        // A block of public access refuses every change of a policy that another statement makes public.
        if now.public_read && !after.public_read {
            cloud.set_public_read(name, false).await?;
        }
        if now.block_public_access != after.block_public_access {
            cloud
                .set_block_public_access(name, after.block_public_access)
                .await?;
        }
        if now.owner_enforced != after.owner_enforced {
            cloud.set_owner_enforced(name, after.owner_enforced).await?;
        }
        if !now.public_read && after.public_read {
            cloud.set_public_read(name, true).await?;
        }
        if lifecycle(now) != lifecycle(after) {
            cloud.set_lifecycle(name, lifecycle(after)).await?;
        }
        Ok(())
    }

    pub(super) async fn delete_bucket(&self, spec: &BucketSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let objects = match cloud.list_objects(&spec.name, "").await {
            Ok(objects) => objects,
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let own = own_prefixes(&self.state, &spec.name);
        let others: Vec<&ObjectInfo> = objects
            .iter()
            .filter(|object| !own.iter().any(|prefix| object.key.starts_with(prefix)))
            .collect();
        if let (false, Some(example)) = (self.inputs.delete_bucket_content, others.first()) {
            return Err(ChangeError::BucketNotEmpty {
                bucket: spec.name.clone(),
                objects: others.len(),
                size_bytes: others.iter().map(|object| object.size_bytes).sum(),
                example: example.key.clone(),
            });
        }
        let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
        cloud.delete_objects(&spec.name, &keys).await?;
        Ok(cloud.delete_bucket(&spec.name).await?)
    }
}

fn lifecycle(spec: &BucketSpec) -> BucketLifecycle {
    BucketLifecycle {
        expire_renders_days: spec.expire_renders_days,
        abort_uploads_days: spec.abort_uploads_days,
        expire_days: spec.expire_days.clone(),
    }
}
