//! Options that render, still and compositions share, and how they become what the render room wants.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::bundle::SiteBundle;
use crate::cli::context::Context;
use crate::cli::error::CommandError;
use crate::cli::recorded::recorded_state;
use crate::config::Config;
use crate::env::variable;
use crate::media::{
    AudioCodec, CaptureMethod, Codec, ColorSpace, Fps, ImageFormat, PixelFormat, ProResProfile,
    X264Preset,
};
use crate::names::SiteName;
use crate::protocol::{BrowserSettings, SiteLocation, SiteObjects};
use crate::render::dispatch::Workers;
use crate::render::invocation::WorkerFunction;
use crate::render::request::{Overrides, PageOptions};
use crate::resource::{Address, EnvironmentSpec, FunctionSpec, Resource, ResourceKind, site};
use crate::state::{RecordStatus, State};

use super::refused::RefusedOptions;

/// How much of the page's console is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum LogLevel {
    /// Errors only.
    Error,
    /// Errors and warnings.
    Warn,
    /// As `warn`.
    Info,
    /// Everything.
    #[value(alias = "trace")]
    Verbose,
}

/// The page, and what it is told.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct PageArgs {
    /// A site by name, or the address of a bundle; the only site of the configuration where absent
    #[arg(long, value_name = "NAME|URL")]
    site: Option<String>,
    /// Input props: a JSON object, or a file that holds one
    #[arg(long, value_name = "JSON|FILE")]
    props: Option<String>,
    /// A file of NAME=VALUE lines for the page's `process.env`, beside the variables here that begin with REMOTION_
    #[arg(long, value_name = "FILE")]
    env_file: Option<PathBuf>,
    /// How long one `delayRender` may take, in milliseconds; Remotion takes 2000 off it
    #[arg(long, value_name = "MS")]
    timeout: Option<u32>,
    /// What the browser calls itself, in place of its own name
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// Tell the page that a dark colour scheme is preferred
    #[arg(long)]
    dark_mode: bool,
    /// Trust servers whatever their certificates
    #[arg(long)]
    ignore_certificate_errors: bool,
    /// Let the page read what other origins do not offer to it
    #[arg(long)]
    disable_web_security: bool,
    /// How often a failed chunk is tried again
    #[arg(long, value_name = "N")]
    max_retries: Option<u32>,
    /// How much of the page's console is shown
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info")]
    pub(in crate::cli) log: LogLevel,
    /// Show no progress
    #[arg(long, short)]
    pub(in crate::cli) quiet: bool,
    #[command(flatten)]
    refused: RefusedOptions,
}

/// Values in place of the composition's own.
#[derive(Debug, clap::Args)]
pub(crate) struct OverrideArgs {
    /// Width in place of the composition's
    #[arg(long, value_name = "PIXELS")]
    width: Option<u32>,
    /// Height in place of the composition's
    #[arg(long, value_name = "PIXELS")]
    height: Option<u32>,
    /// Frames a second in place of the composition's
    #[arg(long, value_name = "NUMBER", value_parser = parse_fps)]
    fps: Option<Fps>,
    /// Number of frames in place of the composition's
    #[arg(long, value_name = "FRAMES")]
    duration: Option<u32>,
}

impl OverrideArgs {
    pub(in crate::cli) fn overrides(&self) -> Overrides {
        Overrides {
            width: self.width,
            height: self.height,
            fps: self.fps,
            duration_in_frames: self.duration,
        }
    }
}

fn parse_fps(text: &str) -> Result<Fps, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    Fps::from_number(number).map_err(|error| error.to_string())
}

fn known<T: FromStr>(text: &str, elsewhere: &[&str]) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text.parse().map_err(|error: T::Err| {
        if elsewhere.contains(&text) {
            format!("rmx does not do this yet; {error}")
        } else {
            error.to_string()
        }
    })
}

pub(in crate::cli) fn parse_codec(text: &str) -> Result<Codec, String> {
    known(text, &["av1", "h264-ts"])
}

pub(in crate::cli) fn parse_audio_codec(text: &str) -> Result<AudioCodec, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_color_space(text: &str) -> Result<ColorSpace, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("NAME=TEXT is expected, such as title=Hello".to_owned()),
    }
}

pub(in crate::cli) fn parse_profile(text: &str) -> Result<ProResProfile, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_capture_method(text: &str) -> Result<CaptureMethod, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_image_format(text: &str) -> Result<ImageFormat, String> {
    known(text, &["none"])
}

pub(in crate::cli) fn parse_pixel_format(text: &str) -> Result<PixelFormat, String> {
    known(text, &[])
}

pub(in crate::cli) fn parse_preset(text: &str) -> Result<X264Preset, String> {
    known(text, &[])
}

/// A deployed farm, as the state records it.
#[derive(Debug)]
pub(in crate::cli) struct Deployed {
    pub(in crate::cli) config: Config,
    state: State,
}

impl Deployed {
    /// Reads configuration and state.
    ///
    /// # Errors
    /// Either cannot be read, or nothing has been applied yet.
    pub(in crate::cli) async fn load(
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
                    // A version that did not pass its checks leaves the one before it live.
                    let usable = record.status == RecordStatus::Complete || record.is_released();
                    let (Some(version), true) = (version, usable) else {
                        return Err(incomplete(address));
                    };
                    timeout_s = timeout_s.min(spec.timeout_s);
                    functions.push(WorkerFunction {
                        name: spec.name.clone(),
                        version: version.clone(),
                    });
                }
                Resource::Bucket(spec) => bucket = Some(spec.name.clone()),
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

/// The text of the props, as compact JSON.
fn input_props(context: &Context, given: &str) -> Result<String, CommandError> {
    // No file's name begins like a JSON value, or it can be written as `./[…`.
    let (text, place) = if given.trim_start().starts_with(['{', '[', '"']) {
        (given.to_owned(), "--props".to_owned())
    } else {
        let path = context.path(Path::new(given));
        let text = std::fs::read_to_string(&path).map_err(|error| {
            CommandError::error("Cannot read the props")
                .detail(format!(
                    "--props takes a JSON object or a file; `{given}` is not an object, and {} cannot be read.",
                    path.display()
                ))
                .cause(error)
        })?;
        (text, given.to_owned())
    };
    let value: serde_json::Value = serde_json::from_str(&text).map_err(|error| {
        let line = text
            .lines()
            .nth(error.line().saturating_sub(1))
            .unwrap_or_default();
        let shown: String = line.chars().take(200).collect();
        CommandError::usage("The props are not valid JSON").detail(format!(
            "{place}: {error}\n\n  {shown}\n  {:>column$}",
            "^",
            column = error.column().clamp(1, 200)
        ))
    })?;
    if !value.is_object() {
        return Err(CommandError::usage("The props are not a JSON object")
            .detail(format!("{place} holds another kind of value."))
            .hint("give an object, as in --props '{\"title\": \"Hello\"}'"));
    }
    Ok(value.to_string())
}

/// What the page's `process.env` holds: our own variables for Remotion, and those of the file, which come first.
pub(in crate::cli) fn page_environment(
    context: &Context,
    env_file: Option<&Path>,
) -> Result<BTreeMap<String, String>, CommandError> {
    let ours = context.env.variables.iter();
    let mut environment: BTreeMap<String, String> = ours
        .filter(|(name, _)| name.starts_with("REMOTION_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(path) = env_file {
        environment.extend(self::environment(context, path)?);
    }
    Ok(environment)
}

/// `NAME=VALUE` lines; `#` begins a comment line; quotes around a value and a leading `export` are taken off.
fn environment(context: &Context, path: &Path) -> Result<BTreeMap<String, String>, CommandError> {
    let text = std::fs::read_to_string(context.path(path)).map_err(|error| {
        CommandError::error("Cannot read the environment file")
            .detail(format!("The file is {}.", path.display()))
            .cause(error)
    })?;
    let mut environment = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line.split_once('=').filter(|(name, _)| {
            let name = name.trim();
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        });
        // The line itself may hold a secret, so it is not shown.
        let (name, value) = pair.ok_or_else(|| {
            CommandError::usage("The environment file is not valid").detail(format!(
                "{}, line {number}: NAME=VALUE is expected.",
                path.display()
            ))
        })?;
        let value = value.trim();
        let unquoted = ['"', '\'']
            .into_iter()
            .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
        environment.insert(name.trim().to_owned(), unquoted.unwrap_or(value).to_owned());
    }
    Ok(environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_can_do_is_named_as_such() {
        assert!(
            parse_codec("av1")
                .unwrap_err()
                .starts_with("rmx does not do this yet")
        );
        assert!(!parse_codec("h26").unwrap_err().contains("yet"));
        assert_eq!(parse_fps("29.97").unwrap().to_string(), "30000/1001");
    }
}
