//! The published versions of functions, and which of them are in use: renders that may still be running say so in the bucket,
//! aliases say so in Lambda.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use super::change::Desired;
use super::retention::Versions;
use crate::cloud::{Cloud, CloudError, CloudErrorKind, LIVE_ALIAS};
use crate::env;
use crate::names::{BucketName, FunctionName};
use crate::protocol::running::{self, RunningRender};
use crate::resource::Resource;
use crate::state::State;

/// Pages of renders that are looked at, a thousand on each. If there are more, any version may be in use.
const RENDER_PAGES_MAX: usize = 10;

/// Documents read at the same time.
const READS_IN_FLIGHT: usize = 16;

/// The versions of every function that is desired or recorded, if old ones are to go.
///
/// # Errors
/// Something could not be read. That there is no function or no bucket is no error.
pub(super) async fn versions_of(
    cloud: &Cloud,
    desired: &Desired,
    state: &State,
) -> Result<BTreeMap<FunctionName, Versions>, CloudError> {
    let Some(keep) = desired.keep_versions else {
        return Ok(BTreeMap::new());
    };
    let recorded = state.records.values().map(|record| &record.applied);
    let (mut functions, mut buckets) = (BTreeSet::new(), BTreeSet::new());
    for known in desired.resources.values().chain(recorded) {
        match known {
            Resource::Function(spec) => drop(functions.insert(&spec.name)),
            Resource::Bucket(spec) => drop(buckets.insert(&spec.name)),
            Resource::LogGroup(_) | Resource::Role(_) | Resource::Site(_) => {}
        }
    }
    versions(cloud, &functions, &buckets, keep).await
}

/// The versions of `functions`. What uses them is looked up only where there are more than `keep`. Renders are those of
/// `buckets`.
///
/// # Errors
/// Something could not be read. That there is no function or no bucket is no error.
pub async fn versions(
    cloud: &Cloud,
    functions: &BTreeSet<&FunctionName>,
    buckets: &BTreeSet<&BucketName>,
    keep: u32,
) -> Result<BTreeMap<FunctionName, Versions>, CloudError> {
    let listed = try_join_all(functions.iter().map(|name| async {
        tokio::try_join!(cloud.function_versions(name), cloud.function_aliases(name))
    }));
    let renders = try_join_all(buckets.iter().map(|bucket| renders(cloud, bucket)));
    let (listed, renders) = tokio::try_join!(listed, renders)?;
    let many = listed
        .iter()
        .any(|(versions, _)| versions.len() > keep as usize);
    let running = match many {
        true => running_renders(cloud, &renders).await?,
        false => Vec::new(),
    };
    let complete = renders.iter().all(|renders| renders.complete);
    let now_ms = env::now_ms();
    let all = functions
        .iter()
        .zip(listed)
        .map(|(name, (there, aliases))| {
            let mut versions = Versions {
                there: there.iter().map(|version| version.number).collect(),
                ..Versions::default()
            };
            for (alias, version) in aliases {
                if alias != LIVE_ALIAS {
                    used(&mut versions, &version, format!("alias {alias}"));
                }
            }
            for (render, running) in &running {
                let user = format!("render {render}");
                match running {
                    None => drop(versions.unclear.insert(user)),
                    Some(ended) if ended.may_run_until_ms < now_ms => {}
                    Some(running) => {
                        if let Some(version) = running.functions.get(name.as_str()) {
                            used(&mut versions, version, user);
                        }
                    }
                }
            }
            if !complete {
                versions
                    .unclear
                    .insert("more renders than were looked at".to_owned());
            }
            ((*name).clone(), versions)
        });
    Ok(all.collect())
}

fn used(versions: &mut Versions, version: &str, user: String) {
    if let Ok(version) = version.parse() {
        versions.users.entry(version).or_default().insert(user);
    }
}

/// Renders that left something in a bucket.
struct Renders<'a> {
    bucket: &'a BucketName,
    prefixes: Vec<String>,
    complete: bool,
}

async fn renders<'a>(cloud: &Cloud, bucket: &'a BucketName) -> Result<Renders<'a>, CloudError> {
    let listed = cloud
        .list_common_prefixes(bucket, running::PREFIX, RENDER_PAGES_MAX)
        .await;
    let (prefixes, complete) = match listed {
        Ok(listed) => listed,
        Err(error) if error.is_not_found() => (Vec::new(), true),
        // Not ours to look into: the bucket itself shows as foreign.
        Err(error) if error.kind == CloudErrorKind::AccessDenied => (Vec::new(), false),
        Err(error) => return Err(error),
    };
    Ok(Renders {
        bucket,
        prefixes,
        complete,
    })
}

/// What their documents say; `None` where one cannot be read. Renders without a document have ended.
async fn running_renders(
    cloud: &Cloud,
    renders: &[Renders<'_>],
) -> Result<Vec<(String, Option<RunningRender>)>, CloudError> {
    let all = renders.iter().flat_map(|renders| {
        let prefixes = renders.prefixes.iter();
        prefixes.map(|prefix| (renders.bucket, prefix))
    });
    let read = async |(bucket, prefix): (&BucketName, &String)| {
        let key = format!("{prefix}{}", running::DOCUMENT);
        let id = prefix.trim_start_matches(running::PREFIX);
        let id = id.trim_end_matches('/').to_owned();
        match cloud.get_object(bucket, &key).await {
            Ok(bytes) => Ok(Some((id, RunningRender::parse(&bytes)))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    };
    let read: Vec<_> = futures::stream::iter(all)
        .map(read)
        .buffered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    Ok(read.into_iter().flatten().collect())
}
