//! `rmx schema`: the JSON Schema of `remotion.toml`, for editors.

use crate::config;

use super::context::Context;
use super::error::{CommandError, CommandErrorKind, ExitStatus};

/// Print the JSON Schema of remotion.toml, for editors
#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {}

pub(crate) fn cmd_schema(
    context: &Context,
    _args: &SchemaArgs,
) -> Result<ExitStatus, CommandError> {
    let text = serde_json::to_string_pretty(&config::schema()).map_err(|error| {
        CommandError::new(CommandErrorKind::Internal, "Cannot write JSON").cause(error)
    })?;
    context.ui.print(text)?;
    Ok(ExitStatus::Success)
}
