//! The decision what to do. Pure: the same three values give the same plan.
//!
//! | desired | observed | change |
//! |---|---|---|
//! | yes | absent | create |
//! | yes | present, differs | update, or replace where a field cannot be changed in place |
//! | yes | present, the same | no-op; adopt if it is not recorded so |
//! | yes | foreign | an error that names the owner |
//! | recorded | there, and not marked as ours any more | an error: to forget it would leave it behind |
//! | no | present | delete |
//! | no | absent | forget |
//!
//! Writes come first, in the order of [`ResourceKind::ALL`], so that what others lean on is there before them;
//! deletes follow in reverse.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{
    Action, Change, Desired, Drift, OLD_VERSIONS_FIELD, Observation, Observed, PROTECT_FIELD, Plan,
    Present, Protection,
};
use super::check::{check, check_dependencies};
use super::error::{NotOurs, PlanError};
use super::observe::same_object;
use super::retention::Retention;
use crate::resource::{
    Address, FieldChange, FieldValue, Resource, ResourceKind, RoleReference, changed_fields, role,
};
use crate::state::{ARN_OUTPUT, CloudIdentity, Record, RecordStatus, State};

/// What leads from `observed` to `desired`.
///
/// # Errors
/// The state is of another cloud, or a name is taken by something that is not ours.
pub fn make(desired: &Desired, observed: &Observed, state: &State) -> Result<Plan, PlanError> {
    towards_desired(desired, observed, state, &BTreeSet::new())
}

/// As [`make`], with resources that are replaced because somebody asks for it.
pub(super) fn towards_desired(
    desired: &Desired,
    observed: &Observed,
    state: &State,
    replace: &BTreeSet<Address>,
) -> Result<Plan, PlanError> {
    let plan = all_changes(desired, observed, state, replace)?;
    check(&plan)?;
    check_dependencies(&plan)?;
    Ok(plan)
}

/// As [`make`], where `recorded` is what the cloud has now: only the record changes. What others lean on may be gone.
pub(super) fn record_only(
    recorded: &Desired,
    observed: &Observed,
    state: &State,
) -> Result<Plan, PlanError> {
    let plan = all_changes(recorded, observed, state, &BTreeSet::new())?;
    check(&plan)?;
    match plan.changes.iter().find(|change| change.touches_cloud()) {
        Some(change) => Err(PlanError::Wrong(format!(
            "{} would be changed while only the record may be",
            change.address
        ))),
        None => Ok(plan),
    }
}

fn all_changes(
    desired: &Desired,
    observed: &Observed,
    state: &State,
    replace: &BTreeSet<Address>,
) -> Result<Plan, PlanError> {
    if let Some(recorded) = &state.deployed_to
        && !state.records.is_empty()
        && *recorded != observed.identity
    {
        return Err(PlanError::OtherCloud {
            recorded: recorded.clone(),
            found: observed.identity.clone(),
        });
    }
    let addresses: BTreeSet<&Address> = desired
        .resources
        .keys()
        .chain(state.records.keys())
        .collect();
    require_recorded_ours(desired, observed, state)?;
    require_one_address_each(desired, state)?;
    let mut writes = Vec::new();
    let mut deletes = Vec::new();
    let mut drift = Vec::new();
    for address in addresses {
        let wanted = desired.resources.get(address);
        let record = state.records.get(address);
        let now = observed
            .resources
            .get(address)
            .unwrap_or(&Observation::Absent);
        drift.extend(record.and_then(|record| drifted(address, record, now, &observed.identity)));
        let recorded = record.is_some_and(|record| record.protect);
        let protect = Protection {
            recorded,
            // Only who says so lifts it: a key or a block that is gone may have gone by mistake.
            wanted: match wanted {
                Some(_) => desired.protect.get(address).copied().unwrap_or(recorded),
                None => desired.protect.get(address) == Some(&true),
            },
        };
        match wanted {
            Some(wanted) => {
                let requested = replace.contains(address);
                let change = towards(address, wanted, record, now, requested)?;
                let change = with_retention(change, now, desired.keep_versions);
                writes.push(with_protection(change, protect));
            }
            None => deletes.push(Change {
                protect,
                ..away(address, now)
            }),
        }
    }
    // Addresses are sorted by kind, and kinds by the order of creation.
    deletes.reverse();
    Ok(Plan {
        identity: observed.identity.clone(),
        changes: writes.into_iter().chain(deletes).collect(),
        drift,
    })
}

/// Requires that no object which is wanted is recorded under another address: it would be taken over under the one and deleted
/// under the other.
fn require_one_address_each(desired: &Desired, state: &State) -> Result<(), PlanError> {
    for (address, wanted) in &desired.resources {
        let mut records = state.records.iter();
        let elsewhere = records
            .find(|(other, record)| *other != address && same_object(&record.applied, wanted));
        if let Some((recorded, _)) = elsewhere {
            return Err(PlanError::RecordedElsewhere {
                address: address.clone(),
                recorded: recorded.clone(),
            });
        }
    }
    Ok(())
}

/// Requires that nothing which is recorded says that it is not ours: to forget it would leave it behind, with what it holds and
/// whatever protects it.
fn require_recorded_ours(
    desired: &Desired,
    observed: &Observed,
    state: &State,
) -> Result<(), PlanError> {
    let foreign = state.records.iter().filter_map(|(address, record)| {
        match observed.resources.get(address)? {
            Observation::Foreign { id, owner }
                if is_of_record(id, record, desired.resources.get(address)) =>
            {
                Some(NotOurs {
                    address: address.clone(),
                    id: id.clone(),
                    owner: owner.clone(),
                })
            }
            _ => None,
        }
    });
    let objects: Vec<NotOurs> = foreign.collect();
    match objects.is_empty() {
        true => Ok(()),
        false => Err(PlanError::NotOurs {
            objects,
            lineage: state.lineage.clone(),
        }),
    }
}

/// Whether what is foreign by now is what was recorded, and not another object of a name that is wanted. A record that was
/// left open is of something that was there only if it has an ARN.
fn is_of_record(id: &str, record: &Record, wanted: Option<&Resource>) -> bool {
    let same = wanted.is_none_or(|wanted| same_object(&record.applied, wanted));
    let recorded = record.outputs.get(ARN_OUTPUT).map(String::as_str);
    recorded == Some(id) || (record.status == RecordStatus::Complete && same)
}

/// The change with what becomes of the old versions of a function.
fn with_retention(mut change: Change, now: &Observation, keep: Option<u32>) -> Change {
    let (Observation::Present(present), Some(keep)) = (now, keep) else {
        return change;
    };
    if change.address.kind != ResourceKind::Function || change.action == Action::Replace {
        return change;
    }
    // Not the fields of the change: those are what `live` serves, where that is another version.
    let fields = changed_fields(Some(&present.spec), change.after.as_ref());
    let publishing = present.versions.publishing(&fields);
    let retention = present.versions.retention(keep, publishing);
    if !retention.delete.is_empty() {
        let old = present.versions.old(publishing);
        let left = old
            .iter()
            .filter(|version| !retention.delete.contains(version));
        let left: Vec<u64> = left.copied().collect();
        change.fields.push(FieldChange {
            path: OLD_VERSIONS_FIELD.to_owned(),
            before: Some(FieldValue::Known(old.into())),
            after: Some(FieldValue::Known(left.into())),
            forces_replacement: false,
        });
        if change.action == Action::NoOp {
            change.action = Action::Update;
        }
    }
    change.retention = retention;
    change
}

/// The change with the change of protection beside it.
fn with_protection(mut change: Change, protect: Protection) -> Change {
    change.protect = protect;
    if protect.recorded != protect.wanted {
        let before = protect.recorded.then_some(FieldValue::Known(true.into()));
        change.fields.push(FieldChange {
            path: PROTECT_FIELD.to_owned(),
            before,
            after: Some(FieldValue::Known(protect.wanted.into())),
            forces_replacement: false,
        });
        if change.action == Action::NoOp {
            change.action = Action::Update;
        }
    }
    change
}

fn towards(
    address: &Address,
    wanted: &Resource,
    record: Option<&Record>,
    now: &Observation,
    replacement_requested: bool,
) -> Result<Change, PlanError> {
    let present = match now {
        Observation::Foreign { id, owner } => {
            return Err(PlanError::Foreign {
                address: address.clone(),
                id: id.clone(),
                owner: owner.clone(),
            });
        }
        Observation::Absent => {
            let mut fields = changed_fields(None, Some(wanted));
            fields.extend(
                assigned(wanted.kind())
                    .iter()
                    .map(|name| known_later(name, None)),
            );
            return Ok(Change {
                address: address.clone(),
                action: Action::Create,
                before: None,
                after: Some(wanted.clone()),
                fields,
                outputs: BTreeMap::new(),
                revision: None,
                replacement_requested: false,
                protect: Protection::default(),
                retention: Retention::default(),
                live: None,
            });
        }
        Observation::Present(present) => present,
    };
    let live = present.live.clone().filter(|_| publishes(wanted));
    let mut fields = differing(&present.spec, live.as_ref(), wanted);
    let recorded_so = record
        .is_some_and(|record| record.status == RecordStatus::Complete && record.applied == *wanted);
    let forced = fields.iter().any(|field| field.forces_replacement);
    let action = if forced || replacement_requested {
        Action::Replace
    } else if record.is_none() || (fields.is_empty() && !recorded_so) {
        Action::Adopt
    } else if fields.is_empty() {
        Action::NoOp
    } else {
        Action::Update
    };
    fields.extend(moved_outputs(action, wanted.kind(), present, &fields));
    Ok(Change {
        address: address.clone(),
        action,
        before: Some(present.spec.clone()),
        after: Some(wanted.clone()),
        fields,
        outputs: present.outputs.clone(),
        revision: Some(present.revision.clone()),
        replacement_requested: replacement_requested && !forced,
        protect: Protection::default(),
        retention: Retention::default(),
        live,
    })
}

/// Whether a function with that spec has `live` point to it. Where only the record changes, `live` stays where it is.
fn publishes(wanted: &Resource) -> bool {
    matches!(wanted, Resource::Function(function) if function.published)
}

/// The fields that change for whoever uses the resource, and then those that change besides.
fn differing(newest: &Resource, live: Option<&Resource>, wanted: &Resource) -> Vec<FieldChange> {
    let newest_fields = changed_fields(Some(newest), Some(wanted));
    let Some(live) = live else {
        return newest_fields;
    };
    let mut fields = changed_fields(Some(live), Some(wanted));
    for field in newest_fields {
        if fields.iter().all(|served| served.path != field.path) {
            fields.push(field);
        }
    }
    fields
}

fn away(address: &Address, now: &Observation) -> Change {
    let nothing = Change {
        address: address.clone(),
        action: Action::Forget,
        before: None,
        after: None,
        fields: Vec::new(),
        outputs: BTreeMap::new(),
        revision: None,
        replacement_requested: false,
        protect: Protection::default(),
        retention: Retention::default(),
        live: None,
    };
    match now {
        // What is foreign by now is no longer what we recorded.
        Observation::Absent | Observation::Foreign { .. } => nothing,
        Observation::Present(present) => Change {
            action: Action::Delete,
            before: Some(present.spec.clone()),
            fields: changed_fields(Some(&present.spec), None),
            outputs: present.outputs.clone(),
            revision: Some(present.revision.clone()),
            ..nothing
        },
    }
}

/// What somebody else did to a resource since it was applied. A record that was left open says nothing about that.
fn drifted(
    address: &Address,
    record: &Record,
    now: &Observation,
    identity: &CloudIdentity,
) -> Option<Drift> {
    if record.status == RecordStatus::Pending {
        return None;
    }
    let gone = Drift {
        address: address.clone(),
        deleted: true,
        fields: Vec::new(),
    };
    let Observation::Present(present) = now else {
        return Some(gone);
    };
    let applied = with_role_as_told_now(&record.applied, &present.spec, identity);
    let fields = changed_fields(Some(&applied), Some(&present.spec));
    if fields.iter().any(|field| field.forces_replacement) {
        return Some(gone);
    }
    (!fields.is_empty()).then(|| Drift {
        deleted: false,
        fields,
        ..gone
    })
}

/// `applied`, a function, with its role named as in `now` where that is the same role: once it is declared, its ARN is not what it is called.
fn with_role_as_told_now(applied: &Resource, now: &Resource, identity: &CloudIdentity) -> Resource {
    let mut applied = applied.clone();
    if let (Resource::Function(applied), Resource::Function(now)) = (&mut applied, now)
        && let (RoleReference::Arn(arn), RoleReference::Managed { name, path }) =
            (&applied.role, &now.role)
        && *arn == role::role_arn(&identity.region, &identity.account, path, name)
    {
        applied.role = now.role.clone();
    }
    applied
}

/// What AWS assigns when a resource is made.
fn assigned(kind: ResourceKind) -> &'static [&'static str] {
    match kind {
        ResourceKind::LogGroup | ResourceKind::Role | ResourceKind::Bucket => &["arn"],
        ResourceKind::Function => &["arn", "version"],
        ResourceKind::Site => &[],
    }
}

/// What AWS assigns anew when a resource is changed.
fn moved_outputs(
    action: Action,
    kind: ResourceKind,
    present: &Present,
    fields: &[FieldChange],
) -> Vec<FieldChange> {
    let moved: &[&str] = match action {
        Action::Replace => assigned(kind),
        // Every change of a function is published as a new version.
        Action::Update | Action::Adopt if kind == ResourceKind::Function && !fields.is_empty() => {
            &["version"]
        }
        _ => &[],
    };
    moved
        .iter()
        .map(|name| known_later(name, present.outputs.get(*name)))
        .collect()
}

fn known_later(name: &str, before: Option<&String>) -> FieldChange {
    FieldChange {
        path: name.to_owned(),
        before: before.map(|value| FieldValue::Known(value.clone().into())),
        after: Some(FieldValue::KnownAfterApply),
        forces_replacement: false,
    }
}
