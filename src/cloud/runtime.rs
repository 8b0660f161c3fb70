//! Which version of its runtime a function keeps.

use aws_sdk_lambda::types::UpdateRuntimeOn;

use super::error::cloud_error;
use super::{Cloud, CloudError};
use crate::names::FunctionName;

impl Cloud {
    /// The ARN of the version of the runtime that the function keeps; `None` if Lambda updates it, or there is no function.
    pub async fn runtime_version_arn(
        &self,
        name: &FunctionName,
    ) -> Result<Option<String>, CloudError> {
        let answer = self
            .clients
            .lambda
            .get_runtime_management_config()
            .function_name(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error("read the runtime version of function", name, &error));
        match answer {
            Ok(answer) => {
                let manual = answer.update_runtime_on == Some(UpdateRuntimeOn::Manual);
                Ok(answer.runtime_version_arn.filter(|_| manual))
            }
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Has the function keep that version of the runtime, or has Lambda update it.
    pub async fn keep_runtime_version(
        &self,
        name: &FunctionName,
        version_arn: Option<&str>,
    ) -> Result<(), CloudError> {
        let mode = match version_arn {
            Some(_) => UpdateRuntimeOn::Manual,
            None => UpdateRuntimeOn::Auto,
        };
        self.clients
            .lambda
            .put_runtime_management_config()
            .function_name(name.as_str())
            .update_runtime_on(mode)
            .set_runtime_version_arn(version_arn.map(str::to_owned))
            .send()
            .await
            .map_err(|error| cloud_error("set the runtime version of function", name, &error))?;
        Ok(())
    }
}
