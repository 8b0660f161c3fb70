//! Lambda functions: create, change, delete. Lambda takes one change at a time; see [`Cloud::settled_function`].

use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Architecture, Environment, EphemeralStorage, FunctionCode as SdkCode, FunctionConfiguration,
    LogFormat, LoggingConfig, Runtime, VpcConfig,
};
use bytes::Bytes;

use super::error::cloud_error;
use super::function::describe;
use super::iam::gone_is_fine;
use super::{Cloud, CloudError, CloudErrorKind, FunctionSettings, Tags};
use crate::names::{BucketName, FunctionName};

/// The code of a function.
#[derive(Debug, Clone)]
pub enum FunctionCode {
    /// The zip itself, within the request.
    Inline(Bytes),
    /// An object in a bucket of the same region.
    Object {
        /// Bucket.
        bucket: BucketName,
        /// Key.
        key: String,
    },
}

/// The settings in the answer to an update: the same members in two types of the SDK.
macro_rules! settings_in {
    ($answer:expr) => {{
        let answer = $answer;
        let configuration = FunctionConfiguration::builder()
            .set_role(answer.role)
            .set_runtime(answer.runtime)
            .set_handler(answer.handler)
            .set_architectures(answer.architectures)
            .set_memory_size(answer.memory_size)
            .set_timeout(answer.timeout)
            .set_ephemeral_storage(answer.ephemeral_storage)
            .set_environment(answer.environment)
            .set_layers(answer.layers)
            .set_vpc_config(answer.vpc_config)
            .set_logging_config(answer.logging_config)
            .set_code_sha256(answer.code_sha256)
            .build();
        describe(configuration, None, Tags::new()).settings
    }};
}

impl Cloud {
    /// Creates a function.
    ///
    /// # Errors
    /// `AlreadyExists`; `RoleNotReady` for some seconds after its role was made; besides what Lambda refuses.
    pub async fn create_function(
        &self,
        name: &FunctionName,
        settings: &FunctionSettings,
        code: &FunctionCode,
        tags: &Tags,
    ) -> Result<(), CloudError> {
        let (zip, bucket, key) = code_parts(code);
        let code = SdkCode::builder()
            .set_zip_file(zip)
            .set_s3_bucket(bucket)
            .set_s3_key(key)
            .build();
        let created = self
            .clients
            .lambda
            .create_function()
            .function_name(name.as_str())
            .description("Worker of a render farm. Managed by rmx.")
            .role(&settings.role_arn)
            .runtime(Runtime::from(settings.runtime.as_str()))
            .handler(&settings.handler)
            .architectures(Architecture::from(settings.architecture.as_str()))
            .memory_size(number(settings.memory_mb))
            .timeout(number(settings.timeout_s))
            .ephemeral_storage(disk(settings))
            .environment(environment(settings))
            .set_layers(Some(settings.layers.clone()))
            .set_vpc_config((!settings.subnet_ids.is_empty()).then(|| vpc(settings)))
            .logging_config(logging(settings))
            .code(code)
            .set_tags(Some(tags.clone().into_iter().collect()))
            .customize()
            .config_override(self.clients.lambda_upload())
            .send()
            .await;
        match created.map_err(|error| cloud_error("create the function", name, &error)) {
            Ok(_) => Ok(()),
            // Lambda has one code for "exists" and "is being changed"; here it can only be the first.
            Err(error) if error.kind == CloudErrorKind::Conflict => Err(CloudError {
                kind: CloudErrorKind::AlreadyExists,
                ..error
            }),
            Err(error) => Err(error),
        }
    }

    /// Writes the whole configuration, if the function is still at `revision_id`. Returns what it will be once that has
    /// settled, in Lambda's words.
    ///
    /// # Errors
    /// `PreconditionFailed` if it is not; `Conflict` while another change is under way; `RoleNotReady`; besides
    /// what Lambda refuses.
    pub async fn update_function_configuration(
        &self,
        name: &FunctionName,
        settings: &FunctionSettings,
        revision_id: &str,
    ) -> Result<FunctionSettings, CloudError> {
        let answer = self
            .clients
            .lambda
            .update_function_configuration()
            .function_name(name.as_str())
            .revision_id(revision_id)
            .role(&settings.role_arn)
            .runtime(Runtime::from(settings.runtime.as_str()))
            .handler(&settings.handler)
            .memory_size(number(settings.memory_mb))
            .timeout(number(settings.timeout_s))
            .ephemeral_storage(disk(settings))
            .environment(environment(settings))
            .set_layers(Some(settings.layers.clone()))
            .vpc_config(vpc(settings))
            .logging_config(logging(settings))
            .send()
            .await
            .map_err(|error| cloud_error("change the configuration of function", name, &error))?;
        Ok(settings_in!(answer))
    }

    /// Writes code and architecture, if the function is still at `revision_id`. Returns what it will be once that has
    /// settled, in Lambda's words.
    ///
    /// # Errors
    /// `PreconditionFailed` if it is not; `Conflict` while another change is under way; besides what Lambda
    /// refuses.
    pub async fn update_function_code(
        &self,
        name: &FunctionName,
        architecture: &str,
        code: &FunctionCode,
        revision_id: &str,
    ) -> Result<FunctionSettings, CloudError> {
        let (zip, bucket, key) = code_parts(code);
        let answer = self
            .clients
            .lambda
            .update_function_code()
            .function_name(name.as_str())
            .revision_id(revision_id)
            .architectures(Architecture::from(architecture))
            .set_zip_file(zip)
            .set_s3_bucket(bucket)
            .set_s3_key(key)
            .customize()
            .config_override(self.clients.lambda_upload())
            .send()
            .await
            .map_err(|error| cloud_error("change the code of function", name, &error))?;
        Ok(settings_in!(answer))
    }

    /// Deletes a function with all versions and aliases. Success if there is none.
    pub async fn delete_function(&self, name: &FunctionName) -> Result<(), CloudError> {
        let deleted = self
            .clients
            .lambda
            .delete_function()
            .function_name(name.as_str())
            .send()
            .await;
        gone_is_fine(
            deleted
                .map(|_| ())
                .map_err(|error| cloud_error("delete the function", name, &error)),
        )
    }
}

fn code_parts(code: &FunctionCode) -> (Option<Blob>, Option<String>, Option<String>) {
    match code {
        FunctionCode::Inline(zip) => (Some(Blob::new(zip.to_vec())), None, None),
        FunctionCode::Object { bucket, key } => {
            (None, Some(bucket.as_str().to_owned()), Some(key.clone()))
        }
    }
}

fn number(value: u32) -> i32 {
    i32::try_from(value).unwrap_or(i32::MAX)
}

fn disk(settings: &FunctionSettings) -> EphemeralStorage {
    EphemeralStorage::builder()
        .size(number(settings.disk_mb))
        .build()
        .expect("the one required field is set")
}

fn environment(settings: &FunctionSettings) -> Environment {
    Environment::builder()
        .set_variables(Some(settings.environment.clone().into_iter().collect()))
        .build()
}

/// Empty lists detach a function from its VPC.
fn vpc(settings: &FunctionSettings) -> VpcConfig {
    VpcConfig::builder()
        .set_subnet_ids(Some(settings.subnet_ids.clone()))
        .set_security_group_ids(Some(settings.security_group_ids.clone()))
        .build()
}

fn logging(settings: &FunctionSettings) -> LoggingConfig {
    LoggingConfig::builder()
        .log_format(LogFormat::Text)
        .log_group(&settings.log_group)
        .build()
}
