//! Tags of what exists already: how something that rmx did not make becomes its own.

use aws_sdk_iam::types::Tag;

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind, Tags};
use crate::names::RoleName;

impl Cloud {
    /// Adds tags to a role and leaves others as they are.
    pub async fn tag_role(&self, name: &RoleName, tags: &Tags) -> Result<(), CloudError> {
        let operation = "tag the role";
        let tags = tags
            .iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| {
                CloudError::own(operation, name, CloudErrorKind::Invalid, error.to_string())
            })?;
        self.clients
            .iam
            .tag_role()
            .role_name(name.as_str())
            .set_tags(Some(tags))
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?;
        Ok(())
    }

    /// Adds tags to the log group with this ARN and leaves others as they are.
    pub async fn tag_log_group(&self, arn: &str, tags: &Tags) -> Result<(), CloudError> {
        self.clients
            .logs
            .tag_resource()
            .resource_arn(arn)
            .set_tags(Some(tags.clone().into_iter().collect()))
            .send()
            .await
            .map_err(|error| cloud_error("tag the log group", arn, &error))?;
        Ok(())
    }

    /// Adds tags to the function with this ARN and leaves others as they are.
    pub async fn tag_function(&self, arn: &str, tags: &Tags) -> Result<(), CloudError> {
        self.clients
            .lambda
            .tag_resource()
            .resource(arn)
            .set_tags(Some(tags.clone().into_iter().collect()))
            .send()
            .await
            .map_err(|error| cloud_error("tag the function", arn, &error))?;
        Ok(())
    }
}
