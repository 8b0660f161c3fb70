//! `rmx state migrate`: the state goes to where the configuration says.

use serde_json::json;

use crate::cloud::{Cloud, Connection};
use crate::config::StateConfig;
use crate::names::Region;
use crate::state::{Holder, LeaseTerms, Migration, S3Location, StateError, StateStore};

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::super::farm::{self, Farm};
use super::super::recorded::{local_store, state_store};

pub(super) async fn migrate(
    context: &Context,
    from: Option<&str>,
    from_region: Option<&Region>,
) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    let local = local_store(&config);
    let remote_url = match (&config.state, from) {
        (StateConfig::S3 { .. }, None) => None,
        (StateConfig::S3 { .. }, Some(_)) => {
            return Err(CommandError::usage("--from is for the way to this machine")
                .detail("The configuration says that the state is to be kept in S3, so it is taken from here.")
                .hint("to move it from one bucket to another, bring it here first"));
        }
        (StateConfig::Local, Some(url)) => Some(url.to_owned()),
        (StateConfig::Local, None) => match local.moved_to()? {
            Some(url) => Some(url),
            // A run that was cut off may have come to its end.
            None if local.load().await?.is_some() => {
                let place = local.place();
                tell(context, &Migration::AlreadyThere, &place, &place)?;
                context.ui.say(
                    "Nothing here says that there is another one. If there is, name it, and the two are compared: --from s3://BUCKET/KEY",
                );
                return Ok(ExitStatus::Success);
            }
            None => {
                return Err(CommandError::usage("Nothing here says where the state is")
                    .detail(format!("There is no signpost in {}.", local.place()))
                    .hint("name the object it is in: --from s3://BUCKET/KEY"));
            }
        },
    };
    let farm = farm::connect(context, &config).await?;
    let (source, target) = match &remote_url {
        None => (local, state_store(&config, &farm).await?),
        Some(url) => (in_s3(local.clone(), url, from_region, &farm).await?, local),
    };
    let holder = Holder::new(&context.env, "rmx state migrate");
    let interrupt = &context.interrupt;
    let moving = target.migrate_from(&source, &holder);
    let moved = interrupt.to_the_end(moving).await;
    farm.shutdown().await;
    let moved = moved.map_err(|error| match (&config.state, &error) {
        // The lock is where the state was, and not where the configuration says by now.
        (StateConfig::Local, StateError::Locked { holder: Some(holder), expires: Some(_), .. }) => {
            let hint = format!(
                "wait until it is done. If it is gone, its lock runs out by itself; to remove it before, put the `backend` back under [state], run \
                 `rmx state unlock {}`, and take it out again",
                holder.id
            );
            CommandError::from(error).hint(hint)
        }
        _ => error.into(),
    })?;
    tell(context, &moved, &source.place(), &target.place())?;
    Ok(ExitStatus::Success)
}

fn tell(
    context: &Context,
    migration: &Migration,
    from: &str,
    to: &str,
) -> Result<(), CommandError> {
    let ui = &context.ui;
    match migration {
        Migration::Moved { serial } if ui.json() => {
            ui.print_json(&json!({ "moved": true, "from": from, "to": to, "serial": serial }))
        }
        Migration::AlreadyThere if ui.json() => ui.print_json(&json!({ "moved": false, "to": to })),
        Migration::Moved { serial } => ui.print(format_args!(
            "Moved the state (serial {serial}) from {from} to {to}"
        )),
        Migration::AlreadyThere => ui.print(format_args!("The state is in {to} already.")),
    }
}

/// `store` in the object that `url` names.
async fn in_s3(
    store: StateStore,
    url: &str,
    region: Option<&Region>,
    farm: &Farm,
) -> Result<StateStore, CommandError> {
    let parts = url
        .strip_prefix("s3://")
        .and_then(|rest| rest.split_once('/'))
        .and_then(|(bucket, key)| Some((bucket.parse().ok()?, key)));
    let Some((bucket, key)) = parts.filter(|(_, key)| !key.is_empty()) else {
        return Err(CommandError::usage("That is no object of S3")
            .detail(format!("`{url}` is not of the form s3://BUCKET/KEY.")));
    };
    let connection = Connection {
        region: region.unwrap_or(&farm.identity.region).clone(),
        ..farm.connection.clone()
    };
    let location = S3Location {
        cloud: Cloud::connect(&connection).await,
        bucket,
        key: key.to_owned(),
    };
    Ok(store.in_s3(location, LeaseTerms::default()))
}
