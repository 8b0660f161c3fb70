//! Why an apply ended early, and how far it came.

use std::path::PathBuf;
use std::time::Duration;

use super::Completed;
use crate::cloud::CloudError;
use crate::digest::Digest;
use crate::names::{BucketName, FunctionName, SiteName};
use crate::plan::change::Action;
use crate::resource::Address;

/// An apply that failed at one change. What was done before it is done and recorded.
#[derive(Debug, thiserror::Error)]
#[error("could not {} {address}", verb(*.action))]
pub struct ApplyError {
    /// The resource whose change failed.
    pub address: Address,
    /// What was to be done to it.
    pub action: Action,
    /// Why.
    #[source]
    pub cause: ChangeError,
    /// Whether something of it was changed before it failed, or may have been.
    pub begun: bool,
    /// Whether all of it was done, and only the record is missing.
    pub finished: bool,
    /// Changes that came to their end, in order.
    pub done: Vec<Completed>,
    /// Resources whose changes were not begun, in order.
    pub remaining: Vec<Address>,
}

/// Why a change failed.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// A call failed.
    #[error("{0}")]
    Cloud(#[from] CloudError),
    /// There is something of that name, and it is not ours.
    #[error(
        "`{id}` exists and {owner}: rmx does not touch what it did not make",
        owner = match .owner {
            Some(owner) => format!("belongs to the deployment {owner}"),
            None => "carries no tag `rmx:stack`".to_owned(),
        }
    )]
    Foreign {
        /// ARN or name.
        id: String,
        /// The `rmx:stack` tag it carries.
        owner: Option<String>,
    },
    /// The resource is not as it was when the plan was made.
    #[error("it was changed by somebody else after the plan was made; make a new plan")]
    Moved,
    /// It is not there although it was just written.
    #[error("it is not there although the cloud has just confirmed it")]
    Vanished,
    /// A bucket that is to be deleted holds objects that rmx did not put there to manage itself.
    #[error(
        "the bucket `{bucket}` holds {objects} objects ({size_bytes} bytes) such as `{example}`; \
         delete them, or set `force_destroy = true` under [bucket]"
    )]
    BucketNotEmpty {
        /// The bucket.
        bucket: BucketName,
        /// How many.
        objects: usize,
        /// Their size.
        size_bytes: u64,
        /// One of the keys.
        example: String,
    },
    /// The function's zip was not handed over.
    #[error("the function package of `{0}` was not built")]
    NoCode(FunctionName),
    /// There is no bucket through which a large package could go.
    #[error("the function package of `{0}` is too large for a request, and there is no bucket")]
    NoBucketForCode(FunctionName),
    /// The site's folder was not handed over.
    #[error("the folder of site `{0}` is not known")]
    NoFolder(SiteName),
    /// A file is not what the plan was made of.
    #[error("{path} is not what the plan was made of any more (planned {planned}, found {found}); make a new plan", planned = .planned.short(), found = .found.short())]
    Artefact {
        /// The file.
        path: PathBuf,
        /// Its digest in the plan.
        planned: Digest,
        /// Its digest now.
        found: Digest,
    },
    /// A file cannot be read.
    #[error("{path} cannot be read")]
    ReadFile {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A secret value is missing or is another one than planned.
    #[error("the secret value of environment variable `{name}` {problem}")]
    Secret {
        /// The function's environment variable.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Lambda says that the function cannot be made or changed that way.
    #[error("Lambda could not {what} the function: {reason}")]
    Lambda {
        /// `create` or `update`.
        what: &'static str,
        /// Lambda's reason.
        reason: String,
    },
    /// A role that Lambda should be able to use by now.
    #[error(
        "Lambda still cannot use the role {role_arn} after {} s; \
         check that its trust policy names lambda.amazonaws.com",
        .waited.as_secs()
    )]
    RoleNotReady {
        /// The role.
        role_arn: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The new version did not pass its smoke render. `live` was not touched.
    #[error("version {version} of `{function}` did not pass its smoke render; {}", match live {
        Some(live) => format!("`live` still points to version {live}"),
        None => "there is no `live` alias yet".to_owned(),
    })]
    Smoke {
        /// The function.
        function: FunctionName,
        /// The version that was published.
        version: String,
        /// Where `live` points, if there is one.
        live: Option<String>,
        /// What went wrong.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The state could not be saved. Nothing is done that could not be recorded.
    #[error("the state could not be saved")]
    SaveState(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::NoOp => "look at",
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "destroy",
        Action::Adopt => "adopt",
        Action::Forget => "forget",
    }
}
