//! `rmx show`: what is recorded.

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::recorded::state_store;
use super::view;

/// Show what the state records
///
/// Reads the state's file alone; `rmx plan` compares it with the cloud. `--json` writes the shape of
/// `terraform show -json`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ShowArgs {
    /// A saved plan (not there yet)
    #[arg(value_name = "PLANFILE", hide = true)]
    plan_file: Option<std::path::PathBuf>,
}

pub(crate) fn cmd_show(context: &Context, args: &ShowArgs) -> Result<ExitStatus, CommandError> {
    if args.plan_file.is_some() {
        return Err(CommandError::usage("Showing a saved plan is not there yet")
            .hint("leave the file out to see the state"));
    }
    let state = state_store(&context.config()?).load()?;
    if context.ui.json() {
        context.ui.print_json(&view::state_json(state.as_ref()))?;
    } else {
        context.ui.print_raw(&view::state_text(state.as_ref()))?;
    }
    Ok(ExitStatus::Success)
}
