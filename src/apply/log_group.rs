//! Log groups.

use super::{ChangeError, Executor};
use crate::resource::LogGroupSpec;

impl Executor<'_> {
    pub(super) async fn create_log_group(&self, spec: &LogGroupSpec) -> Result<(), ChangeError> {
        let cloud = self.inputs.cloud;
        cloud.create_log_group(&spec.name, &self.tags()).await?;
        // A new group keeps its events for ever.
        if spec.retention_days.is_some() {
            cloud.set_retention(&spec.name, spec.retention_days).await?;
        }
        Ok(())
    }

    pub(super) async fn update_log_group(
        &self,
        now: &LogGroupSpec,
        after: &LogGroupSpec,
    ) -> Result<(), ChangeError> {
        if now.retention_days != after.retention_days {
            let cloud = self.inputs.cloud;
            cloud
                .set_retention(&after.name, after.retention_days)
                .await?;
        }
        Ok(())
    }
}
