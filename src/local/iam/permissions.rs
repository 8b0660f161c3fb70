//! What IAM requests need to be allowed, and whether a role's policies allow what a request needs.

use std::io;

use super::DOCUMENT;
use super::conditions::Context;
use super::held::Held;
use super::model::{Iam, LocalUser};
use super::simulate::{self, Source, Verdict};
use crate::local::http::Request;
use crate::local::permission::Permission;
use crate::local::query::QueryError;
use crate::local::store::Store;
use crate::names::AccountId;

/// What `request` needs.
pub(crate) fn permissions(store: &Store, request: &Request) -> io::Result<Vec<Permission>> {
    let mut form = request.form();
    form.extend(request.query.iter().cloned());
    let text = |name: &str| form.get(name).map(String::as_str);
    let account = &request.account;
    let operation = text("Action").unwrap_or_default();
    let resource = match (text("RoleName"), operation) {
        (Some(role), _) => {
            let iam: Iam = store.read(DOCUMENT)?;
            let path = iam.roles.get(role).map(|role| role.path.as_str());
            let path = path.or(text("Path")).unwrap_or("/");
            format!("arn:aws:iam::{account}:role{path}{role}")
        }
        (None, "SimulatePrincipalPolicy") => text("PolicySourceArn").unwrap_or("*").to_owned(),
        (None, "CreatePolicy") => {
            let (path, name) = (text("Path").unwrap_or("/"), text("PolicyName"));
            format!(
                "arn:aws:iam::{account}:policy{path}{}",
                name.unwrap_or_default()
            )
        }
        (None, "GetUser") => format!("arn:aws:iam::{account}:user/{}", LocalUser::NAME),
        (None, _) => text("PolicyArn").unwrap_or("*").to_owned(),
    };
    let mut needed = vec![Permission::new(format!("iam:{operation}"), &resource)];
    if operation == "CreateRole" && form.contains_key("Tags.member.1.Key") {
        needed.push(Permission::new("iam:TagRole", resource));
    }
    Ok(needed)
}

/// The first of `needed` that the role `name` may not do, by its policies and its boundary, and why, as AWS says it ("Troubleshoot
/// access denied error messages", IAM user guide); `None` if it may do all of it.
///
/// # Errors
/// The role is gone, or what decides is not evaluated here.
pub(crate) fn refusal<'a>(
    store: &Store,
    account: &AccountId,
    name: &str,
    needed: &'a [Permission],
    context: &Context,
) -> Result<Option<(&'a Permission, String)>, QueryError> {
    let iam: Iam = store.read(DOCUMENT)?;
    let held = Held::by(&iam, iam.role(name)?, account)?;
    for permission in needed {
        if let Some(why) = why_not(&held, account, permission, context)? {
            return Ok(Some((permission, why)));
        }
    }
    Ok(None)
}

fn why_not(
    held: &Held,
    account: &AccountId,
    permission: &Permission,
    context: &Context,
) -> Result<Option<String>, QueryError> {
    let Permission { action, resource } = permission;
    let verdict = |sources: &[Source]| -> Result<Verdict, QueryError> {
        Ok(simulate::decide(sources, action, resource, context)?.verdict)
    };
    let by_policies = verdict(&held.policies)?;
    if let (Verdict::ImplicitDeny, Some(arn)) = (by_policies, held.unknown.first()) {
        return Err(simulate::unknown_policy(arn, account));
    }
    let by_boundary = match held.boundaries.is_empty() {
        true => Verdict::Allowed,
        false => verdict(&held.boundaries)?,
    };
    let nothing_allows = |kind: &str| format!("because no {kind} allows the {action} action");
    Ok(match (by_policies, by_boundary) {
        (Verdict::Allowed, Verdict::Allowed) => None,
        (Verdict::ExplicitDeny, _) => {
            Some("with an explicit deny in an identity-based policy".to_owned())
        }
        (_, Verdict::ExplicitDeny) => {
            Some("with an explicit deny in a permissions boundary".to_owned())
        }
        (Verdict::ImplicitDeny, _) => Some(nothing_allows("identity-based policy")),
        (Verdict::Allowed, Verdict::ImplicitDeny) => Some(nothing_allows("permissions boundary")),
    })
}
