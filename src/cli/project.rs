//! What planning and applying take from a project: its artefacts and its secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process_group};

use crate::apply::Artefacts;
use crate::cloud::Cloud;
use crate::config::{Config, EnvironmentValue, FunctionConfig, WorkerKind};
use crate::names::Region;
use crate::plan::change::Desired;
use crate::plan::desired::Ingredients;
use crate::plan::limits::Package;
use crate::resource::remotion;
use crate::state::CloudIdentity;

use super::bundled::{Bundles, bundles};
use super::context::Context;
use super::error::CommandError;

/// A project, ready to be planned and applied.
#[derive(Clone)]
pub(super) struct Project {
    bundles: Bundles,
    /// Values of the function's secret environment variables. Never recorded or shown, so this is not `Debug`.
    pub(super) secrets: BTreeMap<String, String>,
}

impl Project {
    /// Reads folders, packs the function, and looks secrets up.
    ///
    /// # Errors
    /// Something cannot be bundled, or a secret is not set.
    pub(super) async fn read(
        context: &Context,
        config: &Config,
        cloud: &Cloud,
    ) -> Result<Self, CommandError> {
        Ok(Self {
            secrets: secrets(context, config, cloud).await?,
            bundles: bundles(context, config)?,
        })
    }

    /// What it asks for in the cloud that `identity` names.
    ///
    /// # Errors
    /// It cannot be had there.
    pub(super) fn desired(
        &self,
        config: &Config,
        identity: &CloudIdentity,
    ) -> Result<Desired, CommandError> {
        require_layers(&config.function, &identity.region)?;
        let ingredients = Ingredients {
            identity,
            code_sha256: self.bundles.function.code_sha256,
            sites: &self.bundles.sites,
            secrets: &self.secrets,
        };
        Ok(Desired::from_config(config, ingredients))
    }

    /// The function package.
    pub(super) fn package(&self) -> Package {
        Package {
            zipped_bytes: self.bundles.function.size_bytes,
            unzipped_bytes: self.bundles.function.unzipped_bytes,
        }
    }

    /// The files that changes upload.
    pub(super) fn artefacts(&self) -> Artefacts {
        let sites = self.bundles.sites.iter();
        Artefacts {
            code: Some(self.bundles.function.zip.clone()),
            sites: sites
                .map(|(name, site)| (name.clone(), site.folder.clone()))
                .collect(),
        }
    }
}

/// Remotion's function has its browser from layers, and Remotion publishes them in some regions.
fn require_layers(function: &FunctionConfig, region: &Region) -> Result<(), CommandError> {
    let missing = function.worker == WorkerKind::Remotion
        && function.layers.is_empty()
        && remotion::layers(region).is_empty();
    match missing {
        false => Ok(()),
        true => Err(CommandError::error(format!(
            "Remotion publishes no layers in the region {region}"
        ))
        .detail("Its function finds Chromium and fonts in them (`worker = \"remotion\"` under [function]).")
        .hint("publish layers of your own there and name them in `layers` under [function], or choose another region")),
    }
}

/// Every secret, or all that are missing.
async fn secrets(
    context: &Context,
    config: &Config,
    cloud: &Cloud,
) -> Result<BTreeMap<String, String>, CommandError> {
    let environment = &config.function.environment;
    let parameters: BTreeSet<String> = environment
        .values()
        .filter_map(|value| match value {
            EnvironmentValue::FromParameter(name) => Some(name.clone()),
            EnvironmentValue::Plain(_) | EnvironmentValue::FromEnvironment(_) => None,
        })
        .collect();
    let parameters: Vec<String> = parameters.into_iter().collect();
    let parameters = cloud.parameters(&parameters).await?;
    let mut found = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, value) in environment {
        let (value, absent) = match value {
            EnvironmentValue::Plain(_) => continue,
            // CI systems set a secret that they do not have to nothing.
            EnvironmentValue::FromEnvironment(variable) => (
                context.env.variable(variable),
                format!("the environment variable `{variable}`, which is not set or empty"),
            ),
            EnvironmentValue::FromParameter(parameter) => (
                parameters.get(parameter).map(String::as_str),
                format!(
                    "the parameter `{parameter}`, which is not there in the region {}",
                    config.region
                ),
            ),
        };
        match value {
            Some(value) => drop(found.insert(name.clone(), value.to_owned())),
            None => missing.push(format!(
                "`function.environment.{name}` is taken from {absent}."
            )),
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(CommandError::error("A secret value is not set")
        .detail(missing.join("\n"))
        .hint(
            "set the variable for rmx, for example from your CI system's secrets; put a parameter there with \
             `aws ssm put-parameter --type SecureString --name NAME --value VALUE`",
        ))
}

/// A command and everything that it has started: a build that is interrupted ends with all of it.
struct Group(Option<Pid>);

impl Group {
    /// That of a command which leads one.
    fn of(leader: &tokio::process::Child) -> Self {
        let id = leader.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    /// Whoever is left in it may stay.
    fn disband(&mut self) {
        self.0 = None;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Nobody may be left in it.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

/// Runs the `build` command of each site that has one, in the order of the file. What they say goes to standard error.
///
/// # Errors
/// A command cannot be started or does not end with 0.
pub(super) async fn build_sites(context: &Context, config: &Config) -> Result<(), CommandError> {
    for site in &config.sites {
        let Some(command) = &site.build else { continue };
        context.ui.say(format_args!(
            "site.{}: building with `{command}`",
            site.name
        ));
        let failed = |what: String| {
            CommandError::error("A site could not be built").detail(format!(
                "The `build` command of the site `{}` is `{command}`, run in {}. {what}",
                site.name,
                config.directory.display()
            ))
        };
        let mut child = tokio::process::Command::new("/bin/sh")
            .args(["-c", command])
            .current_dir(&config.directory)
            .stdin(Stdio::null())
            .stdout(std::io::stderr())
            .process_group(0)
            .spawn()
            .map_err(|error| failed("It cannot be started.".to_owned()).cause(error))?;
        let mut group = Group::of(&child);
        let status = child.wait().await;
        group.disband();
        let status = status.map_err(|error| failed("It is lost.".to_owned()).cause(error))?;
        if !status.success() {
            return Err(failed(format!("It ended with {status}."))
                .hint("run the command by hand in that folder and mend what it reports"));
        }
    }
    Ok(())
}
