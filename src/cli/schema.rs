//! `rmx schema`: JSON Schemas, for editors and for programs that read what rmx writes.

use crate::config;

use super::context::Context;
use super::error::{CommandError, CommandErrorKind, ExitStatus};

/// Print a JSON Schema: of remotion.toml for editors, of what rmx writes for programs
#[derive(Debug, clap::Args)]
pub(crate) struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value_t = Subject::Config)]
    of: Subject,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Subject {
    /// remotion.toml.
    Config,
    /// What `rmx plan --format json` and `rmx show --json PLANFILE` write.
    Plan,
    /// What `rmx show --json` writes; the state's own file (`rmx state pull`) is described in docs/STATE.md.
    State,
    /// A line of what `rmx apply --json` and `rmx destroy --json` write.
    Events,
}

pub(crate) fn cmd_schema(context: &Context, args: &SchemaArgs) -> Result<ExitStatus, CommandError> {
    match args.of {
        Subject::Config => {
            let text = serde_json::to_string_pretty(&config::schema()).map_err(|error| {
                CommandError::new(CommandErrorKind::Internal, "Cannot write JSON").cause(error)
            })?;
            context.ui.print(text)?;
        }
        Subject::Plan => context.ui.print_raw(include_str!("schemas/plan.json"))?,
        Subject::State => context.ui.print_raw(include_str!("schemas/state.json"))?,
        Subject::Events => context.ui.print_raw(include_str!("schemas/events.json"))?,
    }
    Ok(ExitStatus::Success)
}
