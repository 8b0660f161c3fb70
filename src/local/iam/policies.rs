//! What roles may do: inline policies, and managed policies attached to them.

use crate::local::http::Request;
use crate::local::query::{Input, QueryError, Xml};

use super::boundaries::{check_arn, policy_exists};
use super::document::{self, Kind};
use super::input::{Page, name};
use super::model::{Iam, encoded};
use super::{DOCUMENT, IamService, no_such};

/// AWS's quota of managed policies attached to one role.
const ATTACHED_MAX: usize = 10;

impl IamService {
    pub(super) fn put_role_policy(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let policy_name = name(&mut input, "PolicyName")?;
        let policy = input.required("PolicyDocument")?;
        input.finish()?;
        document::check(&policy, Kind::Identity)?;
        self.change_role(&role_name, |role| {
            role.inline.insert(policy_name, policy);
            document::check_inline_size(&role_name, role.inline.values())?;
            Ok(None)
        })
    }

    pub(super) fn read_role_policy(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let policy_name = name(&mut input, "PolicyName")?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let policy = iam
            .role(&role_name)?
            .inline
            .get(&policy_name)
            .ok_or_else(|| no_policy(&policy_name))?;
        let mut xml = Xml::default();
        xml.text("RoleName", &role_name)
            .text("PolicyName", &policy_name)
            .text("PolicyDocument", encoded(policy));
        Ok(Some(xml))
    }

    pub(super) fn delete_role_policy(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let policy_name = name(&mut input, "PolicyName")?;
        input.finish()?;
        self.change_role(&role_name, |role| match role.inline.remove(&policy_name) {
            Some(_) => Ok(None),
            None => Err(no_policy(&policy_name)),
        })
    }

    pub(super) fn list_role_policies(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let page = Page::take(&mut input)?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let inline = iam.role(&role_name)?.inline.iter();
        Ok(Some(
            page.of("PolicyNames", inline, |xml, name, _| xml.bare(name)),
        ))
    }

    pub(super) fn attach_role_policy(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let arn = input.required("PolicyArn")?;
        input.finish()?;
        self.store.update(DOCUMENT, |iam: &mut Iam| {
            iam.role(&role_name)?;
            policy_exists(iam, &arn, &request.account)?;
            let role = iam.role_mut(&role_name)?;
            role.attached.insert(arn);
            if role.attached.len() > ATTACHED_MAX {
                return Err(QueryError::new(
                    409,
                    "LimitExceeded",
                    format!("Cannot exceed quota for PoliciesPerRole: {ATTACHED_MAX}"),
                ));
            }
            Ok(None)
        })
    }

    pub(super) fn detach_role_policy(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let arn = input.required("PolicyArn")?;
        input.finish()?;
        check_arn(&arn)?;
        self.change_role(&role_name, |role| {
            if role.attached.remove(&arn) {
                Ok(None)
            } else {
                Err(no_such(format!("Policy {arn} was not found.")))
            }
        })
    }

    pub(super) fn list_attached_role_policies(
        &self,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let role_name = name(&mut input, "RoleName")?;
        let prefix = input.take("PathPrefix").unwrap_or_else(|| "/".to_owned());
        let page = Page::take(&mut input)?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let attached = iam.role(&role_name)?.attached.iter().filter_map(|arn| {
            let path_and_name = arn.split_once(":policy").map_or("", |(_, rest)| rest);
            let name = path_and_name.rsplit('/').next()?;
            path_and_name.starts_with(&prefix).then_some((arn, name))
        });
        Ok(Some(page.of(
            "AttachedPolicies",
            attached,
            |xml, arn, name| {
                xml.text("PolicyName", name).text("PolicyArn", arn);
            },
        )))
    }
}

fn no_policy(name: &str) -> QueryError {
    no_such(format!("The role policy with name {name} cannot be found."))
}
