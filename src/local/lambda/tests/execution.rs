//! Functions that really run.

use std::path::Path;

use super::harness::{Answer, Cloud, RUNTIME};
use super::*;
use crate::local::logs::LogsService;

/// A process that is neither gone nor a zombie.
fn is_alive(pid: u64) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(") ").unwrap().1.starts_with('Z'))
}

#[tokio::test]
async fn a_function_is_given_what_lambda_gives_and_its_environment_stays_warm() {
    let cloud = Cloud::with(json!({ "Environment": { "Variables": { "MINE": "1" } } })).await;
    let first = cloud.invoke(json!({})).await;
    assert_eq!(
        (first.status, first.version.as_str()),
        (200, "$LATEST"),
        "{:?}",
        first.body
    );
    let seen = first.json();
    assert!(seen["left_ms"].as_f64().unwrap() > 10_000.0, "{seen}");
    assert_eq!(
        seen["arn"],
        "arn:aws:lambda:eu-central-1:123456789012:function:f"
    );
    let variables = &seen["environment"];
    for (name, value) in [
        ("MINE", "1"),
        ("TOOL", "here"),
        ("AWS_LAMBDA_FUNCTION_NAME", "f"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
        ("LAMBDA_TASK_ROOT", seen["cwd"].as_str().unwrap()),
    ] {
        assert_eq!(variables[name], value, "{name}");
    }
    assert_eq!(
        variables["CARGO_PKG_NAME"],
        Value::Null,
        "nothing is inherited"
    );
    let scratch = variables["TMPDIR"].as_str().unwrap();
    assert!(Path::new(scratch).is_dir());

    let second = cloud.invoke(json!({})).await.json();
    assert_eq!(
        (&second["pid"], &second["served"]),
        (&seen["pid"], &json!(2))
    );
    let pid = seen["pid"].as_u64().unwrap();
    cloud.service.shutdown().await;
    assert!(!is_alive(pid));
    assert!(!Path::new(scratch).exists());

    // Byte for byte, not parsed and written again.
    let cloud = Cloud::with(json!({})).await;
    let raw = cloud.invoke(json!({ "raw": "{ \"a\":1.0 }" })).await;
    assert_eq!(raw.body, "{ \"a\":1.0 }");
}

#[tokio::test]
async fn one_invocation_at_a_time_and_no_more_than_reserved() {
    let cloud = Arc::new(Cloud::with(json!({})).await);
    let reserve = json!({ "ReservedConcurrentExecutions": 2 });
    call(
        &cloud.service,
        Method::PUT,
        "/2017-10-31/functions/f/concurrency",
        reserve,
    )
    .await;
    let gate = cloud.path("gate");
    let mut running = tokio::task::JoinSet::new();
    for number in 0..2 {
        let (cloud, event) = (
            cloud.clone(),
            json!({ "child": cloud.path(&number.to_string()), "wait_for": gate }),
        );
        running.spawn(async move { cloud.invoke(event).await.json()["pid"].as_u64().unwrap() });
    }
    cloud
        .until("both run", |cloud| {
            (0..2).all(|number| Path::new(&cloud.path(&format!("{number}.done"))).exists())
        })
        .await;
    let refused = cloud.invoke(json!({})).await;
    assert_eq!(
        (refused.status, refused.kind.as_str()),
        (429, "TooManyRequestsException")
    );
    assert_eq!(
        refused.json()["Reason"],
        "ReservedFunctionConcurrentInvocationLimitExceeded"
    );
    std::fs::write(&gate, "").unwrap();
    let pids: Vec<u64> = running.join_all().await;
    assert_ne!(pids[0], pids[1]);
    // Both environments are warm: none is started for the next.
    let third = cloud.invoke(json!({})).await.json();
    assert!(pids.contains(&third["pid"].as_u64().unwrap()));
}

#[tokio::test]
async fn a_timeout_ends_all_processes_of_the_function() {
    let cloud = Cloud::with(json!({ "Timeout": 1 })).await;
    let child = cloud.path("child");
    let answer = cloud
        .invoke(json!({ "child": child, "wait_for": cloud.path("never") }))
        .await;
    assert_eq!(
        (answer.status, answer.function_error.as_deref()),
        (200, Some("Unhandled"))
    );
    let error = answer.json();
    assert_eq!(error["errorType"], "Sandbox.Timedout");
    assert!(
        error["errorMessage"]
            .as_str()
            .unwrap()
            .ends_with("Task timed out after 1.00 seconds"),
        "{error}"
    );
    assert!(answer.tail.contains("Status: timeout"), "{}", answer.tail);
    let pids = std::fs::read_to_string(format!("{child}.done")).unwrap();
    for pid in pids.split_whitespace() {
        assert!(!is_alive(pid.parse().unwrap()), "{pids}");
    }
    assert_eq!(
        cloud.invoke(json!({})).await.json()["served"],
        1,
        "a new environment"
    );
}

#[tokio::test]
async fn failures_are_told_as_lambda_tells_them() {
    let cloud = Cloud::with(json!({})).await;
    for (event, kind, message) in [
        (
            json!({ "exit": 3 }),
            "Runtime.ExitError",
            "Runtime exited with error: exit status 3",
        ),
        (
            json!({ "kill": 9 }),
            "Runtime.ExitError",
            "Runtime exited with error: signal: killed",
        ),
        (json!({ "error": "broken" }), "Mine", "broken"),
        (
            json!({ "size": 6_300_000 }),
            "Function.ResponseSizeTooLarge",
            "Response payload size exceeded",
        ),
    ] {
        let answer = cloud.invoke(event).await;
        assert_eq!(
            (answer.status, answer.function_error.as_deref()),
            (200, Some("Unhandled"))
        );
        let error = answer.json();
        assert_eq!(error["errorType"], kind, "{error}");
        assert!(
            error["errorMessage"].as_str().unwrap().contains(message),
            "{error}"
        );
    }
    for (change, kind) in [
        (
            json!({ "Environment": { "Variables": { "INIT_EXIT": "7" } } }),
            "Runtime.ExitError",
        ),
        (
            json!({ "Environment": { "Variables": { "INIT_ERROR": "1" } } }),
            "Init.Bad",
        ),
    ] {
        let cloud = Cloud::with(change).await;
        assert_eq!(cloud.invoke(json!({})).await.json()["errorType"], kind);
    }
    let elf = [b"\x7fELF\x02\x01".as_slice(), &[0; 12], &[183, 0]].concat();
    for (name, mode, content) in [
        ("bootstrap", 0o644, RUNTIME.as_bytes()),
        ("other", 0o755, RUNTIME.as_bytes()),
        ("bootstrap", 0o755, elf.as_slice()),
    ] {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode);
        writer.start_file(name, options).unwrap();
        writer.write_all(content).unwrap();
        let zip = STANDARD.encode(writer.finish().unwrap().into_inner());
        let cloud = Cloud::with(json!({ "Code": { "ZipFile": zip } })).await;
        assert_eq!(
            cloud.invoke(json!({})).await.json()["errorType"],
            "Runtime.InvalidEntrypoint"
        );
    }
    let cloud = Cloud::with(json!({ "Runtime": "nodejs22.x" })).await;
    assert_eq!(
        cloud.invoke(json!({})).await.kind,
        "InvalidRuntimeException"
    );
}

#[tokio::test]
async fn invocations_that_are_not_waited_for() {
    let cloud = Cloud::with(json!({})).await;
    let (status, path) = (|answer: &Answer| answer.status, cloud.path("ran"));
    assert_eq!(status(&cloud.invoke_as("DryRun", "{}").await), 204);
    let event = json!({ "once": path, "error": "again" });
    assert_eq!(
        status(&cloud.invoke_as("Event", event.to_string()).await),
        202
    );
    let attempts = |path: &str| {
        std::fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .count()
    };
    cloud
        .until("three attempts", |_| attempts(&path) == 3)
        .await;
    let once = json!({ "MaximumRetryAttempts": 0 });
    call(
        &cloud.service,
        Method::PUT,
        "/2019-09-25/functions/f/event-invoke-config",
        once,
    )
    .await;
    assert_eq!(
        status(&cloud.invoke_as("Event", event.to_string()).await),
        202
    );
    cloud.until("one more", |_| attempts(&path) == 4).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(attempts(&path), 4, "no retries where none are wanted");

    assert_eq!(
        cloud.invoke_as("RequestResponse", "no json").await.kind,
        "InvalidRequestContentException"
    );
    let large = format!("\"{}\"", "x".repeat(1024 * 1024));
    assert_eq!(
        cloud.invoke_as("Event", large).await.kind,
        "RequestTooLargeException"
    );
}

#[tokio::test]
async fn what_is_written_and_said_ends_up_in_the_log_group() {
    let cloud = Cloud::with(json!({ "LoggingConfig": { "LogGroup": "/farm/logs" } })).await;
    let answer = cloud
        .invoke(json!({ "print": "hello from the function" }))
        .await;
    let order: Vec<usize> = [
        "START RequestId: ",
        "hello from the function",
        "END RequestId: ",
        "REPORT RequestId: ",
    ]
    .into_iter()
    .map(|text| {
        answer
            .tail
            .find(text)
            .unwrap_or_else(|| panic!("{text}: {}", answer.tail))
    })
    .collect();
    assert!(order.is_sorted(), "{}", answer.tail);
    cloud.service.shutdown().await;
    let mut headers = http::HeaderMap::new();
    headers.insert(
        "x-amz-target",
        "Logs_20140328.FilterLogEvents".parse().unwrap(),
    );
    let filter = request(
        Method::POST,
        "/",
        headers,
        json!({ "logGroupName": "/farm/logs" }).to_string(),
    );
    let logs = LogsService::new(cloud.service.store.clone());
    let found = logs
        .handle(filter)
        .await
        .into_body()
        .collect()
        .await
        .unwrap()
        .to_bytes();
    let found: Value = serde_json::from_slice(&found).unwrap();
    let events = found["events"].as_array().unwrap();
    assert_eq!(events.len(), 4, "{found}");
    assert!(
        events[0]["logStreamName"]
            .as_str()
            .unwrap()
            .contains("/[$LATEST]"),
        "{found}"
    );
}

#[tokio::test]
async fn an_update_ends_warm_environments_and_a_published_version_stays_what_it_was() {
    let cloud = Cloud::with(json!({})).await;
    let before = cloud.invoke(json!({})).await.json();
    call(
        &cloud.service,
        Method::POST,
        "/2015-03-31/functions/f/versions",
        Value::Null,
    )
    .await;
    let change = json!({ "Environment": { "Variables": { "MINE": "2" } } });
    call(
        &cloud.service,
        Method::PUT,
        "/2015-03-31/functions/f/configuration",
        change,
    )
    .await;
    phase(&cloud.service, true);
    let during = cloud.invoke(json!({})).await.json();
    assert_eq!(
        during["pid"], before["pid"],
        "until the update is done the old configuration serves"
    );
    settle(&cloud.service);
    let after = cloud.invoke(json!({})).await.json();
    assert_eq!(
        (&after["environment"]["MINE"], &after["served"]),
        (&json!("2"), &json!(1))
    );
    assert!(!is_alive(before["pid"].as_u64().unwrap()));
    let response = cloud
        .send(
            "/2015-03-31/functions/f:1/invocations",
            "RequestResponse",
            "{}",
        )
        .await;
    assert_eq!(response.headers()["x-amz-executed-version"], "1");
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let published: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(published["environment"]["MINE"], Value::Null);
    call(
        &cloud.service,
        Method::DELETE,
        "/2015-03-31/functions/f",
        Value::Null,
    )
    .await;
    assert!(!is_alive(published["pid"].as_u64().unwrap()));
}
