//! What plan comes of what: desired, observed and recorded, each case by name.

use std::collections::BTreeMap;

use super::change::{Action, Desired, Observation, Observed, Plan, Precondition, Present};
use super::check::{check, check_dependencies};
use super::retention::Versions;
use super::{PlanError, make};
use crate::digest::Digest;
use crate::resource::{
    Address, BucketSpec, FunctionSpec, LogGroupSpec, Resource, ResourceKind, RoleReference,
    RoleSpec, SiteSpec,
};
use crate::state::{CloudIdentity, Record, RecordStatus, State};

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
        expire_days: BTreeMap::new(),
        block_public_access: true,
        owner_enforced: true,
        public_read: false,
    });
    let role = Resource::Role(RoleSpec {
        name: name.parse().unwrap(),
        path: "/".to_owned(),
        permissions_boundary: None,
        trust_policy: serde_json::json!({}),
        policy: serde_json::json!({}),
        other_policies: BTreeMap::new(),
        attached_policies: std::collections::BTreeSet::new(),
    });
    let function = Resource::Function(FunctionSpec {
        name: name.parse().unwrap(),
        role: RoleReference::Managed {
            name: name.parse().unwrap(),
            path: "/".to_owned(),
        },
        runtime: "provided.al2023".to_owned(),
        handler: "bootstrap".to_owned(),
        runtime_version_arn: None,
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
        protect: false,
        releases: Vec::new(),
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
            precondition: Precondition::None,
            versions: Versions::default(),
            live: None,
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
        ..Desired::default()
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

/// As an import records it, where its role is declared since.
#[test]
fn a_role_that_is_called_otherwise_and_is_the_same_is_no_drift() {
    let desired = farm("");
    let mut state = recorded(&desired);
    let address: Address = "function.worker".parse().unwrap();
    let mut record_with = |arn: &str| {
        let record = state.records.get_mut(&address).unwrap();
        let Resource::Function(spec) = &mut record.applied else {
            unreachable!()
        };
        spec.role = RoleReference::Arn(arn.to_owned());
        let plan = make(&wanted(&desired), &present(&desired), &state).unwrap();
        plan.drift.len()
    };
    assert_eq!(record_with("arn:aws:iam::000000000000:role/rmx-hello"), 0);
    assert_eq!(record_with("arn:aws:iam::000000000000:role/another"), 1);
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
    let error = make(&wanted(&all), &now, &State::fresh()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("`arn:role` exists and belongs to the deployment them"),
        "{error}"
    );

    // What was ours and does not say so any more: to forget it would leave it behind.
    for (owner, said) in [
        (
            Some("them".to_owned()),
            "belongs to the deployment them by now",
        ),
        (None, "carries no tag"),
    ] {
        let id = "arn:role".to_owned();
        now.resources
            .insert(role.clone(), Observation::Foreign { id, owner });
        for desired in [wanted(&all), Desired::default()] {
            let error = make(&desired, &now, &recorded(&all)).unwrap_err();
            assert!(matches!(error, PlanError::NotOurs { .. }), "{error}");
            assert!(error.to_string().contains(said), "{error}");
        }
    }
}

#[test]
fn what_is_foreign_is_what_was_recorded_if_it_has_its_arn() {
    let all = farm("");
    let bucket = Address::new(ResourceKind::Bucket, "main");
    let arn = "arn:aws:s3:::first".to_owned();
    let mut state = recorded(&all);
    let record = state.records.get_mut(&bucket).unwrap();
    record.outputs.insert("arn".to_owned(), arn.clone());
    let mut renamed = wanted(&all);
    let Some(Resource::Bucket(spec)) = renamed.resources.get_mut(&bucket) else {
        panic!("a farm has a bucket")
    };
    spec.name = "second".parse().unwrap();
    let mut now = present(&all);
    let mut error = |id: &str, status, desired: &Desired| {
        let (id, owner) = (id.to_owned(), None);
        now.resources
            .insert(bucket.clone(), Observation::Foreign { id, owner });
        state.records.get_mut(&bucket).unwrap().status = status;
        make(desired, &now, &state).err()
    };
    for status in [RecordStatus::Complete, RecordStatus::Pending] {
        for desired in [&renamed, &wanted(&all), &Desired::default()] {
            let error = error(&arn, status, desired);
            assert!(
                matches!(error, Some(PlanError::NotOurs { .. })),
                "{error:?}"
            );
        }
        // The one that was recorded is gone, and the name that is wanted is taken.
        let error = error("arn:aws:s3:::second", status, &renamed);
        assert!(
            matches!(error, Some(PlanError::Foreign { .. })),
            "{error:?}"
        );
    }
    // Begun, and never seen: somebody else had the name.
    let error = error(
        "arn:aws:s3:::other",
        RecordStatus::Pending,
        &Desired::default(),
    );
    assert_eq!(error, None);
}

#[test]
fn one_object_under_two_addresses_is_refused() {
    let farm = farm("");
    let site: Address = "site.hello".parse().unwrap();
    let mut moved = farm.clone();
    moved.insert("site.other".parse().unwrap(), moved[&site].clone());
    let without = |mut resources: BTreeMap<Address, Resource>| {
        resources.remove(&site);
        resources
    };
    // Recorded under another address, or under both.
    for recorded_as in [without(moved.clone()), moved] {
        let made = make(&wanted(&farm), &present(&farm), &recorded(&recorded_as));
        let refused = PlanError::RecordedElsewhere {
            address: site.clone(),
            recorded: "site.other".parse().unwrap(),
        };
        assert_eq!(made, Err(refused));
    }
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
        let checked = check(&plan).and_then(|()| check_dependencies(&plan));
        assert!(matches!(checked, Err(PlanError::Wrong(_))));
    };
    wrong(&|plan| plan.changes.swap(0, 4));
    wrong(&|plan| drop(plan.changes.remove(2)));
    wrong(&|plan| drop(plan.changes.remove(1)));
    wrong(&|plan| plan.changes[0].after = None);
    wrong(&|plan| plan.changes[0].action = Action::Replace);
    wrong(&|plan| plan.changes[1] = plan.changes[0].clone());
}
