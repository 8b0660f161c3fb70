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
mod edit;
mod environment;
mod format;
mod keys;
mod load;
mod local;
mod names;
mod overlay;
mod policy;
mod problem;
mod rule;
mod schema;
mod state;
mod template;
mod tree;
mod vpc;
mod worker;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::media::{Codec, ImageFormat, PixelFormat, X264Preset};
use crate::names::{
    AccountId, BucketName, FunctionName, LogGroupName, ProjectName, Region, RoleName, SiteName,
    StageName,
};

pub use edit::edited;
pub use format::format;
#[cfg(test)]
pub(crate) use load::parse_for_tests;
pub use load::{ConfigError, LoadOptions, load, parse};
pub use local::LocalConfig;
pub use policy::{DenyRule, PolicyConfig};
pub use problem::Problems;
pub use schema::{reference, schema};
pub use state::StateConfig;
pub use template::template;
pub use worker::WorkerKind;

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
    /// `[local]`
    pub local: LocalConfig,
    /// `[function]`
    pub function: FunctionConfig,
    /// `[role]`
    pub role: RoleConfig,
    /// `[bucket]`
    pub bucket: BucketConfig,
    /// `[logs]`
    pub logs: LogsConfig,
    /// `[policy]`
    pub policy: PolicyConfig,
    /// `[state]`
    pub state: StateConfig,
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
    /// Whose worker it is.
    pub worker: WorkerKind,
    /// Its name; `None` derives one.
    pub name: Option<FunctionName>,
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
    /// The version of Remotion that it claims to be of towards Remotion Lambda's clients.
    pub remotion_version: String,
    /// Old versions that are kept besides the live one, 1 to 100.
    pub keep_versions: u32,
    /// Whether a new version renders the built-in composition before it goes live.
    pub smoke: bool,
    /// Whether plans that would delete or replace the functions are refused; `None` leaves it as it is recorded.
    pub protect: Option<bool>,
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
    /// `ssm:/NAME`: a parameter of Systems Manager, read and decrypted when it is needed. Secret as well.
    FromParameter(String),
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
        /// Given name; derived where absent.
        name: Option<RoleName>,
        /// `permissions_boundary`, a policy ARN.
        permissions_boundary: Option<String>,
        /// `path`, begins and ends with `/`.
        path: String,
        /// Whether plans that would delete or replace it are refused; `None` leaves it as it is recorded.
        protect: Option<bool>,
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
    /// Whether plans that would delete or replace it are refused; `None` leaves it as it is recorded.
    pub protect: Option<bool>,
}

/// `[logs]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogsConfig {
    /// rmx owns the log group and its retention.
    Managed {
        /// One of the values CloudWatch Logs allows (`PutRetentionPolicy`).
        retention_days: u32,
        /// Whether plans that would delete or replace it are refused; `None` leaves it as it is recorded.
        protect: Option<bool>,
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
    /// Whether plans that would delete or replace it are refused; `None` leaves it as it is recorded.
    pub protect: Option<bool>,
}

/// `[render]`: what `rmx render` uses where its flags are silent.
#[derive(Debug, Clone, PartialEq)]
pub struct RenderDefaults {
    /// The site, if not the only one.
    pub site: Option<SiteName>,
    /// Codec; what the output file's ending means where absent.
    pub codec: Option<Codec>,
    /// Constant rate factor; the codec's default where absent.
    pub crf: Option<u8>,
    /// libx264 preset.
    pub x264_preset: Option<X264Preset>,
    /// Pixel format; the codec's default where absent.
    pub pixel_format: Option<PixelFormat>,
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
    /// Seconds that all workers together take for a minute of video; assumed where absent.
    pub worker_seconds_per_minute: Option<u32>,
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
