//! The embedded cloud's Lambda through AWS's own client: what it says, when, and how it runs functions.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use aws_sdk_lambda::config::{BehaviorVersion, Credentials, Region, retry::RetryConfig};
use aws_sdk_lambda::error::ProvideErrorMetadata as _;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{
    Environment, FunctionCode, InvocationType, InvokeWithResponseStreamResponseEvent as Event,
    LastUpdateStatus, LogType, LoggingConfig, Runtime, State, ThrottleReason,
};
use rmx::local::{Isolation, LocalOptions, NodeRuntime, Running};
use serde_json::{Value, json};

/// A custom runtime that does what its event asks for.
const RUNTIME: &str = include_str!("../../src/local/lambda/tests/runtime.py");

/// Nothing here takes long; what waits in vain ends here.
const LIMIT: Duration = Duration::from_secs(60);

/// An embedded cloud, and whatever keeps it running.
pub(crate) struct Cloud<R = Running> {
    pub(crate) running: R,
    pub(crate) lambda: aws_sdk_lambda::Client,
    configuration: aws_config::SdkConfig,
}

async fn start(folder: &Path) -> Cloud {
    start_isolating(folder, None).await
}

pub(crate) async fn start_isolating(folder: &Path, isolation: Option<Isolation>) -> Cloud {
    start_with(folder, isolation, None).await
}

pub(crate) async fn start_with(
    folder: &Path,
    isolation: Option<Isolation>,
    node: Option<(Isolation, NodeRuntime)>,
) -> Cloud {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = LocalOptions {
        directory: folder.join("cloud"),
        account: "123456789012".parse().unwrap(),
        region: "eu-central-1".parse().unwrap(),
        faults: Default::default(),
        worker_environment: BTreeMap::new(),
        isolation,
        node,
    };
    let running = rmx::local::start(options, listener).await.unwrap();
    let keys = running.credentials().clone();
    let endpoint_url = running.endpoint_url().to_owned();
    Cloud::at(
        &endpoint_url,
        &keys.access_key_id,
        &keys.secret_access_key,
        running,
    )
}

pub(crate) fn zip(script: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    writer.start_file("bootstrap", options).unwrap();
    writer.write_all(script.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

impl<R> Cloud<R> {
    pub(crate) fn at(
        endpoint_url: &str,
        access_key_id: &str,
        secret_access_key: &str,
        running: R,
    ) -> Self {
        let credentials = Credentials::new(access_key_id, secret_access_key, None, None, "test");
        let configuration = aws_config::SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(endpoint_url)
            .region(Region::new("eu-central-1"))
            .retry_config(RetryConfig::disabled())
            .credentials_provider(aws_sdk_lambda::config::SharedCredentialsProvider::new(
                credentials,
            ))
            .build();
        Self {
            lambda: aws_sdk_lambda::Client::new(&configuration),
            running,
            configuration,
        }
    }

    /// Creates the role that functions are given; its ARN.
    pub(crate) async fn create_role(&self) -> String {
        let trust = json!({
            "Version": "2012-10-17",
            "Statement": [{ "Effect": "Allow", "Action": "sts:AssumeRole", "Principal": { "Service": "lambda.amazonaws.com" } }],
        });
        let iam = aws_sdk_iam::Client::new(&self.configuration);
        let create = iam.create_role().role_name("worker");
        let created = create
            .assume_role_policy_document(trust.to_string())
            .send()
            .await
            .unwrap();
        created.role().unwrap().arn().to_owned()
    }

    pub(crate) fn create(
        &self,
        code: FunctionCode,
    ) -> aws_sdk_lambda::operation::create_function::builders::CreateFunctionFluentBuilder {
        self.lambda
            .create_function()
            .function_name("f")
            .runtime(Runtime::Providedal2023)
            .handler("bootstrap")
            .role("arn:aws:iam::123456789012:role/worker")
            .timeout(20)
            .code(code)
    }

    /// Creates the role and function `f`, and waits until it is active.
    async fn create_function(&self) {
        self.create_role().await;
        let code = FunctionCode::builder()
            .zip_file(Blob::new(zip(RUNTIME)))
            .build();
        self.create(code).send().await.unwrap();
        self.settled().await;
    }

    /// Waits until `f` is active and no update is in progress.
    pub(crate) async fn settled(&self) {
        let settled = async {
            loop {
                let now = self
                    .lambda
                    .get_function_configuration()
                    .function_name("f")
                    .send()
                    .await
                    .unwrap();
                if now.state() == Some(&State::Active)
                    && now.last_update_status() == Some(&LastUpdateStatus::Successful)
                {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, settled).await.unwrap();
    }

    async fn invoke(&self, event: Value) -> Value {
        let payload = Blob::new(event.to_string());
        let answer = self
            .lambda
            .invoke()
            .function_name("f")
            .payload(payload)
            .send()
            .await
            .unwrap();
        serde_json::from_slice(answer.payload().unwrap().as_ref()).unwrap()
    }
}

/// A process that is neither gone nor a zombie.
fn is_alive(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

#[tokio::test]
async fn the_control_plane_speaks_to_the_sdk_and_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = start(folder.path()).await;
    let code = FunctionCode::builder()
        .zip_file(Blob::new(zip(RUNTIME)))
        .build();
    let refused = cloud
        .create(code.clone())
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(
        refused.is_invalid_parameter_value_exception(),
        "{refused:?}"
    );
    assert_eq!(
        refused.message(),
        Some("The role defined for the function cannot be assumed by Lambda.")
    );
    cloud.create_role().await;

    // The zip comes from the bucket.
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&cloud.configuration)
            .force_path_style(true)
            .build(),
    );
    let missing = FunctionCode::builder()
        .s3_bucket("code")
        .s3_key("f.zip")
        .build();
    let refused = cloud
        .create(missing.clone())
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(
        refused.is_invalid_parameter_value_exception(),
        "{refused:?}"
    );
    let here = aws_sdk_s3::types::CreateBucketConfiguration::builder()
        .location_constraint(aws_sdk_s3::types::BucketLocationConstraint::EuCentral1)
        .build();
    s3.create_bucket()
        .bucket("code")
        .create_bucket_configuration(here)
        .send()
        .await
        .unwrap();
    s3.put_object()
        .bucket("code")
        .key("f.zip")
        .body(zip(RUNTIME).into())
        .send()
        .await
        .unwrap();
    let created = cloud.create(missing).send().await.unwrap();
    assert_eq!(created.state(), Some(&State::Pending));
    assert_eq!(
        created.code_sha256(),
        Some(rmx::digest::Digest::of(zip(RUNTIME)).base64().as_str())
    );
    assert_eq!(
        (created.memory_size(), created.version()),
        (Some(128), Some("$LATEST"))
    );
    let again = cloud
        .create(code)
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(again.is_resource_conflict_exception(), "{again:?}");
    cloud.settled().await;

    let update = || {
        cloud
            .lambda
            .update_function_configuration()
            .function_name("f")
            .memory_size(256)
    };
    let stale = update()
        .revision_id("stale")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(stale.is_precondition_failed_exception(), "{stale:?}");
    let updated = update().send().await.unwrap();
    assert_eq!(
        updated.last_update_status(),
        Some(&LastUpdateStatus::InProgress)
    );
    assert_ne!(updated.revision_id(), created.revision_id());
    cloud.settled().await;

    let publish = || cloud.lambda.publish_version().function_name("f").send();
    assert_eq!(publish().await.unwrap().version(), Some("1"));
    assert_eq!(publish().await.unwrap().version(), Some("1"));
    let alias = cloud.lambda.create_alias().function_name("f").name("live");
    alias.function_version("1").send().await.unwrap();
    let function_arn = created.function_arn().unwrap();
    cloud
        .lambda
        .tag_resource()
        .resource(function_arn)
        .tags("rmx:stack", "x")
        .send()
        .await
        .unwrap();
    cloud.running.shutdown().await;

    let cloud = start(folder.path()).await;
    let found = cloud
        .lambda
        .get_function()
        .function_name("f")
        .qualifier("live")
        .send()
        .await
        .unwrap();
    let configuration = found.configuration().unwrap();
    assert_eq!(
        (configuration.version(), configuration.memory_size()),
        (Some("1"), Some(256))
    );
    assert_eq!(found.tags().unwrap()["rmx:stack"], "x");
    cloud
        .lambda
        .delete_function()
        .function_name("f")
        .send()
        .await
        .unwrap();
    let gone = cloud
        .lambda
        .get_function()
        .function_name("f")
        .send()
        .await
        .unwrap_err();
    assert!(gone.into_service_error().is_resource_not_found_exception());
    let policy = cloud
        .lambda
        .add_permission()
        .function_name("f")
        .statement_id("s")
        .action("a")
        .principal("p");
    let refused = policy.send().await.unwrap_err().into_service_error();
    assert!(
        refused.message().unwrap().contains("AddPermission"),
        "{refused:?}"
    );
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn a_function_runs_warm_says_what_it_says_and_ends_with_the_cloud() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = start(folder.path()).await;
    cloud.create_function().await;
    let change = cloud
        .lambda
        .update_function_configuration()
        .function_name("f");
    change
        .logging_config(LoggingConfig::builder().log_group("/farm/f").build())
        .environment(Environment::builder().variables("MINE", "1").build())
        .send()
        .await
        .unwrap();
    cloud.settled().await;
    let first = cloud.invoke(json!({ "print": "a line of mine" })).await;
    let second = cloud.invoke(json!({})).await;
    assert_eq!(
        (&first["pid"], &second["served"]),
        (&second["pid"], &json!(2))
    );
    assert_eq!(first["environment"]["MINE"], "1");
    assert_eq!(
        first["environment"]["AWS_ENDPOINT_URL"],
        cloud.running.endpoint_url()
    );

    let broken = cloud
        .lambda
        .invoke()
        .function_name("f")
        .log_type(LogType::Tail);
    let broken = broken
        .payload(Blob::new(r#"{"exit":3}"#))
        .send()
        .await
        .unwrap();
    assert_eq!(broken.function_error(), Some("Unhandled"));
    let payload: Value = serde_json::from_slice(broken.payload().unwrap().as_ref()).unwrap();
    assert_eq!(payload["errorType"], "Runtime.ExitError");
    assert!(broken.log_result().is_some());
    let dry = cloud
        .lambda
        .invoke()
        .function_name("f")
        .invocation_type(InvocationType::DryRun);
    assert_eq!(dry.send().await.unwrap().status_code(), 204);

    // A process that waits is ended with the cloud; its caller hears of it or loses the connection.
    let marker = folder.path().join("child");
    let event = json!({ "child": marker, "wait_for": folder.path().join("never") });
    let waiting = cloud
        .lambda
        .invoke()
        .function_name("f")
        .invocation_type(InvocationType::Event);
    assert_eq!(
        waiting
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .unwrap()
            .status_code(),
        202
    );
    let done = folder.path().join("child.done");
    let started = async {
        while !done.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(LIMIT, started).await.unwrap();
    cloud.running.shutdown().await;
    let pids = std::fs::read_to_string(&done).unwrap();
    assert!(pids.split_whitespace().all(|pid| !is_alive(pid)), "{pids}");

    let cloud = start(folder.path()).await;
    let logs = aws_sdk_cloudwatchlogs::Client::new(&cloud.configuration);
    let events = logs
        .filter_log_events()
        .log_group_name("/farm/f")
        .send()
        .await
        .unwrap();
    let lines: Vec<&str> = events
        .events()
        .iter()
        .filter_map(|event| event.message())
        .collect();
    for text in [
        "START RequestId: ",
        "a line of mine",
        "REPORT RequestId: ",
        "Runtime exited with error: exit status 3",
    ] {
        assert!(
            lines.iter().any(|line| line.contains(text)),
            "{text}: {lines:#?}"
        );
    }
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn a_stream_arrives_while_the_function_still_writes() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = start(folder.path()).await;
    cloud.create_function().await;
    let stream = async |event: Value| {
        let invoke = cloud
            .lambda
            .invoke_with_response_stream()
            .function_name("f");
        invoke
            .payload(Blob::new(event.to_string()))
            .send()
            .await
            .unwrap()
            .event_stream
    };
    // The function goes on only after its first chunk has been seen here.
    let gate = folder.path().join("gate");
    let mut events = stream(json!({ "stream": ["one", "two"], "gate": gate })).await;
    let mut chunks = Vec::new();
    let end = loop {
        let event = tokio::time::timeout(LIMIT, events.recv())
            .await
            .unwrap()
            .unwrap();
        match event.expect("a stream ends with InvokeComplete") {
            Event::PayloadChunk(chunk) => {
                chunks.push(String::from_utf8(chunk.payload.unwrap().into_inner()).unwrap());
                std::fs::write(&gate, "").unwrap();
            }
            Event::InvokeComplete(end) => break end,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(chunks, ["one", "two"]);
    assert_eq!(end.error_code(), None);

    let mut events = stream(json!({ "stream": ["part"], "die": true })).await;
    let mut code = None;
    while let Some(event) = tokio::time::timeout(LIMIT, events.recv())
        .await
        .unwrap()
        .unwrap()
    {
        if let Event::InvokeComplete(end) = event {
            code = end.error_code;
        }
    }
    assert_eq!(code.as_deref(), Some("Runtime.ExitError"));
    cloud.running.shutdown().await;
}

#[tokio::test]
async fn more_than_is_reserved_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cloud = start(folder.path()).await;
    cloud.create_function().await;
    let reserve = cloud.lambda.put_function_concurrency().function_name("f");
    reserve
        .reserved_concurrent_executions(0)
        .send()
        .await
        .unwrap();
    let refused = cloud
        .lambda
        .invoke()
        .function_name("f")
        .send()
        .await
        .unwrap_err()
        .into_service_error();
    assert!(refused.is_too_many_requests_exception(), "{refused:?}");
    let aws_sdk_lambda::operation::invoke::InvokeError::TooManyRequestsException(refused) = refused
    else {
        unreachable!("asserted above");
    };
    let reason = ThrottleReason::ReservedFunctionConcurrentInvocationLimitExceeded;
    assert_eq!(refused.reason(), Some(&reason));
    cloud
        .lambda
        .delete_function_concurrency()
        .function_name("f")
        .send()
        .await
        .unwrap();
    assert_eq!(cloud.invoke(json!({})).await["served"], 1);
    cloud.running.shutdown().await;
}
