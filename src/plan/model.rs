//! Random deployments against a cloud that is a map: whatever is there and whatever is recorded, what a plan leads to
//! needs no other plan.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::change::{Action, Change, Desired, Observation, Observed, Plan, Precondition, Present};
use super::make;
use super::request::{PlanMode, PlanRequest};
use super::retention::Versions;
use super::saved::{Basis, SavedPlan};
use crate::digest::Digest;
use crate::resource::{
    Address, BucketSpec, FunctionSpec, LogGroupSpec, Resource, ResourceKind, RoleReference,
    RoleSpec, SiteSpec,
};
use crate::state::{CloudIdentity, Record, RecordStatus, State};

/// One of the things a resource can be: `name` and one more field each take one of three values.
#[derive(Debug, Clone, Copy)]
struct Variant {
    name: u8,
    other: u8,
}

/// A resource as the test's three sides know it.
#[derive(Debug, Clone, Copy)]
struct Sides {
    desired: Option<Variant>,
    recorded: Option<(Variant, bool)>,
    observed: Option<Variant>,
    /// Whether it is recorded as protected, and what the config says of it.
    protect: (bool, Option<bool>),
}

fn sides() -> impl Strategy<Value = Vec<Sides>> {
    let variant = || (0..3_u8, 0..3_u8).prop_map(|(name, other)| Variant { name, other });
    let side = (
        proptest::option::of(variant()),
        proptest::option::of((variant(), any::<bool>())),
        proptest::option::of(variant()),
        any::<(bool, Option<bool>)>(),
    );
    let side = side.prop_map(|(desired, recorded, observed, protect)| Sides {
        desired,
        recorded,
        observed,
        protect,
    });
    proptest::collection::vec(side, 7)
}

fn addresses() -> [Address; 7] {
    [
        (ResourceKind::LogGroup, "main"),
        (ResourceKind::Role, "main"),
        (ResourceKind::Bucket, "main"),
        (ResourceKind::Function, "worker"),
        (ResourceKind::Function, "worker-2"),
        (ResourceKind::Site, "one"),
        (ResourceKind::Site, "two"),
    ]
    .map(|(kind, name)| Address::new(kind, name))
}

fn resource(address: &Address, Variant { name, other }: Variant) -> Resource {
    let named = format!("name-{name}");
    match address.kind {
        ResourceKind::LogGroup => Resource::LogGroup(LogGroupSpec {
            name: named.parse().unwrap(),
            retention_days: Some(other.into()),
        }),
        ResourceKind::Role => Resource::Role(RoleSpec {
            name: named.parse().unwrap(),
            path: "/".to_owned(),
            permissions_boundary: Some(other.to_string()),
            trust_policy: serde_json::json!({}),
            policy: serde_json::json!({}),
            other_policies: BTreeMap::new(),
            attached_policies: std::collections::BTreeSet::new(),
        }),
        ResourceKind::Bucket => Resource::Bucket(BucketSpec {
            name: named.parse().unwrap(),
            expire_renders_days: Some(other.into()),
            abort_uploads_days: None,
            expire_days: BTreeMap::new(),
            block_public_access: true,
            owner_enforced: true,
            public_read: false,
        }),
        ResourceKind::Function => Resource::Function(FunctionSpec {
            // No two replicas have one name.
            name: format!("{named}_{}", address.name).parse().unwrap(),
            role: RoleReference::Arn("arn".to_owned()),
            runtime: "provided.al2023".to_owned(),
            handler: "bootstrap".to_owned(),
            runtime_version_arn: None,
            architecture: "arm64".to_owned(),
            memory_mb: other.into(),
            timeout_s: 1,
            disk_mb: 512,
            environment: BTreeMap::new(),
            layers: Vec::new(),
            subnet_ids: Vec::new(),
            security_group_ids: Vec::new(),
            log_group: "group".parse().unwrap(),
            code_sha256: Digest::of("zip"),
            published: true,
        }),
        // Sites lie in a bucket whose name is theirs to follow: see `coherent`.
        ResourceKind::Site => Resource::Site(SiteSpec {
            name: address.name.parse().unwrap(),
            bucket: named.parse().unwrap(),
            digest: Digest::of([other]),
            files: BTreeMap::new(),
        }),
    }
}

/// A config puts its sites into its bucket, and always has one.
fn coherent(mut sides: Vec<Sides>) -> Vec<Sides> {
    let bucket = sides[2].desired.unwrap_or(Variant { name: 0, other: 0 });
    if sides.iter().any(|side| side.desired.is_some()) {
        sides[2].desired = Some(bucket);
    }
    for site in &mut sides[5..] {
        if let Some(desired) = &mut site.desired {
            desired.name = bucket.name;
        }
    }
    sides
}

fn identity() -> CloudIdentity {
    CloudIdentity {
        account: "000000000000".parse().unwrap(),
        region: "us-east-1".parse().unwrap(),
    }
}

fn present(spec: Resource) -> Observation {
    Observation::Present(Box::new(Present {
        spec,
        outputs: BTreeMap::new(),
        revision: "r".to_owned(),
        precondition: Precondition::None,
        versions: Versions::default(),
        live: None,
    }))
}

/// What a faultless apply would do.
fn carry_out(plan: &Plan, observed: &mut Observed, state: &mut State) {
    for change in &plan.changes {
        let address = change.address.clone();
        match (change.action, &change.after) {
            (Action::NoOp, _) => {}
            (Action::Delete | Action::Forget, _) | (_, None) => {
                observed
                    .resources
                    .insert(address.clone(), Observation::Absent);
                state.records.remove(&address);
            }
            (_, Some(after)) => {
                observed
                    .resources
                    .insert(address.clone(), present(after.clone()));
                let record = Record {
                    applied: after.clone(),
                    outputs: BTreeMap::new(),
                    status: RecordStatus::Complete,
                    protect: change.protect.wanted,
                    releases: Vec::new(),
                };
                state.records.insert(address, record);
            }
        }
    }
}

/// A plan that was saved and read again is the same, and nothing has moved.
fn outlasts_a_file(plan: &Plan, state: &State) {
    let basis = Basis::new(&"hello".parse().unwrap(), None, Digest::of("config"), state);
    let saved = SavedPlan {
        losses: Vec::new(),
        preflight: None,
        cost: None,
        code_size: None,
        refusals: Vec::new(),
        made_at: "2026-11-23T00:00:00Z".to_owned(),
        basis: basis.clone(),
        request: PlanRequest::default(),
        plan: plan.clone(),
    };
    let read = SavedPlan::decode(&saved.encode().unwrap()).unwrap();
    assert_eq!(read, saved);
    assert_eq!(read.moved(&basis, plan), []);
}

/// A plan to refresh only touches nothing, and after it the record is what the cloud is.
fn leaves_the_cloud_alone(desired: &Desired, mut observed: Observed, mut state: State) {
    let request = PlanRequest {
        mode: PlanMode::RefreshOnly,
        ..PlanRequest::default()
    };
    let before = observed.clone();
    let plan = request.make(desired, &observed, &state).unwrap();
    assert!(!plan.changes.iter().any(Change::touches_cloud));
    carry_out(&plan, &mut observed, &mut state);
    assert_eq!(observed, before);
    let again = request.make(desired, &observed, &state).unwrap();
    assert!(again.is_empty() && again.drift.is_empty(), "{again:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn what_a_plan_leads_to_needs_no_other_plan(sides in sides().prop_map(coherent)) {
        let addresses = addresses();
        let each = || addresses.iter().zip(&sides);
        let desired = Desired {
            resources: each()
                .filter_map(|(address, side)| Some((address.clone(), resource(address, side.desired?))))
                .collect(),
            protect: each()
                .filter(|(_, side)| side.desired.is_some())
                .filter_map(|(address, side)| Some((address.clone(), side.protect.1?)))
                .collect(),
            keep_versions: Some(1),
        };
        let mut state = State {
            deployed_to: Some(identity()),
            records: each()
                .filter_map(|(address, side)| {
                    let (variant, complete) = side.recorded?;
                    let status = if complete { RecordStatus::Complete } else { RecordStatus::Pending };
                    let applied = resource(address, variant);
                    let record = Record {
                        applied,
                        outputs: BTreeMap::new(),
                        status,
                        protect: side.protect.0,
                        releases: Vec::new(),
                    };
                    Some((address.clone(), record))
                })
                .collect(),
            ..State::fresh()
        };
        let mut observed = Observed {
            identity: identity(),
            resources: each()
                .map(|(address, side)| {
                    let seen = side.observed.map(|variant| present(resource(address, variant)));
                    (address.clone(), seen.unwrap_or(Observation::Absent))
                })
                .collect(),
        };

        let plan = make(&desired, &observed, &state).unwrap();
        outlasts_a_file(&plan, &state);
        leaves_the_cloud_alone(&desired, observed.clone(), state.clone());
        carry_out(&plan, &mut observed, &mut state);
        for (address, side) in each() {
            let wanted = desired.resources.get(address);
            let record = state.records.get(address);
            prop_assert_eq!(record.map(|record| &record.applied), wanted);
            let protected = record.is_some_and(|record| record.protect);
            let was = side.recorded.is_some() && side.protect.0;
            prop_assert_eq!(protected, wanted.is_some() && side.protect.1.unwrap_or(was));
            // What was neither recorded nor wanted is nobody's business.
            if plan.changes.iter().any(|change| change.address == *address) {
                let there = match &observed.resources[address] {
                    Observation::Present(present) => Some(&present.spec),
                    _ => None,
                };
                prop_assert_eq!(there, wanted);
            }
        }
        let again = make(&desired, &observed, &state).unwrap();
        prop_assert!(again.is_empty() && again.drift.is_empty(), "{:?}", again);
    }
}
