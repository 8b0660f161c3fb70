//! What every verb gets: the surroundings, the user's eyes and ears, and the options all verbs share.

use std::path::{Path, PathBuf};

use crate::env::Env;

use super::error::CommandError;
use super::ui::{ColorChoice, Ui};

/// Options every verb takes.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct GlobalOptions {
    /// Run as if rmx had been started in this folder
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,
    /// The configuration file
    #[arg(
        long = "config",
        value_name = "FILE",
        default_value = "remotion.toml",
        global = true
    )]
    pub(crate) config: PathBuf,
    /// Use the overlay `[stage.NAME]` of the configuration
    #[arg(long = "stage", value_name = "NAME", global = true)]
    pub(crate) stage: Option<String>,
    /// When to use colours; NO_COLOR turns them off as well
    #[arg(
        long = "color",
        value_name = "WHEN",
        value_enum,
        default_value_t = ColorChoice::Auto,
        global = true
    )]
    pub(crate) color: ColorChoice,
    /// Write JSON for programs instead of text for people
    #[arg(long = "json", global = true)]
    pub(crate) json: bool,
}

/// What every verb gets.
#[derive(Debug, Clone)]
pub(crate) struct Context {
    /// The surroundings; `working_directory` already is what `-C` says.
    pub(crate) env: Env,
    /// Where to print.
    pub(crate) ui: Ui,
    /// The options all verbs share.
    pub(crate) global: GlobalOptions,
}

impl Context {
    pub(super) fn new(mut env: Env, ui: Ui, global: GlobalOptions) -> Result<Self, CommandError> {
        if let Some(directory) = &global.directory {
            env.working_directory = env.working_directory.join(directory);
            if !env.working_directory.is_dir() {
                return Err(CommandError::usage("The folder given by -C does not exist")
                    .detail(format!("`{}` is not a folder.", directory.display())));
            }
        }
        Ok(Self { env, ui, global })
    }

    /// `path` as the user means it: relative to the working directory or to `-C`.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.env.working_directory.join(path)
    }
}
