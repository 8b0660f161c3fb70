//! `rmx fmt`: the configuration in its one layout.

use crate::config;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::files;

/// Lay out the configuration file; comments stay
#[derive(Debug, clap::Args)]
pub(crate) struct FmtArgs {
    /// Change nothing: name the file and exit with 3 if it is laid out otherwise
    #[arg(long)]
    check: bool,
}

pub(crate) fn cmd_fmt(context: &Context, args: &FmtArgs) -> Result<ExitStatus, CommandError> {
    let options = context.load_options(false);
    let path = &options.path;
    let text = std::fs::read_to_string(path).map_err(|error| {
        context.config_error(config::ConfigError::Read {
            path: path.clone(),
            error,
        })
    })?;
    let laid_out = config::format(&text, &options).map_err(|error| context.config_error(error))?;
    if laid_out == text {
        return Ok(ExitStatus::Success);
    }
    // Like Terraform's: the names of files that are, or would be, changed are the data.
    context.ui.print(&options.shown_as)?;
    if args.check {
        return Ok(ExitStatus::FormatDiffers);
    }
    files::replace(path, laid_out.as_bytes())
        .map_err(|error| Context::unwritable_configuration(path, error))?;
    Ok(ExitStatus::Success)
}
