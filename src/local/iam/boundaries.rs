//! Managed policies, and the boundaries that roles have of them.

use std::collections::BTreeMap;

use crate::env;
use crate::local::http::Request;
use crate::local::query::{Input, QueryError, Xml};
use crate::names::AccountId;

use super::document::{self, Kind};
use super::input::{check_length, description, merge_tags, name, path};
use super::model::{Iam, ManagedPolicy, date, encoded, unique_id};
use super::{DOCUMENT, IamService, no_such};

/// Policies of AWS's own that exist here: those a function's role is usually given. There are more than a thousand;
/// one that is not here is reported as missing.
const AWS_POLICIES: &[&str] = &[
    "AdministratorAccess",
    "AmazonS3FullAccess",
    "AmazonS3ReadOnlyAccess",
    "AmazonSSMReadOnlyAccess",
    "AWSLambdaExecute",
    "AWSLambda_FullAccess",
    "AWSLambda_ReadOnlyAccess",
    "AWSXRayDaemonWriteAccess",
    "CloudWatchFullAccess",
    "CloudWatchLambdaInsightsExecutionRolePolicy",
    "CloudWatchLogsFullAccess",
    "CloudWatchLogsReadOnlyAccess",
    "PowerUserAccess",
    "ReadOnlyAccess",
    "SecretsManagerReadWrite",
    "service-role/AWSLambdaBasicExecutionRole",
    "service-role/AWSLambdaRole",
    "service-role/AWSLambdaVPCAccessExecutionRole",
];

impl IamService {
    pub(super) fn create_policy(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "PolicyName")?;
        let mut policy = ManagedPolicy {
            id: unique_id("ANPA"),
            path: path(&mut input)?,
            created_ms: env::now_ms(),
            description: description(&mut input)?,
            document: input.required("PolicyDocument")?,
            tags: BTreeMap::new(),
            name,
        };
        merge_tags(&mut policy.tags, &input.tags())?;
        input.finish()?;
        document::check(&policy.document, Kind::Identity)?;
        document::check_managed_size(&policy.document)?;
        self.store.update(DOCUMENT, |iam: &mut Iam| {
            let taken = |other: &ManagedPolicy| other.name.eq_ignore_ascii_case(&policy.name);
            if iam.policies.values().any(taken) {
                return Err(QueryError::new(
                    409,
                    "EntityAlreadyExists",
                    format!(
                        "A policy called {} already exists. Duplicate names are not allowed.",
                        policy.name
                    ),
                ));
            }
            let arn = format!(
                "arn:aws:iam::{}:policy{}{}",
                request.account, policy.path, policy.name
            );
            let mut xml = Xml::default();
            xml.element("Policy", |xml| policy.describe(xml, &arn, 0));
            iam.policies.insert(arn, policy);
            Ok(Some(xml))
        })
    }

    pub(super) fn read_policy(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let arn = input.required("PolicyArn")?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        policy_exists(&iam, &arn, &request.account)?;
        let policy = iam.policies.get(&arn).ok_or_else(aws_owned)?;
        let mut xml = Xml::default();
        xml.element("Policy", |xml| {
            policy.describe(xml, &arn, attachments(&iam, &arn));
        });
        Ok(Some(xml))
    }

    pub(super) fn read_policy_version(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let arn = input.required("PolicyArn")?;
        let version = input.required("VersionId")?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let policy = iam.policies.get(&arn).filter(|_| version == "v1");
        let policy = policy.ok_or_else(|| {
            no_such(format!(
                "Policy {arn} version {version} does not exist or is not attachable."
            ))
        })?;
        let mut xml = Xml::default();
        xml.element("PolicyVersion", |xml| {
            xml.text("Document", encoded(&policy.document))
                .text("VersionId", "v1")
                .text("IsDefaultVersion", true)
                .text("CreateDate", date(policy.created_ms));
        });
        Ok(Some(xml))
    }

    pub(super) fn delete_policy(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let arn = input.required("PolicyArn")?;
        input.finish()?;
        check_arn(&arn)?;
        self.store.update(DOCUMENT, |iam: &mut Iam| {
            if !iam.policies.contains_key(&arn) {
                return Err(no_such(format!("Policy {arn} was not found.")));
            }
            let bounded = |arn: &String| {
                iam.roles
                    .values()
                    .any(|role| role.permissions_boundary.as_ref() == Some(arn))
            };
            if attachments(iam, &arn) > 0 || bounded(&arn) {
                return Err(QueryError::new(
                    409,
                    "DeleteConflict",
                    "Cannot delete a policy attached to entities.",
                ));
            }
            iam.policies.remove(&arn);
            Ok(None)
        })
    }

    pub(super) fn put_role_permissions_boundary(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let arn = input.required("PermissionsBoundary")?;
        input.finish()?;
        self.store.update(DOCUMENT, |iam: &mut Iam| {
            iam.role(&role_name)?;
            policy_exists(iam, &arn, &request.account)?;
            iam.role_mut(&role_name)?.permissions_boundary = Some(arn);
            Ok(None)
        })
    }

    pub(super) fn delete_role_permissions_boundary(
        &self,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        input.finish()?;
        self.change_role(&role_name, |role| match role.permissions_boundary.take() {
            Some(_) => Ok(None),
            None => Err(no_such(format!(
                "The role {role_name} has no permissions boundary."
            ))),
        })
    }
}

/// A managed policy that can be attached: AWS's own, or one made in this account.
pub(super) fn policy_exists(iam: &Iam, arn: &str, account: &AccountId) -> Result<(), QueryError> {
    check_arn(arn)?;
    let of_aws = arn
        .strip_prefix("arn:aws:iam::aws:policy/")
        .is_some_and(|name| AWS_POLICIES.contains(&name));
    if of_aws || iam.policies.contains_key(arn) {
        return Ok(());
    }
    let known = if arn.starts_with("arn:aws:iam::aws:") {
        " The embedded cloud knows only some of AWS's own policies."
    } else if arn.starts_with(&format!("arn:aws:iam::{account}:")) {
        " It can be made with CreatePolicy."
    } else {
        ""
    };
    Err(no_such(format!(
        "Policy {arn} does not exist or is not attachable.{known}"
    )))
}

/// The shape of a managed policy's ARN.
pub(super) fn check_arn(arn: &str) -> Result<(), QueryError> {
    check_length(arn, "PolicyArn", 20, 2048)?;
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", partition, "iam", "", owner, resource]
            if partition.starts_with("aws")
                && (*owner == "aws" || owner.parse::<AccountId>().is_ok())
                && resource.starts_with("policy/") =>
        {
            Ok(())
        }
        _ => Err(QueryError::new(
            400,
            "InvalidInput",
            format!("ARN {arn} is not valid."),
        )),
    }
}

fn attachments(iam: &Iam, arn: &str) -> usize {
    iam.roles
        .values()
        .filter(|role| role.attached.contains(arn))
        .count()
}

fn aws_owned() -> QueryError {
    QueryError::new(
        501,
        "NotImplemented",
        "the embedded cloud does not implement iam GetPolicy for AWS's own policies",
    )
}
