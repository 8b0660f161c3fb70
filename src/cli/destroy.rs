//! `rmx destroy`: deletes everything that the state records.

use crate::plan::request::{PlanMode, PlanRequest};

use super::apply::{approved, carry_out};
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::lock::{LockOptions, with_lock};
use super::planned::{self, ConsentOptions, GateOptions};
use super::preflight::{PreflightOptions, require_possible};
use super::recorded::state_store;
use super::view;

/// Delete everything that rmx made
///
/// Plans to destroy, shows the plan, asks, and carries it out. Nothing is done as long as the bucket holds objects that rmx
/// did not put there to do its work, or the log group holds logs, unless --delete-data says that they may be lost.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct DestroyArgs {
    /// Do not ask
    #[arg(long)]
    auto_approve: bool,
    #[command(flatten)]
    consent: ConsentOptions,
    #[command(flatten)]
    gate: GateOptions,
    #[command(flatten)]
    preflight: PreflightOptions,
    #[command(flatten)]
    lock: LockOptions,
}

pub(crate) async fn cmd_destroy(
    context: &Context,
    args: &DestroyArgs,
) -> Result<ExitStatus, CommandError> {
    let request = PlanRequest {
        mode: PlanMode::Destroy,
        delete_data: args.consent.delete_data,
        ..PlanRequest::default()
    };
    let config = context.config()?;
    let farm = farm::connect(context, &config).await?;
    let store = state_store(&config, &farm).await?;

    let outcome = with_lock(context, &store, "rmx destroy", &args.lock, async |store| {
        let mut planned =
            planned::make(context, &config, &farm, store.state(), request, None).await?;
        let preflight = args.preflight.check(context, &config, &farm, &mut planned);
        preflight.await;

        view::announce(&context.ui, &planned)?;
        args.gate.require_allowed(&config, &planned)?;
        planned.require_consent(&config)?;
        require_possible(&planned)?;
        if planned.plan.is_empty() {
            return view::applied(&context.ui, &planned, &[], store.state());
        }
        let question = "Do you really want to destroy all resources?";
        if !args.auto_approve && !approved(context, store, question).await? {
            return Ok(ExitStatus::Declined);
        }

        let applied = carry_out(context, &config, &farm, store, &planned, false).await?;
        view::applied(&context.ui, &planned, &applied.done, store.state())
    });
    let outcome = outcome.await;
    farm.shutdown().await;
    outcome
}
