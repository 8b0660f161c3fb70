//! `remotion.toml` → [`Config`]: validated, complete, every default filled in.
//!
//! ```text
//! text ─tree→ tree with places ─check→ what is fine, problems ─overlay→ one stage ─build→ Config
//! ```
//!
//! Reading is strict and collects: every problem of the file is reported at once, each with its place. What a key
//! may hold is written once, in `keys.rs`.

mod build;
mod check;
mod format;
mod keys;
mod names;
mod overlay;
mod problem;
mod schema;
mod template;
mod tree;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::media::{Codec, ImageFormat, PixelFormat, X264Preset};
use crate::names::{
    AccountId, BucketName, FunctionName, LogGroupName, ProjectName, Region, RoleName, SiteName,
    StageName,
};

pub use format::format;
pub use problem::Problems;
pub use schema::{reference, schema};
pub use template::template;

use problem::Problem;

/// Which file to read, and how.
#[derive(Debug, Clone)]
pub struct LoadOptions {
    /// The file, absolute.
    pub path: PathBuf,
    /// The file's name in messages, as the user wrote it.
    pub shown_as: String,
    /// The `[stage.NAME]` to lay over the rest.
    pub stage: Option<String>,
    /// Whether the folders named in the file are looked at: sites without `build` and the function's package.
    pub check_folders: bool,
}

impl LoadOptions {
    /// The file's folder.
    fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }
}

/// Why there is no config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: std::io::Error,
    },
    /// The file says what it may not.
    #[error("{0}")]
    Invalid(Problems),
}

/// Reads the file.
///
/// # Errors
/// The file cannot be read, or something is wrong with it; all that is wrong is told at once.
pub fn load(options: &LoadOptions) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(&options.path).map_err(|error| ConfigError::Read {
        path: options.path.clone(),
        error,
    })?;
    parse(&text, options)
}

/// Reads the file's `text`. Touches the disk only if [`LoadOptions::check_folders`] says so.
///
/// # Errors
/// As for [`load`].
pub fn parse(text: &str, options: &LoadOptions) -> Result<Config, ConfigError> {
    let (whole, syntax_errors) = tree::parse(text);
    let mut problems = Vec::new();
    let mut root = check::table(&whole, &keys::ROOT, "", &mut problems);
    build::duplicate_sites(&root, &mut problems);
    for stage in root
        .table("stage")
        .iter()
        .flat_map(|stages| &stages.entries)
    {
        if let tree::Value::Table(stage) = &stage.node.value {
            build::duplicate_sites(stage, &mut problems);
        }
    }
    let stage = overlay(&mut root, options, &mut problems);
    if syntax_errors.is_empty() {
        check::required(&root, &keys::ROOT, "", None, &mut problems);
        build::render_site(&root, &mut problems);
        if options.check_folders {
            build::folders(&root, options.directory(), &mut problems);
        }
    } else {
        // What stands on a line that could not be understood is not what was meant.
        let line = |at: &tree::Span| problem::line_and_column(text, at.start).0;
        let lines: Vec<_> = syntax_errors
            .iter()
            .filter_map(|error| error.span().map(|at| line(&at)))
            .collect();
        problems.retain(|one| {
            one.span
                .as_ref()
                .is_none_or(|at| !lines.contains(&line(at)))
        });
        problems.extend(syntax_errors.iter().map(syntax_problem));
    }
    if problems.is_empty()
        && let Some(config) = build::config(&root, stage, text, options)
    {
        return Ok(config);
    }
    problems.sort_by_key(|problem| problem.span.as_ref().map(|span| span.start));
    Err(ConfigError::Invalid(Problems {
        file: options.shown_as.clone(),
        text: text.to_owned(),
        list: problems,
    }))
}

fn syntax_problem(error: &toml::de::Error) -> Problem {
    let span = error.span().unwrap_or_default();
    Problem::new("this is not TOML", &span, error.message())
}

/// Lays the chosen stage over `root`.
fn overlay(
    root: &mut tree::Table,
    options: &LoadOptions,
    problems: &mut Vec<Problem>,
) -> Option<StageName> {
    let name = options.stage.as_deref()?;
    let stages = root.table("stage").cloned().unwrap_or_default();
    if let Some(stage) = stages.table(name) {
        overlay::apply(root, stage);
        return name.parse().ok();
    }
    let names = || stages.entries.iter().map(|entry| entry.name.as_str());
    let help = match check::nearest(name, names()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if stages.entries.is_empty() => format!("add a table `[stage.{name}]` to it"),
        None => format!("the stages are: {}", names().collect::<Vec<_>>().join(", ")),
    };
    let summary = format!("{} declares no stage `{name}`", options.shown_as);
    problems.push(Problem::whole_file(summary).help(help));
    None
}

/// A project's whole configuration for one stage. No `Option` here means "default": defaults are filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The file it was read from.
    pub path: PathBuf,
    /// The folder of that file. Relative paths in the file start here; `.rmx/` lies here.
    pub directory: PathBuf,
    /// SHA-256 of the file's bytes and the stage, hexadecimal: binds a saved plan to its config.
    pub digest: crate::digest::Digest,
    /// The project's name.
    pub project: ProjectName,
    /// The `[stage.NAME]` overlay in force.
    pub stage: Option<StageName>,
    /// Which cloud.
    pub target: Target,
    /// Which region.
    pub region: Region,
    /// Refuse to touch any other account than this one.
    pub account: Option<AccountId>,
    /// `[function]`
    pub function: FunctionConfig,
    /// `[role]`
    pub role: RoleConfig,
    /// `[bucket]`
    pub bucket: BucketConfig,
    /// `[logs]`
    pub logs: LogsConfig,
    /// `[[site]]`, in the order of the file; names are unique.
    pub sites: Vec<SiteConfig>,
    /// `[render]`
    pub render: RenderDefaults,
}

/// Which cloud a project is deployed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The embedded cloud, data below `.rmx/local/`.
    Local,
    /// Amazon Web Services.
    Aws,
}

/// `[function]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Memory, 512 to 10 240 MB (AWS: 128 to 10 240; Chromium does not start below 512).
    pub memory_mb: u32,
    /// Timeout, 1 to 900 s.
    pub timeout_s: u32,
    /// Size of `/tmp`, 512 to 10 240 MB.
    pub disk_mb: u32,
    /// Instruction set.
    pub architecture: Architecture,
    /// How many identical functions, 1 to 32.
    pub replicas: u32,
    /// Environment variables. Secret values are references that `apply` resolves.
    pub environment: BTreeMap<String, EnvironmentValue>,
    /// Layer version ARNs, at most 5.
    pub layers: Vec<String>,
    /// Network the function is attached to.
    pub vpc: Option<VpcConfig>,
    /// A folder whose content is packed instead of the worker found next to `rmx`.
    pub package: Option<PathBuf>,
}

/// Instruction set of the function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Architecture {
    /// 64-bit Arm.
    #[serde(rename = "arm64")]
    Arm64,
    /// 64-bit x86.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Architecture {
    /// The one rmx runs on.
    pub fn of_this_machine() -> Self {
        if cfg!(target_arch = "aarch64") {
            Self::Arm64
        } else {
            Self::X86_64
        }
    }

    /// AWS's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86_64 => "x86_64",
        }
    }
}

/// Value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentValue {
    /// Written in the file, not secret.
    Plain(String),
    /// `env:NAME`: read from rmx's own environment when it is needed. Secret: only its digest is recorded.
    FromEnvironment(String),
}

/// `[function.vpc]`
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct VpcConfig {
    /// Subnet ids, sorted.
    pub subnet_ids: Vec<String>,
    /// Security group ids, sorted.
    pub security_group_ids: Vec<String>,
}

/// `[role]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoleConfig {
    /// rmx owns the role.
    Managed {
        /// `permissions_boundary`, a policy ARN.
        permissions_boundary: Option<String>,
        /// `path`, begins and ends with `/`.
        path: String,
    },
    /// `arn`: a role of your own, never changed by rmx.
    Existing {
        /// Its ARN.
        arn: String,
    },
}

/// `[bucket]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketConfig {
    /// Given name; derived where absent.
    pub name: Option<BucketName>,
    /// Objects below `renders/` expire after so many days; `None` keeps them.
    pub expire_renders_days: Option<u32>,
    /// Whether `destroy` may delete a bucket that still has objects.
    pub force_destroy: bool,
}

/// `[logs]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogsConfig {
    /// rmx owns the log group and its retention.
    Managed {
        /// One of the values CloudWatch Logs allows (`PutRetentionPolicy`).
        retention_days: u32,
    },
    /// Lambda makes the log group when it first writes to it; rmx leaves it alone.
    Unmanaged,
}

/// `[[site]]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteConfig {
    /// Its name.
    pub name: SiteName,
    /// The folder that is uploaded, absolute. It must hold an `index.html` by the time of `plan`.
    pub folder: PathBuf,
    /// A shell command, run in the config's folder before `plan` and `apply` read the folder.
    pub build: Option<String>,
}

/// `[render]`: what `rmx render` uses where its flags are silent.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderDefaults {
    /// The site, if not the only one.
    pub site: Option<SiteName>,
    /// Codec.
    pub codec: Codec,
    /// Constant rate factor; the codec's default where absent.
    pub crf: Option<u8>,
    /// libx264 preset.
    pub x264_preset: X264Preset,
    /// Pixel format.
    pub pixel_format: PixelFormat,
    /// How frames leave the browser; the composition's own wish, then JPEG, where absent.
    pub image_format: Option<ImageFormat>,
    /// JPEG quality, 0 to 100.
    pub jpeg_quality: u8,
    /// Device scale factor.
    pub scale: f64,
    /// Frames a chunk; Remotion's rule where absent. Not together with `concurrency`.
    pub frames_per_lambda: Option<u32>,
    /// Chunks at the same time; Remotion's rule where absent.
    pub concurrency: Option<u32>,
    /// `delayRender` timeout, milliseconds.
    pub timeout_ms: u32,
    /// Retries of a chunk.
    pub max_retries: u32,
}

/// The AWS names of everything a config declares. Derived from project, stage, account and region alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceNames {
    /// `rmx-PROJECT[--STAGE]`, and `_2`, `_3`, ... behind it for further replicas.
    pub functions: Vec<FunctionName>,
    /// `rmx-PROJECT[--STAGE]-REGION`: roles are global to an account, functions are not. Shortened by a hash
    /// where it is too long.
    pub role: RoleName,
    /// The given name, or `rmx-PROJECT[--STAGE]-ACCOUNT-REGION`, shortened by a hash where it is too long.
    pub bucket: BucketName,
    /// `/aws/lambda/` and the first function's name; all replicas log there.
    pub log_group: LogGroupName,
}

#[cfg(test)]
pub(crate) fn parse_for_tests(text: &str, stage: Option<&str>) -> Config {
    let options = LoadOptions {
        path: PathBuf::from("/project/remotion.toml"),
        shown_as: "remotion.toml".to_owned(),
        stage: stage.map(str::to_owned),
        check_folders: false,
    };
    match parse(text, &options) {
        Ok(config) => config,
        Err(error) => panic!("{error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_merges_tables_by_key_and_sites_by_name() {
        let text = r#"
            project = "hello"
            [function]
            memory_mb = 1024
            environment = { BB = "2", CC = "3" }
            [render]
            concurrency = 10
            [[site]]
            name = "one"
            folder = "a"
            [[site]]
            name = "two"
            folder = "b"
            [logs]
            managed = false
            [stage.prod]
            target = "aws"
            function.timeout_s = 60
            function.environment = { BB = "other", DD = { secret = "env:TOKEN" } }
            render.frames_per_lambda = 40
            logs.retention_days = 30
            site = [{ name = "two", folder = "c" }, { name = "three", folder = "d" }]
        "#;
        let base = parse_for_tests(text, None);
        let prod = parse_for_tests(text, Some("prod"));
        assert_eq!(base.target, Target::Local);
        assert_eq!(base.render.concurrency, Some(10));
        assert_eq!(base.logs, LogsConfig::Unmanaged);
        assert_eq!(prod.target, Target::Aws);
        assert_eq!(
            (prod.function.memory_mb, prod.function.timeout_s),
            (1024, 60)
        );
        // The overlay's key displaces the one that it cannot stand beside.
        assert_eq!(prod.render.concurrency, None);
        assert_eq!(prod.render.frames_per_lambda, Some(40));
        assert_eq!(prod.logs, LogsConfig::Managed { retention_days: 30 });
        let variables: Vec<_> = prod.function.environment.into_iter().collect();
        assert_eq!(
            variables,
            [
                ("BB".to_owned(), EnvironmentValue::Plain("other".to_owned())),
                ("CC".to_owned(), EnvironmentValue::Plain("3".to_owned())),
                (
                    "DD".to_owned(),
                    EnvironmentValue::FromEnvironment("TOKEN".to_owned())
                ),
            ]
        );
        let folders: Vec<_> = prod
            .sites
            .iter()
            .map(|site| site.folder.to_str().unwrap())
            .collect();
        assert_eq!(folders, ["/project/a", "/project/c", "/project/d"]);
        assert_ne!(base.digest, prod.digest);
    }

    #[test]
    fn defaults_are_those_of_the_documentation() {
        let config = parse_for_tests("project = \"hello\"", None);
        assert_eq!(config.directory, Path::new("/project"));
        assert_eq!(config.function.memory_mb, 2048);
        assert_eq!(
            config.function.architecture,
            Architecture::of_this_machine()
        );
        assert_eq!(config.logs, LogsConfig::Managed { retention_days: 14 });
        let aws = parse_for_tests("project = \"hello\"\ntarget = \"aws\"", None);
        assert_eq!(aws.function.architecture, Architecture::Arm64);
    }

    use proptest::prelude::*;

    proptest! {
        /// Whatever the file holds, it ends in a config or in problems that can be shown.
        #[test]
        fn nothing_makes_it_panic(
            pieces in proptest::collection::vec(
                prop_oneof![
                    Just("project = \"a\"\n"), Just("[function]\n"), Just("[[site]]\n"), Just("[stage.x]\n"),
                    Just("memory_mb"), Just("environment"), Just("site"), Just(" = "), Just("."), Just("\n"),
                    Just("{"), Just("}"), Just("["), Just("]"), Just(","), Just("\""), Just("\"\"\""),
                    Just("1"), Just("-99999999999999999999"), Just("nan"), Just("1e999"), Just("true"),
                    Just("ä"), Just("🎬"), Just("\r\n"), Just("\t"), Just("#"), Just("\u{feff}"), Just("\\u00"),
                ],
                0..24,
            )
        ) {
            let text = pieces.concat();
            for stage in [None, Some("x".to_owned())] {
                let options = LoadOptions {
                    path: "/nonexistent/remotion.toml".into(),
                    shown_as: "remotion.toml".to_owned(),
                    stage,
                    check_folders: true,
                };
                if let Err(ConfigError::Invalid(problems)) = parse(&text, &options) {
                    prop_assert!(problems.count() > 0, "{text:?}");
                    prop_assert_eq!(problems.render(false).len(), problems.count());
                    prop_assert_eq!(problems.diagnostics().len(), problems.count());
                }
                let _ = format(&text, &options).map_err(|error| error.to_string());
            }
        }
    }
}
