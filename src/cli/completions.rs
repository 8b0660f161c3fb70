//! `rmx completions`: the shell's completion script on standard output.

use super::context::Context;
use super::error::{CommandError, ExitStatus};

/// Write a completion script for a shell to standard output
#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

pub(crate) fn cmd_completions(
    context: &Context,
    args: &CompletionsArgs,
) -> Result<ExitStatus, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut super::command(), "rmx", &mut script);
    context.ui.print_raw(&String::from_utf8_lossy(&script))?;
    Ok(ExitStatus::Success)
}
