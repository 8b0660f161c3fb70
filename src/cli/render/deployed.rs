//! The farm that a render is asked of, as the state records it.

use crate::bundle::SiteBundle;
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::recorded::recorded_state;
use crate::config::{Config, WorkerKind};
use crate::env::variable;
use crate::names::{BucketName, LogGroupName, SiteName};
use crate::protocol::{BrowserSettings, SiteLocation, SiteObjects};
use crate::render::dispatch::Workers;
use crate::render::invocation::WorkerFunction;
use crate::render::request::PageOptions;
use crate::resource::{Address, EnvironmentSpec, FunctionSpec, Resource, ResourceKind, site};
use crate::state::{ARN_OUTPUT, RUNTIME_OUTPUT, RecordStatus, State};

use super::options::{PageArgs, input_props, page_environment};

/// Why something is refused that only rmx's own worker does.
pub(super) const REMOTIONS_IS_DEPLOYED: &str =
    "The function that is deployed is Remotion's own (`worker = \"remotion\"` under [function]).";

/// A deployed farm, as the state records it.
#[derive(Debug)]
pub(in crate::cli) struct Deployed {
    pub(in crate::cli) config: Config,
    state: State,
}

impl Deployed {
    /// Reads configuration and state of a farm whose workers are rmx's.
    ///
    /// # Errors
    /// Either cannot be read, nothing has been applied yet, or the workers are Remotion's.
    pub(in crate::cli) async fn load(
        context: &Context,
        page: &PageArgs,
    ) -> Result<Self, CommandError> {
        let deployed = Self::of_any_worker(context, page).await?;
        match deployed.worker() {
            WorkerKind::Rmx => Ok(deployed),
            WorkerKind::Remotion => Err(Self::only_rmxs()),
        }
    }

    /// What is said of what Remotion's function cannot be asked for.
    pub(in crate::cli) fn only_rmxs() -> CommandError {
        CommandError::error("Only rmx's own worker does this")
            .detail(REMOTIONS_IS_DEPLOYED)
            .hint("`rmx render` has Remotion's function render; ask it for all else with `npx remotion lambda`")
    }

    /// As [`Deployed::load`], whosever the workers are.
    pub(in crate::cli) async fn of_any_worker(
        context: &Context,
        page: &PageArgs,
    ) -> Result<Self, CommandError> {
        page.refused.check()?;
        Self::recorded(context).await
    }

    /// As [`Deployed::load`], for verbs that open no page.
    pub(in crate::cli) async fn recorded(context: &Context) -> Result<Self, CommandError> {
        let config = context.config()?;
        let state = recorded_state(context, &config).await?;
        match state {
            Some(state) if state.deployed_to.is_some() => Ok(Self { config, state }),
            _ => Err(CommandError::error("There is no render farm yet")
                .detail(match &config.stage {
                    Some(stage) => format!(
                        "Nothing has been applied for the project {} in the stage {stage}.",
                        config.project
                    ),
                    None => format!(
                        "Nothing has been applied for the project {}.",
                        config.project
                    ),
                })
                .hint("run `rmx apply` first")),
        }
    }

    /// The functions and the bucket; `concurrency_max` of them at the same time.
    pub(in crate::cli) fn workers(&self, concurrency_max: u32) -> Result<Workers, CommandError> {
        let mut functions = Vec::new();
        let mut bucket = None;
        let mut timeout_s = u32::MAX;
        for (address, record) in &self.state.records {
            match &record.applied {
                Resource::Function(spec) => {
                    let version = record.outputs.get("version");
                    // A version that did not pass its checks leaves the one before it live, and that needs nothing else of the
                    // function. Remotion's does: it invokes what was written last.
                    let usable = record.status == RecordStatus::Complete
                        || (record.is_released() && !spec.invokes_latest());
                    // Half way between the workers, what is live is asked in another way than what is recorded.
                    let runtime = record.outputs.get(RUNTIME_OUTPUT);
                    let as_recorded = runtime.is_none_or(|runtime| *runtime == spec.runtime);
                    let (Some(version), true) = (version, usable && as_recorded) else {
                        return Err(incomplete(address));
                    };
                    timeout_s = timeout_s.min(spec.timeout_s);
                    functions.push(WorkerFunction {
                        name: spec.name.clone(),
                        version: version.clone(),
                    });
                }
                Resource::Bucket(spec) => {
                    // A browser of Remotion's fetches the site from it as anybody does.
                    let usable = record.status == RecordStatus::Complete && spec.public_read;
                    if self.worker() == WorkerKind::Remotion && !usable {
                        return Err(incomplete(address));
                    }
                    bucket = Some(spec.name.clone());
                }
                Resource::LogGroup(_) | Resource::Role(_) | Resource::Site(_) => {}
            }
        }
        match bucket {
            Some(bucket) if !functions.is_empty() => Ok(Workers {
                functions,
                bucket,
                timeout_s,
                concurrency_max,
            }),
            _ => Err(incomplete(&Address::new(ResourceKind::Function, "worker"))),
        }
    }

    /// The bucket, for verbs that look at renders and begin none: a change that is under way or was cut off keeps nobody from them.
    pub(in crate::cli) fn bucket(&self) -> Result<&BucketName, CommandError> {
        let mut records = self.state.records.values();
        let bucket = records.find_map(|record| match &record.applied {
            // One that was never seen may not be there.
            Resource::Bucket(spec) if record.outputs.contains_key(ARN_OUTPUT) => Some(&spec.name),
            _ => None,
        });
        bucket.ok_or_else(|| incomplete(&Address::new(ResourceKind::Bucket, "main")))
    }

    /// Where the function logs, for verbs that look at it and no more.
    pub(in crate::cli) fn log_group(&self) -> Result<&LogGroupName, CommandError> {
        let function = self.function().map(|function| &function.log_group);
        function.ok_or_else(|| incomplete(&Address::new(ResourceKind::Function, "worker")))
    }

    /// Whose function it is that was deployed, whatever the configuration says by now.
    pub(in crate::cli) fn worker(&self) -> WorkerKind {
        match self.function() {
            Some(function) if function.invokes_latest() => WorkerKind::Remotion,
            Some(_) | None => WorkerKind::Rmx,
        }
    }

    /// The function; replicas are alike.
    pub(in crate::cli) fn function(&self) -> Option<&FunctionSpec> {
        let mut records = self.state.records.values();
        records.find_map(|record| match &record.applied {
            Resource::Function(spec) => Some(spec),
            _ => None,
        })
    }

    /// Says so if the folder of the page's site is not what was deployed: workers draw what was applied.
    pub(in crate::cli) async fn note_edits(&self, context: &Context, page: &PageOptions) {
        let SiteLocation::Bucket(deployed) = &page.site else {
            return;
        };
        let mut sites = self.config.sites.iter();
        let Some(site) = sites.find(|site| site::prefix(&site.name) == deployed.prefix) else {
            return;
        };
        let folder = site.folder.clone();
        // A folder that cannot be read is not rendered from, so it is none of a render's business.
        let bundle = tokio::task::spawn_blocking(move || SiteBundle::read(&folder)).await;
        if let Ok(Ok(bundle)) = bundle
            && bundle.digest != deployed.digest
        {
            context.ui.warn(format_args!(
                "the folder of the site {} has changed since it was deployed; this renders what was deployed. `rmx apply` uploads it",
                site.name
            ));
        }
    }

    /// The page that the options mean.
    pub(in crate::cli) fn page(
        &self,
        context: &Context,
        args: &PageArgs,
    ) -> Result<PageOptions, CommandError> {
        Ok(PageOptions {
            site: self.site(args.site.as_deref())?,
            input_props: match &args.props {
                Some(props) => input_props(context, props)?,
                None => "{}".to_owned(),
            },
            environment: page_environment(context, args.env_file.as_deref())?,
            timeout_ms: args.timeout.unwrap_or(self.config.render.timeout_ms),
            browser: BrowserSettings {
                user_agent: args.user_agent.clone(),
                dark_mode: args.dark_mode,
                ignore_certificate_errors: args.ignore_certificate_errors,
                disable_web_security: args.disable_web_security,
            },
        })
    }

    pub(in crate::cli) fn retries(&self, args: &PageArgs) -> u32 {
        args.max_retries.unwrap_or(self.config.render.max_retries)
    }

    /// The version of Remotion that the deployed function claims to be of: what it is asked has to name the same.
    pub(in crate::cli) fn remotion_version(&self) -> Result<String, CommandError> {
        if self.worker() == WorkerKind::Remotion {
            // Its package is of this version, or there would be no plan.
            return Ok(self.config.function.remotion_version.clone());
        }
        let claimed = self.function().and_then(|function| {
            match function.environment.get(variable::REMOTION_VERSION)? {
                EnvironmentSpec::Plain(version) => Some(version.clone()),
                EnvironmentSpec::Secret(_) => None,
            }
        });
        claimed.ok_or_else(|| incomplete(&Address::new(ResourceKind::Function, "worker")))
    }

    fn site(&self, asked: Option<&str>) -> Result<SiteLocation, CommandError> {
        if let Some(url) = asked.filter(|s| s.starts_with("http://") || s.starts_with("https://")) {
            return Ok(SiteLocation::Url(url.to_owned()));
        }
        let deployed: Vec<_> = self
            .state
            .records
            .values()
            .filter_map(|record| match &record.applied {
                Resource::Site(spec) => Some((spec, record.status)),
                _ => None,
            })
            .collect();
        let wanted = match asked {
            Some(name) => name,
            None => match (&self.config.render.site, &deployed[..]) {
                (Some(name), _) => name.as_str(),
                (None, [(only, _)]) => only.name.as_str(),
                (None, []) => {
                    return Err(CommandError::error("No site is deployed")
                        .hint("declare a `[[site]]` in remotion.toml and run `rmx apply`, or pass --site URL"));
                }
                (None, _) => {
                    return Err(CommandError::usage("There is more than one site")
                        .detail(format!(
                            "The sites are {}.",
                            names(deployed.iter().map(|(s, _)| &s.name))
                        ))
                        .hint("pass --site NAME, or set `site` in `[render]`"));
                }
            },
        };
        match deployed
            .iter()
            .find(|(spec, _)| spec.name.as_str() == wanted)
        {
            Some((spec, RecordStatus::Complete)) => Ok(SiteLocation::Bucket(SiteObjects {
                bucket: spec.bucket.clone(),
                prefix: site::prefix(&spec.name),
                manifest_key: Some(site::manifest_key(&spec.name)),
                digest: spec.digest,
            })),
            Some((spec, RecordStatus::Pending)) => Err(incomplete(&Address::new(
                ResourceKind::Site,
                spec.name.as_str(),
            ))),
            None => {
                let error = CommandError::error("No such site is deployed").detail(format!(
                    "`{wanted}` is neither a deployed site nor an http(s) address. The deployed sites are: {}.",
                    names(deployed.iter().map(|(s, _)| &s.name))
                ));
                let declared = self
                    .config
                    .sites
                    .iter()
                    .any(|site| site.name.as_str() == wanted);
                Err(if declared {
                    error.hint("it is in remotion.toml: run `rmx apply` to deploy it")
                } else {
                    error.hint("pass --site with one of these names")
                })
            }
        }
    }
}

fn names<'a>(sites: impl Iterator<Item = &'a SiteName>) -> String {
    let names: Vec<_> = sites.map(SiteName::as_str).collect();
    if names.is_empty() {
        "(none)".to_owned()
    } else {
        names.join(", ")
    }
}

fn incomplete(address: &Address) -> CommandError {
    CommandError::error("The render farm is not complete")
        .detail(format!(
            "{address} is missing, or its last change did not come to its end."
        ))
        .hint("run `rmx apply`")
}
