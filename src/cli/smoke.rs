//! The check that `rmx apply --smoke` puts before `live`: the new version renders the built-in composition.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::apply::SmokeFailure;
use crate::config::{Config, ResourceNames};
use crate::names::FunctionName;
use crate::render::dispatch::{Session, Workers};
use crate::render::invocation::WorkerFunction;
use crate::render::smoke::smoke;

use super::farm::Farm;

/// The check for functions of `farm`.
pub(super) fn check(
    config: &Config,
    farm: &Farm,
    stop: &CancellationToken,
) -> impl Fn(FunctionName, String) -> BoxFuture<'static, Result<(), SmokeFailure>> + Send + Sync + 'static
{
    let identity = &farm.identity;
    let names = ResourceNames::derive(config, &identity.account, &identity.region);
    let (cloud, stop) = (farm.cloud.clone(), stop.clone());
    let timeout_s = config.function.timeout_s;
    move |name, version| {
        let (cloud, stop) = (cloud.clone(), stop.clone());
        let workers = Workers {
            functions: vec![WorkerFunction { name, version }],
            bucket: names.bucket.clone(),
            timeout_s,
            concurrency_max: 1,
        };
        async move {
            let session = Session {
                cloud: &cloud,
                workers: &workers,
                cancel: &stop,
            };
            let checksum = smoke(session).await.map_err(SmokeFailure::from)?;
            tracing::info!(checksum = %checksum.short(), "the smoke render passed");
            Ok(())
        }
        .boxed()
    }
}
