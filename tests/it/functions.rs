//! Functions as rmx drives them: phases, versions, the `live` alias, streamed and plain invocations.

use std::collections::BTreeMap;
use std::io::Write as _;

use bytes::Bytes;
use rmx::cloud::{
    Cloud, CloudErrorKind, FunctionCode, FunctionPhase, FunctionSettings, InvokeEvent, LIVE_ALIAS,
    Retries, Tags,
};
use rmx::digest::Digest;
use rmx::names::FunctionName;
use rmx::resource::RoleSpec;
use rmx::resource::function::{HANDLER, RUNTIME};
use rmx::resource::role::{role_arn, trust_policy};

use crate::support::cloud::TestCloud;

/// A custom runtime that does what its event asks for.
const BOOTSTRAP: &[u8] = include_bytes!("../../src/local/lambda/tests/runtime.py");

fn zip() -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file(HANDLER, options).unwrap();
    zip.write_all(BOOTSTRAP).unwrap();
    zip.finish().unwrap().into_inner()
}

/// A live function, and what it was made with.
async fn deploy(cloud: &Cloud) -> (FunctionName, FunctionSettings) {
    let account = cloud.identity().await.unwrap().account;
    let role = RoleSpec {
        name: "worker-role".parse().unwrap(),
        path: "/".to_owned(),
        permissions_boundary: None,
        trust_policy: trust_policy(),
        policy: serde_json::Value::Null,
        other_policies: std::collections::BTreeMap::new(),
        attached_policies: std::collections::BTreeSet::new(),
    };
    cloud.create_role(&role, &Tags::new()).await.unwrap();
    let zip = zip();
    let name = "worker".parse().unwrap();
    let settings = FunctionSettings {
        role_arn: role_arn(cloud.region(), &account, "/", &role.name),
        runtime: RUNTIME.to_owned(),
        handler: HANDLER.to_owned(),
        architecture: std::env::consts::ARCH.replace("aarch64", "arm64"),
        memory_mb: 512,
        timeout_s: 60,
        disk_mb: 512,
        environment: BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]),
        layers: Vec::new(),
        subnet_ids: Vec::new(),
        security_group_ids: Vec::new(),
        log_group: "/aws/lambda/worker".to_owned(),
        code_sha256: Some(Digest::of(&zip)),
    };
    let code = FunctionCode::Inline(Bytes::from(zip));
    let tags = Tags::from([("rmx:stack".to_owned(), "test".to_owned())]);
    cloud
        .create_function(&name, &settings, &code, &tags)
        .await
        .unwrap();
    let again = cloud.create_function(&name, &settings, &code, &tags).await;
    assert_eq!(again.unwrap_err().kind, CloudErrorKind::AlreadyExists);
    let found = cloud.settled_function(&name).await.unwrap().unwrap();
    assert_eq!(found.phase, FunctionPhase::Settled);
    assert_eq!(found.settings, settings);
    assert_eq!(found.tags, tags);
    let digest = settings.code_sha256.unwrap();
    let version = cloud
        .publish_version(&name, &digest, &found.revision_id)
        .await
        .unwrap();
    assert_eq!(version, "1");
    cloud.settled_version(&name, &version).await.unwrap();
    assert_eq!(cloud.live_alias(&name).await.unwrap(), None);
    cloud.create_live_alias(&name, &version).await.unwrap();
    (name, settings)
}

#[tokio::test]
async fn versions_freeze_and_the_alias_moves() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let (name, settings) = deploy(&cloud).await;
    let digest = settings.code_sha256.unwrap();
    assert_eq!(cloud.retries(&name, LIVE_ALIAS).await.unwrap(), None);
    cloud.turn_off_retries(&name, LIVE_ALIAS).await.unwrap();
    assert_eq!(cloud.retries(&name, LIVE_ALIAS).await.unwrap(), Some(0));

    // What somebody else has set for the same events stays.
    for (count, expected) in [(Retries::None, 0), (Retries::Default, 2)] {
        cloud.set_retries(&name, "$LATEST", count).await.unwrap();
        assert_eq!(
            cloud.retries(&name, "$LATEST").await.unwrap(),
            Some(expected)
        );
        let lambda = aws_sdk_lambda::Client::new(&test_cloud.sdk().await);
        let aged = lambda.update_function_event_invoke_config();
        let aged = aged.function_name("worker").qualifier("$LATEST");
        let aged = aged.maximum_event_age_in_seconds(120).send().await.unwrap();
        assert_eq!(
            aged.maximum_retry_attempts,
            Some(i32::try_from(expected).unwrap())
        );
    }
    cloud
        .set_retries(&name, "$LATEST", Retries::None)
        .await
        .unwrap();
    let lambda = aws_sdk_lambda::Client::new(&test_cloud.sdk().await);
    let now = lambda.get_function_event_invoke_config();
    let now = now
        .function_name("worker")
        .qualifier("$LATEST")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (now.maximum_retry_attempts, now.maximum_event_age_in_seconds),
        (Some(0), Some(120))
    );

    let now = cloud.function(&name).await.unwrap().unwrap();
    let larger = FunctionSettings {
        memory_mb: 1024,
        ..settings.clone()
    };
    let stale = cloud
        .update_function_configuration(&name, &larger, "another")
        .await
        .unwrap_err();
    assert_eq!(stale.kind, CloudErrorKind::PreconditionFailed);
    let answered = cloud
        .update_function_configuration(&name, &larger, &now.revision_id)
        .await
        .unwrap();
    let settled = cloud.settled_function(&name).await.unwrap().unwrap();
    assert_eq!(settled.settings, larger);
    assert_eq!(answered, larger);
    let live = cloud.live_function(&name).await.unwrap().unwrap();
    assert_eq!((live.version.as_str(), live.settings), ("1", settings));

    for expected in ["2", "2"] {
        let now = cloud.function(&name).await.unwrap().unwrap();
        let version = cloud.publish_version(&name, &digest, &now.revision_id);
        assert_eq!(version.await.unwrap(), expected);
    }
    let stale = cloud.publish_version(&name, &digest, &settled.revision_id);
    assert_eq!(
        stale.await.unwrap_err().kind,
        CloudErrorKind::PreconditionFailed
    );

    let alias = cloud.live_alias(&name).await.unwrap().unwrap();
    assert_eq!(alias.version, "1");
    let refused = cloud.create_live_alias(&name, "2").await;
    assert_eq!(refused.unwrap_err().kind, CloudErrorKind::Conflict);
    let refused = cloud.move_live_alias(&name, 2, "another").await;
    assert_eq!(
        refused.unwrap_err().kind,
        CloudErrorKind::PreconditionFailed
    );
    cloud
        .move_live_alias(&name, 2, &alias.revision_id)
        .await
        .unwrap();
    let live = cloud.live_function(&name).await.unwrap().unwrap();
    assert_eq!((live.version.as_str(), live.settings), ("2", larger));
    let in_use = cloud.delete_function_version(&name, 2).await.unwrap_err();
    assert_eq!(in_use.kind, CloudErrorKind::Conflict);
    cloud.delete_function_version(&name, 1).await.unwrap();
    let left = cloud.function_versions(&name).await.unwrap();
    let left: Vec<u64> = left.iter().map(|version| version.number).collect();
    assert_eq!(left, [2]);

    cloud.delete_function(&name).await.unwrap();
    cloud.delete_function(&name).await.unwrap();
    assert_eq!(cloud.function(&name).await.unwrap(), None);
}

#[tokio::test]
async fn answers_come_whole_or_streamed() {
    let test_cloud = TestCloud::start().await;
    let cloud = test_cloud.connect().await;
    let (name, _) = deploy(&cloud).await;

    let failed = cloud
        .invoke(&name, LIVE_ALIAS, br#"{"exit": 3}"#.to_vec())
        .await
        .unwrap();
    assert_eq!(failed.function_error.as_deref(), Some("Unhandled"));

    let request = br#"{"stream": ["one", "two"]}"#.to_vec();
    let mut stream = cloud
        .invoke_stream(&name, LIVE_ALIAS, request)
        .await
        .unwrap();
    let mut text = Vec::new();
    let end = loop {
        match stream.next().await.unwrap() {
            Some(InvokeEvent::Payload(bytes)) => text.extend_from_slice(&bytes),
            end => break end,
        }
    };
    assert_eq!(text, b"onetwo");
    let fine = InvokeEvent::Complete {
        error_code: None,
        error_details: None,
    };
    assert_eq!(end, Some(fine));
    assert_eq!(stream.next().await.unwrap(), None);

    let request = br#"{"stream": ["one"], "die": true}"#.to_vec();
    let mut stream = cloud
        .invoke_stream(&name, LIVE_ALIAS, request)
        .await
        .unwrap();
    let failure = loop {
        match stream.next().await.unwrap() {
            Some(InvokeEvent::Payload(_)) => {}
            Some(InvokeEvent::Complete { error_code, .. }) => break error_code,
            None => panic!("a crash is told"),
        }
    };
    assert!(failure.is_some());

    let unknown = "nobody".parse().unwrap();
    let missing = cloud.invoke_stream(&unknown, LIVE_ALIAS, Vec::new()).await;
    assert_eq!(missing.unwrap_err().kind, CloudErrorKind::NotFound);
}
