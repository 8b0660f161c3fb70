//! Preflight: asks the cloud whether a plan could be carried out, before anything is touched.
//!
//! What is asked follows from the plan; `plan::preflight` says what the answers mean. Nothing is asked for a plan that
//! changes nothing.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};
use serde_json::json;
use time::OffsetDateTime;

use crate::cloud::{
    AccountSettings, Cloud, CloudError, CloudErrorKind, PolicySource, Question, SimulatedAnswer,
};
use crate::config::{Config, RoleConfig};
use crate::env;
use crate::plan::calls::Surroundings;
use crate::plan::change::{Action, Change, Plan};
use crate::plan::desired;
use crate::plan::layers::{self, Told};
use crate::plan::limits::{self, Limits};
use crate::plan::preflight::{self, Answer, Check, Need, Preflight, Principal, Subject, Verdict};
use crate::resource::Resource;

use super::context::Context;
use super::error::{CommandError, CommandErrorKind};
use super::farm::Farm;
use super::foreign::one_line;
use super::planned::Planned;

/// Questions to IAM at the same time; it answers few a second.
const QUESTIONS_IN_FLIGHT: usize = 8;

/// What tools set for credentials that are handed over in the environment (`aws configure export-credentials`).
const EXPIRATION_VARIABLE: &str = "AWS_CREDENTIAL_EXPIRATION";

/// Options of everything that is going to be applied.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct PreflightOptions {
    /// Do not ask the cloud whether the plan could be carried out
    #[arg(long, conflicts_with = "preflight_as")]
    skip_preflight: bool,
    /// Ask what this role or user may do, not the caller: the one that is going to apply the plan
    #[arg(long, value_name = "ARN", value_parser = principal_arn)]
    preflight_as: Option<String>,
}

/// An ARN of IAM or STS; whether it names somebody, only IAM knows.
pub(super) fn principal_arn(text: &str) -> Result<String, String> {
    let mut parts = text.splitn(6, ':');
    let mut next = || parts.next().unwrap_or_default();
    let (arn, _partition, service) = (next(), next(), next());
    match (arn, service) {
        ("arn", "iam" | "sts") => Ok(text.to_owned()),
        _ => Err(
            "an ARN of a role or user, such as `arn:aws:iam::123456789012:role/deployer`"
                .to_owned(),
        ),
    }
}

impl PreflightOptions {
    /// Checks `planned`, and keeps the findings in it.
    pub(super) async fn check(
        &self,
        context: &Context,
        config: &Config,
        farm: &Farm,
        planned: &mut Planned,
    ) {
        let plan = &planned.plan;
        if self.skip_preflight || !plan.changes.iter().any(Change::touches_cloud) {
            return;
        }
        let principal = self.preflight_as.as_ref().unwrap_or(&farm.caller);
        let asker = Asker { config, farm };
        let (permissions, worker_role, layers, freed_bytes) = tokio::join!(
            asker.permissions(principal, planned),
            asker.worker_role(plan),
            asker.layers(planned),
            asker.freed_bytes(plan)
        );
        let mut checks = vec![
            caller(config, farm),
            credentials(context, farm),
            permissions,
        ];
        checks.extend(worker_role);
        checks.extend(layers);
        checks.extend(account_limits(planned, freed_bytes.as_ref()));
        planned.preflight = Some(Preflight {
            principal: principal.clone(),
            checks,
        });
    }
}

/// Requires that nothing was found for which the plan would fail.
///
/// # Errors
/// Something was; every action and resource is named. Nothing has been done.
pub(super) fn require_possible(planned: &Planned) -> Result<(), CommandError> {
    let Some(preflight) = &planned.preflight else {
        return Ok(());
    };
    let refusals: Vec<&Check> = preflight.refusals().collect();
    let Some(first) = refusals.first() else {
        return Ok(());
    };
    let mut lines = Vec::new();
    for check in &refusals {
        lines.push(format!("  - {check}"));
        for denied in &check.denied {
            let addresses: Vec<String> = denied.addresses.iter().map(ToString::to_string).collect();
            let needed = match addresses.len() {
                0 => String::new(),
                _ => format!(", needed for {}", addresses.join(", ")),
            };
            lines.push(format!(
                "      {} on {}{needed}: {}",
                denied.action, denied.resource, denied.reason
            ));
        }
    }
    let hint = match first.subject {
        Subject::Permissions if first.denied.is_empty() => format!(
            "{} must be there before it can apply the plan: make it, or name another one with --preflight-as ARN",
            preflight.principal
        ),
        Subject::WorkerRole if first.denied.is_empty() => {
            "make the role, or name another one under [role]; --skip-preflight goes ahead all the same".to_owned()
        }
        Subject::Permissions => format!(
            "let {} do what is named above, or plan for whoever applies it with --preflight-as ARN; --skip-preflight goes \
             ahead all the same",
            preflight.principal
        ),
        Subject::WorkerRole => {
            "extend the role (or the permissions boundary) by what is named above; --skip-preflight goes ahead all the same"
                .to_owned()
        }
        _ => "mend what is named above; --skip-preflight goes ahead all the same".to_owned(),
    };
    Err(CommandError::new(
        CommandErrorKind::Preflight,
        "The plan could not be carried out",
    )
    .detail(format!("Nothing was done:\n{}", lines.join("\n")))
    .diagnostics(refusals.iter().map(|check| json!(check)).collect())
    .hint(hint))
}

fn caller(config: &Config, farm: &Farm) -> Check {
    let account = &farm.identity.account;
    let guard = match &config.account {
        // Another account does not come this far.
        Some(_) => "the one that `account` allows",
        None => "any is allowed: `account` is not set",
    };
    let detail = format!("{} in account {account} ({guard})", farm.caller);
    Check::new(Subject::Caller, Verdict::Ok, detail)
}

fn credentials(context: &Context, farm: &Farm) -> Check {
    let told = context.env.variable(EXPIRATION_VARIABLE);
    let told = told.and_then(|text| {
        let format = &time::format_description::well_known::Rfc3339;
        OffsetDateTime::parse(text, format).ok()
    });
    let end = farm.cloud.credentials_end().map(OffsetDateTime::from);
    preflight::credentials(end.or(told), env::now())
}

/// What follows from Lambda's limits, where replaced functions leave `freed_bytes` of code.
fn account_limits(planned: &Planned, freed_bytes: Result<&u64, &CloudError>) -> Vec<Check> {
    let settings = match &planned.settings {
        Ok(settings) => settings,
        Err(error) => {
            let detail = format!("not checked: {}", unknown(error));
            return vec![Check::new(
                Subject::Concurrency,
                Verdict::NotChecked,
                detail,
            )];
        }
    };
    let of_account = of(settings);
    let freed = freed_bytes.copied().unwrap_or(0);
    let code = planned
        .package
        .and_then(|package| limits::code_storage(&planned.plan, package, of_account, freed));
    // What is freed may be what is missing.
    let code = code.map(|check| match (&freed_bytes, check.verdict) {
        (Err(error), Verdict::Refused) => {
            let detail = format!("not checked: {}", unknown(error));
            Check::new(Subject::CodeStorage, Verdict::NotChecked, detail)
        }
        _ => check,
    });
    let functions = planned.plan.changes.iter().any(|change| {
        change.touches_cloud() && matches!(change.after, Some(Resource::Function(_)))
    });
    let concurrency =
        functions.then(|| limits::concurrency(planned.workers_per_render, of_account));
    code.into_iter().chain(concurrency).collect()
}

fn of(settings: &AccountSettings) -> Limits {
    Limits {
        unreserved_concurrency: settings.unreserved_concurrent_executions,
        zipped_bytes_max: settings.code_size_zipped_bytes,
        unzipped_bytes_max: settings.code_size_unzipped_bytes,
        total_bytes_max: settings.code_size_total_bytes,
        total_bytes_used: settings.code_size_used_bytes,
    }
}

/// Asks IAM.
struct Asker<'a> {
    config: &'a Config,
    farm: &'a Farm,
}

impl Asker<'_> {
    /// Whether `principal` may do what the plan does.
    async fn permissions(&self, principal: &str, planned: &Planned) -> Check {
        let bucket = planned.code_bucket();
        let surroundings = Surroundings {
            identity: &self.farm.identity,
            code_bucket: bucket.as_ref(),
            smoke: self.config.function.smoke || planned.owes_smoke(),
        };
        let mut needs = preflight::needs(&planned.plan, surroundings);
        let state = desired::state_needs(self.config, &self.farm.identity);
        needs.extend(preflight::needs_of_nobody(state));
        let answers = match self.source(principal).await {
            Ok(source) => ask(&self.farm.cloud, &source, &needs).await,
            Err(reason) => Ok(vec![Answer::Unknown(reason.to_owned()); needs.len()]),
        };
        let answers = match (answers, preflight::principal(principal)) {
            (Ok(answers), _) => answers,
            (Err(NoSuchPrincipal), Principal::Named(arn)) => {
                return nobody(Subject::Permissions, &arn);
            }
            // The path of a role that may not be looked at was guessed.
            (Err(NoSuchPrincipal), _) => {
                let reason = "IAM knows nobody of that name".to_owned();
                vec![Answer::Unknown(reason); needs.len()]
            }
        };
        let who = principal.rsplit(':').next().unwrap_or(principal);
        preflight::permissions(Subject::Permissions, who, &needs, &answers)
    }

    /// Whether the layers of functions that change are there and fit; `None` where there are none.
    async fn layers(&self, planned: &Planned) -> Option<Check> {
        let mut changes = planned.plan.changes.iter();
        // All functions of a farm are alike.
        let spec = changes.find_map(|change| match &change.after {
            Some(Resource::Function(spec)) if writes(change) && !spec.layers.is_empty() => {
                Some(spec)
            }
            _ => None,
        })?;
        let told = stream::iter(spec.layers.clone()).map(|arn| async move {
            let told = match self.farm.cloud.layer_version(&arn).await {
                Ok(layer) => Told::There {
                    zipped_bytes: layer.zipped_bytes,
                    architectures: layer.architectures,
                },
                Err(error) if error.is_not_found() => Told::Missing,
                Err(error) => Told::Unknown(unknown(&error)),
            };
            (arn, told)
        });
        let told: Vec<(String, Told)> = told.buffered(QUESTIONS_IN_FLIGHT).collect().await;
        let code_bytes = planned.package.map(|package| package.unzipped_bytes);
        let settings = planned.settings.as_ref().ok();
        let bytes_max = settings.map(|settings| settings.code_size_unzipped_bytes);
        let check = layers::layers(&told, &spec.architecture, code_bytes, bytes_max);
        Some(check)
    }

    /// The code of the functions that are replaced.
    async fn freed_bytes(&self, plan: &Plan) -> Result<u64, CloudError> {
        let mut freed_bytes = 0;
        let replaced = plan.changes.iter();
        for change in replaced.filter(|change| change.action == Action::Replace) {
            if let Some(Resource::Function(spec)) = &change.before {
                freed_bytes += self.farm.cloud.stored_code_bytes(&spec.name).await?;
            }
        }
        Ok(freed_bytes)
    }

    /// Whose policies stand behind `principal`.
    async fn source(&self, principal: &str) -> Result<PolicySource, &'static str> {
        match preflight::principal(principal) {
            Principal::Named(arn) => Ok(PolicySource::Principal(arn)),
            Principal::AssumedRole { name, arn } => {
                // Who may not look at the role may still ask about it, if it has no path.
                let found = self.farm.cloud.role_arn(&name).await;
                Ok(PolicySource::Principal(found.unwrap_or(arn)))
            }
            Principal::None(reason) => Err(reason),
        }
    }

    /// Whether the role of the workers lets them work; `None` where neither it nor its use changes.
    async fn worker_role(&self, plan: &Plan) -> Option<Check> {
        let needs = desired::worker_needs(self.config, &self.farm.identity);
        let needs = preflight::needs_of_nobody(needs);
        let cloud = &self.farm.cloud;
        let (who, answers) = match &self.config.role {
            RoleConfig::Managed { .. } => {
                let (spec, ours) = plan.changes.iter().find_map(|change| match &change.after {
                    Some(Resource::Role(spec)) => Some((spec, writes(change))),
                    _ => None,
                })?;
                if !ours {
                    return None;
                }
                let boundary = match &spec.permissions_boundary {
                    None => Ok(None),
                    Some(arn) => cloud.managed_policy(arn).await.map(Some),
                };
                let answers = match boundary {
                    Ok(boundary) => {
                        let policy = spec.policy.clone();
                        let source = PolicySource::Policy { policy, boundary };
                        ask(cloud, &source, &needs).await
                    }
                    Err(error) => Ok(vec![Answer::Unknown(unknown(&error)); needs.len()]),
                };
                (format!("workers by the policy of `{}`", spec.name), answers)
            }
            RoleConfig::Existing { arn } => {
                let mut changes = plan.changes.iter();
                changes.find(|change| {
                    writes(change) && matches!(change.after, Some(Resource::Function(_)))
                })?;
                let source = PolicySource::Principal(arn.clone());
                (
                    format!("workers by {arn}"),
                    ask(cloud, &source, &needs).await,
                )
            }
        };
        Some(match (answers, &self.config.role) {
            (Ok(answers), _) => preflight::permissions(Subject::WorkerRole, &who, &needs, &answers),
            (Err(NoSuchPrincipal), RoleConfig::Existing { arn }) => {
                nobody(Subject::WorkerRole, arn)
            }
            (Err(NoSuchPrincipal), RoleConfig::Managed { .. }) => nobody(Subject::WorkerRole, &who),
        })
    }
}

fn writes(change: &Change) -> bool {
    change.touches_cloud() && change.action != Action::Delete
}

/// There is no such role or user.
struct NoSuchPrincipal;

/// Who does not exist may do nothing.
fn nobody(subject: Subject, arn: &str) -> Check {
    let detail = format!("there is no {arn}");
    Check::new(subject, Verdict::Refused, detail)
}

/// One answer to each need. IAM is asked once for each resource.
///
/// # Errors
/// IAM does not know whose policies are asked for.
async fn ask(
    cloud: &Cloud,
    source: &PolicySource,
    needs: &[Need],
) -> Result<Vec<Answer>, NoSuchPrincipal> {
    let mut questions: BTreeMap<&str, Question> = BTreeMap::new();
    for Need { call, .. } in needs {
        let question = questions.entry(&call.resource).or_insert_with(|| Question {
            actions: Vec::new(),
            resource: call.resource.clone(),
        });
        question.actions.push(call.action.to_owned());
    }
    let answers = stream::iter(questions.into_values()).map(|question| async move {
        let answered = cloud.simulate(source, &question).await;
        (question.resource, answered)
    });
    let answers: BTreeMap<String, _> = answers
        .buffer_unordered(QUESTIONS_IN_FLIGHT)
        .collect()
        .await;
    let missing =
        |answer: &Result<_, CloudError>| matches!(answer, Err(error) if error.is_not_found());
    if matches!(source, PolicySource::Principal(_)) && answers.values().any(missing) {
        return Err(NoSuchPrincipal);
    }
    let answer = |need: &Need| match &answers[&need.call.resource] {
        Err(error) => Answer::Unknown(unknown(error)),
        Ok(decisions) => {
            let mut decisions = decisions.iter();
            match decisions.find(|one| one.action.eq_ignore_ascii_case(need.call.action)) {
                None => Answer::Unknown("IAM's answer leaves some out".to_owned()),
                Some(decision) => match &decision.answer {
                    SimulatedAnswer::Allowed => Answer::Allowed,
                    SimulatedAnswer::Denied(reason) => Answer::Denied((*reason).to_owned()),
                    SimulatedAnswer::Depends(keys) => Answer::Unknown(format!(
                        "policies ask for {}, which is known only when the call is made",
                        one_line(&keys.join(", "))
                    )),
                },
            }
        }
    };
    Ok(needs.iter().map(answer).collect())
}

/// Why the cloud did not tell.
fn unknown(error: &CloudError) -> String {
    match (error.kind, &error.api) {
        (CloudErrorKind::AccessDenied, Some(api)) => {
            format!("the caller may not call {api}")
        }
        _ => one_line(&error.to_string()),
    }
}
