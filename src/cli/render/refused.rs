//! Options of the official tool that rmx does not have: known, so that they are refused by name and never ignored.

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::cli::error::CommandError;

/// Options that were given although rmx does not have them.
#[derive(Debug, Clone, Default)]
pub(crate) struct RefusedOptions(Vec<&'static str>);

const NOT_YET: &str = "rmx does not do this yet";
const IN_CONFIG: &str = "it is a key of remotion.toml";
const DEPLOYED: &str = "rmx uses the function and the bucket that `rmx apply` deployed";
const PRIVATE: &str = "the bucket is private, and the file goes to this machine";

/// The options, each with the reason.
const REFUSED: &[(&str, &str)] = &[
    ("region", IN_CONFIG),
    ("function-name", DEPLOYED),
    ("renderer-function-name", DEPLOYED),
    ("force-bucket-name", DEPLOYED),
    ("privacy", PRIVATE),
    (
        "out-name",
        "OUT is the file; with --detach its name is that of the object in the bucket",
    ),
    (
        "delete-after",
        "`[bucket] expire_renders_days` in remotion.toml says how long renders are kept",
    ),
    ("storage-class", NOT_YET),
    (
        "enable-cancellation",
        "Ctrl-C cancels a render, and `rmx renders cancel` one that was detached, always",
    ),
    ("concurrency-per-lambda", NOT_YET),
    ("prefer-lossless", "use --crf 0 and --audio-codec pcm-16"),
    ("webhook", NOT_YET),
    ("webhook-secret", NOT_YET),
    ("webhook-custom-data", NOT_YET),
    ("s3-output-provider-endpoint", NOT_YET),
    ("s3-output-provider-region", NOT_YET),
    ("s3-output-provider-force-path-style", NOT_YET),
    ("force-path-style", NOT_YET),
    ("browser-executable", NOT_YET),
    ("disable-headless", NOT_YET),
    ("gl", NOT_YET),
    ("enable-multiprocess-on-linux", NOT_YET),
    ("media-cache-size-in-bytes", NOT_YET),
    ("offthreadvideo-cache-size-in-bytes", NOT_YET),
    ("offthreadvideo-video-threads", NOT_YET),
    ("port", NOT_YET),
    ("license-key", NOT_YET),
    ("is-production", NOT_YET),
    ("binaries-directory", NOT_YET),
];

impl RefusedOptions {
    /// An error that names what was given, if anything was.
    pub(crate) fn check(&self) -> Result<(), CommandError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let error = CommandError::usage("An option of Remotion's is not one of rmx's");
        let error = self.0.iter().fold(error, |error, name| {
            let reason = REFUSED.iter().find(|(known, _)| known == name);
            let reason = reason.map_or(NOT_YET, |(_, reason)| reason);
            error.detail(format!("--{name}: {reason}."))
        });
        Err(error.hint("leave it out"))
    }
}

impl clap::FromArgMatches for RefusedOptions {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut refused = Self::default();
        refused.update_from_arg_matches(matches)?;
        Ok(refused)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0 = REFUSED
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| matches.contains_id(name))
            .collect();
        Ok(())
    }
}

impl clap::Args for RefusedOptions {
    fn augment_args(command: Command) -> Command {
        command.args(REFUSED.iter().map(|(name, _)| {
            Arg::new(*name)
                .long(*name)
                .num_args(0..=1)
                .action(ArgAction::Append)
                .hide(true)
        }))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}
