//! `rmx policies`: what the people and pipelines of a farm have to be allowed, as IAM policies.

use crate::config::{Config, Target};
use crate::names::AccountId;
use crate::plan::{desired, policies};
use crate::state::CloudIdentity;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::preflight::principal_arn;

/// Print an IAM policy that allows what this configuration needs, and nothing else
///
/// Nothing is asked of AWS where `account` is set in remotion.toml. What administrators do once is in none of the policies: to
/// make the bucket of a state (`rmx state create-bucket`), and to delete a farm of another name.
#[derive(Debug, clap::Args)]
pub(crate) struct PoliciesArgs {
    /// Whose policy
    #[arg(value_enum)]
    whose: Whose,
    /// The role or user that gets the deployer's policy, for the planner's the one that applies (`rmx plan --preflight-as`):
    /// lets preflight ask IAM what it may do
    #[arg(long, value_name = "ARN", value_parser = principal_arn)]
    principal: Option<String>,
    /// The deployer may have new versions render before they go live, as `rmx apply --smoke` does. `smoke = true` under
    /// [function] says the same
    #[arg(long)]
    smoke: bool,
}

/// Who does something with a farm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Whose {
    /// Who plans, applies, imports, rolls back and destroys
    Deployer,
    /// Who plans, and changes nothing
    Planner,
    /// Who renders with what is deployed
    Renderer,
    /// The functions' role, for `[role] arn`; rmx gives it to a role of its own by itself
    Worker,
}

/// The most characters, white space left out, that a managed policy of IAM may have (IAM's quotas).
const POLICY_CHARACTERS_MAX: usize = 6144;

pub(crate) async fn cmd_policies(
    context: &Context,
    args: &PoliciesArgs,
) -> Result<ExitStatus, CommandError> {
    let asks = matches!(args.whose, Whose::Deployer | Whose::Planner);
    if args.principal.is_some() && !asks {
        return Err(CommandError::usage(
            "--principal is for the deployer's policy and the planner's",
        ));
    }
    if args.smoke && args.whose != Whose::Deployer {
        return Err(CommandError::usage("--smoke is for the deployer's policy"));
    }
    let config = context.config()?;
    let identity = CloudIdentity {
        account: account(context, &config).await?,
        region: config.region.clone(),
    };
    let policy = match args.whose {
        Whose::Deployer => {
            let principal = args.principal.as_deref();
            policies::document(&policies::deployer_needs(
                &config, &identity, principal, args.smoke,
            ))
        }
        Whose::Planner => {
            let principal = args.principal.as_deref();
            policies::document(&policies::planner_needs(&config, &identity, principal))
        }
        Whose::Renderer => policies::document(&policies::renderer_needs(&config, &identity)),
        Whose::Worker => desired::worker_policy(&config, &identity),
    };
    if asks && args.principal.is_none() {
        context.ui.say(
            "Without --principal ARN the policy does not allow preflight to ask what the deployer may do: plans say \"not checked\".",
        );
    }
    let characters = policy.to_string().len();
    if characters > POLICY_CHARACTERS_MAX {
        context.ui.say(format_args!(
            "The policy has {characters} characters, a managed policy {POLICY_CHARACTERS_MAX} at most: split it by its statements."
        ));
    }
    // For people and for `aws iam create-policy` alike.
    context.ui.print(format_args!("{policy:#}"))?;
    Ok(ExitStatus::Success)
}

/// The account of which the policies speak: the one that is configured, or that of the credentials.
async fn account(context: &Context, config: &Config) -> Result<AccountId, CommandError> {
    match (&config.account, config.target) {
        (Some(account), _) => Ok(account.clone()),
        (None, Target::Local) => Ok(farm::local_account()),
        (None, Target::Aws) => Ok(farm::connect(context, config).await?.identity.account),
    }
}
