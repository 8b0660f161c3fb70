//! What is recorded of log groups.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::names::{AccountId, LogGroupName, Region};

/// All log groups of a region.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Groups(pub(super) BTreeMap<LogGroupName, Group>);

/// A log group.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Group {
    /// Name of its folder; never used again.
    pub(super) id: String,
    pub(super) created_ms: u64,
    /// Days until events expire; `None`: never.
    pub(super) retention_days: Option<u32>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Group {
    pub(super) fn new(now_ms: u64, tags: BTreeMap<String, String>) -> Self {
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            created_ms: now_ms,
            retention_days: None,
            tags,
        }
    }

    /// Events older than this have expired.
    pub(super) fn oldest_kept_ms(&self, now_ms: u64) -> u64 {
        self.retention_days.map_or(0, |days| {
            now_ms.saturating_sub(u64::from(days) * 24 * 60 * 60 * 1000)
        })
    }

    /// The group as `DescribeLogGroups` tells it. `arn` ends in `:*`, `logGroupArn` does not.
    pub(super) fn describe(&self, name: &LogGroupName, arn: &str, stored_bytes: u64) -> Value {
        let mut described = json!({
            "arn": format!("{arn}:*"),
            "creationTime": self.created_ms,
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "logGroupName": name,
            "metricFilterCount": 0,
            "storedBytes": stored_bytes,
        });
        if let Some(days) = self.retention_days {
            described["retentionInDays"] = days.into();
        }
        described
    }
}

/// `arn:aws:logs:REGION:ACCOUNT:log-group:NAME`.
pub(super) fn group_arn(region: &Region, account: &AccountId, name: &LogGroupName) -> String {
    format!("arn:aws:logs:{region}:{account}:log-group:{name}")
}

/// The name within an ARN of a log group of this region and account, with or without `:*`.
pub(super) fn group_of_arn(
    region: &Region,
    account: &AccountId,
    arn: &str,
) -> Option<LogGroupName> {
    let name = arn.strip_prefix(&format!("arn:aws:logs:{region}:{account}:log-group:"))?;
    name.strip_suffix(":*").unwrap_or(name).parse().ok()
}
