//! IAM roles with one inline policy, and what others put beside it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_iam::types::Tag;
use serde_json::Value;

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind, Tags};
use crate::names::RoleName;
use crate::resource::{RoleSpec, policy};

/// Name of the inline policy within the role.
const POLICY_NAME: &str = "rmx";

/// A role as IAM has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleDescription {
    /// ARN.
    pub arn: String,
    /// IAM's id of this very role; another one of the same name has another id.
    pub id: String,
    /// Path.
    pub path: String,
    /// ARN of the permissions boundary.
    pub permissions_boundary: Option<String>,
    /// Who may use the role.
    pub trust_policy: Value,
    /// The inline policy that rmx stands for.
    pub policy: Option<Value>,
    /// The other inline policies, by name.
    pub other_policies: BTreeMap<String, Value>,
    /// ARNs of the managed policies that are attached to it.
    pub attached_policies: BTreeSet<String>,
    /// Tags.
    pub tags: Tags,
}

impl Cloud {
    /// The role of that name; `None` if there is none.
    pub async fn role(&self, name: &RoleName) -> Result<Option<RoleDescription>, CloudError> {
        let iam = &self.clients.iam;
        let role = iam.get_role().role_name(name.as_str()).send();
        let inline = self.role_policy(name, POLICY_NAME);
        let (role, inline, policies) = tokio::join!(role, inline, self.role_policies(name));
        let role = match role.map_err(|error| cloud_error("read the role", name, &error)) {
            Ok(answer) => answer.role,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        let policy = inline?;
        let (inline, attached) = policies?;
        let mut other_policies = BTreeMap::new();
        for other in inline.into_iter().filter(|other| other != POLICY_NAME) {
            if let Some(policy) = self.role_policy(name, &other).await? {
                other_policies.insert(other, policy);
            }
        }
        Ok(role.map(|role| RoleDescription {
            arn: role.arn,
            id: role.role_id,
            path: role.path,
            permissions_boundary: role
                .permissions_boundary
                .and_then(|boundary| boundary.permissions_boundary_arn),
            trust_policy: role
                .assume_role_policy_document
                .and_then(|document| policy::parse(&document))
                .unwrap_or(Value::Null),
            policy,
            other_policies,
            attached_policies: attached.into_iter().collect(),
            tags: role
                .tags
                .unwrap_or_default()
                .into_iter()
                .map(|tag| (tag.key, tag.value))
                .collect(),
        }))
    }

    /// An inline policy of a role; `None` if there is none.
    async fn role_policy(
        &self,
        name: &RoleName,
        policy: &str,
    ) -> Result<Option<Value>, CloudError> {
        let iam = &self.clients.iam;
        let inline = iam
            .get_role_policy()
            .role_name(name.as_str())
            .policy_name(policy)
            .send()
            .await
            .map_err(|error| cloud_error("read the policy of role", name, &error));
        match inline {
            Ok(answer) => Ok(policy::parse(&answer.policy_document)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Names of the inline policies of a role and ARNs of the managed ones that are attached to it, none if there is no
    /// such role.
    async fn role_policies(
        &self,
        name: &RoleName,
    ) -> Result<(Vec<String>, Vec<String>), CloudError> {
        let iam = &self.clients.iam;
        // IAM may answer with fewer than there are, however few that is: all pages are read.
        let inline = iam.list_role_policies().role_name(name.as_str());
        let inline = inline.into_paginator().items().send();
        let attached = iam.list_attached_role_policies().role_name(name.as_str());
        let attached = attached.into_paginator().items().send();
        let (inline, attached) = tokio::join!(
            inline.collect::<Result<Vec<_>, _>>(),
            attached.collect::<Result<Vec<_>, _>>()
        );
        let operation = "list the policies of role";
        let inline = match inline.map_err(|error| cloud_error(operation, name, &error)) {
            Ok(names) => names,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        let attached = match attached.map_err(|error| cloud_error(operation, name, &error)) {
            Ok(policies) => policies,
            Err(error) if error.is_not_found() => Vec::new(),
            Err(error) => return Err(error),
        };
        let attached = attached.into_iter().filter_map(|policy| policy.policy_arn);
        Ok((inline, attached.collect()))
    }

    /// Deletes an inline policy that somebody else put into a role. Success if there is none.
    pub async fn delete_role_policy(
        &self,
        name: &RoleName,
        policy: &str,
    ) -> Result<(), CloudError> {
        let deleted = self
            .clients
            .iam
            .delete_role_policy()
            .role_name(name.as_str())
            .policy_name(policy)
            .send()
            .await;
        gone_is_fine(
            deleted
                .map(|_| ())
                .map_err(|error| cloud_error("delete the policy of role", name, &error)),
        )
    }

    /// Detaches a managed policy from a role. Success if it is not attached.
    pub async fn detach_role_policy(&self, name: &RoleName, arn: &str) -> Result<(), CloudError> {
        let detached = self
            .clients
            .iam
            .detach_role_policy()
            .role_name(name.as_str())
            .policy_arn(arn)
            .send()
            .await;
        gone_is_fine(
            detached
                .map(|_| ())
                .map_err(|error| cloud_error("detach a policy from role", name, &error)),
        )
    }

    /// Creates a role, without its inline policy.
    ///
    /// # Errors
    /// `AlreadyExists`, besides what IAM refuses.
    pub async fn create_role(&self, spec: &RoleSpec, tags: &Tags) -> Result<(), CloudError> {
        let operation = "create the role";
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                CloudError::own(
                    operation,
                    &spec.name,
                    CloudErrorKind::Invalid,
                    error.to_string(),
                )
            })?;
        self.clients
            .iam
            .create_role()
            .role_name(spec.name.as_str())
            .path(&spec.path)
            .description("Runs the workers of a render farm. Managed by rmx.")
            .assume_role_policy_document(spec.trust_policy.to_string())
            .set_permissions_boundary(spec.permissions_boundary.clone())
            .set_tags(Some(tags))
            .send()
            .await
            .map_err(|error| cloud_error(operation, &spec.name, &error))?;
        Ok(())
    }

    /// Writes the inline policy.
    pub async fn put_role_policy(&self, name: &RoleName, policy: &Value) -> Result<(), CloudError> {
        self.clients
            .iam
            .put_role_policy()
            .role_name(name.as_str())
            .policy_name(POLICY_NAME)
            .policy_document(policy.to_string())
            .send()
            .await
            .map_err(|error| cloud_error("write the policy of role", name, &error))?;
        Ok(())
    }

    /// Writes who may use the role.
    pub async fn put_trust_policy(&self, name: &RoleName, trust: &Value) -> Result<(), CloudError> {
        self.clients
            .iam
            .update_assume_role_policy()
            .role_name(name.as_str())
            .policy_document(trust.to_string())
            .send()
            .await
            .map_err(|error| cloud_error("write the trust policy of role", name, &error))?;
        Ok(())
    }

    /// Sets or removes the permissions boundary.
    pub async fn set_permissions_boundary(
        &self,
        name: &RoleName,
        boundary: Option<&str>,
    ) -> Result<(), CloudError> {
        let iam = &self.clients.iam;
        let Some(boundary) = boundary else {
            let removed = iam
                .delete_role_permissions_boundary()
                .role_name(name.as_str())
                .send()
                .await
                .map(|_| ())
                .map_err(|error| {
                    cloud_error("remove the permissions boundary of role", name, &error)
                });
            return gone_is_fine(removed);
        };
        iam.put_role_permissions_boundary()
            .role_name(name.as_str())
            .permissions_boundary(boundary)
            .send()
            .await
            .map_err(|error| cloud_error("set the permissions boundary of role", name, &error))?;
        Ok(())
    }

    /// Deletes a role with all policies in it and attached to it. Success if there is none.
    pub async fn delete_role(&self, name: &RoleName) -> Result<(), CloudError> {
        self.delete_role_policies(name).await?;
        let deleted = self
            .clients
            .iam
            .delete_role()
            .role_name(name.as_str())
            .send()
            .await;
        gone_is_fine(
            deleted
                .map(|_| ())
                .map_err(|error| cloud_error("delete the role", name, &error)),
        )
    }

    async fn delete_role_policies(&self, name: &RoleName) -> Result<(), CloudError> {
        let (inline, attached) = self.role_policies(name).await?;
        for policy in &inline {
            self.delete_role_policy(name, policy).await?;
        }
        for policy in &attached {
            self.detach_role_policy(name, policy).await?;
        }
        Ok(())
    }
}

/// A delete of what is not there has succeeded.
pub(super) fn gone_is_fine(result: Result<(), CloudError>) -> Result<(), CloudError> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}
