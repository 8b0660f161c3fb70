//! What every verb gets: the surroundings, the user's eyes and ears, and the options all verbs share.

use std::path::{Path, PathBuf};

use crate::config::{self, Config, ConfigError, LoadOptions};
use crate::env::Env;

use super::error::CommandError;
use super::interrupt::Interrupt;
use super::ui::{ColorChoice, Ui};

/// The configuration's name.
pub(crate) const CONFIG_DEFAULT: &str = "remotion.toml";

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
        default_value = CONFIG_DEFAULT,
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
    /// Ctrl-C and SIGTERM.
    pub(crate) interrupt: Interrupt,
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
        Ok(Self {
            env,
            ui,
            global,
            interrupt: Interrupt::default(),
        })
    }

    /// The configuration, for the stage that was asked for.
    ///
    /// # Errors
    /// The file cannot be read or is not valid; every problem of it is told at once.
    pub(crate) fn config(&self) -> Result<Config, CommandError> {
        self.load(false)
    }

    /// As [`Context::config`], and the folders it names are there. Wanted before they are read; a `destroy` does
    /// not care.
    ///
    /// # Errors
    /// As for [`Context::config`].
    pub(crate) fn config_with_folders(&self) -> Result<Config, CommandError> {
        self.load(true)
    }

    fn load(&self, check_folders: bool) -> Result<Config, CommandError> {
        config::load(&self.load_options(check_folders)).map_err(|error| self.config_error(error))
    }

    pub(super) fn load_options(&self, check_folders: bool) -> LoadOptions {
        LoadOptions {
            path: self.path(&self.global.config),
            shown_as: self.global.config.display().to_string(),
            stage: self.global.stage.clone(),
            check_folders,
        }
    }

    /// What to say of a configuration at `path` that could not be read.
    pub(super) fn unreadable_configuration(path: &Path, error: std::io::Error) -> CommandError {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        let unreadable = CommandError::error("Cannot read the configuration")
            .detail(format!("The file is {}.", path.display()))
            .cause(error);
        unreadable.hint(if missing {
            "run `rmx init` to write one, or name another with --config or -C"
        } else {
            "see to it that this user may read the file, or name another with --config or -C"
        })
    }

    /// What to say of a configuration at `path` that could not be written. It is as it was.
    pub(super) fn unwritable_configuration(path: &Path, error: std::io::Error) -> CommandError {
        CommandError::error("Cannot write the configuration")
            .detail(format!("The file is {}.", path.display()))
            .cause(error)
            .hint("see to it that this user may write in its folder and that the disk has room, then run the command again")
    }

    pub(super) fn config_error(&self, error: ConfigError) -> CommandError {
        match error {
            ConfigError::Read { path, error } => Self::unreadable_configuration(&path, error),
            ConfigError::Invalid(problems) => {
                let summary = match problems.count() {
                    1 => "The configuration is not valid".to_owned(),
                    count => format!("The configuration is not valid: {count} problems"),
                };
                let color = self.ui.colors_stderr() && !self.ui.json();
                problems
                    .render(color)
                    .into_iter()
                    .fold(CommandError::error(summary), CommandError::detail)
                    .diagnostics(problems.diagnostics())
            }
        }
    }

    /// `path` as the user means it: relative to the working directory or to `-C`.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.env.working_directory.join(path)
    }
}
