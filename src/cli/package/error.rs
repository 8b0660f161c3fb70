//! What helps when a function package cannot be built.

use crate::bundle::package::PackageError;

use super::super::error::CommandError;
use super::table::too_large;

/// What clients say of a full disk: npm, and whoever tells the system's own words.
const NO_SPACE: [&str; 2] = ["ENOSPC", "o space left on device"];

const FULL_CACHE: &str = "look at the cache, ~/.cache/rmx/components: is there room on its disk? What was fetched before stays in it";

/// Headings, by what was asked for.
pub(super) const NOT_BUILT: &str = "Cannot build the function package";
pub(super) const NOT_SHOWN: &str = "Cannot show the function package";
pub(super) const NOT_VERIFIED: &str = "Cannot verify the function package";

/// What went wrong under `heading`, where the error itself has none.
pub(super) fn told_under(heading: &'static str) -> impl Fn(PackageError) -> CommandError {
    move |error| {
        let hint = match &error {
            PackageError::Bundle(_) => {
                let PackageError::Bundle(error) = error else {
                    unreachable!("it was matched");
                };
                return error.into();
            }
            PackageError::TooLarge(manifest) => return too_large(manifest),
            PackageError::Recipe { .. } => "mend the recipe; docs/aws.md shows one".to_owned(),
            PackageError::NoComponent { .. } => "name one of these".to_owned(),
            PackageError::Offline { .. } => "run it once without --offline".to_owned(),
            PackageError::NoClient { client, .. } => match *client {
                "npm" => "install Node.js, which brings npm".to_owned(),
                "pip" => "install Python's pip".to_owned(),
                "curl" => "install curl".to_owned(),
                _ => "build on Debian or Ubuntu, or leave the component out with --without".to_owned(),
            },
            // curl's "Write error" (curl(1), exit codes).
            PackageError::Client { code: Some(23), .. } => FULL_CACHE.to_owned(),
            PackageError::Client { message, .. } if NO_SPACE.iter().any(|words| message.contains(words)) => {
                FULL_CACHE.to_owned()
            }
            PackageError::File { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
                "make room on that disk, then run the same command again: what was fetched stays in the cache, and a package that was there \
                 stays"
                    .to_owned()
            }
            PackageError::Client { .. } => {
                "run that command by hand to see more; what was fetched before stays in the cache"
                    .to_owned()
            }
            PackageError::Digest { .. } => {
                "if the recipe's digest is old, mend it; otherwise do not use what came: somebody has changed it"
                    .to_owned()
            }
            PackageError::NoFile { .. } => {
                "look into the archive, and name a file of it under `files` of the recipe".to_owned()
            }
            PackageError::Twice { .. } => "give one of them another `to` in the recipe".to_owned(),
            PackageError::Bomb { .. } => "do not use it".to_owned(),
            PackageError::WorkerMachine { found, wanted, .. } => {
                let hint = format!(
                    "`scripts/build-worker {wanted}` builds a worker for {wanted}, for --worker; for a package for {found}, name a recipe whose \
                     `architecture` is that"
                );
                return CommandError::error(format!("The worker is for {found}, the recipe for {wanted}"))
                    .cause(error)
                    .hint(hint);
            }
            PackageError::Machine {
                component, found, wanted, ..
            } => {
                let heading = format!("Component `{component}` is for {found}, the recipe for {wanted}");
                let hint = format!(
                    "take that component for {wanted}; or, where all others and the worker are for {found}, set `architecture` of the recipe"
                );
                return CommandError::error(heading).cause(error).hint(hint);
            }
            PackageError::NoWorker(_) => {
                "build one with scripts/build-worker, and name it with --worker".to_owned()
            }
            PackageError::InTheWay(_) => "name another folder with --out".to_owned(),
            PackageError::NoManifest(_) => "build a package with `rmx package build`".to_owned(),
            PackageError::Unpack { .. } | PackageError::File { .. } => {
                "mend what is named above, then run the same command again".to_owned()
            }
        };
        CommandError::error(heading).cause(error).hint(hint)
    }
}
