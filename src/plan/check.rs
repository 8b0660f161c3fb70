//! Plans that must never come out, whatever goes in. A bug in `make.rs` ends here and not in somebody's account.

use std::collections::BTreeSet;

use super::change::{Action, Change, Plan};
use super::error::PlanError;
use crate::resource::{Resource, ResourceKind, RoleReference};

/// Whether `plan` may be carried out.
///
/// # Errors
/// It may not; [`PlanError::Wrong`] says why.
pub(super) fn check(plan: &Plan) -> Result<(), PlanError> {
    let mut seen = BTreeSet::new();
    for change in &plan.changes {
        let wrong = |what: &str| Err(PlanError::Wrong(format!("{} {what}", change.address)));
        if !seen.insert(&change.address) {
            return wrong("is changed twice");
        }
        let specs = [&change.before, &change.after];
        if specs
            .into_iter()
            .flatten()
            .any(|spec| spec.kind() != change.address.kind)
        {
            return wrong("would become another kind of resource");
        }
        let (before, after) = (change.before.is_some(), change.after.is_some());
        let fits = match change.action {
            Action::Create => !before && after,
            Action::NoOp | Action::Update | Action::Replace | Action::Adopt => before && after,
            Action::Delete => before && !after,
            Action::Forget => !before && !after,
        };
        if !fits {
            return wrong("has an action that does not fit its specs");
        }
        if change.action == Action::NoOp && !change.fields.is_empty() {
            return wrong("differs, and nothing is done about it");
        }
        let forced = change.fields.iter().any(|field| field.forces_replacement);
        let in_place = matches!(change.action, Action::NoOp | Action::Update | Action::Adopt);
        let needed = forced || change.replacement_requested;
        if (change.action == Action::Replace && !needed) || (in_place && needed) {
            return wrong("is replaced without need, or not replaced with need");
        }
    }
    order(plan)
}

/// Whether everything that stays finds what it leans on.
///
/// # Errors
/// It does not; [`PlanError::Wrong`] says why.
pub(super) fn check_dependencies(plan: &Plan) -> Result<(), PlanError> {
    bucket_before_its_sites(plan)?;
    roles_in_use_stay(plan)
}

fn writes(plan: &Plan) -> impl Iterator<Item = &Change> {
    plan.changes.iter().filter(|change| change.after.is_some())
}

/// Writes in the order of creation, then deletes in reverse.
fn order(plan: &Plan) -> Result<(), PlanError> {
    let steps = plan.changes.iter().map(|change| {
        let rank = ResourceKind::ALL
            .iter()
            .position(|kind| *kind == change.address.kind);
        let rank = rank.unwrap_or_default();
        match change.after {
            Some(_) => rank,
            None => 2 * ResourceKind::ALL.len() - rank,
        }
    });
    if steps.is_sorted() {
        return Ok(());
    }
    Err(PlanError::Wrong("its changes are out of order".to_owned()))
}

/// A site lies in the bucket that is there in the end.
fn bucket_before_its_sites(plan: &Plan) -> Result<(), PlanError> {
    let bucket = writes(plan).find_map(|change| match &change.after {
        Some(Resource::Bucket(spec)) => Some(&spec.name),
        _ => None,
    });
    for change in writes(plan) {
        if let Some(Resource::Site(site)) = &change.after
            && bucket != Some(&site.bucket)
        {
            return Err(PlanError::Wrong(format!(
                "{} would lie in the bucket `{}`, which is not in the plan",
                change.address, site.bucket
            )));
        }
    }
    Ok(())
}

/// A function that stays runs as a role that stays.
fn roles_in_use_stay(plan: &Plan) -> Result<(), PlanError> {
    let roles: Vec<_> = writes(plan)
        .filter_map(|change| match &change.after {
            Some(Resource::Role(spec)) => Some((&spec.name, &spec.path)),
            _ => None,
        })
        .collect();
    for change in writes(plan) {
        if let Some(Resource::Function(function)) = &change.after
            && let RoleReference::Managed { name, path } = &function.role
            && !roles.contains(&(name, path))
        {
            return Err(PlanError::Wrong(format!(
                "{} would run as the role `{name}`, which is not in the plan",
                change.address
            )));
        }
    }
    Ok(())
}
