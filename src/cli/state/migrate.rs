//! `rmx state migrate`: the state goes to where the configuration says.

use serde_json::json;

use crate::cloud::{Cloud, Connection};
use crate::config::StateConfig;
use crate::names::Region;
use crate::state::{Holder, LeaseTerms, Migration, S3Location, StateStore};

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
        (StateConfig::Local, None) => Some(local.moved_to()?.ok_or_else(|| {
            CommandError::usage("Nothing here says where the state is")
                .detail(format!("There is no signpost in {}.", local.place()))
                .hint("name the object it is in: --from s3://BUCKET/KEY")
        })?),
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
    let (from, to) = (source.place(), target.place());
    match moved? {
        Migration::Moved { serial } if context.ui.json() => {
            let told = json!({ "moved": true, "from": from, "to": to, "serial": serial });
            context.ui.print_json(&told)?;
        }
        Migration::AlreadyThere if context.ui.json() => {
            context
                .ui
                .print_json(&json!({ "moved": false, "to": to }))?;
        }
        Migration::Moved { serial } => {
            let told = format_args!("Moved the state (serial {serial}) from {from} to {to}");
            context.ui.print(told)?;
        }
        Migration::AlreadyThere => {
            context
                .ui
                .print(format_args!("The state is in {to} already."))?;
        }
    }
    Ok(ExitStatus::Success)
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
