//! `rmx show`: what is recorded, or what a saved plan would do.

use std::path::{Path, PathBuf};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::plan::Format;
use super::recorded::recorded_state;
use super::saved_plan;
use super::view;

/// Show what the state records, or a saved plan
///
/// Reads the file alone; `rmx plan` compares the state with the cloud. `--json` writes the shape of
/// `terraform show -json`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ShowArgs {
    /// A saved plan, which `rmx plan --out` wrote
    #[arg(value_name = "PLANFILE")]
    plan_file: Option<PathBuf>,
    /// How the saved plan is written; `--json` means `--format json`
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Text)]
    #[arg(requires = "plan_file")]
    format: Format,
}

pub(crate) async fn cmd_show(
    context: &Context,
    args: &ShowArgs,
) -> Result<ExitStatus, CommandError> {
    if let Some(path) = &args.plan_file {
        return show_plan(context, path, args.format);
    }
    let state = recorded_state(context, &context.config()?).await?;
    if context.ui.json() {
        context.ui.print_json(&view::state_json(state.as_ref()))?;
    } else {
        context.ui.print_raw(&view::state_text(state.as_ref()))?;
    }
    Ok(ExitStatus::Success)
}

fn show_plan(context: &Context, path: &Path, format: Format) -> Result<ExitStatus, CommandError> {
    let saved = saved_plan::load(context, path)?;
    let ui = &context.ui;
    match format {
        Format::Json => ui.print_json(&view::plan_json(&saved))?,
        Format::Text if ui.json() => ui.print_json(&view::plan_json(&saved))?,
        Format::Text => ui.print_raw(&view::saved_plan_text(&saved, ui))?,
        Format::Markdown => ui.print_raw(&view::plan_markdown(&saved))?,
    }
    Ok(ExitStatus::Success)
}
