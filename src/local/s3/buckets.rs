//! Buckets and their settings.

use s3s::dto::*;
use s3s::{S3Error, S3Result, s3_error};

use super::S3Data;
use super::data::{BUCKETS, BucketData, internal};
use super::public::may_be_read;
use super::record::{BucketRecord, Buckets, PublicAccessBlock, timestamp};
use crate::env::now_ms;
use crate::local::iam;

/// S3's own default region: what "no location constraint" means.
const DEFAULT_REGION: &str = "us-east-1";

impl S3Data {
    /// Rules of S3 API reference `CreateBucket`: the constraint must be the region of the endpoint, `us-east-1`
    /// takes none; creating one's own bucket again is an error everywhere but in `us-east-1`.
    pub(super) fn create_bucket(
        &self,
        input: CreateBucketInput,
        request_region: &str,
    ) -> S3Result<CreateBucketOutput> {
        let constraint = input
            .create_bucket_configuration
            .and_then(|configuration| configuration.location_constraint)
            .map(|constraint| constraint.as_str().to_owned());
        match &constraint {
            None if request_region != DEFAULT_REGION => {
                return Err(s3_error!(
                    IllegalLocationConstraintException,
                    "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to."
                ));
            }
            Some(constraint)
                if constraint != request_region && request_region != DEFAULT_REGION =>
            {
                return Err(s3_error!(
                    IllegalLocationConstraintException,
                    "The {constraint} location constraint is incompatible for the region specific endpoint this request was sent to."
                ));
            }
            Some(constraint) if constraint == DEFAULT_REGION => {
                return Err(s3_error!(
                    InvalidLocationConstraint,
                    "The specified location-constraint is not valid"
                ));
            }
            _ => {}
        }
        let region = constraint.unwrap_or_else(|| DEFAULT_REGION.to_owned());
        let ownership = input.object_ownership.map_or_else(
            || ObjectOwnership::BUCKET_OWNER_ENFORCED.to_owned(),
            |ownership| ownership.as_str().to_owned(),
        );
        let location = format!("/{}", input.bucket);
        self.store.update(BUCKETS, |buckets: &mut Buckets| -> Result<(), Failure> {
            if let Some(existing) = buckets.get(&input.bucket) {
                if existing.region == DEFAULT_REGION && request_region == DEFAULT_REGION {
                    return Ok(());
                }
                return Err(s3_error!(
                    BucketAlreadyOwnedByYou,
                    "Your previous request to create the named bucket succeeded and you already own it."
                )
                .into());
            }
            let id = uuid::Uuid::new_v4().to_string();
            BucketData::create_folders(&self.store, &id).map_err(internal)?;
            let all_on = PublicAccessBlock {
                block_public_acls: true,
                ignore_public_acls: true,
                block_public_policy: true,
                restrict_public_buckets: true,
            };
            let record = BucketRecord {
                id,
                created_ms: now_ms(),
                region,
                tags: Default::default(),
                lifecycle: Vec::new(),
                public_access_block: Some(all_on),
                ownership: Some(ownership),
                policy: None,
            };
            buckets.insert(input.bucket, record);
            Ok(())
        }).map_err(Failure::into_s3)?;
        Ok(CreateBucketOutput {
            location: Some(location),
        })
    }

    pub(super) fn delete_bucket(&self, input: &DeleteBucketInput) -> S3Result<()> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let _lock = bucket.lock()?;
        if !bucket.is_empty()? {
            return Err(s3_error!(
                BucketNotEmpty,
                "The bucket you tried to delete is not empty"
            ));
        }
        self.change(&input.bucket, None, |_| Change::Remove)?;
        BucketData::remove_folders(&self.store, &bucket.record.id).map_err(internal)
    }

    /// All of them, on one page: AWS cuts only for who asks for `MaxBuckets`, or has more than ten thousand.
    pub(super) fn list_buckets(&self, input: &ListBucketsInput) -> S3Result<ListBucketsOutput> {
        let buckets: Buckets = self.store.read(BUCKETS).map_err(internal)?;
        let prefix = input.prefix.as_deref().unwrap_or_default();
        let region = input.bucket_region.as_deref();
        let buckets = buckets
            .into_iter()
            .filter(|(name, record)| {
                name.starts_with(prefix) && region.is_none_or(|region| region == record.region)
            })
            .map(|(name, record)| Bucket {
                bucket_region: Some(record.region.clone()),
                creation_date: Some(timestamp(record.created_ms)),
                name: Some(name),
            })
            .collect();
        Ok(ListBucketsOutput {
            buckets: Some(buckets),
            owner: Some(self.owner()),
            prefix: input.prefix.clone(),
            ..Default::default()
        })
    }

    pub(super) fn owner(&self) -> Owner {
        Owner {
            id: Some(self.account.to_string()),
            ..Default::default()
        }
    }

    pub(super) fn get_location(
        &self,
        input: &GetBucketLocationInput,
    ) -> S3Result<GetBucketLocationOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let region = bucket.record.region;
        let constraint = (region != DEFAULT_REGION).then(|| BucketLocationConstraint::from(region));
        Ok(GetBucketLocationOutput {
            location_constraint: constraint,
        })
    }

    pub(super) fn get_tags(
        &self,
        input: &GetBucketTaggingInput,
    ) -> S3Result<GetBucketTaggingOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        if bucket.record.tags.is_empty() {
            return Err(s3_error!(NoSuchTagSet, "The TagSet does not exist"));
        }
        let tag_set = bucket
            .record
            .tags
            .into_iter()
            .map(|(key, value)| Tag {
                key: Some(key),
                value: Some(value),
            })
            .collect();
        Ok(GetBucketTaggingOutput { tag_set })
    }

    pub(super) fn put_tags(&self, input: PutBucketTaggingInput) -> S3Result<()> {
        let tags = input
            .tagging
            .tag_set
            .into_iter()
            .map(|tag| (tag.key.unwrap_or_default(), tag.value.unwrap_or_default()))
            .collect();
        self.set(
            &input.bucket,
            input.expected_bucket_owner.as_deref(),
            |record| record.tags = tags,
        )
    }

    pub(super) fn get_public_access_block(
        &self,
        input: &GetPublicAccessBlockInput,
    ) -> S3Result<GetPublicAccessBlockOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let Some(block) = bucket.record.public_access_block else {
            return Err(custom(
                "NoSuchPublicAccessBlockConfiguration",
                "The public access block configuration was not found",
            ));
        };
        let configuration = PublicAccessBlockConfiguration {
            block_public_acls: Some(block.block_public_acls),
            ignore_public_acls: Some(block.ignore_public_acls),
            block_public_policy: Some(block.block_public_policy),
            restrict_public_buckets: Some(block.restrict_public_buckets),
        };
        Ok(GetPublicAccessBlockOutput {
            public_access_block_configuration: Some(configuration),
        })
    }

    pub(super) fn put_public_access_block(
        &self,
        input: &PutPublicAccessBlockInput,
    ) -> S3Result<()> {
        let given = &input.public_access_block_configuration;
        let block = PublicAccessBlock {
            block_public_acls: given.block_public_acls.unwrap_or(false),
            ignore_public_acls: given.ignore_public_acls.unwrap_or(false),
            block_public_policy: given.block_public_policy.unwrap_or(false),
            restrict_public_buckets: given.restrict_public_buckets.unwrap_or(false),
        };
        self.set(
            &input.bucket,
            input.expected_bucket_owner.as_deref(),
            |record| {
                record.public_access_block = Some(block);
            },
        )
    }

    pub(super) fn get_ownership(
        &self,
        input: &GetBucketOwnershipControlsInput,
    ) -> S3Result<GetBucketOwnershipControlsOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let ownership = bucket.record.ownership.ok_or_else(|| {
            s3_error!(
                OwnershipControlsNotFoundError,
                "The bucket ownership controls were not found"
            )
        })?;
        let rules = vec![OwnershipControlsRule {
            object_ownership: ObjectOwnership::from(ownership),
        }];
        Ok(GetBucketOwnershipControlsOutput {
            ownership_controls: Some(OwnershipControls { rules }),
        })
    }

    pub(super) fn put_ownership(&self, input: &PutBucketOwnershipControlsInput) -> S3Result<()> {
        let [rule] = input.ownership_controls.rules.as_slice() else {
            return Err(s3_error!(
                MalformedXML,
                "Ownership controls have exactly one rule"
            ));
        };
        let ownership = rule.object_ownership.as_str().to_owned();
        self.set(
            &input.bucket,
            input.expected_bucket_owner.as_deref(),
            |record| {
                record.ownership = Some(ownership);
            },
        )
    }

    pub(super) fn get_policy(
        &self,
        input: &GetBucketPolicyInput,
    ) -> S3Result<GetBucketPolicyOutput> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let policy = bucket
            .record
            .policy
            .ok_or_else(|| s3_error!(NoSuchBucketPolicy, "The bucket policy does not exist"))?;
        Ok(GetBucketPolicyOutput {
            policy: Some(policy),
        })
    }

    pub(super) fn put_policy(&self, input: PutBucketPolicyInput) -> S3Result<()> {
        let bucket = self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let document: serde_json::Value = serde_json::from_str(&input.policy).map_err(|_| {
            s3_error!(
                MalformedPolicy,
                "Policies must be valid JSON and the first byte must be '{{'"
            )
        })?;
        let blocked = bucket
            .record
            .public_access_block
            .is_some_and(|b| b.block_public_policy);
        if blocked && iam::is_public(&document) {
            return Err(s3_error!(
                AccessDenied,
                "Public policies are blocked by the BlockPublicPolicy setting."
            ));
        }
        self.set(&input.bucket, None, |record| {
            record.policy = Some(input.policy);
        })
    }

    pub(super) fn get_encryption(
        &self,
        input: &GetBucketEncryptionInput,
    ) -> S3Result<GetBucketEncryptionOutput> {
        self.bucket(&input.bucket, input.expected_bucket_owner.as_deref())?;
        let by_default = ServerSideEncryptionByDefault {
            sse_algorithm: ServerSideEncryption::from_static(ServerSideEncryption::AES256),
            kms_master_key_id: None,
        };
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(by_default),
            bucket_key_enabled: Some(false),
        };
        Ok(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration {
                rules: vec![rule],
            }),
        })
    }

    /// Buckets with ACLs disabled take only `private` and `bucket-owner-full-control` (S3 user guide,
    /// "Controlling ownership of objects"). None is kept: what else is taken is `public-read` of an object that everybody may read in any
    /// case. `key` is the object's; the ACL is the bucket's own without it.
    pub(super) fn put_acl(
        &self,
        bucket: &str,
        key: Option<&str>,
        owner: Option<&str>,
        acl: Option<&str>,
    ) -> S3Result<()> {
        let name = bucket;
        let bucket = self.bucket(bucket, owner)?;
        let is_public = |key| may_be_read(&bucket.record, &format!("arn:aws:s3:::{name}/{key}"));
        let enforced =
            bucket.record.ownership.as_deref() == Some(ObjectOwnership::BUCKET_OWNER_ENFORCED);
        match acl {
            Some("private" | "bucket-owner-full-control") => Ok(()),
            _ if enforced => Err(s3_error!(
                AccessControlListNotSupported,
                "The bucket does not allow ACLs"
            )),
            Some("public-read") if key.is_some_and(is_public) => Ok(()),
            _ => Err(s3_error!(
                NotImplemented,
                "the embedded cloud keeps no ACLs but `private` and `bucket-owner-full-control`; a bucket's policy can let everybody read"
            )),
        }
    }

    /// Changes the settings of a bucket that exists and belongs to `owner`.
    pub(super) fn set(
        &self,
        name: &str,
        owner: Option<&str>,
        change: impl FnOnce(&mut BucketRecord),
    ) -> S3Result<()> {
        self.change(name, owner, |record| {
            change(record);
            Change::Keep
        })
    }

    fn change(
        &self,
        name: &str,
        owner: Option<&str>,
        change: impl FnOnce(&mut BucketRecord) -> Change,
    ) -> S3Result<()> {
        self.bucket(name, owner)?;
        self.store
            .update(BUCKETS, |buckets: &mut Buckets| -> Result<(), Failure> {
                let record = buckets.get_mut(name).ok_or_else(|| {
                    s3_error!(NoSuchBucket, "The specified bucket does not exist")
                })?;
                if let Change::Remove = change(record) {
                    buckets.remove(name);
                }
                Ok(())
            })
            .map_err(Failure::into_s3)
    }
}

enum Change {
    Keep,
    Remove,
}

/// An error of a change: S3's, or of the disk.
struct Failure(S3Error);

impl Failure {
    fn into_s3(self) -> S3Error {
        self.0
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(internal(error))
    }
}

impl From<S3Error> for Failure {
    fn from(error: S3Error) -> Self {
        Self(error)
    }
}

/// An error whose code `s3s` has no name for.
fn custom(code: &'static str, message: &'static str) -> S3Error {
    let mut error = S3Error::with_message(s3s::S3ErrorCode::Custom(code.into()), message);
    error.set_status_code(http::StatusCode::NOT_FOUND);
    error
}
