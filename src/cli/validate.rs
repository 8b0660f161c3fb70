//! `rmx validate`: everything that can be told about a configuration without a network.

use serde_json::{Value, json};

use crate::bundle::{BundleError, FunctionPackage};
use crate::config::{self, Config, ConfigError, WorkerKind};

use super::bundled::{hint, package_source, wrong_machine};
use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::ui::{Style, Ui};

/// Check the configuration and the folders it names, without a network
#[derive(Debug, clap::Args)]
pub(crate) struct ValidateArgs {}

pub(crate) fn cmd_validate(
    context: &Context,
    _args: &ValidateArgs,
) -> Result<ExitStatus, CommandError> {
    let ui = &context.ui;
    match config::load(&context.load_options(true)) {
        Ok(config) => match checked_package(context, &config) {
            Ok(()) => valid(ui),
            Err(error) if ui.json() => {
                ui.print_json(&report(&[diagnostic(&error)]))?;
                Ok(ExitStatus::Invalid)
            }
            Err(error) => Err(error.into()),
        },
        Err(ConfigError::Invalid(problems)) if ui.json() => {
            ui.print_json(&report(&problems.diagnostics()))?;
            Ok(ExitStatus::Invalid)
        }
        Err(error) => Err(context.config_error(error)),
    }
}

/// A package that is named must be for the function's machine, Remotion's of the version that the function is to claim. The worker
/// beside rmx is looked at when it is packed.
fn checked_package(context: &Context, config: &Config) -> Result<(), BundleError> {
    let function = &config.function;
    if function.worker == WorkerKind::Remotion {
        let version = &function.remotion_version;
        return FunctionPackage::find_remotion(&config.directory, version).map(drop);
    }
    if function.package.is_none() {
        return Ok(());
    }
    let architecture = config.function.architecture.as_str();
    package_source(context, config).check_machine(architecture)
}

fn diagnostic(error: &BundleError) -> Value {
    let (summary, help) = match error {
        BundleError::WrongMachine { found, wanted, .. } => wrong_machine(found, wanted),
        BundleError::NoRemotion(_) | BundleError::RemotionVersion { .. } => (
            "Remotion's function is not there as configured".to_owned(),
            hint(error),
        ),
        _ => (
            "The function's package cannot be read".to_owned(),
            "mend what is named above".to_owned(),
        ),
    };
    json!({
        "severity": "error",
        "summary": summary,
        "detail": error.to_string(),
        "help": help,
    })
}

fn valid(ui: &Ui) -> Result<ExitStatus, CommandError> {
    if ui.json() {
        ui.print_json(&report(&[]))?;
    } else {
        let success = ui.paint(Style::Green, "Success!");
        ui.print(format_args!("{success} The configuration is valid."))?;
    }
    Ok(ExitStatus::Success)
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
