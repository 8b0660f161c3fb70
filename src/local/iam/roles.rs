//! Roles themselves: create, read, update, delete, list, tags.

use std::collections::{BTreeMap, BTreeSet};

use crate::env;
use crate::local::http::Request;
use crate::local::query::{Input, QueryError, Xml};

use super::boundaries::policy_exists;
use super::document::{self, Kind};
use super::input::{Page, check_length, description, merge_tags, name, path};
use super::model::{Iam, Role, no_role, unique_id};
use super::{DOCUMENT, IamService};

/// `MaxSessionDuration`, in seconds: AWS's default and bounds.
const SESSION_DEFAULT_S: u32 = 3600;
const SESSION_MAX_S: u32 = 43_200;

impl IamService {
    pub(super) fn create_role(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        let mut role = Role {
            id: unique_id("AROA"),
            path: path(&mut input)?,
            created_ms: env::now_ms(),
            trust_policy: input.required("AssumeRolePolicyDocument")?,
            description: description(&mut input)?,
            session_max_s: session_max_s(&mut input)?.unwrap_or(SESSION_DEFAULT_S),
            permissions_boundary: input.take("PermissionsBoundary"),
            tags: BTreeMap::new(),
            inline: BTreeMap::new(),
            attached: BTreeSet::new(),
        };
        merge_tags(&mut role.tags, &input.tags())?;
        input.finish()?;
        document::check(&role.trust_policy, Kind::Trust)?;
        document::check_trust_size(&role.trust_policy)?;
        self.store.update(DOCUMENT, |iam: &mut Iam| {
            // Names are told apart without regard to case (API reference, `CreateRole`).
            if iam
                .roles
                .keys()
                .any(|other| other.eq_ignore_ascii_case(&name))
            {
                return Err(QueryError::new(
                    409,
                    "EntityAlreadyExists",
                    format!("Role with name {name} already exists."),
                ));
            }
            if let Some(arn) = &role.permissions_boundary {
                policy_exists(iam, arn, &request.account)?;
            }
            let mut xml = Xml::default();
            xml.element("Role", |xml| role.describe(xml, &name, &request.account));
            iam.roles.insert(name, role);
            Ok(Some(xml))
        })
    }

    pub(super) fn read_role(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let role = iam.role(&name)?;
        let mut xml = Xml::default();
        xml.element("Role", |xml| role.describe(xml, &name, &request.account));
        Ok(Some(xml))
    }

    pub(super) fn update_role(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        let description = description(&mut input)?;
        let session_max_s = session_max_s(&mut input)?;
        input.finish()?;
        self.change_role(&name, |role| {
            if let Some(text) = description {
                role.description = Some(text).filter(|text| !text.is_empty());
            }
            role.session_max_s = session_max_s.unwrap_or(role.session_max_s);
            Ok(Some(Xml::default()))
        })
    }

    pub(super) fn update_assume_role_policy(
        &self,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        let policy = input.required("PolicyDocument")?;
        input.finish()?;
        document::check(&policy, Kind::Trust)?;
        document::check_trust_size(&policy)?;
        self.change_role(&name, |role| {
            role.trust_policy = policy;
            Ok(None)
        })
    }

    pub(super) fn delete_role(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        input.finish()?;
        self.store.update(DOCUMENT, |iam: &mut Iam| {
            let role = iam.role(&name)?;
            let conflict = |message: &str| Err(QueryError::new(409, "DeleteConflict", message));
            if !role.attached.is_empty() {
                return conflict("Cannot delete entity, must detach all policies first.");
            }
            if !role.inline.is_empty() {
                return conflict("Cannot delete entity, must delete policies first.");
            }
            iam.roles.remove(&name);
            Ok(None)
        })
    }

    pub(super) fn list_roles(
        &self,
        request: &Request,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let prefix = input.take("PathPrefix").unwrap_or_else(|| "/".to_owned());
        check_length(&prefix, "PathPrefix", 1, 512)?;
        let page = Page::take(&mut input)?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let roles = iam
            .roles
            .iter()
            .filter(|(_, role)| role.path.starts_with(&prefix));
        Ok(Some(page.of("Roles", roles, |xml, name, role| {
            role.describe_in_list(xml, name, &request.account);
        })))
    }

    pub(super) fn tag_role(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        let added = input.tags();
        input.finish()?;
        self.change_role(&name, |role| {
            merge_tags(&mut role.tags, &added)?;
            Ok(None)
        })
    }

    pub(super) fn untag_role(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        let keys = input.list("TagKeys");
        input.finish()?;
        self.change_role(&name, |role| {
            role.tags.retain(|key, _| {
                !keys
                    .iter()
                    .any(|gone| gone.to_lowercase() == key.to_lowercase())
            });
            Ok(None)
        })
    }

    pub(super) fn list_role_tags(&self, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        let page = Page::take(&mut input)?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        let role = iam.role(&name)?;
        Ok(Some(page.of(
            "Tags",
            role.tags.iter(),
            |xml, key, value| {
                xml.text("Key", key).text("Value", value);
            },
        )))
    }

    /// No role is in an instance profile: the embedded cloud has none.
    pub(super) fn list_instance_profiles_for_role(
        &self,
        mut input: Input,
    ) -> Result<Option<Xml>, QueryError> {
        let name = name(&mut input, "RoleName")?;
        let page = Page::take(&mut input)?;
        input.finish()?;
        let iam: Iam = self.store.read(DOCUMENT)?;
        iam.role(&name)?;
        let none = std::iter::empty::<(&String, ())>();
        Ok(Some(page.of("InstanceProfiles", none, |_, _, ()| {})))
    }

    /// Changes one role, and answers with what `change` gives back.
    pub(super) fn change_role(
        &self,
        name: &str,
        change: impl FnOnce(&mut Role) -> Result<Option<Xml>, QueryError>,
    ) -> Result<Option<Xml>, QueryError> {
        self.store.update(DOCUMENT, |iam: &mut Iam| {
            change(iam.roles.get_mut(name).ok_or_else(|| no_role(name))?)
        })
    }
}

fn session_max_s(input: &mut Input) -> Result<Option<u32>, QueryError> {
    let seconds = input.number("MaxSessionDuration")?;
    match seconds {
        Some(seconds) if seconds < SESSION_DEFAULT_S => Err(QueryError::constraint(
            seconds,
            "maxSessionDuration",
            "have value greater than or equal to 3600",
        )),
        Some(seconds) if seconds > SESSION_MAX_S => Err(QueryError::constraint(
            seconds,
            "maxSessionDuration",
            "have value less than or equal to 43200",
        )),
        other => Ok(other),
    }
}
