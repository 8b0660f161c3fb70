//! The embedded cloud's IAM: roles, what they may do, and who may use them. One JSON document holds all of it.
//!
//! Policies are checked as AWS checks them when they are written. The one user may do everything; whoever assumes a role
//! (`AssumeRole` of STS, or a function, which has its role's credentials) may do what its policies allow.

mod boundaries;
mod conditions;
mod document;
mod everybody;
mod held;
mod input;
mod model;
mod permissions;
mod policies;
mod roles;
mod simulate;
mod trust;

use std::io;

use http::Response;

use crate::env;
use crate::local::http::{Body, Request};
use crate::local::query::{Input, QueryError, Xml, respond};
use crate::local::store::Store;
use crate::names::AccountId;

pub(super) use conditions::Context;
pub(super) use everybody::{allows_everybody, is_public};
pub(super) use model::date;
use model::{Iam, LocalUser};
pub(super) use permissions::{permissions, refusal};

const NAMESPACE: &str = "https://iam.amazonaws.com/doc/2010-05-08/";

const DOCUMENT: &str = "iam.json";

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct IamService {
    store: Store,
}

impl IamService {
    /// A service over the data in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Answers one request.
    #[allow(
        clippy::unused_async,
        reason = "every service is called in the same way"
    )]
    pub(crate) async fn handle(&self, request: Request) -> Response<Body> {
        let input = Input::of(&request);
        let operation = input.operation.clone();
        let result = self.dispatch(&request, input);
        respond(NAMESPACE, &operation, &request.request_id, result)
    }

    fn dispatch(&self, request: &Request, input: Input) -> Result<Option<Xml>, QueryError> {
        match input.operation.as_str() {
            "CreateRole" => self.create_role(request, input),
            "GetRole" => self.read_role(request, input),
            "UpdateRole" => self.update_role(input),
            "UpdateAssumeRolePolicy" => self.update_assume_role_policy(input),
            "DeleteRole" => self.delete_role(input),
            "ListRoles" => self.list_roles(request, input),
            "TagRole" => self.tag_role(input),
            "UntagRole" => self.untag_role(input),
            "ListRoleTags" => self.list_role_tags(input),
            "PutRolePolicy" => self.put_role_policy(input),
            "GetRolePolicy" => self.read_role_policy(input),
            "DeleteRolePolicy" => self.delete_role_policy(input),
            "ListRolePolicies" => self.list_role_policies(input),
            "AttachRolePolicy" => self.attach_role_policy(request, input),
            "DetachRolePolicy" => self.detach_role_policy(input),
            "ListAttachedRolePolicies" => self.list_attached_role_policies(input),
            "PutRolePermissionsBoundary" => self.put_role_permissions_boundary(request, input),
            "DeleteRolePermissionsBoundary" => self.delete_role_permissions_boundary(input),
            "ListInstanceProfilesForRole" => self.list_instance_profiles_for_role(input),
            "CreatePolicy" => self.create_policy(request, input),
            "GetPolicy" => self.read_policy(request, input),
            "GetPolicyVersion" => self.read_policy_version(input),
            "DeletePolicy" => self.delete_policy(input),
            "SimulatePrincipalPolicy" => self.simulate_principal_policy(request, input),
            "SimulateCustomPolicy" => self.simulate_custom_policy(input),
            "GetUser" => self.read_user(request, input),
            other => Err(QueryError::not_implemented("iam", other)),
        }
    }

    fn read_user(&self, request: &Request, mut input: Input) -> Result<Option<Xml>, QueryError> {
        let name = input.take("UserName");
        input.finish()?;
        let user = local_user(&self.store)?;
        if let Some(name) = name.filter(|name| name != LocalUser::NAME) {
            return Err(no_such(format!(
                "The user with name {name} cannot be found."
            )));
        }
        let mut xml = Xml::default();
        xml.element("User", |xml| {
            xml.text("Path", "/")
                .text("UserName", LocalUser::NAME)
                .text("UserId", &user.id)
                .text("Arn", user.arn(&request.account))
                .text("CreateDate", model::date(user.created_ms));
        });
        Ok(Some(xml))
    }
}

/// The id of the role of this name and ARN, if it exists and lets Lambda assume it.
pub(crate) fn role_for_lambda(store: &Store, name: &str, arn: &str) -> io::Result<Option<String>> {
    let iam: Iam = store.read(DOCUMENT)?;
    let role = iam.roles.get(name).filter(|role| {
        let arn_path = arn.splitn(6, ':').nth(5);
        arn_path == Some(&format!("role{}{name}", role.path))
            && trust::lets_assume(&role.trust_policy, "lambda.amazonaws.com")
    });
    Ok(role.map(|role| role.id.clone()))
}

/// The role's ARN and id, if `caller`, the ARN of somebody of this account, may assume it.
pub(super) fn role_for(
    store: &Store,
    account: &AccountId,
    name: &str,
    caller: &str,
) -> io::Result<Option<(String, String)>> {
    let iam: Iam = store.read(DOCUMENT)?;
    let role = iam.roles.get(name);
    let role =
        role.filter(|role| trust::lets_principal_assume(&role.trust_policy, account, caller));
    Ok(role.map(|role| {
        let arn = format!("arn:aws:iam::{account}:role{}{name}", role.path);
        (arn, role.id.clone())
    }))
}

/// The one user there is, made when first asked for.
pub(super) fn local_user(store: &Store) -> io::Result<LocalUser> {
    let iam: Iam = store.read(DOCUMENT)?;
    if let Some(user) = iam.user {
        return Ok(user);
    }
    store.update(DOCUMENT, |iam: &mut Iam| {
        let user = iam
            .user
            .get_or_insert_with(|| LocalUser::new(env::now_ms()));
        Ok(user.clone())
    })
}

fn no_such(message: impl Into<String>) -> QueryError {
    QueryError::new(404, "NoSuchEntity", message)
}
