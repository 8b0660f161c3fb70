//! Who is calling (STS), and what the account allows (Lambda's account settings).

use super::error::cloud_error;
use super::{Cloud, CloudError, CloudErrorKind};
use crate::names::AccountId;

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The account everything happens in.
    pub account: AccountId,
    /// ARN of the user or role.
    pub arn: String,
}

/// Lambda's limits and their use, for the account in this region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountSettings {
    /// Invocations at the same time, over all functions.
    pub concurrent_executions: u32,
    /// Those not reserved by single functions.
    pub unreserved_concurrent_executions: u32,
    /// Largest zip that can be sent within a request, in bytes.
    pub code_size_zipped_bytes: u64,
    /// Largest function and layers, unzipped, in bytes.
    pub code_size_unzipped_bytes: u64,
    /// Bytes of code of all functions and versions together.
    pub code_size_total_bytes: u64,
    /// How many of those are in use.
    pub code_size_used_bytes: u64,
}

impl Cloud {
    /// Who the credentials belong to.
    pub async fn identity(&self) -> Result<Identity, CloudError> {
        let operation = "ask who is calling, for region";
        let answer = self
            .clients
            .sts
            .get_caller_identity()
            .send()
            .await
            .map_err(|error| cloud_error(operation, self.region(), &error))?;
        let account = answer.account.unwrap_or_default().parse().map_err(
            |error: crate::names::NameError| {
                let kind = CloudErrorKind::Other;
                CloudError::own(operation, self.region(), kind, error.to_string())
            },
        )?;
        Ok(Identity {
            account,
            arn: answer.arn.unwrap_or_default(),
        })
    }

    /// Lambda's limits.
    pub async fn account_settings(&self) -> Result<AccountSettings, CloudError> {
        let answer = self
            .clients
            .lambda
            .get_account_settings()
            .send()
            .await
            .map_err(|error| {
                cloud_error("read Lambda's account settings in", self.region(), &error)
            })?;
        let limit = answer.account_limit.as_ref();
        let bytes = |value: Option<i64>| value.and_then(|v| u64::try_from(v).ok()).unwrap_or(0);
        let count = |value: Option<i32>| value.and_then(|v| u32::try_from(v).ok()).unwrap_or(0);
        Ok(AccountSettings {
            concurrent_executions: count(limit.map(|l| l.concurrent_executions)),
            unreserved_concurrent_executions: count(
                limit.and_then(|l| l.unreserved_concurrent_executions),
            ),
            code_size_zipped_bytes: bytes(limit.map(|l| l.code_size_zipped)),
            code_size_unzipped_bytes: bytes(limit.map(|l| l.code_size_unzipped)),
            code_size_total_bytes: bytes(limit.map(|l| l.total_code_size)),
            code_size_used_bytes: bytes(answer.account_usage.map(|u| u.total_code_size)),
        })
    }
}
