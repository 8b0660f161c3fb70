//! Looks into what a plan deletes, for what goes with it for ever.

use futures::future::try_join_all;

use super::change::{Action, Plan};
use super::loss::{Loss, LossKind, own_prefixes};
use crate::cloud::{Cloud, CloudError};
use crate::names::{BucketName, LogGroupName};
use crate::resource::{Address, Resource};
use crate::state::State;

/// Pages of a bucket's listing, a thousand objects each, that are looked at to tell what would be lost.
const LOSS_PAGES_MAX: usize = 10;

/// What goes for ever with the buckets and log groups that `plan` deletes or replaces. Empty ones lose nothing.
///
/// # Errors
/// They could not be looked into.
pub async fn losses(cloud: &Cloud, plan: &Plan, state: &State) -> Result<Vec<Loss>, CloudError> {
    let going = plan
        .changes
        .iter()
        .filter(|change| matches!(change.action, Action::Delete | Action::Replace));
    let losses = try_join_all(going.map(|change| async {
        let address = change.address.clone();
        Ok::<_, CloudError>(match &change.before {
            Some(Resource::Bucket(spec)) => bucket_loss(cloud, address, &spec.name, state).await?,
            Some(Resource::LogGroup(spec)) => log_loss(cloud, address, &spec.name).await?,
            Some(Resource::Role(_) | Resource::Function(_) | Resource::Site(_)) | None => None,
        })
    }));
    Ok(losses.await?.into_iter().flatten().collect())
}

async fn bucket_loss(
    cloud: &Cloud,
    address: Address,
    bucket: &BucketName,
    state: &State,
) -> Result<Option<Loss>, CloudError> {
    let listed = cloud.list_first_objects(bucket, "", LOSS_PAGES_MAX).await;
    let (objects, complete) = match listed {
        Ok(listed) => listed,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error),
    };
    let own = own_prefixes(state, bucket);
    let others: Vec<_> = objects
        .into_iter()
        .filter(|object| !own.iter().any(|prefix| object.key.starts_with(prefix)))
        .collect();
    let loss = Loss {
        address,
        kind: LossKind::Objects,
        count: others.len() as u64,
        complete,
        size_bytes: others.iter().map(|object| object.size_bytes).sum(),
        example: others.into_iter().next().map(|object| object.key),
    };
    Ok((loss.count > 0 || !complete).then_some(loss))
}

async fn log_loss(
    cloud: &Cloud,
    address: Address,
    name: &LogGroupName,
) -> Result<Option<Loss>, CloudError> {
    let content = cloud.log_group_content(name).await?;
    let loss = Loss {
        address,
        kind: LossKind::LogStreams,
        count: content.streams,
        complete: content.complete,
        size_bytes: content.size_bytes,
        example: None,
    };
    Ok((loss.count > 0 || loss.size_bytes > 0).then_some(loss))
}
