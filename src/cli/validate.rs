//! `rmx validate`: everything that can be told about a configuration without a network.

use serde_json::{Value, json};

use crate::config::{self, ConfigError};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::ui::Style;

/// Check the configuration and the folders it names, without a network
#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {}

pub(crate) fn cmd_validate(
    context: &Context,
    _args: &ValidateArgs,
) -> Result<ExitStatus, CommandError> {
    let ui = &context.ui;
    match config::load(&context.load_options(true)) {
        Ok(_) if ui.json() => {
            ui.print_json(&report(&[]))?;
            Ok(ExitStatus::Success)
        }
        Ok(_) => {
            let success = ui.paint(Style::Green, "Success!");
            ui.print(format_args!("{success} The configuration is valid."))?;
            Ok(ExitStatus::Success)
        }
        Err(ConfigError::Invalid(problems)) if ui.json() => {
            ui.print_json(&report(&problems.diagnostics()))?;
            Ok(ExitStatus::Invalid)
        }
        Err(error) => Err(context.config_error(error)),
    }
}

/// The shape of `terraform validate -json`.
fn report(diagnostics: &[Value]) -> Value {
    json!({
        "format_version": "1.0",
        "valid": diagnostics.is_empty(),
        "error_count": diagnostics.len(),
        "warning_count": 0,
        "diagnostics": diagnostics,
    })
}
