//! `rmx import remotion`: what Remotion Lambda's own commands deployed is found by the names that they give.

use std::path::Path;

use serde_json::json;
use toml_edit::Value;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, ExitStatus};
use crate::cli::farm;
use crate::cli::files;
use crate::cli::lock::with_lock;
use crate::cli::recorded::state_store;
use crate::cli::rollback::require_same_cloud;
use crate::cli::view;
use crate::cloud::{Cloud, FunctionDescription, LogGroupDescription};
use crate::config::{self, Config, WorkerKind};
use crate::names::{BucketName, FunctionName, LogGroupName, NameError};
use crate::resource::{Address, Resource};

use super::{ImportArgs, desired, take_over};
use crate::apply::Import;

/// How the names of its functions and buckets begin, and what its role is called.
const FUNCTIONS: &str = FunctionName::REMOTION_PREFIX;
const BUCKETS: &str = BucketName::REMOTION_PREFIX;
const ROLE: &str = "remotion-lambda-role";

/// Where a function says which version of Remotion it is of.
const VERSION_TAG: &str = "remotion-version";

/// What is taken over. The role is not: other functions and other regions have the same one.
const ADDRESSES: [&str; 3] = ["log_group.main", "bucket.main", "function.worker"];

/// A deployment of Remotion Lambda's own commands.
struct Found {
    function: FunctionName,
    description: FunctionDescription,
    bucket: BucketName,
    log_group: Option<LogGroupDescription>,
}

/// Finds it, writes its names and settings into the configuration, and takes it over.
///
/// # Errors
/// There is none or more than one, nobody agrees, or a call fails. Done again it goes on from there.
pub(super) async fn import(
    context: &Context,
    args: &ImportArgs,
) -> Result<ExitStatus, CommandError> {
    let before = context.config()?;
    let farm = farm::connect(context, &before).await?;
    // Nothing in this block returns before the embedded cloud has been shut down.
    let outcome = async {
        let found = look(&farm.cloud, args.id.as_deref(), &before).await?;
        let path = context.path(&context.global.config);
        let (text, edited) = configuration(context, &found)?;
        let after = config::parse(&edited, &context.load_options(false))
            .map_err(|error| context.config_error(error))?;
        agree(context, args, &found, text == edited).await?;
        let store = state_store(&after, &farm).await?;
        with_lock(context, &store, "rmx import", &args.lock, async |store| {
            let mut state = store.state().clone();
            require_same_cloud(&state, &farm.identity)?;
            let desired = desired(&after, &farm.identity);
            let wanted = ADDRESSES.map(|address| {
                let address: Address = address.parse().expect("an address of a kind that there is");
                let wanted = desired.resources.get(&address)?;
                let made_by_lambda =
                    matches!(wanted, Resource::LogGroup(_)) && found.log_group.is_none();
                (!made_by_lambda).then_some((address, wanted))
            });
            let mut missing = Vec::new();
            for (address, wanted) in wanted.into_iter().flatten() {
                match state.records.get(&address) {
                    Some(record) => require_recorded(&address, &record.applied, wanted)?,
                    None => missing.push((address, wanted)),
                }
            }
            if text != edited {
                write(&path, &edited)?;
            }
            for (address, wanted) in missing {
                let import = Import {
                    address: &address,
                    wanted,
                    force: args.force,
                };
                take_over(context, &farm, store, &mut state, import).await?;
            }
            Ok(())
        })
        .await
    };
    let outcome = outcome.await;
    farm.shutdown().await;
    outcome?;
    context.ui.say(match before.function.worker {
        WorkerKind::Rmx => {
            "`rmx plan` shows what moving to rmx's worker changes. The function's role stays as it is and nobody's: rmx makes one of \
             its own."
        }
        WorkerKind::Remotion => {
            "`rmx plan` shows what is not as the configuration has it. The function's role is not taken over: `[role] arn` names it, or \
             `rmx import role.main NAME` takes it over."
        }
    });
    Ok(ExitStatus::Success)
}

/// The one deployment there is, or that of the function `name`.
async fn look(cloud: &Cloud, name: Option<&str>, config: &Config) -> Result<Found, CommandError> {
    let configured = config.function.name.as_ref();
    let configured = configured.filter(|name| name.is_of_remotion());
    let function = match (name, configured) {
        (Some(name), _) => name.parse().map_err(|error: NameError| {
            CommandError::usage("That is no function's name")
                .cause(error)
                .hint("`npx remotion lambda functions ls` lists them")
        })?,
        (None, Some(configured)) => configured.clone(),
        (None, None) => one(
            "function",
            FUNCTIONS,
            cloud.functions_called(FUNCTIONS).await?,
            "name it: rmx import remotion NAME",
        )?,
    };
    let description = cloud.function(&function).await?.ok_or_else(|| {
        CommandError::error("There is nothing to import")
            .detail(format!("There is no function {function}."))
            .hint("look at the name, the account and the region")
    })?;
    let bucket = match &config.bucket.name {
        Some(bucket) if bucket.is_of_remotion() => bucket.clone(),
        _ => one(
            "bucket",
            BUCKETS,
            cloud.buckets_called(BUCKETS).await?,
            "set `name` under [bucket] in remotion.toml to the one that is meant",
        )?,
    };
    let group: LogGroupName =
        description
            .settings
            .log_group
            .parse()
            .map_err(|error: NameError| {
                CommandError::error("The function's log group cannot be taken over")
                    .cause(error)
                    .hint("give the function another log group, for example /aws/lambda/NAME, and run the command again")
            })?;
    let log_group = cloud.log_group(&group).await?;
    Ok(Found {
        function,
        description,
        bucket,
        log_group,
    })
}

/// The only one of `found`.
fn one<T: std::fmt::Display>(
    what: &str,
    prefix: &str,
    mut found: Vec<T>,
    which: &str,
) -> Result<T, CommandError> {
    match (found.pop(), found.len()) {
        (Some(only), 0) => Ok(only),
        (None, _) => Err(CommandError::error("There is nothing to import")
            .detail(format!(
                "No {what} here has a name that begins with `{prefix}`, as Remotion Lambda gives it."
            ))
            .hint("look at the account and the region; its bucket is there once a site is (`npx remotion lambda sites create`)")),
        (Some(last), _) => {
            found.push(last);
            let names: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(
                CommandError::usage(format!("There is more than one {what} of Remotion Lambda"))
                    .detail(format!("They are {}.", names.join(", ")))
                    .hint(which),
            )
        }
    }
}

impl Found {
    /// What the configuration has to say for plans to find it.
    fn values(&self) -> Vec<(&'static str, &'static str, Value)> {
        let settings = &self.description.settings;
        let number = |value: u32| Value::from(i64::from(value));
        let mut values = vec![
            ("function", "name", Value::from(self.function.as_str())),
            ("function", "memory_mb", number(settings.memory_mb)),
            ("function", "timeout_s", number(settings.timeout_s)),
            ("function", "disk_mb", number(settings.disk_mb)),
        ];
        if let Some(version) = self.description.tags.get(VERSION_TAG) {
            values.push((
                "function",
                "remotion_version",
                Value::from(version.as_str()),
            ));
        }
        values.push(("bucket", "name", Value::from(self.bucket.as_str())));
        let retention = self
            .log_group
            .as_ref()
            .and_then(|group| group.retention_days);
        if let Some(days) = retention {
            values.push(("logs", "retention_days", number(days)));
        }
        values
    }

    fn lines(&self) -> Vec<String> {
        let settings = &self.description.settings;
        let mut lines = vec![
            format!("function   {}", self.function),
            format!("bucket     {}", self.bucket),
        ];
        if self.log_group.is_some() {
            lines.push(format!("log group  {}", settings.log_group));
        }
        lines
    }
}

/// The configuration's text as it is, and with what was found.
fn configuration(context: &Context, found: &Found) -> Result<(String, String), CommandError> {
    let path = context.path(&context.global.config);
    let text = std::fs::read_to_string(&path)
        .map_err(|error| Context::unreadable_configuration(&path, error))?;
    let stage = context.global.stage.as_deref();
    let edited = config::edited(&text, stage, &found.values()).map_err(|reason| {
        CommandError::error("The configuration cannot be completed")
            .detail(reason)
            .hint("write the keys into it by hand")
    })?;
    Ok((text, edited))
}

/// Shows what was found and what the configuration gets, and asks.
async fn agree(
    context: &Context,
    args: &ImportArgs,
    found: &Found,
    configured: bool,
) -> Result<(), CommandError> {
    let ui = &context.ui;
    let values = found.values();
    if ui.json() {
        let keys = values
            .iter()
            .map(|(table, key, value)| (format!("{table}.{key}"), value.to_string()));
        let keys: std::collections::BTreeMap<_, _> = keys.collect();
        ui.print_json(&json!({
            "function": found.function,
            "bucket": found.bucket,
            "log_group": found.log_group.as_ref().map(|_| &found.description.settings.log_group),
            "role": found.description.settings.role_arn,
            "configuration": keys,
        }))?;
    } else {
        ui.print("Remotion Lambda's deployment:\n")?;
        for line in found.lines() {
            ui.print(format_args!("  {line}"))?;
        }
        let (role, whose) = (&found.description.settings.role_arn, ROLE);
        ui.print(format_args!(
            "  role       {role}, which is left alone ({whose} is every function's)\n"
        ))?;
        if !configured {
            ui.print("The configuration gets:\n")?;
            let mut table_before = "";
            for (table, key, value) in &values {
                if *table != table_before {
                    ui.print(format_args!("  [{table}]"))?;
                    table_before = table;
                }
                ui.print(format_args!("  {key} = {value}"))?;
            }
            ui.print("")?;
        }
    }
    let question = "Take these over, and write this into the configuration?";
    if !args.auto_approve && !ui.confirm(question, "--auto-approve").await? {
        return Err(CommandError::not_agreed("Nothing is taken over"));
    }
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<(), CommandError> {
    files::replace(path, text.as_bytes())
        .map_err(|error| Context::unwritable_configuration(path, error))
}

/// Requires that what is recorded is what was found.
fn require_recorded(
    address: &Address,
    recorded: &Resource,
    found: &Resource,
) -> Result<(), CommandError> {
    let (recorded, found) = (view::cloud_name(recorded), view::cloud_name(found));
    if recorded == found {
        return Ok(());
    }
    Err(CommandError::error("The state records another farm")
        .detail(format!(
            "{address} is `{recorded}` there, and `{found}` was found. Nothing was done."
        ))
        .hint("take it over into a deployment of its own: another folder, or --stage NAME"))
}
