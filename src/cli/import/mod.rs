//! `rmx import`: takes over what exists already.

mod remotion;

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::json;

use crate::apply::{self, Import, ImportError, Imported};
use crate::config::Config;
use crate::digest::Digest;
use crate::plan::change::Desired;
use crate::plan::desired::Ingredients;
use crate::resource::{Address, Resource, ResourceKind};
use crate::state::{CloudIdentity, LockedStore, State};

use crate::cli::context::Context;
use crate::cli::error::{CommandError, ExitStatus};
use crate::cli::farm::{self, Farm};
use crate::cli::lock::{LockOptions, stopped, unless_stopped, with_lock};
use crate::cli::recorded::{self, state_store};
use crate::cli::rollback::require_same_cloud;
use crate::cli::view;

/// Take over a bucket, role, log group or function that exists already
///
/// The object gets the tag `rmx:stack` of this deployment and a record in the state; nothing else of it is changed. The
/// next `rmx plan` shows what the configuration would change of it, in place. It must have the name that the configuration
/// gives to the resource.
///
/// `rmx import remotion` looks for what Remotion Lambda's own commands deployed, by the names that they give, writes its names
/// and settings into the configuration, and takes over function, bucket and log group.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ImportArgs {
    /// As which resource, for example bucket.main; or `remotion`
    #[arg(value_name = "ADDRESS")]
    what: What,
    /// The object's name or ARN; of `remotion`, the name of its function if it has several
    id: Option<String>,
    /// Do not ask whether what `remotion` finds is meant
    #[arg(long)]
    auto_approve: bool,
    /// Take it even if it belongs to another deployment of rmx
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    lock: LockOptions,
}

/// What is imported.
#[derive(Debug, Clone)]
enum What {
    /// One object, as this resource.
    One(Address),
    /// A deployment of Remotion Lambda's own commands.
    Remotion,
}

impl FromStr for What {
    type Err = <Address as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "remotion" => Ok(Self::Remotion),
            address => address.parse().map(Self::One),
        }
    }
}

pub(crate) async fn cmd_import(
    context: &Context,
    args: &ImportArgs,
) -> Result<ExitStatus, CommandError> {
    match (&args.what, &args.id) {
        (What::Remotion, _) => remotion::import(context, args).await,
        (What::One(address), Some(id)) => import(context, args, address, id).await,
        (What::One(address), None) => Err(CommandError::usage("What is to be imported?")
            .detail(format!(
                "The name of the object that becomes {address} is missing."
            ))
            .hint(format!("rmx import {address} NAME"))),
    }
}

async fn import(
    context: &Context,
    args: &ImportArgs,
    address: &Address,
    id: &str,
) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    let farm = farm::connect(context, &config).await?;
    let store = state_store(&config, &farm).await?;
    let outcome = with_lock(context, &store, "rmx import", &args.lock, async |store| {
        let mut state = store.state().clone();
        require_same_cloud(&state, &farm.identity)?;
        if state.records.contains_key(address) {
            return Err(CommandError::error("The state records that already")
                .detail(format!("There is a `{address}` in it."))
                .hint(format!("look at it with `rmx state show {address}`")));
        }
        let desired = desired(&config, &farm.identity);
        let wanted = desired.resources.get(address);
        let wanted = wanted.ok_or_else(|| not_declared(address))?;
        let name = name(address.kind, id, &farm.identity)?;
        require_name(address, wanted, &name)?;

        let import = Import {
            address,
            wanted,
            force: args.force,
        };
        take_over(context, &farm, store, &mut state, import).await?;
        context
            .ui
            .say("`rmx plan` shows what the configuration would change of it.");
        Ok(ExitStatus::Success)
    });
    let outcome = outcome.await;
    farm.shutdown().await;
    outcome
}

/// Takes one object over, and tells so.
///
/// # Errors
/// It cannot be taken over, or rmx is to stop; what was begun is recorded.
async fn take_over(
    context: &Context,
    farm: &Farm,
    store: &mut LockedStore,
    state: &mut State,
    import: Import<'_>,
) -> Result<(), CommandError> {
    let (address, name) = (import.address, view::cloud_name(import.wanted));
    let lost = store.lost();
    let mut save = async |state: &mut State| Ok(store.save(state).await?);
    let importing = apply::import(import, &farm.cloud, &farm.identity, state, &mut save);
    match unless_stopped(context, &lost, importing).await {
        Some(imported) => told(context, address, &name, &imported?),
        None => Err(stopped(store, half_way(address, &name), true)),
    }
}

/// What the config asks for, without what it takes files and secrets for: names are all that counts here.
fn desired(config: &Config, identity: &CloudIdentity) -> Desired {
    let ingredients = Ingredients {
        identity,
        code_sha256: Digest::of(""),
        sites: &BTreeMap::new(),
        secrets: &BTreeMap::new(),
    };
    Desired::from_config(config, ingredients)
}

fn not_declared(address: &Address) -> CommandError {
    let hint = match address.kind {
        ResourceKind::Site => "sites are not imported: `rmx apply` uploads them",
        _ => "`rmx plan --json` lists every address under `resource_changes`",
    };
    CommandError::usage("There is no such resource")
        .detail(format!(
            "The configuration declares no `{address}` that could be imported."
        ))
        .hint(hint)
}

/// The name of an object that is given by its name or its ARN.
fn name(kind: ResourceKind, id: &str, identity: &CloudIdentity) -> Result<String, CommandError> {
    if !id.starts_with("arn:") {
        return Ok(id.to_owned());
    }
    let wrong = |what: String| {
        CommandError::usage("The ARN cannot be imported")
            .detail(format!("`{id}` {what}"))
            .hint("give the object's name, or its ARN without a version behind it")
    };
    let parts: Vec<&str> = id.splitn(6, ':').collect();
    let [_, _, service, region, account, rest] = parts[..] else {
        return Err(wrong("is not an ARN.".to_owned()));
    };
    for (found, expected) in [
        (region, identity.region.as_str()),
        (account, identity.account.as_str()),
    ] {
        if !found.is_empty() && found != expected {
            return Err(wrong(format!(
                "is not in account {}, region {}.",
                identity.account, identity.region
            )));
        }
    }
    let name = match (kind, service) {
        (ResourceKind::Bucket, "s3") => Some(rest),
        (ResourceKind::Role, "iam") => rest
            .strip_prefix("role/")
            .and_then(|path| path.rsplit('/').next()),
        (ResourceKind::Function, "lambda") => rest.strip_prefix("function:"),
        (ResourceKind::LogGroup, "logs") => rest
            .strip_prefix("log-group:")
            .map(|name| name.strip_suffix(":*").unwrap_or(name)),
        _ => None,
    };
    let name = name.filter(|name| !name.contains(':'));
    name.map(str::to_owned)
        .ok_or_else(|| wrong(format!("is not the ARN of a {kind}.")))
}

/// Requires that the object has the name which the config gives to the resource: with another one, the next apply would make
/// a new object and delete this one.
fn require_name(address: &Address, wanted: &Resource, name: &str) -> Result<(), CommandError> {
    let expected = view::cloud_name(wanted);
    if expected == name {
        return Ok(());
    }
    let hint = match address.kind {
        ResourceKind::Bucket => format!("set `name = \"{name}\"` under [bucket]"),
        _ => {
            "names follow the project, the stage and the region: name the project so that they fit"
                .to_owned()
        }
    };
    Err(
        CommandError::usage("The object has another name than the configuration gives it")
            .detail(format!(
                "{address} is `{expected}`; this is `{name}`. Nothing was done."
            ))
            .hint(hint),
    )
}

fn half_way(address: &Address, name: &str) -> String {
    format!(
        "`{name}` may carry this deployment's tag by now, and is not recorded as {address} yet."
    )
}

fn told(
    context: &Context,
    address: &Address,
    name: &str,
    imported: &Imported,
) -> Result<(), CommandError> {
    let from = match imported {
        Imported::Taken { from } => from.as_deref(),
        Imported::Ours => None,
    };
    if context.ui.json() {
        context.ui.print_json(&json!({
            "address": address,
            "id": name,
            "taken_from": from,
            "was_ours": *imported == Imported::Ours,
        }))?;
        return Ok(());
    }
    let how = match (imported, from) {
        (Imported::Ours, _) => " (it was ours already)".to_owned(),
        (_, Some(owner)) => format!(" (it belonged to the deployment {owner})"),
        (_, None) => String::new(),
    };
    context
        .ui
        .print(format_args!("{address}: imported {name}{how}"))
}

impl From<ImportError> for CommandError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Cloud(error) => error.into(),
            ImportError::NotThere(_) => CommandError::error("There is nothing to import")
                .cause(error)
                .hint("look at the name, the account and the region"),
            ImportError::Owned { .. } => CommandError::error("The object belongs to somebody else")
                .cause(error)
                .hint("pass --force to take it from them: their next plan will want to make another one"),
            ImportError::Site(_) => CommandError::usage("A site is not imported").cause(error),
            ImportError::SaveState(cause) => {
                let (kind, hint) = recorded::not_recorded(&cause);
                CommandError::new(kind, "The import could not be recorded")
                    .cause(ImportError::SaveState(cause))
                    .hint(hint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::Ui;

    #[test]
    fn objects_go_by_name_or_arn() {
        let identity = CloudIdentity {
            account: "123456789012".parse().unwrap(),
            region: "eu-central-1".parse().unwrap(),
        };
        let of = |kind, id| name(kind, id, &identity);
        for (kind, id, expected) in [
            (ResourceKind::Bucket, "my-renders", "my-renders"),
            (
                ResourceKind::Bucket,
                "arn:aws:s3:::my-renders",
                "my-renders",
            ),
            (
                ResourceKind::Role,
                "arn:aws:iam::123456789012:role/a/b/worker",
                "worker",
            ),
            (
                ResourceKind::Function,
                "arn:aws:lambda:eu-central-1:123456789012:function:w",
                "w",
            ),
            (
                ResourceKind::LogGroup,
                "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/w:*",
                "/aws/lambda/w",
            ),
        ] {
            assert_eq!(of(kind, id).ok().as_deref(), Some(expected), "{id}");
        }
        for (kind, id, words) in [
            (
                ResourceKind::Role,
                "arn:aws:s3:::my-renders",
                "is not the ARN of a role",
            ),
            (
                ResourceKind::Function,
                "arn:aws:lambda:eu-central-1:123456789012:function:w:3",
                "ARN of a function",
            ),
            (
                ResourceKind::Function,
                "arn:aws:lambda:us-east-1:123456789012:function:w",
                "is not in account",
            ),
            (
                ResourceKind::Role,
                "arn:aws:iam::000000000000:role/worker",
                "is not in account",
            ),
            (ResourceKind::Bucket, "arn:nonsense", "is not an ARN"),
        ] {
            let error = of(kind, id).unwrap_err().render(&Ui::plain());
            assert!(error.contains(words), "{error}");
        }
    }
}
