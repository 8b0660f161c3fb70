//! `rmx state`: the state itself, and single entries of it.

mod bucket;
mod change;
mod migrate;
mod unlock;

use std::path::PathBuf;

use crate::names::Region;
use crate::resource::Address;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::recorded::{Recorded, recorded_state};
use super::view;

/// Look at the state, and put it right by hand
///
/// None of these touches the farm in the cloud. What changes the state takes its lock and leaves a backup.
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
    /// Forget entries; what they stand for stays in the cloud
    ///
    /// If the configuration still declares it, the next plan adopts it again; if not, nobody owns it any more.
    Rm {
        /// Their addresses
        #[arg(required = true, value_name = "ADDRESS")]
        addresses: Vec<Address>,
    },
    /// Give an entry another address
    ///
    /// For a site that has got another name in the configuration, or a function that has got another number. As names
    /// in AWS are derived from addresses, the next plan replaces what the entry stands for.
    Mv {
        /// Its address
        from: Address,
        /// Its new one; nothing may be recorded there
        to: Address,
    },
    /// Print the state's file
    Pull,
    /// Replace the state with a file that `pull` printed, or a backup
    ///
    /// Refused if it is damaged, of another project or stage, of another deployment (lineage), or older than what is
    /// recorded; the last two can be forced.
    Push {
        /// The file; `-` is standard input
        file: PathBuf,
        /// Replace another deployment's state, or a newer one
        #[arg(long)]
        force: bool,
    },
    /// Remove a lock whose holder is gone
    ///
    /// A lock in S3 is removed; whoever held it can save nothing any more once somebody else has taken it. A lock on
    /// this machine is the kernel's: it ends with its process and cannot be removed before.
    Unlock {
        /// The lock's id, which the error of a locked state names
        id: String,
        /// Do not ask
        #[arg(long)]
        force: bool,
    },
    /// Move the state to where [state] says
    ///
    /// From this machine to S3, or back. The old place keeps a signpost, so nobody goes on there by mistake. Killed at any
    /// point, the same command finishes it.
    Migrate {
        /// Where it is now, if that is an object of S3 that nothing here names: s3://BUCKET/KEY
        #[arg(long, value_name = "URL")]
        from: Option<String>,
        /// The region of that object's bucket, if it is not the project's
        #[arg(long, value_name = "REGION")]
        from_region: Option<Region>,
    },
    /// Make the bucket that [state] names: private, in its region
    CreateBucket,
}

pub(crate) async fn cmd_state(
    context: &Context,
    args: &StateArgs,
) -> Result<ExitStatus, CommandError> {
    match &args.verb {
        StateVerb::List => list(context).await,
        StateVerb::Show { address } => show(context, address).await,
        StateVerb::Rm { addresses } => change::remove(context, addresses).await,
        StateVerb::Mv { from, to } => change::rename(context, from, to).await,
        StateVerb::Pull => pull(context).await,
        StateVerb::Push { file, force } => change::push(context, file, *force).await,
        StateVerb::Unlock { id, force } => unlock::unlock(context, id, *force).await,
        StateVerb::Migrate { from, from_region } => {
            migrate::migrate(context, from.as_deref(), from_region.as_ref()).await
        }
        StateVerb::CreateBucket => bucket::create(context).await,
    }
}

async fn list(context: &Context) -> Result<ExitStatus, CommandError> {
    let state = recorded_state(context, &context.config()?).await?;
    let records = state.map(|state| state.records).unwrap_or_default();
    if context.ui.json() {
        context.ui.print_json(&records.keys().collect::<Vec<_>>())?;
    } else {
        for address in records.keys() {
            context.ui.print(address)?;
        }
    }
    Ok(ExitStatus::Success)
}

async fn show(context: &Context, address: &Address) -> Result<ExitStatus, CommandError> {
    let state = recorded_state(context, &context.config()?).await?;
    let records = state.map(|state| state.records).unwrap_or_default();
    let record = records.get(address).ok_or_else(|| not_recorded(address))?;
    if context.ui.json() {
        context.ui.print_json(&view::record_json(address, record))?;
    } else {
        context.ui.print_raw(&view::record_text(address, record))?;
    }
    Ok(ExitStatus::Success)
}

/// Prints the file as it is: what is wrong with it is not `pull`'s to judge.
async fn pull(context: &Context) -> Result<ExitStatus, CommandError> {
    let recorded = Recorded::open(context, &context.config()?).await?;
    let bytes = recorded.store.bytes().await;
    let place = recorded.store.place();
    recorded.close().await;
    let Some(bytes) = bytes? else {
        return Err(CommandError::error("There is no state yet")
            .detail(format!("It would be in {place}."))
            .hint("`rmx apply` begins one"));
    };
    context.ui.print_raw(&String::from_utf8_lossy(&bytes))?;
    Ok(ExitStatus::Success)
}

fn not_recorded(address: &Address) -> CommandError {
    CommandError::error("The state does not record that")
        .detail(format!("There is no `{address}` in it."))
        .hint("`rmx state list` names what it records")
}
