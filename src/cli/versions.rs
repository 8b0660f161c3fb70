//! `rmx versions`: the published versions of the functions, and which of them is live.

use serde_json::{Value, json};

use crate::cloud::PublishedVersion;
use crate::resource::{Address, Resource};
use crate::state::{Record, State};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::recorded::state_store;
use super::rollback::{functions, require_same_cloud};

/// List the published versions of the functions
///
/// `live` is what renders use, `released` what was live before, `withdrawn` what was rolled back, `-` what this deployment
/// never released. `rmx rollback --to VERSION` points `live` to one that was released.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct VersionsArgs {
    /// Only this function, for example function.worker-2 [default: all]
    #[arg(long, value_name = "ADDRESS")]
    function: Option<Address>,
}

pub(crate) async fn cmd_versions(
    context: &Context,
    args: &VersionsArgs,
) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    let farm = farm::connect(context, &config).await?;
    let store = state_store(&config, &farm).await?;
    let state = store.load().await?.unwrap_or_else(State::fresh);
    let recorded = functions(&state, args.function.as_ref())?;
    require_same_cloud(&state, &farm.identity)?;
    let mut listed = Vec::new();
    for (address, record) in recorded {
        let Resource::Function(spec) = &record.applied else {
            continue;
        };
        let (alias, versions) = tokio::join!(
            farm.cloud.live_alias(&spec.name),
            farm.cloud.function_versions(&spec.name)
        );
        let live = alias?.and_then(|alias| alias.version.parse().ok());
        listed.push(Listed {
            address,
            record,
            live,
            versions: versions?,
        });
    }
    farm.shutdown().await;
    if context.ui.json() {
        let functions: Vec<Value> = listed.iter().map(Listed::to_json).collect();
        context.ui.print_json(&json!({ "functions": functions }))?;
    } else {
        for function in &listed {
            context.ui.print_raw(&function.text())?;
        }
    }
    Ok(ExitStatus::Success)
}

struct Listed<'a> {
    address: &'a Address,
    record: &'a Record,
    live: Option<u64>,
    versions: Vec<PublishedVersion>,
}

impl Listed<'_> {
    fn status(&self, version: u64) -> &'static str {
        let mut releases = self.record.releases.iter();
        match releases.find(|release| release.version == version) {
            _ if self.live == Some(version) => "live",
            Some(release) if release.withdrawn => "withdrawn",
            Some(_) => "released",
            None => "-",
        }
    }

    /// A heading, then a line a version, newest first.
    fn text(&self) -> String {
        let mut text = format!("# {}\n", self.address);
        for version in self.versions.iter().rev() {
            let code = version.code_sha256.map(|digest| digest.short());
            text += &format!(
                "{:>5}  {:<9}  {:<20}  {:>5} MB  {:>3} s  code {}\n",
                version.number,
                self.status(version.number),
                // Lambda writes UTC.
                version
                    .published_at
                    .get(..19)
                    .map_or_else(|| "-".to_owned(), |time| format!("{time}Z")),
                version.memory_mb,
                version.timeout_s,
                code.unwrap_or_default(),
            );
        }
        text
    }

    fn to_json(&self) -> Value {
        let versions = self.versions.iter().rev().map(|version| {
            let PublishedVersion {
                number,
                published_at,
                memory_mb,
                timeout_s,
                code_sha256,
                runtime,
                // What the next publication would give is the plan's affair.
                is_latest: _,
            } = version;
            json!({
                "version": number,
                "status": match self.status(*number) {
                    "-" => "unreleased",
                    status => status,
                },
                "published_at": published_at,
                "memory_mb": memory_mb,
                "timeout_s": timeout_s,
                "code_sha256": code_sha256,
                "runtime": runtime,
            })
        });
        json!({
            "address": self.address,
            "live": self.live,
            "versions": versions.collect::<Vec<_>>(),
        })
    }
}
