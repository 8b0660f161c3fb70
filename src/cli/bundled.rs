//! The artefacts of a verb's project, and what helps when one cannot be made.

use std::collections::BTreeMap;

use crate::bundle::{
    BundleError, FunctionPackage, PackageRules, PackageSource, SiteBundle, UNZIPPED_BYTES_MAX,
};
use crate::config::{Config, Target, WorkerKind};
use crate::names::SiteName;

use super::context::Context;
use super::error::CommandError;

/// What a project uploads.
#[derive(Debug, Clone)]
pub(crate) struct Bundles {
    /// What the functions run.
    pub(crate) function: FunctionPackage,
    /// The sites.
    pub(crate) sites: BTreeMap<SiteName, SiteBundle>,
}

/// Reads the folders of `config` and packs its function. Commands that build a site have been run before.
///
/// # Errors
/// A folder or the worker is missing, or cannot be bundled.
pub(crate) fn bundles(context: &Context, config: &Config) -> Result<Bundles, CommandError> {
    let rules = PackageRules {
        architecture: config.function.architecture.as_str(),
        unzipped_bytes_max: match config.target {
            Target::Aws => Some(UNZIPPED_BYTES_MAX),
            Target::Local => None,
        },
    };
    let sites = config.sites.iter().map(|site| {
        let bundle = SiteBundle::read(&site.folder).map_err(|error| {
            CommandError::from(error).detail(format!("The site is `{}`.", site.name))
        })?;
        Ok((site.name.clone(), bundle))
    });
    Ok(Bundles {
        sites: sites.collect::<Result<_, CommandError>>()?,
        function: match config.function.worker {
            WorkerKind::Rmx => {
                let source = package_source(context, config);
                FunctionPackage::build(&source, rules, &config.directory.join(".rmx/cache"))?
            }
            WorkerKind::Remotion => {
                FunctionPackage::of_remotion(&config.directory, &config.function.remotion_version)?
            }
        },
    })
}

/// What the functions of `config` run, if they are rmx's.
pub(super) fn package_source(context: &Context, config: &Config) -> PackageSource {
    match &config.function.package {
        Some(folder) => PackageSource::Folder(folder.clone()),
        None => PackageSource::worker_next_to(&context.env.executable),
    }
}

/// The heading and the way out where a program for `found` is to run on `wanted`.
pub(super) fn wrong_machine(found: &str, wanted: &str) -> (String, String) {
    let heading = format!("The function's package is for {found}, its architecture is {wanted}");
    let build = format!(
        "build it for {wanted} (`scripts/build-worker {wanted}`, `rmx package build` with a recipe for {wanted})"
    );
    // Machines that Lambda does not have cannot be set.
    let hint = match found {
        "arm64" | "x86_64" => {
            format!("{build}, or set `architecture = \"{found}\"` under [function]")
        }
        _ => build,
    };
    (heading, hint)
}

/// What can be done about it.
pub(super) fn hint(error: &BundleError) -> String {
    let hint = match error {
        BundleError::NoFolder(_) => {
            "make the folder, or name another one in the configuration; \
             a site with a `build` command must be built into it"
        }
        BundleError::NoIndexPage(_) => {
            "name the folder that a build writes its pages to (for Remotion, what `npx remotion bundle` made)"
        }
        BundleError::NoRemotion(_) => {
            "install it: npm install --save-exact @remotion/lambda, in the version that `remotion_version` says"
        }
        BundleError::RemotionVersion { .. } => {
            "install that version of @remotion/lambda, or set `remotion_version` under [function]"
        }
        BundleError::NoBootstrap(_) => "put the program there under that name",
        BundleError::NoWorker(_) => {
            "install rmx-worker beside rmx, or name a folder with a `bootstrap` as `package` under [function]"
        }
        BundleError::Link(_) | BundleError::Special(_) => "leave it out of the folder",
        BundleError::Name(_) => "rename it",
        BundleError::OwnData(_) | BundleError::TooManyFiles { .. } => {
            "name a folder that holds nothing but what is to be uploaded"
        }
        BundleError::TooLarge { .. } => {
            "`rmx package show FOLDER` tells what each component takes: build it again with `--without NAME`; what a layer brings \
             counts too"
        }
        BundleError::WrongMachine { found, wanted, .. } => return wrong_machine(found, wanted).1,
        BundleError::Changed(_) => "run the same command again when nothing writes to it",
        BundleError::Read { .. } | BundleError::Write { .. } => {
            "mend what is named above, then run the same command again"
        }
    };
    hint.to_owned()
}

impl From<BundleError> for CommandError {
    fn from(error: BundleError) -> Self {
        let heading = match &error {
            BundleError::WrongMachine { found, wanted, .. } => wrong_machine(found, wanted).0,
            _ => "Cannot bundle what is to be uploaded".to_owned(),
        };
        let hint = hint(&error);
        CommandError::error(heading).cause(error).hint(hint)
    }
}
