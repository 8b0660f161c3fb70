//! `rmx state`: single entries of what is recorded.

use crate::resource::Address;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::recorded::state_store;
use super::view;

/// Look at single entries of the state
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct StateArgs {
    #[command(subcommand)]
    verb: StateVerb,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum StateVerb {
    /// The addresses of all that is recorded, one a line
    List,
    /// One entry
    Show {
        /// Its address, for example function.worker
        address: Address,
    },
}

pub(crate) fn cmd_state(context: &Context, args: &StateArgs) -> Result<ExitStatus, CommandError> {
    let state = state_store(&context.config()?).load()?;
    let records = state.map(|state| state.records).unwrap_or_default();
    match &args.verb {
        StateVerb::List if context.ui.json() => {
            context.ui.print_json(&records.keys().collect::<Vec<_>>())?;
        }
        StateVerb::List => {
            for address in records.keys() {
                context.ui.print(address)?;
            }
        }
        StateVerb::Show { address } => {
            let Some(record) = records.get(address) else {
                return Err(CommandError::error("The state does not record that")
                    .detail(format!("There is no `{address}` in it."))
                    .hint("`rmx state list` names what it records"));
            };
            if context.ui.json() {
                context.ui.print_json(&view::record_json(address, record))?;
            } else {
                context.ui.print_raw(&view::record_text(address, record))?;
            }
        }
    }
    Ok(ExitStatus::Success)
}
