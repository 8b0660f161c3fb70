//! The decision what to do. Pure: the same three values give the same plan.
//!
//! | desired | observed | change |
//! |---|---|---|
//! | yes | absent | create |
//! | yes | present, differs | update, or replace where a field cannot be changed in place |
//! | yes | present, the same | no-op; adopt if it is not recorded so |
//! | yes | foreign | an error that names the owner |
//! | no | present | delete |
//! | no | absent or foreign | forget |
//!
//! Writes come first, in the order of [`ResourceKind::ALL`], so that what others lean on is there before them;
//! deletes follow in reverse.

use std::collections::{BTreeMap, BTreeSet};

use super::change::{Action, Change, Desired, Drift, Observation, Observed, Plan, Present};
use super::check::check;
use super::error::PlanError;
use crate::resource::{Address, FieldChange, FieldValue, Resource, ResourceKind, changed_fields};
use crate::state::{Record, RecordStatus, State};

/// What leads from `observed` to `desired`.
///
/// # Errors
/// The state is of another cloud, or a name is taken by something that is not ours.
pub fn make(desired: &Desired, observed: &Observed, state: &State) -> Result<Plan, PlanError> {
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
        drift.extend(record.and_then(|record| drifted(address, record, now)));
        match wanted {
            Some(wanted) => writes.push(towards(address, wanted, record, now)?),
            None => deletes.push(away(address, now)),
        }
    }
    // Addresses are sorted by kind, and kinds by the order of creation.
    deletes.reverse();
    let plan = Plan {
        identity: observed.identity.clone(),
        changes: writes.into_iter().chain(deletes).collect(),
        drift,
    };
    check(&plan)?;
    Ok(plan)
}

fn towards(
    address: &Address,
    wanted: &Resource,
    record: Option<&Record>,
    now: &Observation,
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
            });
        }
        Observation::Present(present) => present,
    };
    let mut fields = changed_fields(Some(&present.spec), Some(wanted));
    let recorded_so = record
        .is_some_and(|record| record.status == RecordStatus::Complete && record.applied == *wanted);
    let action = if fields.iter().any(|field| field.forces_replacement) {
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
    })
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
fn drifted(address: &Address, record: &Record, now: &Observation) -> Option<Drift> {
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
    let fields = changed_fields(Some(&record.applied), Some(&present.spec));
    if fields.iter().any(|field| field.forces_replacement) {
        return Some(gone);
    }
    (!fields.is_empty()).then(|| Drift {
        deleted: false,
        fields,
        ..gone
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::resource::{
        BucketSpec, FunctionSpec, LogGroupSpec, RoleReference, RoleSpec, SiteSpec,
    };
    use crate::state::CloudIdentity;

    fn identity(account: &str) -> CloudIdentity {
        CloudIdentity {
            account: account.parse().unwrap(),
            region: "us-east-1".parse().unwrap(),
        }
    }

    /// A whole deployment whose names end in `suffix`.
    fn farm(suffix: &str) -> BTreeMap<Address, Resource> {
        let name = format!("rmx-hello{suffix}");
        let bucket = Resource::Bucket(BucketSpec {
            name: name.parse().unwrap(),
            expire_renders_days: None,
            abort_uploads_days: Some(1),
            block_public_access: true,
            owner_enforced: true,
        });
        let role = Resource::Role(RoleSpec {
            name: name.parse().unwrap(),
            path: "/".to_owned(),
            permissions_boundary: None,
            trust_policy: serde_json::json!({}),
            policy: serde_json::json!({}),
        });
        let function = Resource::Function(FunctionSpec {
            name: name.parse().unwrap(),
            role: RoleReference::Managed {
                name: name.parse().unwrap(),
                path: "/".to_owned(),
            },
            architecture: "x86_64".to_owned(),
            memory_mb: 2048,
            timeout_s: 240,
            disk_mb: 512,
            environment: BTreeMap::new(),
            layers: Vec::new(),
            subnet_ids: Vec::new(),
            security_group_ids: Vec::new(),
            log_group: name.parse().unwrap(),
            code_sha256: Digest::of("zip"),
            published: true,
        });
        let site = Resource::Site(SiteSpec {
            name: "hello".parse().unwrap(),
            bucket: name.parse().unwrap(),
            digest: Digest::of("site"),
            files: BTreeMap::from([("index.html".to_owned(), Digest::of("page"))]),
        });
        let group = Resource::LogGroup(LogGroupSpec {
            name: name.parse().unwrap(),
            retention_days: Some(14),
        });
        let named = [
            ("main", group),
            ("main", role),
            ("main", bucket),
            ("worker", function),
            ("hello", site),
        ];
        named
            .map(|(name, resource)| (Address::new(resource.kind(), name), resource))
            .into()
    }

    fn recorded(resources: &BTreeMap<Address, Resource>) -> State {
        let record = |applied: &Resource| Record {
            applied: applied.clone(),
            outputs: BTreeMap::new(),
            status: RecordStatus::Complete,
        };
        State {
            deployed_to: Some(identity("000000000000")),
            records: resources
                .iter()
                .map(|(a, spec)| (a.clone(), record(spec)))
                .collect(),
            ..State::fresh()
        }
    }

    fn present(resources: &BTreeMap<Address, Resource>) -> Observed {
        let present = |spec: &Resource| {
            Observation::Present(Box::new(Present {
                spec: spec.clone(),
                outputs: BTreeMap::from([("version".to_owned(), "3".to_owned())]),
                revision: "r1".to_owned(),
            }))
        };
        Observed {
            identity: identity("000000000000"),
            resources: resources
                .iter()
                .map(|(a, spec)| (a.clone(), present(spec)))
                .collect(),
        }
    }

    fn wanted(resources: &BTreeMap<Address, Resource>) -> Desired {
        Desired {
            resources: resources.clone(),
        }
    }

    /// One line a change that is not a no-op, then one a drift.
    fn summary(plan: &Plan) -> Vec<String> {
        let changes = plan
            .changes
            .iter()
            .filter(|change| change.action != Action::NoOp);
        let changes = changes.map(|change| {
            let fields: Vec<_> = match change.action {
                Action::Update | Action::Replace => change
                    .fields
                    .iter()
                    .map(|field| field.path.as_str())
                    .collect(),
                _ => Vec::new(),
            };
            format!(
                "{:?} {} {}",
                change.action,
                change.address,
                fields.join(" ")
            )
            .trim_end()
            .to_owned()
        });
        let drift = plan.drift.iter().map(|drift| {
            let gone = if drift.deleted { "gone" } else { "changed" };
            format!("drift: {} {gone}", drift.address)
        });
        changes.chain(drift).collect()
    }

    #[test]
    fn from_nothing_to_everything_and_back() {
        let all = farm("");
        let nothing = BTreeMap::new();
        let plan = make(&wanted(&all), &present(&nothing), &State::fresh()).unwrap();
        assert_eq!(
            summary(&plan),
            [
                "Create log_group.main",
                "Create role.main",
                "Create bucket.main",
                "Create function.worker",
                "Create site.hello"
            ]
        );
        let plan = make(&wanted(&all), &present(&all), &recorded(&all)).unwrap();
        assert!(
            plan.is_empty() && plan.drift.is_empty(),
            "{:?}",
            summary(&plan)
        );
        let plan = make(&wanted(&nothing), &present(&all), &recorded(&all)).unwrap();
        assert_eq!(
            summary(&plan),
            [
                "Delete site.hello",
                "Delete function.worker",
                "Delete bucket.main",
                "Delete role.main",
                "Delete log_group.main"
            ]
        );
        let plan = make(&wanted(&nothing), &present(&nothing), &State::fresh()).unwrap();
        assert!(plan.changes.is_empty());
    }

    #[test]
    fn what_differs_is_changed_and_what_it_takes_is_replaced() {
        let (before, renamed) = (farm(""), farm("-2"));
        let mut after = before.clone();
        let function = Address::new(ResourceKind::Function, "worker");
        let Some(Resource::Function(spec)) = after.get_mut(&function) else {
            panic!()
        };
        spec.memory_mb = 1024;
        let plan = make(&wanted(&after), &present(&before), &recorded(&before)).unwrap();
        assert_eq!(summary(&plan), ["Update function.worker memory_mb version"]);

        let plan = make(&wanted(&renamed), &present(&before), &recorded(&before)).unwrap();
        assert_eq!(
            summary(&plan),
            [
                "Replace log_group.main name arn",
                "Replace role.main name arn",
                "Replace bucket.main name arn",
                "Replace function.worker name role log_group arn version",
                "Replace site.hello bucket"
            ]
        );

        after = before.clone();
        after.remove(&Address::new(ResourceKind::Site, "hello"));
        let plan = make(&wanted(&after), &present(&before), &recorded(&before)).unwrap();
        assert_eq!(summary(&plan), ["Delete site.hello"]);
    }

    #[test]
    fn drift_is_told_and_put_back() {
        let all = farm("");
        let (bucket, group) = (
            Address::new(ResourceKind::Bucket, "main"),
            Address::new(ResourceKind::LogGroup, "main"),
        );
        let mut now = present(&all);
        now.resources.insert(group.clone(), Observation::Absent);
        let Some(Observation::Present(found)) = now.resources.get_mut(&bucket) else {
            panic!()
        };
        let Resource::Bucket(spec) = &mut found.spec else {
            panic!()
        };
        spec.block_public_access = false;
        let plan = make(&wanted(&all), &now, &recorded(&all)).unwrap();
        assert_eq!(
            summary(&plan),
            [
                "Create log_group.main",
                "Update bucket.main block_public_access",
                "drift: log_group.main gone",
                "drift: bucket.main changed"
            ]
        );
        // What is gone and not wanted any more is forgotten.
        let plan = make(&Desired::default(), &now, &recorded(&all)).unwrap();
        assert_eq!(summary(&plan)[4], "Forget log_group.main");
        // What an interrupted apply left is no drift: whatever is there is looked at.
        let mut state = recorded(&all);
        for record in state.records.values_mut() {
            record.status = RecordStatus::Pending;
        }
        let plan = make(&wanted(&all), &now, &state).unwrap();
        assert_eq!(
            summary(&plan),
            [
                "Create log_group.main",
                "Adopt role.main",
                "Update bucket.main block_public_access",
                "Adopt function.worker",
                "Adopt site.hello"
            ]
        );
    }

    #[test]
    fn ours_is_adopted_and_foreign_is_refused() {
        let all = farm("");
        let plan = make(&wanted(&all), &present(&all), &State::fresh()).unwrap();
        assert!(
            plan.changes
                .iter()
                .all(|change| change.action == Action::Adopt)
        );

        let role = Address::new(ResourceKind::Role, "main");
        let mut now = present(&all);
        let foreign = Observation::Foreign {
            id: "arn:role".to_owned(),
            owner: Some("them".to_owned()),
        };
        now.resources.insert(role.clone(), foreign);
        let error = make(&wanted(&all), &now, &recorded(&all)).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("`arn:role` exists and belongs to the deployment them"),
            "{error}"
        );
        let plan = make(&Desired::default(), &now, &recorded(&all)).unwrap();
        assert!(summary(&plan).contains(&"Forget role.main".to_owned()));
    }

    #[test]
    fn another_cloud_is_refused() {
        let all = farm("");
        let mut now = present(&all);
        now.identity = identity("111111111111");
        let error = make(&wanted(&all), &now, &recorded(&all))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("000000000000") && error.contains("111111111111"),
            "{error}"
        );
        // After a destroy nothing is left there.
        let empty = State {
            records: BTreeMap::new(),
            ..recorded(&all)
        };
        assert!(make(&wanted(&all), &now, &empty).is_ok());
    }

    #[test]
    fn wrong_plans_do_not_come_out() {
        let all = farm("");
        let plan = make(&wanted(&all), &present(&BTreeMap::new()), &State::fresh()).unwrap();
        let wrong = |spoil: &dyn Fn(&mut Plan)| {
            let mut plan = plan.clone();
            spoil(&mut plan);
            assert!(matches!(check(&plan), Err(PlanError::Wrong(_))));
        };
        wrong(&|plan| plan.changes.swap(0, 4));
        wrong(&|plan| drop(plan.changes.remove(2)));
        wrong(&|plan| drop(plan.changes.remove(1)));
        wrong(&|plan| plan.changes[0].after = None);
        wrong(&|plan| plan.changes[0].action = Action::Replace);
        wrong(&|plan| plan.changes[1] = plan.changes[0].clone());
    }
}
