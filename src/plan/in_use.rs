//! The published versions of functions, and which of them are in use: renders that may still be running say so in the bucket,
//! aliases say so in Lambda.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::try_join_all;
use futures::{StreamExt as _, TryStreamExt as _};

use super::change::{Desired, Observation, Present};
use super::retention::Versions;
use crate::cloud::{Cloud, CloudError, CloudErrorKind, FunctionAlias, LIVE_ALIAS};
use crate::env;
use crate::names::{BucketName, FunctionName};
use crate::protocol::running::{self, RunningRender};
use crate::resource::{Address, Resource, changed_fields};
use crate::state::State;

/// Pages of renders that are looked at, a thousand on each. If there are more, any version may be in use.
const RENDER_PAGES_MAX: usize = 10;

/// Documents read at the same time.
const READS_IN_FLIGHT: usize = 16;

/// Gives every function that is there its published versions, if old ones are to go. `resources` are read meanwhile.
///
/// Renders are looked at only where a version would be deleted otherwise: there can be thousands of them, and a plan
/// without changes takes no more round trips for any.
///
/// # Errors
/// Something could not be read. That there is no function or no bucket is no error.
pub(super) async fn add_versions(
    cloud: &Cloud,
    desired: &Desired,
    state: &State,
    resources: impl Future<Output = Result<BTreeMap<Address, Observation>, CloudError>>,
) -> Result<BTreeMap<Address, Observation>, CloudError> {
    let Some(keep) = desired.keep_versions else {
        let mut resources = resources.await?;
        remember(state, &mut resources);
        return Ok(resources);
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
    let listed = list(cloud, &functions);
    let (mut resources, listed) = tokio::try_join!(resources, listed)?;
    remember(state, &mut resources);
    place(&listed.versions, &mut resources);
    let deletes = resources.iter().any(|(address, observation)| {
        let wanted = desired.resources.get(address);
        matches!(observation, Observation::Present(now) if deletes(now, wanted, keep))
    });
    if deletes {
        place(&listed.with_renders(cloud, &buckets).await?, &mut resources);
    }
    Ok(resources)
}

/// Whether old versions would go if no render used any. Changing a function publishes another version of it.
fn deletes(now: &Present, wanted: Option<&Resource>, keep: u32) -> bool {
    let Some(wanted @ Resource::Function(_)) = wanted else {
        return false;
    };
    let fields = changed_fields(Some(&now.spec), Some(wanted));
    let publishing = now.versions.publishing(&fields);
    !now.versions.retention(keep, publishing).delete.is_empty()
}

/// Puts what is recorded of denied deletions and failed smoke renders beside what was read: AWS does not tell.
fn remember(state: &State, resources: &mut BTreeMap<Address, Observation>) {
    for (address, observation) in resources {
        let (Some(record), Observation::Present(present)) =
            (state.records.get(address), observation)
        else {
            continue;
        };
        keep_remembered(&record.outputs, &mut present.outputs);
    }
}

/// Takes over into what was read of a function what only its record knows: `recorded` are the outputs there.
pub fn keep_remembered(recorded: &BTreeMap<String, String>, read: &mut BTreeMap<String, String>) {
    let number = |outputs: &BTreeMap<String, String>, name: &str| {
        let output = outputs.get(name);
        output.and_then(|version| version.parse::<u64>().ok())
    };
    // What went live since, or that one itself, has passed.
    let owed = match recorded.get(FAILED_SMOKE_OUTPUT) {
        Some(owed) if owed == NEXT_VERSION => true,
        _ => number(read, "version") < number(recorded, FAILED_SMOKE_OUTPUT),
    };
    let kept = [
        Some(UNDELETABLE_OUTPUT),
        owed.then_some(FAILED_SMOKE_OUTPUT),
    ];
    for name in kept.into_iter().flatten() {
        if let Some(value) = recorded.get(name) {
            read.insert(name.to_owned(), value.clone());
        }
    }
}

/// The output of a function that names the version which has not passed its smoke render: it failed, or the run was cut off
/// before it had. Whatever goes live next has to pass, asked for or not.
pub const FAILED_SMOKE_OUTPUT: &str = "failed_smoke_version";

/// Stands there as long as the version has no number: the run was cut off before it was made.
pub const NEXT_VERSION: &str = "next";

/// The output of a function that names the versions whose deletion was denied.
const UNDELETABLE_OUTPUT: &str = "undeletable_versions";

/// The versions that the outputs of a function name as such.
pub fn undeletable(outputs: &BTreeMap<String, String>) -> BTreeSet<u64> {
    let named = outputs.get(UNDELETABLE_OUTPUT);
    let named = named.iter().flat_map(|text| text.split(", "));
    named.filter_map(|version| version.parse().ok()).collect()
}

/// Names `versions` in the outputs of a function as such.
pub fn set_undeletable(outputs: &mut BTreeMap<String, String>, versions: &BTreeSet<u64>) {
    let versions: Vec<String> = versions.iter().map(u64::to_string).collect();
    match versions.is_empty() {
        true => drop(outputs.remove(UNDELETABLE_OUTPUT)),
        false => drop(outputs.insert(UNDELETABLE_OUTPUT.to_owned(), versions.join(", "))),
    }
}

fn place(
    versions: &BTreeMap<FunctionName, Versions>,
    resources: &mut BTreeMap<Address, Observation>,
) {
    for observation in resources.values_mut() {
        if let Observation::Present(present) = observation
            && let Resource::Function(spec) = &present.spec
            && let Some(known) = versions.get(&spec.name)
        {
            let live = present.outputs.get("version");
            present.versions = Versions {
                live: live.and_then(|version| version.parse().ok()),
                undeletable: undeletable(&present.outputs),
                ..known.clone()
            };
        }
    }
}

/// The versions of functions, with the aliases that use them.
#[derive(Debug)]
pub struct Listed {
    versions: BTreeMap<FunctionName, Versions>,
}

/// The versions of `functions`.
///
/// # Errors
/// Something could not be read. That there is no function is no error.
pub async fn list(
    cloud: &Cloud,
    functions: &BTreeSet<&FunctionName>,
) -> Result<Listed, CloudError> {
    let listed = try_join_all(functions.iter().map(|name| async {
        tokio::try_join!(cloud.function_versions(name), cloud.function_aliases(name))
    }));
    let listed = listed.await?;
    let all = functions
        .iter()
        .zip(listed)
        .map(|(name, (there, aliases))| {
            let mut versions = Versions {
                there: there.iter().map(|version| version.number).collect(),
                latest: there
                    .last()
                    .filter(|newest| newest.is_latest)
                    .map(|newest| newest.number),
                ..Versions::default()
            };
            for alias in aliases {
                let FunctionAlias {
                    name,
                    version,
                    weighted,
                } = alias;
                // Where `live` points is known without this.
                let main = (name != LIVE_ALIAS).then_some(version);
                for version in main.iter().chain(&weighted) {
                    used(&mut versions, version, format!("alias {name}"));
                }
            }
            ((*name).clone(), versions)
        });
    Ok(Listed {
        versions: all.collect(),
    })
}

impl Listed {
    /// The versions with everything that uses them: lists the renders in `buckets`, and reads a document for each.
    ///
    /// # Errors
    /// One could not be read. That there is no bucket is no error.
    pub async fn with_renders(
        mut self,
        cloud: &Cloud,
        buckets: &BTreeSet<&BucketName>,
    ) -> Result<BTreeMap<FunctionName, Versions>, CloudError> {
        let renders = try_join_all(buckets.iter().map(|bucket| renders(cloud, bucket))).await?;
        let complete = renders.iter().all(|renders| renders.complete);
        let running = running_renders(cloud, &renders).await?;
        let now_ms = env::now_ms();
        for (name, versions) in &mut self.versions {
            if !complete {
                let unclear = "more renders than were looked at".to_owned();
                versions.unclear.insert(unclear);
            }
            for (render, running) in &running {
                let user = format!("render {render}");
                match running {
                    None => drop(versions.unclear.insert(user)),
                    Some(ended) if ended.may_run_until_ms < now_ms => {}
                    Some(running) => {
                        if let Some(version) = running.functions.get(name.as_str()) {
                            used(versions, version, user);
                        }
                    }
                }
            }
        }
        Ok(self.versions)
    }
}

fn used(versions: &mut Versions, version: &str, user: String) {
    if let Ok(version) = version.parse() {
        versions.users.entry(version).or_default().insert(user);
    }
}

/// Renders that left something in a bucket.
#[derive(Debug)]
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
