//! `rmx destroy`: deletes everything that the state records.

use std::collections::BTreeMap;

use crate::apply::Artefacts;
use crate::plan::change::Desired;
use crate::state::Holder;

use super::apply::{Work, approved, carry_out};
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::plan::observe_and_plan;
use super::recorded::state_store;
use super::view;

/// Delete everything that rmx made
///
/// Plans to destroy, shows the plan, asks, and carries it out. A bucket that still holds renders is not deleted
/// unless `force_destroy` is set under [bucket].
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DestroyArgs {
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
}

pub(crate) async fn cmd_destroy(
    context: &Context,
    args: &DestroyArgs,
) -> Result<ExitStatus, CommandError> {
    let config = context.config()?;
    let farm = farm::connect(context, &config).await?;
    let mut store = state_store(&config).lock(&Holder::new(&context.env, "rmx destroy"))?;
    let plan = observe_and_plan(&farm, &Desired::default(), store.state()).await?;

    view::announce(&context.ui, &plan, true)?;
    if plan.is_empty() {
        farm.shutdown().await;
        return view::applied(&context.ui, &[], store.state(), true);
    }
    let question = "Do you really want to destroy all resources?";
    if !approved(context, args.auto_approve, question).await? {
        return Ok(ExitStatus::Declined);
    }

    let (artefacts, secrets) = (Artefacts::default(), BTreeMap::new());
    let work = Work {
        plan: &plan,
        artefacts: &artefacts,
        secrets: &secrets,
    };
    let applied = carry_out(context, &config, &farm, &mut store, work).await?;
    farm.shutdown().await;
    view::applied(&context.ui, &applied.done, store.state(), true)
}
