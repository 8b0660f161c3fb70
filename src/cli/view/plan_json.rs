//! A plan for programs: `terraform show -json PLAN`, format 1.2.

use serde_json::{Map, Value, json};

use super::advice::preflight_json;
use super::cost::cost_json;
use crate::plan::change::{Action, Change, Drift, Protection};
use crate::plan::gate::{self, Violation};
use crate::plan::preflight::Preflight;
use crate::plan::retention::Retention;
use crate::plan::saved::SavedPlan;
use crate::resource::reach;
use crate::resource::{Address, FieldChange, FieldValue, Resource};

/// Terraform's number for the shape this follows.
const FORMAT_VERSION: &str = "1.2";

/// The document. Secret values are in none of it.
pub(crate) fn plan_json(saved: &SavedPlan) -> Value {
    let SavedPlan {
        made_at,
        basis,
        request,
        plan,
        losses,
        preflight,
        cost,
        code_size,
        refusals,
    } = saved;
    let planned = plan.changes.iter().filter_map(|change| {
        let mut entry = resource(&change.address);
        let after = change.after.as_ref()?;
        entry.insert("values".to_owned(), values(after));
        entry.insert("sensitive_values".to_owned(), sensitive(after));
        Some(Value::from(entry))
    });
    json!({
        "format_version": FORMAT_VERSION,
        "rmx_version": env!("CARGO_PKG_VERSION"),
        "timestamp": made_at,
        "project": basis.project,
        "stage": basis.stage,
        "mode": request.mode,
        "account": plan.identity.account,
        "region": plan.identity.region,
        "lineage": basis.lineage,
        "serial": basis.serial,
        "config_digest": basis.config,
        "planned_values": { "root_module": { "resources": planned.collect::<Vec<_>>() } },
        "resource_drift": plan.drift.iter().map(drift).collect::<Vec<_>>(),
        "resource_changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
        "data_loss": losses,
        "preflight": preflight_json(preflight.as_ref()),
        "cost": cost_json(cost.as_ref()),
        "code_size": code_size,
        "delete_data": request.delete_data,
        "refusals": refused(refusals, preflight.as_ref()),
        "applyable": saved.is_applyable(),
        "complete": true,
        "errored": false,
    })
}

/// Terraform's words for an action.
pub(super) fn actions(action: Action) -> &'static [&'static str] {
    match action {
        Action::NoOp | Action::Adopt => &["no-op"],
        Action::Create => &["create"],
        Action::Update => &["update"],
        Action::Replace => &["delete", "create"],
        Action::Delete => &["delete"],
        Action::Forget => &["forget"],
    }
}

/// What identifies a resource in Terraform's documents.
pub(super) fn resource(address: &Address) -> Map<String, Value> {
    let Value::Object(fields) = json!({
        "address": address,
        "mode": "managed",
        "type": address.kind,
        "name": address.name,
        "provider_name": "rmx",
    }) else {
        return Map::new();
    };
    fields
}

/// Everything for which the plan is refused. What preflight found is no matter of one resource.
fn refused(refusals: &[Violation], preflight: Option<&Preflight>) -> Value {
    let by_preflight = preflight.into_iter().flat_map(Preflight::refusals);
    let by_preflight = by_preflight.map(|check| {
        json!({
            "rule": "preflight",
            "address": null,
            "detail": check.to_string(),
        })
    });
    let refusals = refusals.iter().map(|one| json!(one));
    refusals.chain(by_preflight).collect()
}

fn change(change: &Change) -> Value {
    let action = match change.action {
        Action::Adopt if !change.fields.is_empty() => Action::Update,
        action => action,
    };
    let mut whole = json!({
        "actions": actions(action),
        "before": change.serves().map(values),
        "after": change.after.as_ref().map(values),
        "after_unknown": marked(&change.fields, |field| {
            field.after == Some(FieldValue::KnownAfterApply)
        }),
        "before_sensitive": change.serves().map_or(json!(false), sensitive),
        "after_sensitive": change.after.as_ref().map_or(json!(false), sensitive),
    });
    let changed: Vec<Value> = change
        .fields
        .iter()
        .map(|field| path(&field.path).into())
        .collect();
    // A secret that changes shows in nothing else.
    if !changed.is_empty() {
        whole["changed_paths"] = changed.into();
    }
    let replaces: Vec<Value> = change
        .fields
        .iter()
        .filter(|field| change.action == Action::Replace && field.forces_replacement)
        .map(|field| path(&field.path).into())
        .collect();
    if !replaces.is_empty() {
        whole["replace_paths"] = replaces.into();
    }
    let widened = gate::widened(change);
    match (&change.before, &change.after) {
        (Some(Resource::Role(before)), Some(Resource::Role(after))) => {
            whole["iam"] = json!({
                "policy": reach::of_change(&before.policy, &after.policy),
                "trust_policy": reach::of_change(&before.trust_policy, &after.trust_policy),
                "other_policies": reach::of_other_policies(before, after),
                "attached_policies": reach::of_attached_policies(before, after),
                "widened": widened,
            });
        }
        (_, Some(Resource::Function(_))) if !widened.is_empty() => {
            whole["iam"] = json!({ "widened": widened });
        }
        _ => {}
    }
    if change.protect != Protection::default() {
        whole["protect"] =
            json!({ "before": change.protect.recorded, "after": change.protect.wanted });
    }
    if change.retention != Retention::default() {
        whole["old_versions"] = json!(change.retention);
    }
    if let Some(version) = change.owes_smoke_after() {
        whole["failed_smoke_version"] = version.into();
    }
    if change.action == Action::Adopt {
        whole["importing"] = json!({ "id": super::change_name(change) });
    }
    let mut entry = resource(&change.address);
    entry.insert("change".to_owned(), whole);
    let reason = match change.action {
        Action::Replace if change.replacement_requested => Some("replace_by_request"),
        Action::Replace => Some("replace_because_cannot_update"),
        Action::Delete => Some("delete_because_no_resource_config"),
        _ => None,
    };
    if let Some(reason) = reason {
        entry.insert("action_reason".to_owned(), reason.into());
    }
    entry.into()
}

fn drift(drift: &Drift) -> Value {
    let side = |value: fn(&FieldChange) -> &Option<FieldValue>| {
        let fields = drift.fields.iter();
        let fields = fields.map(|field| (field.path.clone(), field_json(value(field).as_ref())));
        Value::Object(fields.collect())
    };
    let mut entry = resource(&drift.address);
    let action = if drift.deleted {
        Action::Delete
    } else {
        Action::Update
    };
    entry.insert(
        "change".to_owned(),
        json!({
            "actions": actions(action),
            "before": side(|field| &field.before),
            "after": if drift.deleted { Value::Null } else { side(|field| &field.after) },
        }),
    );
    entry.into()
}

/// The spec's fields. A secret environment variable shows as null and is marked in the `…_sensitive` beside it.
pub(super) fn values(resource: &Resource) -> Value {
    let mut whole = spec(resource);
    if let (Resource::Function(function), Value::Object(fields)) = (resource, &mut whole) {
        let environment = function.environment.iter().map(|(name, value)| {
            let value = match value {
                crate::resource::EnvironmentSpec::Plain(text) => text.clone().into(),
                crate::resource::EnvironmentSpec::Secret(_) => Value::Null,
            };
            (name.clone(), value)
        });
        fields.insert(
            "environment".to_owned(),
            Value::Object(environment.collect()),
        );
    }
    whole
}

fn spec(resource: &Resource) -> Value {
    // A resource is an object with its kind as the only key.
    match serde_json::to_value(resource) {
        Ok(Value::Object(kinds)) => kinds
            .into_iter()
            .next()
            .map_or(Value::Null, |(_, spec)| spec),
        _ => Value::Null,
    }
}

/// Which of the values are secret, as Terraform marks them.
pub(super) fn sensitive(resource: &Resource) -> Value {
    let Resource::Function(function) = resource else {
        return json!({});
    };
    let secret: Map<String, Value> = function
        .environment
        .iter()
        .filter(|(_, value)| matches!(value, crate::resource::EnvironmentSpec::Secret(_)))
        .map(|(name, _)| (name.clone(), true.into()))
        .collect();
    if secret.is_empty() {
        json!({})
    } else {
        json!({ "environment": secret })
    }
}

fn marked(fields: &[FieldChange], marked: impl Fn(&FieldChange) -> bool) -> Value {
    let fields = fields.iter().filter(|field| marked(field));
    Value::Object(
        fields
            .map(|field| (field.path.clone(), true.into()))
            .collect(),
    )
}

/// `environment.NAME` and `files.PATH` have two parts; the second may hold dots.
fn path(path: &str) -> Vec<&str> {
    path.splitn(2, '.').collect()
}

fn field_json(value: Option<&FieldValue>) -> Value {
    match value {
        Some(FieldValue::Known(value)) => value.clone(),
        Some(FieldValue::Secret(_) | FieldValue::KnownAfterApply) | None => Value::Null,
    }
}
