//! Rules by which objects of a bucket go away by themselves.

use s3s::dto::*;
use s3s::{S3Result, s3_error};

use super::S3Data;
use super::record::LifecycleRecord;

impl S3Data {
    pub(super) fn get_lifecycle(
        &self,
        input: &GetBucketLifecycleConfigurationInput,
    ) -> S3Result<GetBucketLifecycleConfigurationOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        if bucket.record.lifecycle.is_empty() {
            return Err(s3_error!(
                NoSuchLifecycleConfiguration,
                "The lifecycle configuration does not exist"
            ));
        }
        let rules = bucket
            .record
            .lifecycle
            .into_iter()
            .map(lifecycle_rule)
            .collect();
        Ok(GetBucketLifecycleConfigurationOutput {
            rules: Some(rules),
            ..Default::default()
        })
    }

    pub(super) fn put_lifecycle(
        &self,
        input: PutBucketLifecycleConfigurationInput,
    ) -> S3Result<()> {
        let rules = input
            .lifecycle_configuration
            .map(|c| c.rules)
            .unwrap_or_default();
        let rules = rules
            .into_iter()
            .map(lifecycle_record)
            .collect::<S3Result<Vec<_>>>()?;
        self.set(
            &input.bucket,
            input.expected_bucket_owner.as_deref(),
            |record| {
                record.lifecycle = rules;
            },
        )
    }
}

fn lifecycle_record(rule: LifecycleRule) -> S3Result<LifecycleRecord> {
    let unsupported = rule.transitions.is_some_and(|list| !list.is_empty())
        || rule.noncurrent_version_expiration.is_some()
        || rule
            .noncurrent_version_transitions
            .is_some_and(|list| !list.is_empty())
        || rule.filter.as_ref().is_some_and(|filter| {
            filter.and.is_some()
                || filter.tag.is_some()
                || filter.object_size_greater_than.is_some()
                || filter.object_size_less_than.is_some()
        })
        || rule
            .expiration
            .as_ref()
            .is_some_and(|expiration| expiration.date.is_some());
    if unsupported {
        return Err(s3_error!(
            NotImplemented,
            "the embedded cloud knows lifecycle rules by prefix, with Days and DaysAfterInitiation"
        ));
    }
    let expire_days = rule.expiration.and_then(|expiration| expiration.days);
    let abort_upload_days = rule
        .abort_incomplete_multipart_upload
        .and_then(|abort| abort.days_after_initiation);
    if [expire_days, abort_upload_days]
        .into_iter()
        .flatten()
        .any(|days| days < 1)
    {
        return Err(s3_error!(
            InvalidArgument,
            "'Days' in a lifecycle rule must be a positive integer"
        ));
    }
    if expire_days.is_none() && abort_upload_days.is_none() {
        return Err(s3_error!(
            InvalidRequest,
            "At least one action needs to be specified in a rule"
        ));
    }
    let outside = rule.filter.is_none();
    let prefix = rule
        .filter
        .and_then(|filter| filter.prefix)
        .or(rule.prefix)
        .unwrap_or_default();
    Ok(LifecycleRecord {
        id: rule.id,
        prefix,
        prefix_outside_filter: outside,
        enabled: rule.status.as_str() == ExpirationStatus::ENABLED,
        expire_days,
        abort_upload_days,
    })
}

fn lifecycle_rule(record: LifecycleRecord) -> LifecycleRule {
    let (filter, prefix) = if record.prefix_outside_filter {
        (None, Some(record.prefix))
    } else {
        (
            Some(LifecycleRuleFilter {
                prefix: Some(record.prefix),
                ..Default::default()
            }),
            None,
        )
    };
    let status = if record.enabled {
        ExpirationStatus::ENABLED
    } else {
        ExpirationStatus::DISABLED
    };
    LifecycleRule {
        id: record.id,
        filter,
        prefix,
        status: ExpirationStatus::from_static(status),
        expiration: record.expire_days.map(|days| LifecycleExpiration {
            days: Some(days),
            ..Default::default()
        }),
        abort_incomplete_multipart_upload: record.abort_upload_days.map(|days| {
            AbortIncompleteMultipartUpload {
                days_after_initiation: Some(days),
            }
        }),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        transitions: None,
    }
}
