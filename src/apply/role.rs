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
        Ok(())
    }
}
