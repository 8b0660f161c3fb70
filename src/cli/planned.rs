//! A plan with all that carrying it out takes. `plan`, `apply` and `destroy` make theirs here.

use std::collections::BTreeMap;

use crate::apply::Artefacts;
use serde_json::json;

use crate::config::{Config, DenyRule};
use crate::plan::change::{Desired, Plan};
use crate::plan::loss::{Loss, LossKind};
use crate::plan::request::{PlanMode, PlanRequest};
use crate::plan::saved::Basis;
use crate::plan::{PlanError, gate, observe};
use crate::resource::Address;
use crate::state::State;

use super::context::Context;
use super::error::{CommandError, CommandErrorKind};
use super::farm::Farm;
use super::project::{Project, build_sites};
use super::protection;
use super::view;

/// A plan with all that carrying it out takes.
pub(super) struct Planned {
    /// Which kind of plan.
    pub(super) request: PlanRequest,
    /// What it was made from besides cloud and artefacts.
    pub(super) basis: Basis,
    /// What to do.
    pub(super) plan: Plan,
    /// What is lost for ever with it.
    pub(super) losses: Vec<Loss>,
    /// What is uploaded.
    pub(super) artefacts: Artefacts,
    /// Values of the function's secret environment variables. Never recorded or shown, so this is not `Debug`.
    pub(super) secrets: BTreeMap<String, String>,
}

/// Options that shape a plan.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct RequestOptions {
    /// Only record what changed outside of rmx; change nothing in the cloud
    #[arg(long)]
    refresh_only: bool,
    /// Replace this resource even if nothing forces it, for example `function.worker`; may be repeated
    #[arg(long, value_name = "ADDRESS", conflicts_with = "refresh_only")]
    replace: Vec<Address>,
    #[command(flatten)]
    consent: ConsentOptions,
}

/// What the user agrees to lose.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct ConsentOptions {
    /// Agree to lose what a bucket or a log group holds that is destroyed or replaced
    #[arg(long)]
    pub(super) delete_data: bool,
}

impl RequestOptions {
    /// What they ask for.
    pub(super) fn request(&self) -> PlanRequest {
        PlanRequest {
            mode: match self.refresh_only {
                true => PlanMode::RefreshOnly,
                false => PlanMode::Deploy,
            },
            replace: self.replace.iter().cloned().collect(),
            delete_data: self.consent.delete_data,
        }
    }
}

/// What is refused whatever the configuration says.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct GateOptions {
    /// Refuse a plan that does this (destroy, replace, iam-widen, public-bucket), beside what [policy] denies; may be
    /// repeated
    #[arg(long, value_name = "RULE")]
    deny: Vec<DenyRule>,
}

impl GateOptions {
    /// Requires that `plan` does nothing which is denied.
    ///
    /// # Errors
    /// It does; every rule and resource is named.
    pub(super) fn require_allowed(&self, config: &Config, plan: &Plan) -> Result<(), CommandError> {
        protection::require_kept(plan)?;
        let denied = config
            .policy
            .deny
            .iter()
            .chain(&self.deny)
            .copied()
            .collect();
        let violations = gate::violations(plan, &denied);
        if violations.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = violations.iter().map(|one| format!("  - {one}")).collect();
        let told = violations.iter().map(
            |one| json!({ "rule": one.rule.as_str(), "address": one.address, "detail": one.what }),
        );
        Err(CommandError::new(CommandErrorKind::Policy, "The plan is refused by policy")
            .detail(format!("Nothing was done:\n{}", lines.join("\n")))
            .diagnostics(told.collect())
            .hint("change what is planned, or take the rule out of `deny` under [policy] or out of --deny"))
    }
}

impl Planned {
    /// Whether the bucket may go with what is in it.
    pub(super) fn deletes_bucket_content(&self, config: &Config) -> bool {
        config.bucket.force_destroy || self.request.delete_data
    }

    /// Requires that the user agrees to lose what would be lost.
    ///
    /// # Errors
    /// Something would be, and nobody agreed. Nothing has been done.
    pub(super) fn require_consent(&self, config: &Config) -> Result<(), CommandError> {
        let refused = self.losses.iter().filter(|loss| match loss.kind {
            LossKind::Objects => !self.deletes_bucket_content(config),
            LossKind::LogStreams => !self.request.delete_data,
        });
        let lines: Vec<String> = refused
            .map(|loss| format!("  - {}", view::loss(loss)))
            .collect();
        if lines.is_empty() {
            return Ok(());
        }
        Err(CommandError::new(CommandErrorKind::Preflight, "Data would be lost")
            .detail(format!("Nothing was done:\n{}", lines.join("\n")))
            .hint("save what you want to keep, then pass --delete-data (for objects, `force_destroy = true` under [bucket] does as well)"))
    }
}

/// The configuration that a request needs. Commands that build sites are run if `build` says so.
///
/// # Errors
/// The configuration is not valid, or a site cannot be built.
pub(super) async fn configuration(
    context: &Context,
    request: &PlanRequest,
    build: bool,
) -> Result<Config, CommandError> {
    match request.mode {
        PlanMode::Deploy => {
            let config = context.config_with_folders()?;
            if build {
                build_sites(context, &config).await?;
            }
            Ok(config)
        }
        // A farm can be destroyed after its folders are gone.
        PlanMode::Destroy | PlanMode::RefreshOnly => context.config(),
    }
}

/// What `request` leads to now.
///
/// # Errors
/// An artefact or a secret is missing, the cloud cannot be read, or there is no such plan.
pub(super) async fn make(
    context: &Context,
    config: &Config,
    farm: &Farm,
    state: &State,
    request: PlanRequest,
) -> Result<Planned, CommandError> {
    let project = match request.mode {
        PlanMode::Deploy => Some(Project::read(context, config)?),
        PlanMode::Destroy | PlanMode::RefreshOnly => None,
    };
    let desired = match &project {
        Some(project) => project.desired(config, &farm.identity),
        None => Desired::default(),
    };
    let observed = observe::observe(&farm.cloud, farm.identity.clone(), &desired, state).await?;
    let plan = request.make(&desired, &observed, state)?;
    Ok(Planned {
        losses: observe::losses(&farm.cloud, &plan, state).await?,
        request,
        basis: Basis::new(&config.project, config.stage.as_ref(), config.digest, state),
        plan,
        artefacts: project.as_ref().map(Project::artefacts).unwrap_or_default(),
        secrets: project.map(|project| project.secrets).unwrap_or_default(),
    })
}

impl From<PlanError> for CommandError {
    fn from(error: PlanError) -> Self {
        match &error {
            PlanError::Foreign { .. } => CommandError::error("A name is taken").cause(error).hint(
                "rename the project, the stage or (for a bucket) `name` under [bucket], or delete what is there",
            ),
            PlanError::OtherCloud { recorded, .. } => {
                let hint = format!(
                    "use the credentials and region of account {}, or another stage for another cloud",
                    recorded.account
                );
                CommandError::error("The state belongs to another cloud").cause(error).hint(hint)
            }
            PlanError::NotDesired(_) => CommandError::usage("There is no such resource")
                .cause(error)
                .hint("`rmx plan --json` lists every address under `resource_changes`"),
            PlanError::Wrong(_) => {
                CommandError::new(CommandErrorKind::Internal, "This is a bug in rmx").cause(error)
            }
        }
    }
}
