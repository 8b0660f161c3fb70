//! Observe and apply against a cloud: what is there afterwards, what a second look finds, what is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rmx::apply::{self, ApplyEvent, Artefacts, ChangeError};
use rmx::cloud::wait::Patience;
use rmx::cloud::{LIVE_ALIAS, PutOptions, STACK_TAG, Tags};
use rmx::digest::Digest;
use rmx::local::Quotas;
use rmx::plan::change::{Desired, Observation};
use rmx::resource::{Address, EnvironmentSpec, ResourceKind};
use rmx::state::RecordStatus;
use tokio_util::sync::CancellationToken;

use crate::support::farm::{Farm, SECRET, text};

/// A policy that grants something else.
fn other_policy() -> serde_json::Value {
    serde_json::json!({
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"},
    })
}

#[tokio::test]
async fn a_farm_comes_changes_and_goes() {
    let mut farm = Farm::new().await;
    let done = farm.apply().await;
    assert_eq!(
        done,
        [
            "Create log_group.main",
            "Create role.main",
            "Create bucket.main",
            "Create function.worker",
            "Create site.hello"
        ]
    );
    let function: Address = "function.worker".parse().unwrap();
    assert_eq!(farm.state.records[&function].outputs["version"], "1");
    assert_eq!(
        farm.keys().await,
        [
            "rmx/sites/hello.json",
            "sites/hello/a/app.js",
            "sites/hello/b.js",
            "sites/hello/index.html"
        ]
    );
    let page = farm
        .cloud
        .read_object(&farm.bucket(), "sites/hello/index.html", None)
        .await
        .unwrap();
    assert_eq!(
        page.content_type.as_deref(),
        Some("text/html; charset=utf-8")
    );

    farm.function().memory_mb = 3008;
    farm.want_site(&[("index.html", "<h1>two</h1>"), ("a/app.js", "1")]);
    assert_eq!(
        farm.apply().await,
        ["Update function.worker", "Update site.hello"]
    );
    assert_eq!(farm.state.records[&function].outputs["version"], "2");
    assert!(!farm.keys().await.contains(&"sites/hello/b.js".to_owned()));

    let code_sha256 = farm.write_code("two");
    farm.function().code_sha256 = code_sha256;
    assert_eq!(farm.apply().await, ["Update function.worker"]);
    assert_eq!(farm.state.records[&function].outputs["version"], "3");

    farm.desired = Desired::default();
    assert_eq!(
        farm.apply().await,
        [
            "Delete site.hello",
            "Delete function.worker",
            "Delete bucket.main",
            "Delete role.main",
            "Delete log_group.main"
        ]
    );
    assert!(farm.state.records.is_empty());
    farm.declare();
    let gone = farm.observe().await;
    assert!(
        gone.resources
            .values()
            .all(|found| *found == Observation::Absent),
        "{gone:?}"
    );
}

#[tokio::test]
async fn what_others_changed_is_seen_and_put_back() {
    let mut farm = Farm::new().await;
    farm.apply().await;
    let (cloud, bucket) = (farm.cloud.clone(), farm.bucket());
    let name = "rmx-test".parse().unwrap();

    cloud
        .set_retention(&"/aws/lambda/rmx-test".parse().unwrap(), None)
        .await
        .unwrap();
    let role = "rmx-test-role".parse().unwrap();
    cloud.put_role_policy(&role, &other_policy()).await.unwrap();
    cloud.set_block_public_access(&bucket, false).await.unwrap();
    // A second version, with the alias moved by hand.
    let settings = cloud.function(&name).await.unwrap().unwrap();
    cloud
        .update_function_configuration(
            &name,
            &rmx::cloud::FunctionSettings {
                memory_mb: 512,
                ..settings.settings.clone()
            },
            &settings.revision_id,
        )
        .await
        .unwrap();
    cloud
        .put_object(
            &bucket,
            "sites/hello/b.js",
            Bytes::from("not 2"),
            &PutOptions::default(),
        )
        .await
        .unwrap();
    assert_eq!(
        farm.apply().await,
        [
            "Update log_group.main",
            "Update role.main",
            "Update bucket.main",
            "Update function.worker",
            "Update site.hello"
        ]
    );
    let restored = cloud.get_object(&bucket, "sites/hello/b.js").await;
    assert_eq!(restored.unwrap(), "2");

    farm.function().memory_mb = 3008;
    assert_eq!(farm.apply().await, ["Update function.worker"]);
    let alias = cloud.live_alias(&name).await.unwrap().unwrap();
    cloud
        .move_live_alias(&name, 1, &alias.revision_id)
        .await
        .unwrap();
    let stray = ["sites/hello/index.html".to_owned()];
    cloud.delete_objects(&bucket, &stray).await.unwrap();
    let done = farm.apply().await;
    assert_eq!(done, ["Update function.worker", "Update site.hello"]);
    let live = cloud.live_function(&name).await.unwrap().unwrap();
    assert_eq!(live.settings.memory_mb, 3008, "{LIVE_ALIAS}");

    cloud.delete_function(&name).await.unwrap();
    cloud.delete_role(&role).await.unwrap();
    let done = farm.apply().await;
    assert_eq!(done, ["Create role.main", "Create function.worker"]);
}

#[tokio::test]
async fn an_apply_killed_at_any_save_is_finished_by_the_next_one() {
    let clean = {
        let mut farm = Farm::new().await;
        farm.apply().await;
        farm.keys().await
    };
    for saves_max in 0.. {
        let mut farm = Farm::new().await;
        let first = farm.apply_until(saves_max).await;
        let Err(error) = first else {
            assert!(saves_max >= 10, "every change is saved before and after");
            break;
        };
        assert!(matches!(error.cause, ChangeError::SaveState(_)), "{error}");
        // Each change is saved as begun, and as done.
        let record_only = saves_max % 2 == 1;
        assert_eq!((error.begun, error.finished), (record_only, record_only));
        farm.apply().await;
        assert_eq!(farm.keys().await, clean);
        farm.desired = Desired::default();
        let error = farm.apply_until(saves_max).await.unwrap_err();
        assert_eq!((error.begun, error.finished), (record_only, record_only));
        farm.apply().await;
        assert!(farm.state.records.is_empty());
    }
}

#[tokio::test]
async fn a_bucket_without_tags_is_ours_only_while_it_is_made() {
    let mut farm = Farm::new().await;
    farm.apply().await;
    let address: Address = "bucket.main".parse().unwrap();
    let s3 = aws_sdk_s3::Client::new(&farm.test_cloud.sdk().await);
    let bucket = farm.bucket();
    let untagged = s3.delete_bucket_tagging().bucket(bucket.as_str()).send();
    untagged.await.unwrap();
    let is_ours = async |farm: &Farm| match &farm.observe().await.resources[&address] {
        Observation::Present(_) => true,
        Observation::Foreign { owner: None, .. } => false,
        found => panic!("{found:?}"),
    };
    assert!(!is_ours(&farm).await, "applied");
    // Its last change was cut off.
    farm.state.records.get_mut(&address).unwrap().status = RecordStatus::Pending;
    assert!(!is_ours(&farm).await, "seen before");
    let refused = farm.try_plan().await.unwrap_err();
    assert!(refused.contains("bucket.main is recorded as"), "{refused}");
    // Its creation was.
    let record = farm.state.records.get_mut(&address).unwrap();
    record.outputs.clear();
    assert!(is_ours(&farm).await, "nobody else is known to have made it");
    // Recorded as it is, and its deletion cut off: it has no tag for it.
    farm.state.records.get_mut(&address).unwrap().status = RecordStatus::Complete;
    assert!(is_ours(&farm).await);
    let desired = std::mem::take(&mut farm.desired);
    let options = PutOptions::default();
    let put = farm
        .cloud
        .put_object(&bucket, "renders/a", "video".into(), &options);
    let _ = put.await.unwrap();
    let plan = farm.plan().await;
    let error = farm.apply_plan(&plan, usize::MAX).await.unwrap_err();
    assert!(
        matches!(error.cause, ChangeError::BucketNotEmpty { .. }),
        "{error:?}"
    );
    assert!(is_ours(&farm).await, "its deletion was refused");
    farm.desired = desired;
    let other = Tags::from([("owner".to_owned(), "them".to_owned())]);
    farm.cloud.tag_bucket(&bucket, &other).await.unwrap();
    assert!(!is_ours(&farm).await, "somebody marked it");
}

#[tokio::test]
async fn what_is_not_ours_is_seen_and_refused() {
    let mut farm = Farm::new().await;
    let empty = farm.plan().await;
    let other = Tags::from([(STACK_TAG.to_owned(), "somebody".to_owned())]);
    let group = "/aws/lambda/rmx-test".parse().unwrap();
    farm.cloud.create_log_group(&group, &other).await.unwrap();
    farm.cloud.create_bucket(&farm.bucket()).await.unwrap();
    let observed = farm.observe().await;
    let owner = |address: &str| match &observed.resources[&address.parse::<Address>().unwrap()] {
        Observation::Foreign { owner, .. } => owner.clone(),
        found => panic!("{found:?}"),
    };
    assert_eq!(owner("log_group.main").as_deref(), Some("somebody"));
    assert_eq!(owner("bucket.main"), None);
    // It came after the plan was made.
    let error = farm.apply_plan(&empty, usize::MAX).await.unwrap_err();
    assert!(
        matches!(error.cause, ChangeError::Foreign { .. }),
        "{error:?}"
    );
    assert!(error.done.is_empty());
    assert_eq!(error.remaining.len(), 4);
    assert!(farm.state.records.is_empty(), "nothing was begun");
}

#[tokio::test]
async fn a_plan_of_another_world_is_refused() {
    let mut farm = Farm::new().await;
    farm.apply().await;
    farm.function().memory_mb = 3008;
    let plan = farm.plan().await;
    let group = "/aws/lambda/rmx-test".parse().unwrap();
    farm.cloud.set_retention(&group, Some(1)).await.unwrap();
    let name = "rmx-test".parse().unwrap();
    let now = farm.cloud.function(&name).await.unwrap().unwrap();
    farm.cloud
        .update_function_configuration(&name, &now.settings, &now.revision_id)
        .await
        .unwrap();
    farm.cloud.settled_function(&name).await.unwrap();
    let error = farm.apply_plan(&plan, usize::MAX).await.unwrap_err();
    assert!(matches!(error.cause, ChangeError::Moved), "{error:?}");

    let secret = EnvironmentSpec::Secret(Digest::of("another"));
    farm.function()
        .environment
        .insert("TOKEN".to_owned(), secret);
    let error = farm.apply_until(usize::MAX).await.unwrap_err();
    assert!(
        matches!(error.cause, ChangeError::Secret { .. }),
        "{error:?}"
    );
    assert!(!format!("{error:?}").contains(SECRET));
}

#[tokio::test]
async fn renders_are_not_deleted_without_being_asked() {
    let mut farm = Farm::new().await;
    farm.apply().await;
    farm.cloud
        .put_object(
            &farm.bucket(),
            "renders/abc/out.mp4",
            Bytes::from("video"),
            &PutOptions::default(),
        )
        .await
        .unwrap();
    let desired = std::mem::take(&mut farm.desired);
    let error = farm.apply_until(usize::MAX).await.unwrap_err();
    let ChangeError::BucketNotEmpty {
        objects: 1,
        example,
        ..
    } = error.cause
    else {
        panic!("{error:?}");
    };
    assert_eq!(example, "renders/abc/out.mp4");
    assert!(farm.keys().await.contains(&example));
    farm.force_destroy = true;
    farm.apply().await;
    farm.desired = desired;
    let bucket = "bucket.main".parse().unwrap();
    assert_eq!(farm.observe().await.resources[&bucket], Observation::Absent);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_too_large_for_a_request_goes_through_the_bucket() {
    const LIMIT_BYTES: u64 = 1024 * 1024;
    let mut farm = Farm::new().await;
    farm.apply().await;
    assert_eq!(
        farm.keys().await.len(),
        4,
        "small code goes within the request"
    );

    // An account that takes less, as its settings say; Lambda refuses what is larger.
    farm.test_cloud.faults().set_quotas(Quotas {
        code_size_zipped_bytes: LIMIT_BYTES,
        ..Quotas::default()
    });
    let settings = farm.cloud.account_settings().await.unwrap();
    assert_eq!(settings.code_size_zipped_bytes, LIMIT_BYTES);
    let content = vec![7; 17 * 1024 * 1024];
    let code_sha256 = farm.write_stored_code(&content);
    farm.function().code_sha256 = code_sha256;
    let refused = farm.try_apply().await.unwrap_err();
    assert!(
        refused.contains("could not update function.worker"),
        "{refused}"
    );

    farm.inline_code_bytes_max = settings.code_size_zipped_bytes;
    let key = format!("rmx/code/{code_sha256}.zip");
    let sent = requests_for(&mut farm, &key).await;
    // To look, to begin, three parts, to end; and Lambda reads it.
    assert_eq!(
        sent.iter()
            .filter(|action| *action == "s3:PutObject")
            .count(),
        5,
        "{sent:?}"
    );
    assert!(farm.keys().await.contains(&key));

    // The same code again is there already.
    let other = farm.write_code("other");
    farm.function().code_sha256 = other;
    farm.apply().await;
    assert_eq!(farm.write_stored_code(&content), code_sha256);
    farm.function().code_sha256 = code_sha256;
    let sent = requests_for(&mut farm, &key).await;
    assert!(!sent.contains(&"s3:PutObject".to_owned()), "{sent:?}");
    farm.desired = Desired::default();
    farm.apply().await;
}

/// Applies, and tells what was done to the object `key`.
async fn requests_for(farm: &mut Farm, key: &str) -> Vec<String> {
    let trace = farm.test_cloud.faults().trace().clone();
    trace.begin(Duration::ZERO);
    assert_eq!(farm.apply().await, ["Update function.worker"]);
    let calls = trace.end().into_iter().flat_map(|call| call.permissions);
    let resource = format!("arn:aws:s3:::{}/{key}", farm.bucket());
    calls
        .filter(|permission| permission.resource == resource)
        .map(|permission| permission.action)
        .collect()
}

/// What apply said it waits for.
async fn waits_of(farm: &mut Farm) -> (Result<(), String>, Vec<String>) {
    let plan = farm.plan().await;
    let (sender, said) = std::sync::mpsc::channel();
    let applied = farm
        .apply_plan_telling(&plan, usize::MAX, &move |event| {
            if let ApplyEvent::Waiting { what, .. } = event {
                sender.send(what).unwrap();
            }
        })
        .await;
    let applied = applied.map(|_| ()).map_err(|error| {
        let cause = std::error::Error::source(&error).unwrap().to_string();
        format!("{error}: {cause}")
    });
    (applied, said.try_iter().collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_role_is_waited_for_and_not_for_ever() {
    let short = Patience {
        first: Duration::from_millis(1),
        longest: Duration::from_millis(2),
        total: Duration::from_secs(30),
    };
    let mut farm = Farm::new().await;
    farm.role_patience = short;
    farm.test_cloud.faults().refuse_roles(3);
    let (applied, waits) = waits_of(&mut farm).await;
    applied.unwrap();
    assert_eq!(farm.test_cloud.faults().role_refusals_left(), 0);
    let role = "arn:aws:iam::123456789012:role/rmx-test-role";
    assert_eq!(
        waits,
        [format!("Lambda to see the role {role}")],
        "told once"
    );

    let mut farm = Farm::new().await;
    farm.role_patience = Patience {
        total: Duration::from_millis(50),
        ..short
    };
    farm.test_cloud.faults().refuse_roles(u64::MAX);
    let (applied, waits) = waits_of(&mut farm).await;
    let error = applied.unwrap_err();
    let why = format!("Lambda still cannot use the role {role}");
    assert!(
        error.contains("could not create function.worker") && error.contains(&why),
        "{error}"
    );
    assert_eq!(waits.len(), 1);
    // What came before it is recorded, and the next apply goes on from there.
    farm.test_cloud.faults().refuse_roles(0);
    farm.apply().await;
}

#[tokio::test]
async fn stopping_says_what_was_not_done() {
    let mut farm = Farm::new().await;
    let plan = farm.plan().await;
    let stop = CancellationToken::new();
    let artefacts = Artefacts::default();
    let inputs = apply::Inputs {
        plan: &plan,
        artefacts: &artefacts,
        secrets: &BTreeMap::new(),
        delete_bucket_content: false,
        inline_code_bytes_max: u64::MAX,
        role_patience: Patience::ROLE,
        smoke: None,
        cloud: &farm.cloud,
        stop: &stop,
    };
    // Asked to stop during the first change: it is finished, and no other is begun.
    let stop_early = |_| stop.cancel();
    let applied = apply::apply(inputs, &mut farm.state, &mut async |_| Ok(()), &stop_early)
        .await
        .unwrap();
    let done: Vec<String> = applied.done.iter().map(text).collect();
    assert_eq!(done, ["Create log_group.main"]);
    assert_eq!(applied.remaining.len(), 4);
    assert_eq!(applied.remaining[0].kind, ResourceKind::Role);
    assert_eq!(farm.state.records.len(), 1);
}
