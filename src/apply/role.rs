//! Roles. Name and path cannot be changed, so a change of those is a replacement.

use super::{ChangeError, Executor};
use crate::resource::RoleSpec;
use crate::resource::policy::same_meaning;

impl Executor<'_> {
    pub(super) async fn create_role(&self, spec: &RoleSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        cloud.create_role(spec, &self.tags()).await?;
        cloud.put_role_policy(&spec.name, &spec.policy).await?;
        Ok(())
    }

    pub(super) async fn update_role(
        &self,
        now: &RoleSpec,
        after: &RoleSpec,
    ) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        let name = &after.name;
        if !same_meaning(&now.trust_policy, &after.trust_policy) {
            cloud.put_trust_policy(name, &after.trust_policy).await?;
        }
        if now.permissions_boundary != after.permissions_boundary {
            let boundary = after.permissions_boundary.as_deref();
            cloud.set_permissions_boundary(name, boundary).await?;
        }
        if !same_meaning(&now.policy, &after.policy) {
            cloud.put_role_policy(name, &after.policy).await?;
        }
        // None of these is ever wanted: they are only taken away.
        for other in now.other_policies.keys() {
            if !after.other_policies.contains_key(other) {
                cloud.delete_role_policy(name, other).await?;
            }
        }
        for arn in now.attached_policies.difference(&after.attached_policies) {
            cloud.detach_role_policy(name, arn).await?;
        }
        Ok(())
    }
}
