//! A plan with all that carrying it out takes. `plan`, `apply` and `destroy` make theirs here.

use std::collections::BTreeMap;

use crate::apply::Artefacts;
use serde_json::json;

use crate::bundle::kept_part_sizes;
use crate::cloud::{AccountSettings, CloudError};
use crate::config::{Config, DenyRule, Target};
use crate::media::FrameRange;
use crate::names::{BucketName, Lineage};
use crate::plan::change::{Desired, Plan};
use crate::plan::code_size::{self, CodeSize};
use crate::plan::cost::{self, Estimate, Shape};
use crate::plan::gate::{self, Violation};
use crate::plan::limits::Package;
use crate::plan::loss::{Loss, LossKind};
use crate::plan::preflight::Preflight;
use crate::plan::request::{PlanMode, PlanRequest};
use crate::plan::saved::{Basis, SavedPlan};
use crate::plan::{NotOurs, PlanError, lost, observe};
use crate::render::chunks::{ChunkLength, ChunkPlan};
use crate::resource::{Address, Resource, ResourceKind};
use crate::state::State;

use super::context::Context;
use super::error::{CommandError, CommandErrorKind};
use super::farm::Farm;
use super::project::{Project, build_sites};
use super::protection;
use super::render::workers::CONCURRENCY_DEFAULT_MAX;
use super::saved_plan;
use super::view;

/// Frames of a minute of video, 30 of them a second.
const MINUTE_FRAMES: u32 = 1_800;

/// Frames of a render that is as wide as Remotion's rule makes any: ten minutes at 30 frames a second.
const LONG_RENDER_FRAMES: u32 = 18_000;

/// What a request takes where the account's own limit could not be read ("Lambda quotas", developer guide).
const INLINE_CODE_BYTES_DEFAULT: u64 = 50 * 1024 * 1024;

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
    /// Lambda's limits and their use, or why they could not be read.
    pub(super) settings: Result<AccountSettings, CloudError>,
    /// Workers that a render wants at the same time.
    pub(super) workers_per_render: u32,
    /// The function package, where the plan knows it.
    pub(super) package: Option<Package>,
    /// What it does to the cost of rendering.
    pub(super) cost: Option<Estimate>,
    /// What it does to the size of the function's code.
    pub(super) code_size: Option<CodeSize>,
    /// Whether it could be carried out, once that was asked.
    pub(super) preflight: Option<Preflight>,
    /// Why it is refused besides, once that was asked.
    pub(super) refusals: Vec<Violation>,
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
    /// These rules, and those by which a saved plan was refused when it was made: who applies it need not know them.
    pub(super) fn and_of(&self, saved: Option<&SavedPlan>) -> Self {
        let refusals = saved.into_iter().flat_map(|saved| &saved.refusals);
        let rules = refusals.filter_map(|refusal| refusal.rule.parse().ok());
        Self {
            deny: self.deny.iter().copied().chain(rules).collect(),
        }
    }

    /// All for which `rmx apply` would refuse the plan, besides what preflight finds.
    pub(super) fn refusals(&self, config: &Config, planned: &Planned) -> Vec<Violation> {
        let mut refusals = gate::unprotected(&planned.plan);
        refusals.extend(self.violations(config, planned));
        refusals.extend(planned.disagreed(config).map(|loss| Violation {
            rule: gate::CONSENT_RULE.to_owned(),
            address: loss.address.clone(),
            what: "would lose what it holds, and --delete-data is not given".to_owned(),
        }));
        refusals
    }

    fn violations(&self, config: &Config, planned: &Planned) -> Vec<Violation> {
        let denied = config.policy.deny.iter().chain(&self.deny);
        let mut violations = gate::violations(&planned.plan, &denied.copied().collect());
        if let (Some(estimate), Some(max_usd)) =
            (&planned.cost, config.policy.max_cost_per_minute_usd)
        {
            violations.extend(gate::too_expensive(estimate, max_usd));
        }
        violations
    }

    /// Requires that the plan does nothing which is denied.
    ///
    /// # Errors
    /// It does; every rule and resource is named.
    pub(super) fn require_allowed(
        &self,
        config: &Config,
        planned: &Planned,
    ) -> Result<(), CommandError> {
        protection::require_kept(&planned.plan, config.stage.as_ref())?;
        let violations = self.violations(config, planned);
        if violations.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = violations.iter().map(|one| format!("  - {one}")).collect();
        let told = violations
            .iter()
            .map(|one| json!({ "rule": one.rule, "address": one.address, "detail": one.what }));
        Err(
            CommandError::new(CommandErrorKind::Policy, "The plan is refused by policy")
                .detail(format!("Nothing was done:\n{}", lines.join("\n")))
                .diagnostics(told.collect())
                .hint(
                    "change what is planned, or the rule: it is under [policy], or given by --deny. A plan that was saved keeps \
                     the rules of its own --deny: make another",
                ),
        )
    }
}

impl Planned {
    /// The largest zip that goes within a request.
    pub(super) fn inline_code_bytes_max(&self) -> u64 {
        match &self.settings {
            Ok(settings) => settings.code_size_zipped_bytes,
            Err(_) => INLINE_CODE_BYTES_DEFAULT,
        }
    }

    /// The bucket through which the function's code goes; `None` where it goes within the request.
    pub(super) fn code_bucket(&self) -> Option<BucketName> {
        self.package
            .filter(|package| package.zipped_bytes > self.inline_code_bytes_max())?;
        let mut changes = self.plan.changes.iter();
        changes.find_map(|change| match &change.after {
            Some(Resource::Bucket(spec)) => Some(spec.name.clone()),
            _ => None,
        })
    }

    /// Whether the bucket may go with what is in it.
    pub(super) fn deletes_bucket_content(&self, config: &Config) -> bool {
        config.bucket.force_destroy || self.request.delete_data
    }

    /// Requires that the user agrees to lose what would be lost.
    ///
    /// # Errors
    /// Something would be, and nobody agreed. Nothing has been done.
    pub(super) fn require_consent(&self, config: &Config) -> Result<(), CommandError> {
        let lines: Vec<String> = self
            .disagreed(config)
            .map(|loss| format!("  - {}", view::loss(loss)))
            .collect();
        if lines.is_empty() {
            return Ok(());
        }
        Err(CommandError::new(CommandErrorKind::Preflight, "Data would be lost")
            .detail(format!("Nothing was done:\n{}", lines.join("\n")))
            .hint(
                "save what you want to keep, then pass --delete-data; for a saved plan it is passed where that is made: \
                 `rmx plan --delete-data --out FILE` (for objects, `force_destroy = true` under [bucket] does as well)",
            ))
    }

    /// What would be lost without anybody's agreement.
    fn disagreed(&self, config: &Config) -> impl Iterator<Item = &Loss> {
        let objects = self.deletes_bucket_content(config);
        self.losses.iter().filter(move |loss| match loss.kind {
            LossKind::Objects => !objects,
            LossKind::LogStreams => !self.request.delete_data,
        })
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

impl Planned {
    /// Whether a version did not pass its smoke render, so that what follows it has to.
    pub(super) fn owes_smoke(&self) -> bool {
        let mut changes = self.plan.changes.iter();
        changes.any(|change| change.owes_smoke_after().is_some())
    }
}

/// What `request` leads to now. `saved` is the plan that is made again, if one is.
///
/// # Errors
/// An artefact or a secret is missing, the cloud cannot be read, or there is no such plan.
pub(super) async fn make(
    context: &Context,
    config: &Config,
    farm: &Farm,
    state: &State,
    request: PlanRequest,
    saved: Option<&SavedPlan>,
) -> Result<Planned, CommandError> {
    let project = match request.mode {
        PlanMode::Deploy => Some(Project::read(context, config, &farm.cloud).await?),
        PlanMode::Destroy | PlanMode::RefreshOnly => None,
    };
    let desired = match &project {
        Some(project) => project.desired(config, &farm.identity)?,
        None => Desired::protection(config, state.records.keys()),
    };
    // The limits are read beside the rest: a plan without changes takes no more round trips for them.
    let (observed, settings) = tokio::join!(
        observe::observe(&farm.cloud, farm.identity.clone(), &desired, state),
        farm.cloud.account_settings(),
    );
    let observed = observed?;
    let plan = request.make(&desired, &observed, state);
    let plan = plan.map_err(|error| saved_plan::no_more(saved, error))?;
    let unreserved = settings.as_ref().ok();
    let unreserved = unreserved.map(|settings| settings.unreserved_concurrent_executions);
    let local = config.target == Target::Local;
    Ok(Planned {
        cost: match request.mode {
            PlanMode::Deploy | PlanMode::Destroy => {
                cost::estimate(&plan, shape(config), local, unreserved)
            }
            PlanMode::RefreshOnly => None,
        },
        code_size: code_size(config, &plan),
        losses: lost::losses(&farm.cloud, &plan, state).await?,
        request,
        basis: Basis::new(&config.project, config.stage.as_ref(), config.digest, state),
        plan,
        settings,
        workers_per_render: shape(config).workers_per_render,
        package: project.as_ref().map(Project::package),
        preflight: None,
        refusals: Vec::new(),
        artefacts: project.as_ref().map(Project::artefacts).unwrap_or_default(),
        secrets: project.map(|project| project.secrets).unwrap_or_default(),
    })
}

/// What the plan does to the size of the function's code, as far as this machine has packed it.
fn code_size(config: &Config, plan: &Plan) -> Option<CodeSize> {
    let (before, after) = code_size::replaced_code(plan)?;
    let cache = config.directory.join(".rmx/cache");
    let kept = |digest| kept_part_sizes(&cache, &digest);
    Some(CodeSize::new(kept(before).as_ref(), &kept(after)?))
}

/// How the configuration has renders done.
fn shape(config: &Config) -> Shape {
    let render = &config.render;
    let length = match (render.concurrency, render.frames_per_lambda) {
        (Some(count), _) => ChunkLength::Chunks(count),
        (None, Some(frames)) => ChunkLength::Frames(frames),
        (None, None) => ChunkLength::Default,
    };
    let chunks = |frames| {
        let frames = FrameRange::new(0, frames).ok()?;
        ChunkPlan::new(frames, length)
            .ok()
            .map(|chunks| chunks.len())
    };
    let limit = render.concurrency.unwrap_or(CONCURRENCY_DEFAULT_MAX);
    Shape {
        worker_seconds_per_minute: render
            .worker_seconds_per_minute
            .unwrap_or(cost::WORKER_SECONDS_PER_MINUTE),
        assumed: render.worker_seconds_per_minute.is_none(),
        // A length that does not fit a minute makes one chunk of it.
        requests_per_minute: chunks(MINUTE_FRAMES).unwrap_or(1),
        workers_per_render: chunks(LONG_RENDER_FRAMES).map_or(limit, |chunks| chunks.min(limit)),
    }
}

/// How to have each object back, or to let go of it.
fn not_ours_hint(objects: &[NotOurs], lineage: &Lineage) -> String {
    if let [only] = objects {
        return way_back(only, lineage);
    }
    let lines = objects
        .iter()
        .map(|object| format!("\n  - {}: {}", object.address, way_back(object, lineage)));
    format!(
        "each has to come back or to be let go of:{}",
        String::from_iter(lines)
    )
}

/// The same of one.
fn way_back(object: &NotOurs, lineage: &Lineage) -> String {
    let NotOurs { address, id, owner } = object;
    let forget = format!("`rmx state rm {address}`");
    let name = id.rsplit(['/', ':']).next().unwrap_or(id);
    let region = id.split(':').nth(3).unwrap_or_default();
    let tag = match (address.kind, owner) {
        // What is there is told by its manifest, and sites cannot be imported.
        (ResourceKind::Site, _) => {
            return format!(
                "let go of it with {forget}, and give the site another name or delete what is there"
            );
        }
        (_, Some(_)) => {
            return format!(
                "let go of it with {forget}, or take it over: that, and then `rmx import {address} NAME --force`"
            );
        }
        (ResourceKind::LogGroup, None) => {
            format!(
                "`aws logs tag-resource --region {region} --resource-arn {id} --tags rmx:stack={lineage}`"
            )
        }
        (ResourceKind::Function, None) => {
            format!(
                "`aws lambda tag-resource --region {region} --resource {id} --tags rmx:stack={lineage}`"
            )
        }
        (ResourceKind::Role, None) => {
            format!("`aws iam tag-role --role-name {name} --tags Key=rmx:stack,Value={lineage}`")
        }
        (ResourceKind::Bucket, None) => {
            format!("the bucket's tags get `rmx:stack` = `{lineage}`, beside those that it has")
        }
    };
    format!(
        "if somebody took the tag away, put it back, and nothing is lost: {tag}. If it is another object by now, let go of it with \
         {forget}; `rmx import {address} NAME` after that takes it over, without its releases and its protection"
    )
}

impl From<PlanError> for CommandError {
    fn from(error: PlanError) -> Self {
        match &error {
            PlanError::Foreign { .. } => CommandError::error("A name is taken").cause(error).hint(
                "if it is this deployment's own, its state is missing: look for it (`[state]`, another folder) or \
                 `rmx state push` a backup of it, from `.rmx/state/backups` or, for a state in S3, from `KEY.backups/` beside it. To \
                 take it over, `rmx import`. Else rename the project, the stage or \
                 (for a bucket) `name` under [bucket]",
            ),
            PlanError::NotOurs { objects, lineage } => {
                let summary = match objects.iter().all(|object| object.owner.is_none()) {
                    true => "A recorded object has lost its tag",
                    false => "A recorded object belongs to somebody else",
                };
                let hint = not_ours_hint(objects, lineage);
                CommandError::error(summary).cause(error).hint(hint)
            }
            PlanError::RecordedElsewhere { address, recorded } => {
                let hint = format!(
                    "`rmx state mv {recorded} {address}` records it where it is declared; where both are recorded, \
                     `rmx state rm {recorded}` forgets the other"
                );
                CommandError::error("An object has two addresses").cause(error).hint(hint)
            }
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
