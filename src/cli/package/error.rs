//! What helps when a function package cannot be built.

use crate::bundle::package::PackageError;

use super::super::error::CommandError;
use super::table::too_large;

impl From<PackageError> for CommandError {
    fn from(error: PackageError) -> Self {
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
            PackageError::Client { code: Some(23), .. } => {
                "look at the cache, ~/.cache/rmx/components: is there room on its disk?".to_owned()
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
            PackageError::NoWorker(_) => {
                "build one with scripts/build-worker, and name it with --worker".to_owned()
            }
            PackageError::InTheWay(_) => "name another folder with --out".to_owned(),
            PackageError::NoManifest(_) => "build a package with `rmx package build`".to_owned(),
            PackageError::Unpack { .. } | PackageError::File { .. } => {
                "mend what is named above, then run the same command again".to_owned()
            }
        };
        CommandError::error("Cannot build the function package")
            .cause(error)
            .hint(hint)
    }
}
