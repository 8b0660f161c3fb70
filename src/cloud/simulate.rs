//! IAM's own answer to whether something would be allowed, without doing it.
//!
//! IAM decides by the identity's policies, its boundary and the organization's; it does not know policies of buckets,
//! session policies, and keys of conditions that nobody tells it. Where such a key decides, there is no answer.

use std::collections::BTreeSet;

use aws_sdk_iam::types::{
    ContextEntry, ContextKeyTypeEnum, EvaluationResult, PolicyEvaluationDecisionType,
    ResourceSpecificResult,
};
use serde_json::Value;

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind};
use crate::names::RoleName;
use crate::resource::policy;

/// Pages of an answer that are read: a hundred decisions each.
const PAGES_MAX: usize = 20;

/// Whose permissions are asked for.
#[derive(Debug, Clone)]
pub enum PolicySource {
    /// The policies of a user or role, by ARN.
    Principal(String),
    /// A policy that nobody has yet, within a boundary.
    Policy {
        /// The document.
        policy: Value,
        /// The boundary's document.
        boundary: Option<Value>,
    },
}

/// What is asked: each of the actions on the resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Actions as policies write them.
    pub actions: Vec<String>,
    /// ARN, or `*`.
    pub resource: String,
}

/// What would become of one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedDecision {
    /// The action.
    pub action: String,
    /// Whether it would be allowed.
    pub answer: SimulatedAnswer,
}

/// Whether an action would be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SimulatedAnswer {
    /// It would.
    Allowed,
    /// It would not: for what reason, as a clause.
    Denied(&'static str),
    /// That depends on keys of conditions that IAM was not told.
    Depends(Vec<String>),
}

impl Cloud {
    /// Asks IAM.
    ///
    /// # Errors
    /// `AccessDenied` if the caller may not ask; `NotFound` if there is no such principal; besides what IAM refuses.
    pub async fn simulate(
        &self,
        source: &PolicySource,
        question: &Question,
    ) -> Result<Vec<SimulatedDecision>, CloudError> {
        let mut decisions = Vec::new();
        let mut marker = None;
        for _ in 0..PAGES_MAX {
            let (page, next) = match source {
                PolicySource::Principal(arn) => {
                    self.simulate_principal(arn, question, marker).await?
                }
                PolicySource::Policy { policy, boundary } => {
                    let boundary = boundary.as_ref();
                    self.simulate_policy(policy, boundary, question, marker)
                        .await?
                }
            };
            decisions.extend(page.iter().map(decision));
            marker = next;
            if marker.is_none() {
                return Ok(decisions);
            }
        }
        Err(CloudError::own(
            "simulate the policies for",
            &question.resource,
            CloudErrorKind::Other,
            "the answer does not end",
        ))
    }

    async fn simulate_principal(
        &self,
        arn: &str,
        question: &Question,
        marker: Option<String>,
    ) -> Result<(Vec<EvaluationResult>, Option<String>), CloudError> {
        let answer = self
            .clients
            .iam
            .simulate_principal_policy()
            .policy_source_arn(arn)
            .set_action_names(Some(question.actions.clone()))
            .resource_arns(&question.resource)
            .set_context_entries(Some(self.context()))
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| cloud_error("simulate the policies of", arn, &error))?;
        let next = answer.marker.filter(|_| answer.is_truncated);
        Ok((answer.evaluation_results.unwrap_or_default(), next))
    }

    async fn simulate_policy(
        &self,
        policy: &Value,
        boundary: Option<&Value>,
        question: &Question,
        marker: Option<String>,
    ) -> Result<(Vec<EvaluationResult>, Option<String>), CloudError> {
        let answer = self
            .clients
            .iam
            .simulate_custom_policy()
            .policy_input_list(policy.to_string())
            .set_permissions_boundary_policy_input_list(
                boundary.map(|boundary| vec![boundary.to_string()]),
            )
            .set_action_names(Some(question.actions.clone()))
            .resource_arns(&question.resource)
            .set_context_entries(Some(self.context()))
            .set_marker(marker)
            .send()
            .await
            .map_err(|error| cloud_error("simulate a policy for", &question.resource, &error))?;
        let next = answer.marker.filter(|_| answer.is_truncated);
        Ok((answer.evaluation_results.unwrap_or_default(), next))
    }

    /// What is known of the calls that would be made, for conditions.
    fn context(&self) -> Vec<ContextEntry> {
        let entry = |key: &str, value: &str, kind| {
            ContextEntry::builder()
                .context_key_name(key)
                .context_key_values(value)
                .context_key_type(kind)
                .build()
        };
        let text = ContextKeyTypeEnum::String;
        vec![
            entry("aws:RequestedRegion", self.region().as_str(), text.clone()),
            entry("iam:PassedToService", "lambda.amazonaws.com", text),
            entry("aws:SecureTransport", "true", ContextKeyTypeEnum::Boolean),
        ]
    }

    /// The ARN of a role, whose path its name does not tell.
    ///
    /// # Errors
    /// `NotFound`, besides what IAM refuses.
    pub async fn role_arn(&self, name: &RoleName) -> Result<String, CloudError> {
        let operation = "read the role";
        let answer = self
            .clients
            .iam
            .get_role()
            .role_name(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?;
        answer.role.map(|role| role.arn).ok_or_else(|| {
            let kind = CloudErrorKind::Other;
            CloudError::own(operation, name, kind, "the answer names no role")
        })
    }

    /// The document of a managed policy, in its version in force.
    ///
    /// # Errors
    /// `NotFound`, besides what IAM refuses.
    pub async fn managed_policy(&self, arn: &str) -> Result<Value, CloudError> {
        let operation = "read the policy";
        let iam = &self.clients.iam;
        let policy = iam.get_policy().policy_arn(arn).send().await;
        let policy = policy.map_err(|error| cloud_error(operation, arn, &error))?;
        let version = policy.policy.and_then(|policy| policy.default_version_id);
        let document = iam
            .get_policy_version()
            .policy_arn(arn)
            .version_id(version.unwrap_or_default())
            .send()
            .await
            .map_err(|error| cloud_error(operation, arn, &error))?
            .policy_version
            .and_then(|version| policy::parse(&version.document?));
        document.ok_or_else(|| {
            let kind = CloudErrorKind::Other;
            CloudError::own(operation, arn, kind, "the answer holds no document")
        })
    }
}

/// What IAM says of one action. Its reference has two answers to where the keys and the boundary's share stand if a resource
/// was named: with the resource, and with the action. Both places are read.
///
/// A denial by a condition on a key that is not known is none yet: `Deny * unless aws:SourceVpce is ours` holds for everybody
/// as long as nobody tells the endpoint. IAM does not tell which statement asked for the key, so every denial beside which one
/// is missing counts as such. Policies of an organization that have conditions are not simulated at all, so what they deny
/// depends on nothing.
fn decision(result: &EvaluationResult) -> SimulatedDecision {
    let specific = result.resource_specific_results();
    let missing: BTreeSet<&String> = specific
        .iter()
        .flat_map(ResourceSpecificResult::missing_context_values)
        .chain(result.missing_context_values())
        .collect();
    let allowed_by_boundary = specific
        .iter()
        .filter_map(ResourceSpecificResult::permissions_boundary_decision_detail)
        .chain(result.permissions_boundary_decision_detail())
        .all(|detail| detail.allowed_by_permissions_boundary);
    let allowed_by_organization = result
        .organizations_decision_detail()
        .is_none_or(|detail| detail.allowed_by_organizations);
    let answer = match result.eval_decision() {
        PolicyEvaluationDecisionType::Allowed => SimulatedAnswer::Allowed,
        _ if !allowed_by_organization => {
            SimulatedAnswer::Denied("the organization's policies do not allow it")
        }
        _ if !missing.is_empty() => {
            SimulatedAnswer::Depends(missing.into_iter().cloned().collect())
        }
        PolicyEvaluationDecisionType::ExplicitDeny => SimulatedAnswer::Denied("a policy denies it"),
        _ if !allowed_by_boundary => {
            SimulatedAnswer::Denied("the permissions boundary does not allow it")
        }
        _ => SimulatedAnswer::Denied("no policy allows it"),
    };
    SimulatedDecision {
        action: result.eval_action_name().to_owned(),
        answer,
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_iam::types::{OrganizationsDecisionDetail, PermissionsBoundaryDecisionDetail};

    use super::*;

    /// The answer to a decision, with what stands beside it: a key that is missing, of the action or of the resource, and
    /// what the boundary and the organization say.
    fn answer(
        verdict: &PolicyEvaluationDecisionType,
        missing: [Option<&str>; 2],
        boundary: [Option<bool>; 2],
        organization: Option<bool>,
    ) -> SimulatedAnswer {
        let bounded = |allowed: bool| {
            PermissionsBoundaryDecisionDetail::builder()
                .allowed_by_permissions_boundary(allowed)
                .build()
        };
        let organized = |allowed: bool| {
            OrganizationsDecisionDetail::builder()
                .allowed_by_organizations(allowed)
                .build()
        };
        let keys = |key: Option<&str>| key.map(|key| vec![key.to_owned()]);
        let specific = ResourceSpecificResult::builder()
            .eval_resource_name("arn:aws:s3:::b")
            .eval_resource_decision(verdict.clone())
            .set_missing_context_values(keys(missing[1]))
            .set_permissions_boundary_decision_detail(boundary[1].map(bounded))
            .build()
            .unwrap();
        let result = EvaluationResult::builder()
            .eval_action_name("s3:GetObject")
            .eval_decision(verdict.clone())
            .set_missing_context_values(keys(missing[0]))
            .set_permissions_boundary_decision_detail(boundary[0].map(bounded))
            .set_organizations_decision_detail(organization.map(organized))
            .resource_specific_results(specific)
            .build()
            .unwrap();
        decision(&result).answer
    }

    #[test]
    fn a_denial_that_may_hang_on_an_unknown_key_is_none() {
        use PolicyEvaluationDecisionType::{Allowed, ExplicitDeny, ImplicitDeny};
        use SimulatedAnswer::{Denied, Depends};
        let depends = || Depends(vec!["aws:SourceVpce".to_owned()]);
        let key = Some("aws:SourceVpce");
        for verdict in [ExplicitDeny, ImplicitDeny] {
            for missing in [[key, None], [None, key], [key, key]] {
                let boundary = [None, Some(false)];
                assert_eq!(answer(&verdict, missing, [None, None], None), depends());
                assert_eq!(answer(&verdict, missing, boundary, Some(true)), depends());
                assert_eq!(
                    answer(&verdict, missing, [None, None], Some(false)),
                    Denied("the organization's policies do not allow it")
                );
            }
        }
        for boundary in [[Some(false), None], [None, Some(false)]] {
            assert_eq!(
                answer(&ImplicitDeny, [None, None], boundary, None),
                Denied("the permissions boundary does not allow it")
            );
        }
        let boundary = [Some(true), Some(true)];
        assert_eq!(
            answer(&ExplicitDeny, [None, None], boundary, Some(true)),
            Denied("a policy denies it")
        );
        assert_eq!(
            answer(&ImplicitDeny, [None, None], boundary, None),
            Denied("no policy allows it")
        );
        assert_eq!(
            answer(&Allowed, [key, None], [None, None], None),
            SimulatedAnswer::Allowed
        );
    }
}
