//! S3 buckets and those of their settings that rmx stands for.

use std::collections::BTreeMap;

use aws_sdk_s3::types::{
    AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketLocationConstraint,
    CreateBucketConfiguration, ExpirationStatus, LifecycleExpiration, LifecycleRule,
    LifecycleRuleFilter, ObjectOwnership, OwnershipControls, OwnershipControlsRule,
    PublicAccessBlockConfiguration, Tag, Tagging,
};

use super::error::cloud_error;
use super::iam::gone_is_fine;
use super::{Cloud, CloudError, CloudErrorKind, Tags};
use crate::names::BucketName;
use crate::resource::expiry;

/// Our lifecycle rules. Rules with other ids are somebody else's and stay as they are.
const EXPIRE_RULE: &str = "rmx-expire-renders";
const ABORT_RULE: &str = "rmx-abort-uploads";

/// What the expiry applies to.
const RENDERS_PREFIX: &str = "renders/";

/// The one region whose name must not be given when a bucket is created there.
const DEFAULT_REGION: &str = "us-east-1";

/// A bucket as S3 has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketDescription {
    /// All four public access blocks are on.
    pub block_public_access: bool,
    /// ACLs are off (`BucketOwnerEnforced`).
    pub owner_enforced: bool,
    /// What expires when.
    pub lifecycle: BucketLifecycle,
    /// Tags.
    pub tags: Tags,
}

/// Those lifecycle rules of a bucket that are rmx's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BucketLifecycle {
    /// Objects below `renders/` expire after so many days.
    pub expire_renders_days: Option<u32>,
    /// Parts of abandoned multipart uploads are removed after so many days.
    pub abort_uploads_days: Option<u32>,
    /// Objects below these key prefixes expire after so many days; all are of [`crate::resource::expiry`].
    pub expire_days: BTreeMap<String, u32>,
}

/// What is found under a bucket's name. Names are shared by all AWS accounts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BucketPresence {
    /// Nothing.
    Absent,
    /// A bucket that these credentials may not look at: as a rule another account's.
    Denied,
    /// A bucket in this or another region, which its tags may show to be ours.
    Present(BucketDescription),
}

impl Cloud {
    /// The bucket of that name.
    pub async fn bucket(&self, name: &BucketName) -> Result<BucketPresence, CloudError> {
        let head = async {
            let answer = self
                .clients
                .s3
                .head_bucket()
                .bucket(name.as_str())
                .send()
                .await;
            answer
                .map(|_| ())
                .map_err(|error| cloud_error("look at the bucket", name, &error))
        };
        let (head, tags, block_public_access, owner_enforced, rules) = tokio::join!(
            head,
            self.bucket_tags(name),
            self.public_access_block(name),
            self.owner_enforced(name),
            self.lifecycle_rules(name),
        );
        match head {
            Ok(()) => {}
            Err(error) if error.is_not_found() => return Ok(BucketPresence::Absent),
            Err(error) if error.kind == CloudErrorKind::AccessDenied => {
                return Ok(BucketPresence::Denied);
            }
            Err(error) => return Err(error),
        }
        Ok(BucketPresence::Present(BucketDescription {
            block_public_access: block_public_access?,
            owner_enforced: owner_enforced?,
            lifecycle: lifecycle(&rules?),
            tags: tags?,
        }))
    }

    async fn bucket_tags(&self, name: &BucketName) -> Result<Tags, CloudError> {
        let answer = self
            .clients
            .s3
            .get_bucket_tagging()
            .bucket(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error("read the tags of bucket", name, &error));
        let tags = or_none(answer)?.map(|answer| answer.tag_set);
        Ok(tags
            .unwrap_or_default()
            .into_iter()
            .map(|tag| (tag.key, tag.value))
            .collect())
    }

    async fn public_access_block(&self, name: &BucketName) -> Result<bool, CloudError> {
        let answer = self
            .clients
            .s3
            .get_public_access_block()
            .bucket(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error("read the public access block of bucket", name, &error));
        Ok(or_none(answer)?
            .and_then(|answer| answer.public_access_block_configuration)
            .is_some_and(|block| {
                [
                    block.block_public_acls,
                    block.ignore_public_acls,
                    block.block_public_policy,
                    block.restrict_public_buckets,
                ]
                .into_iter()
                .all(|on| on == Some(true))
            }))
    }

    async fn owner_enforced(&self, name: &BucketName) -> Result<bool, CloudError> {
        let answer = self
            .clients
            .s3
            .get_bucket_ownership_controls()
            .bucket(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error("read the ownership controls of bucket", name, &error));
        Ok(or_none(answer)?
            .and_then(|answer| answer.ownership_controls)
            .is_some_and(|controls| {
                controls
                    .rules
                    .iter()
                    .all(|rule| rule.object_ownership == ObjectOwnership::BucketOwnerEnforced)
            }))
    }

    async fn lifecycle_rules(&self, name: &BucketName) -> Result<Vec<LifecycleRule>, CloudError> {
        let answer = self
            .clients
            .s3
            .get_bucket_lifecycle_configuration()
            .bucket(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error("read the lifecycle of bucket", name, &error));
        Ok(or_none(answer)?
            .and_then(|answer| answer.rules)
            .unwrap_or_default())
    }

    /// Creates an empty bucket in the connection's region. Where AWS answers so, a bucket that is there already
    /// and belongs to the account counts as created.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, besides what S3 refuses.
    pub async fn create_bucket(&self, name: &BucketName) -> Result<(), CloudError> {
        let region = self.region().as_str();
        let elsewhere = (region != DEFAULT_REGION).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(region))
                .build()
        });
        self.clients
            .s3
            .create_bucket()
            .bucket(name.as_str())
            .set_create_bucket_configuration(elsewhere)
            .send()
            .await
            .map_err(|error| cloud_error("create the bucket", name, &error))?;
        Ok(())
    }

    /// Adds tags and leaves others as they are.
    pub async fn tag_bucket(&self, name: &BucketName, tags: &Tags) -> Result<(), CloudError> {
        let operation = "tag the bucket";
        let mut all = self.bucket_tags(name).await?;
        all.extend(tags.clone());
        let tagging = all
            .into_iter()
            .map(|(key, value)| Tag::builder().key(key).value(value).build())
            .collect::<Result<Vec<_>, _>>()
            .and_then(|tags| Tagging::builder().set_tag_set(Some(tags)).build())
            .map_err(|error| invalid(operation, name, &error))?;
        self.clients
            .s3
            .put_bucket_tagging()
            .bucket(name.as_str())
            .tagging(tagging)
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?;
        Ok(())
    }

    /// Turns all four public access blocks on or off.
    pub async fn set_block_public_access(
        &self,
        name: &BucketName,
        on: bool,
    ) -> Result<(), CloudError> {
        let block = PublicAccessBlockConfiguration::builder()
            .block_public_acls(on)
            .ignore_public_acls(on)
            .block_public_policy(on)
            .restrict_public_buckets(on)
            .build();
        self.clients
            .s3
            .put_public_access_block()
            .bucket(name.as_str())
            .public_access_block_configuration(block)
            .send()
            .await
            .map_err(|error| cloud_error("set the public access block of bucket", name, &error))?;
        Ok(())
    }

    /// Turns ACLs off (`BucketOwnerEnforced`) or on (`BucketOwnerPreferred`).
    pub async fn set_owner_enforced(
        &self,
        name: &BucketName,
        enforced: bool,
    ) -> Result<(), CloudError> {
        let operation = "set the ownership controls of bucket";
        let ownership = if enforced {
            ObjectOwnership::BucketOwnerEnforced
        } else {
            ObjectOwnership::BucketOwnerPreferred
        };
        let controls = OwnershipControlsRule::builder()
            .object_ownership(ownership)
            .build()
            .and_then(|rule| OwnershipControls::builder().rules(rule).build())
            .map_err(|error| invalid(operation, name, &error))?;
        self.clients
            .s3
            .put_bucket_ownership_controls()
            .bucket(name.as_str())
            .ownership_controls(controls)
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?;
        Ok(())
    }

    /// Sets our lifecycle rules and leaves others as they are.
    pub async fn set_lifecycle(
        &self,
        name: &BucketName,
        wanted: BucketLifecycle,
    ) -> Result<(), CloudError> {
        let operation = "set the lifecycle of bucket";
        let mut rules = self.lifecycle_rules(name).await?;
        let by_prefix = expiry::expire_days();
        let by_prefix: Vec<String> = by_prefix
            .keys()
            .map(|prefix| expiry::rule_id(prefix))
            .collect();
        let is_ours = |id: &str| {
            matches!(id, EXPIRE_RULE | ABORT_RULE) || by_prefix.iter().any(|ours| ours == id)
        };
        rules.retain(|rule| !rule.id().is_some_and(is_ours));
        let ours = lifecycle_of(&wanted).map_err(|error| invalid(operation, name, &error))?;
        rules.extend(ours);
        let s3 = &self.clients.s3;
        if rules.is_empty() {
            let deleted = s3.delete_bucket_lifecycle().bucket(name.as_str()).send();
            return deleted
                .await
                .map(|_| ())
                .map_err(|error| cloud_error(operation, name, &error));
        }
        let configuration = BucketLifecycleConfiguration::builder()
            .set_rules(Some(rules))
            .build()
            .map_err(|error| invalid(operation, name, &error))?;
        s3.put_bucket_lifecycle_configuration()
            .bucket(name.as_str())
            .lifecycle_configuration(configuration)
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?;
        Ok(())
    }

    /// Deletes an empty bucket. Success if there is none.
    ///
    /// # Errors
    /// `Conflict` if it is not empty, besides what S3 refuses.
    pub async fn delete_bucket(&self, name: &BucketName) -> Result<(), CloudError> {
        let deleted = self
            .clients
            .s3
            .delete_bucket()
            .bucket(name.as_str())
            .send()
            .await;
        gone_is_fine(
            deleted
                .map(|_| ())
                .map_err(|error| cloud_error("delete the bucket", name, &error)),
        )
    }
}

fn lifecycle(rules: &[LifecycleRule]) -> BucketLifecycle {
    let ours = |id: &str, prefix: &str| {
        rules.iter().find(|rule| {
            rule.id() == Some(id)
                && rule.status() == &ExpirationStatus::Enabled
                && rule
                    .filter()
                    .and_then(LifecycleRuleFilter::prefix)
                    .unwrap_or_default()
                    == prefix
        })
    };
    let days = |days: Option<i32>| days.and_then(|days| u32::try_from(days).ok());
    BucketLifecycle {
        expire_renders_days: days(
            ours(EXPIRE_RULE, RENDERS_PREFIX)
                .and_then(|rule| rule.expiration())
                .and_then(LifecycleExpiration::days),
        ),
        abort_uploads_days: days(
            ours(ABORT_RULE, "")
                .and_then(|rule| rule.abort_incomplete_multipart_upload())
                .and_then(AbortIncompleteMultipartUpload::days_after_initiation),
        ),
        expire_days: expiry::expire_days()
            .into_keys()
            .filter_map(|prefix| {
                let rule = ours(&expiry::rule_id(&prefix), &prefix)?;
                Some((prefix, days(rule.expiration()?.days())?))
            })
            .collect(),
    }
}

fn lifecycle_of(
    wanted: &BucketLifecycle,
) -> Result<Vec<LifecycleRule>, aws_sdk_s3::error::BuildError> {
    let days = |days: u32| i32::try_from(days).unwrap_or(i32::MAX);
    let rule = |id: &str, prefix: &str| {
        LifecycleRule::builder()
            .id(id)
            .status(ExpirationStatus::Enabled)
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
    };
    let expiring = |id: &str, prefix: &str, after: u32| {
        rule(id, prefix)
            .expiration(LifecycleExpiration::builder().days(days(after)).build())
            .build()
    };
    let expire = wanted
        .expire_renders_days
        .map(|after| expiring(EXPIRE_RULE, RENDERS_PREFIX, after));
    let by_prefix = wanted
        .expire_days
        .iter()
        .map(|(prefix, after)| expiring(&expiry::rule_id(prefix), prefix, *after));
    let abort = wanted.abort_uploads_days.map(|after| {
        rule(ABORT_RULE, "")
            .abort_incomplete_multipart_upload(
                AbortIncompleteMultipartUpload::builder()
                    .days_after_initiation(days(after))
                    .build(),
            )
            .build()
    });
    expire.into_iter().chain(abort).chain(by_prefix).collect()
}

/// Settings that were never made answer 404, and so does a bucket that is not there.
fn or_none<T>(result: Result<T, CloudError>) -> Result<Option<T>, CloudError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

fn invalid(
    operation: &'static str,
    name: &BucketName,
    error: &aws_sdk_s3::error::BuildError,
) -> CloudError {
    CloudError::own(operation, name, CloudErrorKind::Invalid, error.to_string())
}
