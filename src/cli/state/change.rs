//! `rmx state rm`, `mv`, `push`: what is recorded is put right, the cloud is left as it is.

use std::io::Read as _;
use std::path::Path;

use serde_json::json;

use crate::config::{Config, LogsConfig, RoleConfig};
use crate::resource::{Address, ResourceKind};
use crate::state::{State, StateError};

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::super::lock::{LockOptions, with_lock};
use super::super::recorded::Recorded;
use super::not_recorded;

pub(super) async fn remove(
    context: &Context,
    addresses: &[Address],
) -> Result<ExitStatus, CommandError> {
    let recorded = Recorded::open(context, &context.config()?).await?;
    let at_once = LockOptions::default();
    let removed = with_lock(
        context,
        &recorded.store,
        "rmx state rm",
        &at_once,
        async |store| {
            let mut state = store.state().clone();
            for address in addresses {
                if state.records.remove(address).is_none() {
                    return Err(not_recorded(address));
                }
            }
            let forgotten = no_longer_protected(store.state(), &state);
            store.save(&mut state).await?;
            Ok((state.serial, forgotten))
        },
    );
    let removed = removed.await;
    recorded.close().await;
    let (serial, forgotten) = removed?;
    warn_of_forgotten_protection(context, &forgotten);
    if context.ui.json() {
        let told =
            json!({ "removed": addresses, "protection_forgotten": forgotten, "serial": serial });
        context.ui.print_json(&told)?;
    } else {
        for address in addresses {
            context.ui.print(format_args!("Removed {address}"))?;
        }
    }
    Ok(ExitStatus::Success)
}

/// What `before` records as protected, and `after` does not.
fn no_longer_protected(before: &State, after: &State) -> Vec<Address> {
    let protects = |state: &State, address: &Address| {
        let record = state.records.get(address);
        record.is_some_and(|record| record.protect)
    };
    let all = before.records.keys();
    all.filter(|address| protects(before, address) && !protects(after, address))
        .cloned()
        .collect()
}

fn warn_of_forgotten_protection(context: &Context, addresses: &[Address]) {
    for address in addresses {
        context.ui.warn(format_args!(
            "{address} was protected, and the state does not say so any more. `protect = true` in the configuration and an apply \
             put it back."
        ));
    }
}

pub(super) async fn rename(
    context: &Context,
    from: &Address,
    to: &Address,
) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    check_rename(&config, from, to)?;
    let recorded = Recorded::open(context, &config).await?;
    let at_once = LockOptions::default();
    let moved = with_lock(
        context,
        &recorded.store,
        "rmx state mv",
        &at_once,
        async |store| {
            let mut state = store.state().clone();
            let record = state
                .records
                .remove(from)
                .ok_or_else(|| not_recorded(from))?;
            if state.records.contains_key(to) {
                return Err(CommandError::error("The new address is taken")
                    .detail(format!("The state records a `{to}` already."))
                    .hint(format!("`rmx state rm {to}` forgets that one")));
            }
            state.records.insert(to.clone(), record);
            store.save(&mut state).await?;
            Ok(state.serial)
        },
    );
    let moved = moved.await;
    recorded.close().await;
    let serial = moved?;
    if context.ui.json() {
        let told = json!({ "moved": { "from": from, "to": to }, "serial": serial });
        context.ui.print_json(&told)?;
    } else {
        context.ui.print(format_args!("Moved {from} to {to}"))?;
    }
    Ok(ExitStatus::Success)
}

/// Two addresses for one object would let the next plan delete what it has just adopted.
fn check_rename(config: &Config, from: &Address, to: &Address) -> Result<(), CommandError> {
    if from.kind != to.kind {
        return Err(
            CommandError::usage("An entry cannot become another kind").detail(format!(
                "`{from}` is a {}, `{to}` a {}.",
                from.kind, to.kind
            )),
        );
    }
    if declares(config, from) {
        return Err(
            CommandError::error("The configuration still declares the old address").detail(
                format!("`{from}` is in it: the next plan would adopt what the entry stands for a second time."),
            )
            .hint("rename it in the configuration first"),
        );
    }
    if !declares(config, to) {
        return Err(
            CommandError::error("The configuration does not declare the new address")
                .detail(format!(
                    "`{to}` is not in it: the next plan would delete what the entry stands for."
                ))
                .hint("declare it in the configuration first"),
        );
    }
    Ok(())
}

/// Whether `config` wants something of that address.
fn declares(config: &Config, address: &Address) -> bool {
    let name = address.name.as_str();
    match address.kind {
        ResourceKind::LogGroup => {
            name == "main" && matches!(config.logs, LogsConfig::Managed { .. })
        }
        ResourceKind::Role => name == "main" && matches!(config.role, RoleConfig::Managed { .. }),
        ResourceKind::Bucket => name == "main",
        ResourceKind::Function => (1..=config.function.replicas).any(|number| match number {
            1 => name == "worker",
            _ => name == format!("worker-{number}"),
        }),
        ResourceKind::Site => config.sites.iter().any(|site| site.name.as_str() == name),
    }
}

/// A file that is no state. The one that is recorded is untouched, so none of its backups is asked for.
fn unusable(error: StateError) -> CommandError {
    let broken = matches!(
        error,
        StateError::Damaged { .. } | StateError::Edited { .. }
    );
    match broken {
        true => CommandError::error("The file is not a whole state")
            .cause(error)
            .hint("push a file as `rmx state pull` or a backup gives it; the recorded state is as it was"),
        false => error.into(),
    }
}

pub(super) async fn push(
    context: &Context,
    file: &Path,
    force: bool,
) -> Result<ExitStatus, CommandError> {
    let unreadable = |error: std::io::Error| {
        CommandError::error("Cannot read the file")
            .detail(format!("The file is {}.", file.display()))
            .cause(error)
            .hint("`rmx state pull > FILE` writes one")
    };
    let mut bytes = Vec::new();
    match file.as_os_str() == "-" {
        true => std::io::stdin().lock().read_to_end(&mut bytes).map(drop),
        false => std::fs::read(context.path(file)).map(|read| bytes = read),
    }
    .map_err(unreadable)?;
    let recorded = Recorded::open(context, &context.config()?).await?;
    let pushed = async {
        let given = recorded.store.parse(&bytes, &file.display().to_string());
        let given = given.map_err(unusable)?;
        let at_once = LockOptions::default();
        with_lock(
            context,
            &recorded.store,
            "rmx state push",
            &at_once,
            async |store| {
                let forgotten = no_longer_protected(store.state(), &given);
                store.push(given, force).await?;
                Ok((store.state().serial, forgotten))
            },
        )
        .await
    };
    let pushed: Result<(u64, Vec<Address>), CommandError> = pushed.await;
    recorded.close().await;
    let (serial, forgotten) = pushed?;
    warn_of_forgotten_protection(context, &forgotten);
    if context.ui.json() {
        let told = json!({ "serial": serial, "protection_forgotten": forgotten });
        context.ui.print_json(&told)?;
    } else {
        context
            .ui
            .print(format_args!("The state has serial {serial} now."))?;
    }
    Ok(ExitStatus::Success)
}
