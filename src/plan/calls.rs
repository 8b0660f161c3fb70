//! Which actions a change calls, and on what: the one table by which permissions are asked for before anything is done.
//!
//! It follows what `apply` does, step by step; `tests/it/calls.rs` applies a farm in the embedded cloud and compares. Actions and
//! resources are spelled as IAM's policies spell them ("Actions, resources, and condition keys", service authorization
//! reference), so a call may need more than one: a function that is made with a role needs `iam:PassRole` on it.

use std::collections::BTreeMap;

use super::change::{Action, Change};
use crate::names::{BucketName, LogGroupName};
use crate::protocol::running;
use crate::resource::function::RUNTIME;
use crate::resource::policy::same_meaning;
use crate::resource::role::{self, partition};
use crate::resource::{
    BucketSpec, FunctionSpec, LogGroupSpec, Resource, RoleReference, RoleSpec, SiteSpec, site,
};
use crate::state::CloudIdentity;

/// An action on a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    /// As policies write it: `lambda:CreateFunction`.
    pub action: &'static str,
    /// An ARN, which may end in `*` for all objects below a prefix; or `*` alone.
    pub resource: String,
    /// The change succeeds without it, and leaves something behind that does no harm.
    pub dispensable: bool,
}

/// What the calls of a plan depend on besides its changes.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Where it is applied.
    pub identity: &'a CloudIdentity,
    /// The bucket through which a function's code goes; `None` where it goes within the request.
    pub code_bucket: Option<&'a BucketName>,
    /// Whether a new version renders something before it goes live.
    pub smoke: bool,
}

/// What `change` calls. In the order in which it does, reads before writes. `bucket` is where renders lie.
pub fn calls(
    change: &Change,
    surroundings: Surroundings<'_>,
    bucket: Option<&BucketName>,
) -> Vec<Call> {
    let mut list = List {
        surroundings,
        calls: Vec::new(),
    };
    let (before, after) = (change.before.as_ref(), change.after.as_ref());
    match (change.action, before, after) {
        (Action::Create, _, Some(after)) => list.create(after),
        (Action::Replace, Some(before), Some(after)) => {
            list.delete(before);
            list.create(after);
        }
        (Action::Update | Action::Adopt, Some(before), Some(after)) if change.touches_cloud() => {
            list.update(before, after);
        }
        (Action::Delete, Some(before), _) => list.delete(before),
        // What is only recorded calls nothing.
        (Action::NoOp | Action::Adopt | Action::Update | Action::Forget, ..) => {}
        // Specs that do not fit their action do not pass `check.rs`.
        (Action::Create | Action::Replace | Action::Delete, ..) => {}
    }
    if let (Some(Resource::Function(spec)), false) = (after, change.retention.delete.is_empty()) {
        list.old_versions(spec, bucket);
    }
    list.calls
}

struct List<'a> {
    surroundings: Surroundings<'a>,
    calls: Vec<Call>,
}

/// `arn:PARTITION:SERVICE:REGION:ACCOUNT:REST`.
pub(super) fn arn(identity: &CloudIdentity, service: &str, rest: &str) -> String {
    let CloudIdentity { account, region } = identity;
    let partition = partition(region);
    format!("arn:{partition}:{service}:{region}:{account}:{rest}")
}

impl List<'_> {
    fn add<const N: usize>(&mut self, actions: [&'static str; N], resource: &str) {
        self.calls.extend(actions.map(|action| Call {
            action,
            resource: resource.to_owned(),
            dispensable: false,
        }));
    }

    fn add_dispensable(&mut self, action: &'static str, resource: &str) {
        self.calls.push(Call {
            action,
            resource: resource.to_owned(),
            dispensable: true,
        });
    }

    fn arn(&self, service: &str, rest: &str) -> String {
        arn(self.surroundings.identity, service, rest)
    }

    fn bucket_arn(&self, bucket: &BucketName) -> String {
        role::bucket_arn(&self.surroundings.identity.region, bucket)
    }

    fn log_group_arn(&self, name: &LogGroupName) -> String {
        self.arn("logs", &format!("log-group:{name}"))
    }

    /// The ARN by which CloudWatch Logs decides about a group itself: an empty stream of it.
    fn log_stream_arn(&self, name: &str) -> String {
        self.arn("logs", &format!("log-group:{name}:log-stream:"))
    }

    fn role_arn(&self, spec: &RoleSpec) -> String {
        let CloudIdentity { account, region } = self.surroundings.identity;
        role::role_arn(region, account, &spec.path, &spec.name)
    }

    fn function_arn(&self, spec: &FunctionSpec) -> String {
        self.arn("lambda", &format!("function:{}", spec.name))
    }

    fn site_arns(&self, spec: &SiteSpec) -> SiteArns {
        let bucket = self.bucket_arn(&spec.bucket);
        SiteArns {
            files: format!("{bucket}/{}*", site::prefix(&spec.name)),
            manifest: format!("{bucket}/{}", site::manifest_key(&spec.name)),
            bucket,
        }
    }

    /// What is looked at before and after every change.
    fn read(&mut self, spec: &Resource) {
        match spec {
            Resource::LogGroup(spec) => {
                let all = self.log_stream_arn("");
                self.add(["logs:DescribeLogGroups"], &all);
                let arn = self.log_group_arn(&spec.name);
                self.add(["logs:ListTagsForResource"], &arn);
            }
            Resource::Role(spec) => {
                let arn = self.role_arn(spec);
                let actions = [
                    "iam:GetRole",
                    "iam:GetRolePolicy",
                    "iam:ListRolePolicies",
                    "iam:ListAttachedRolePolicies",
                ];
                self.add(actions, &arn);
            }
            Resource::Bucket(spec) => {
                let arn = self.bucket_arn(&spec.name);
                let actions = [
                    "s3:ListBucket",
                    "s3:GetBucketTagging",
                    "s3:GetBucketPublicAccessBlock",
                    "s3:GetBucketOwnershipControls",
                    "s3:GetLifecycleConfiguration",
                ];
                self.add(actions, &arn);
                if spec.name.is_of_remotion() {
                    self.add(["s3:GetBucketPolicy"], &arn);
                }
            }
            Resource::Function(spec) => {
                let arn = self.function_arn(spec);
                let actions = [
                    "lambda:GetFunction",
                    "lambda:GetAlias",
                    "lambda:GetFunctionEventInvokeConfig",
                ];
                self.add(actions, &arn);
                if spec.name.is_of_remotion() || spec.runtime != RUNTIME {
                    self.add(["lambda:GetRuntimeManagementConfig"], &arn);
                }
            }
            Resource::Site(spec) => {
                let arns = self.site_arns(spec);
                self.add(["s3:ListBucket"], &arns.bucket);
                self.add(["s3:GetObject"], &arns.manifest);
            }
        }
    }

    fn create(&mut self, after: &Resource) {
        self.read(after);
        match after {
            Resource::LogGroup(spec) => {
                let arn = self.log_group_arn(&spec.name);
                self.add(["logs:TagResource"], &arn);
                let arn = self.log_stream_arn(spec.name.as_str());
                self.add(["logs:CreateLogGroup"], &arn);
                if spec.retention_days.is_some() {
                    self.add(["logs:PutRetentionPolicy"], &arn);
                }
            }
            Resource::Role(spec) => {
                let arn = self.role_arn(spec);
                self.add(["iam:CreateRole", "iam:TagRole", "iam:PutRolePolicy"], &arn);
            }
            Resource::Bucket(spec) => {
                let arn = self.bucket_arn(&spec.name);
                let actions = [
                    "s3:CreateBucket",
                    "s3:PutBucketTagging",
                    "s3:PutBucketPublicAccessBlock",
                    "s3:PutBucketOwnershipControls",
                ];
                self.add(actions, &arn);
                if lifecycle(spec) != (None, None, &BTreeMap::new()) {
                    self.add(["s3:PutLifecycleConfiguration"], &arn);
                }
                if spec.public_read {
                    self.add(["s3:PutBucketPolicy"], &arn);
                }
            }
            Resource::Function(spec) => {
                let arn = self.function_arn(spec);
                self.add(["lambda:CreateFunction", "lambda:TagResource"], &arn);
                self.configuration(spec);
                self.code(spec);
                self.publish(spec);
                self.keep_runtime(None, spec);
            }
            Resource::Site(spec) => self.upload(spec, true, false),
        }
    }

    fn update(&mut self, before: &Resource, after: &Resource) {
        self.read(after);
        match (before, after) {
            (Resource::LogGroup(before), Resource::LogGroup(after)) => {
                self.update_log_group(before, after);
            }
            (Resource::Role(before), Resource::Role(after)) => self.update_role(before, after),
            (Resource::Bucket(before), Resource::Bucket(after)) => {
                self.update_bucket(before, after);
            }
            (Resource::Function(before), Resource::Function(after)) => {
                self.update_function(before, after);
            }
            (Resource::Site(before), Resource::Site(after)) => {
                let differs = |(path, digest): (&String, _)| before.files.get(path) != Some(digest);
                let changed = after.files.iter().any(differs);
                let mut paths = before.files.keys();
                let stale = paths.any(|path| !after.files.contains_key(path));
                self.upload(after, changed, stale);
            }
            // A resource never becomes another kind: see `check.rs`.
            _ => {}
        }
    }

    fn update_log_group(&mut self, before: &LogGroupSpec, after: &LogGroupSpec) {
        let arn = self.log_stream_arn(after.name.as_str());
        match after.retention_days {
            days if days == before.retention_days => {}
            Some(_) => self.add(["logs:PutRetentionPolicy"], &arn),
            None => self.add(["logs:DeleteRetentionPolicy"], &arn),
        }
    }

    fn update_role(&mut self, before: &RoleSpec, after: &RoleSpec) {
        let arn = self.role_arn(after);
        if !same_meaning(&before.trust_policy, &after.trust_policy) {
            self.add(["iam:UpdateAssumeRolePolicy"], &arn);
        }
        if before.permissions_boundary != after.permissions_boundary {
            let action = match after.permissions_boundary {
                Some(_) => "iam:PutRolePermissionsBoundary",
                None => "iam:DeleteRolePermissionsBoundary",
            };
            self.add([action], &arn);
        }
        if !same_meaning(&before.policy, &after.policy) {
            self.add(["iam:PutRolePolicy"], &arn);
        }
        let mut others = before.other_policies.keys();
        if others.any(|other| !after.other_policies.contains_key(other)) {
            self.add(["iam:DeleteRolePolicy"], &arn);
        }
        if !before.attached_policies.is_subset(&after.attached_policies) {
            self.add(["iam:DetachRolePolicy"], &arn);
        }
    }

    fn update_bucket(&mut self, before: &BucketSpec, after: &BucketSpec) {
        let arn = self.bucket_arn(&after.name);
        self.add(["s3:PutBucketTagging"], &arn);
        if before.block_public_access != after.block_public_access {
            self.add(["s3:PutBucketPublicAccessBlock"], &arn);
        }
        if before.owner_enforced != after.owner_enforced {
            self.add(["s3:PutBucketOwnershipControls"], &arn);
        }
        if lifecycle(before) != lifecycle(after) {
            self.add(["s3:PutLifecycleConfiguration"], &arn);
        }
        match (before.public_read, after.public_read) {
            (false, true) => self.add(["s3:PutBucketPolicy"], &arn),
            // Without statements of others there is no policy then.
            (true, false) => self.add(["s3:PutBucketPolicy", "s3:DeleteBucketPolicy"], &arn),
            (true, true) | (false, false) => {}
        }
    }

    fn update_function(&mut self, before: &FunctionSpec, after: &FunctionSpec) {
        let arn = self.function_arn(after);
        let configured = FunctionSpec {
            architecture: after.architecture.clone(),
            code_sha256: after.code_sha256,
            published: after.published,
            runtime_version_arn: after.runtime_version_arn.clone(),
            ..before.clone()
        };
        if configured != *after {
            self.add(["lambda:UpdateFunctionConfiguration"], &arn);
            self.configuration(after);
        }
        let code = |spec: &FunctionSpec| (spec.code_sha256, spec.architecture.clone());
        if code(before) != code(after) {
            self.add(["lambda:UpdateFunctionCode"], &arn);
            self.code(after);
        }
        self.publish(after);
        if before.runtime != RUNTIME {
            self.add(["lambda:GetRuntimeManagementConfig"], &arn);
        }
        self.keep_runtime(Some(before), after);
    }

    /// Which version of the runtime is kept, or that none is any more.
    fn keep_runtime(&mut self, before: Option<&FunctionSpec>, after: &FunctionSpec) {
        let kept = |spec: &FunctionSpec| {
            let version_arn = spec.runtime_version_arn.clone()?;
            Some((spec.runtime.clone(), version_arn))
        };
        if before.and_then(kept) != kept(after) {
            let arn = self.function_arn(after);
            self.add(["lambda:PutRuntimeManagementConfig"], &arn);
        }
    }

    /// Old versions are deleted after another look at what uses them. One that may not be deleted stays.
    fn old_versions(&mut self, spec: &FunctionSpec, bucket: Option<&BucketName>) {
        let arn = self.function_arn(spec);
        self.add(
            ["lambda:ListVersionsByFunction", "lambda:ListAliases"],
            &arn,
        );
        if let Some(bucket) = bucket {
            let arn = self.bucket_arn(bucket);
            self.add(["s3:ListBucket"], &arn);
            let documents = format!("{arn}/{}*", running::PREFIX);
            self.add(["s3:GetObject"], &documents);
        }
        self.add_dispensable("lambda:DeleteFunction", &arn);
    }

    /// What a function's configuration leans on.
    fn configuration(&mut self, spec: &FunctionSpec) {
        let role = match &spec.role {
            RoleReference::Managed { name, path } => {
                let CloudIdentity { account, region } = self.surroundings.identity;
                role::role_arn(region, account, path, name)
            }
            RoleReference::Arn(arn) => arn.clone(),
        };
        self.add(["iam:PassRole"], &role);
        for layer in &spec.layers {
            self.add(["lambda:GetLayerVersion"], layer);
        }
        if !spec.subnet_ids.is_empty() {
            let actions = [
                "ec2:DescribeSecurityGroups",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ];
            self.add(actions, "*");
        }
    }

    /// Code that is too large for a request is written to the bucket, and read there by Lambda as whoever asks it to.
    fn code(&mut self, spec: &FunctionSpec) {
        if let Some(bucket) = self.surroundings.code_bucket {
            let key = site::code_key(&spec.code_sha256);
            let object = format!("{}/{key}", self.bucket_arn(bucket));
            self.add(["s3:GetObject", "s3:PutObject"], &object);
        }
    }

    fn publish(&mut self, spec: &FunctionSpec) {
        let function = self.function_arn(spec);
        let actions = [
            "lambda:PublishVersion",
            "lambda:UpdateAlias",
            "lambda:CreateAlias",
            "lambda:PutFunctionEventInvokeConfig",
        ];
        self.add(actions, &function);
        if spec.name.is_of_remotion() {
            self.add(["lambda:UpdateFunctionEventInvokeConfig"], &function);
        }
        if self.surroundings.smoke {
            // Of a version, whose number is not known yet.
            self.add(["lambda:InvokeFunction"], &format!("{function}:*"));
        }
    }

    fn upload(&mut self, spec: &SiteSpec, changed: bool, stale: bool) {
        let arns = self.site_arns(spec);
        if changed {
            self.add(["s3:PutObject"], &arns.files);
        }
        if stale {
            self.add(["s3:DeleteObject"], &arns.files);
        }
        self.add(["s3:PutObject"], &arns.manifest);
    }

    fn delete(&mut self, before: &Resource) {
        self.read(before);
        match before {
            Resource::LogGroup(spec) => {
                let arn = self.log_stream_arn(spec.name.as_str());
                self.add(["logs:DeleteLogGroup"], &arn);
            }
            Resource::Role(spec) => {
                let arn = self.role_arn(spec);
                self.add(["iam:DeleteRolePolicy", "iam:DeleteRole"], &arn);
                if !spec.attached_policies.is_empty() {
                    self.add(["iam:DetachRolePolicy"], &arn);
                }
            }
            Resource::Bucket(spec) => {
                let arn = self.bucket_arn(&spec.name);
                self.add(["s3:DeleteObject"], &format!("{arn}/*"));
                self.add(["s3:DeleteBucket"], &arn);
            }
            Resource::Function(spec) => {
                let arn = self.function_arn(spec);
                self.add(["lambda:DeleteFunction"], &arn);
            }
            Resource::Site(spec) => {
                let arns = self.site_arns(spec);
                self.add(["s3:DeleteObject"], &arns.files);
                self.add(["s3:DeleteObject"], &arns.manifest);
            }
        }
    }
}

struct SiteArns {
    bucket: String,
    files: String,
    manifest: String,
}

fn lifecycle(spec: &BucketSpec) -> (Option<u32>, Option<u32>, &BTreeMap<String, u32>) {
    (
        spec.expire_renders_days,
        spec.abort_uploads_days,
        &spec.expire_days,
    )
}
