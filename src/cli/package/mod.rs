//! `rmx package`: the function package, built by a recipe, shown and verified.

mod build;
mod error;
mod table;
mod verify;

use std::path::PathBuf;

use super::context::Context;
use super::error::{CommandError, ExitStatus};

/// Build and check what the function runs on AWS: worker, Chromium, ffmpeg and fonts
#[derive(Debug, clap::Args)]
pub(crate) struct PackageArgs {
    #[command(subcommand)]
    verb: PackageVerb,
}

#[derive(Debug, clap::Subcommand)]
enum PackageVerb {
    Build(build::BuildArgs),
    /// What a package is made of, how large each part is, and what could be left out
    Show {
        /// The package's folder
        folder: PathBuf,
    },
    /// Check every file of a package: its digest, the machine it is for, the glibc and the libraries it needs
    ///
    /// Lambda's system is Amazon Linux 2023 with glibc 2.34. What a package does not bring and that system does not have is missing.
    Verify {
        /// The package's folder
        folder: PathBuf,
    },
}

pub(crate) async fn cmd_package(
    context: &Context,
    args: &PackageArgs,
) -> Result<ExitStatus, CommandError> {
    match &args.verb {
        PackageVerb::Build(args) => build::cmd_build(context, args).await,
        PackageVerb::Show { folder } => table::cmd_show(context, &context.path(folder)),
        PackageVerb::Verify { folder } => verify::cmd_verify(context, &context.path(folder)),
    }
}
