//! The service as a client sees it, below the wire.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::*;

struct Client {
    _folder: tempfile::TempDir,
    store: Store,
}

impl Client {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        Self {
            _folder: folder,
            store,
        }
    }

    async fn call(&self, operation: &str, body: Value) -> (u16, Value) {
        let mut headers = HeaderMap::new();
        let target = format!("{TARGET_PREFIX}{operation}");
        headers.insert("x-amz-target", HeaderValue::try_from(target).unwrap());
        let request = Request {
            method: Method::POST,
            path: "/".to_owned(),
            query: Vec::new(),
            headers,
            body: Bytes::from(body.to_string()),
            region: "eu-central-1".parse().unwrap(),
            account: "123456789012".parse().unwrap(),
            request_id: "id".to_owned(),
        };
        let response = LogsService::new(self.store.clone()).handle(request).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, serde_json::from_slice(&bytes).unwrap())
    }

    /// The answer of a call that is accepted.
    async fn ok(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.call(operation, body).await;
        assert_eq!(status, 200, "{operation}: {answer}");
        answer
    }

    /// Requires a refusal of this type; the message is given back.
    async fn refused(&self, operation: &str, body: Value, error: &str) -> String {
        let (status, answer) = self.call(operation, body.clone()).await;
        assert_eq!(
            answer["__type"], error,
            "{operation} {body}: {status} {answer}"
        );
        assert_eq!(status, if error == "NotImplemented" { 501 } else { 400 });
        answer["message"].as_str().unwrap().to_owned()
    }

    async fn group_with_stream(&self) {
        self.ok("CreateLogGroup", json!({"logGroupName": "g"}))
            .await;
        let stream = json!({"logGroupName": "g", "logStreamName": "s/[$LATEST]"});
        self.ok("CreateLogStream", stream).await;
    }

    async fn put(&self, events: Value) -> Value {
        let body =
            json!({"logGroupName": "g", "logStreamName": "s/[$LATEST]", "logEvents": events});
        self.ok("PutLogEvents", body).await
    }
}

fn messages(answer: &Value) -> Vec<&str> {
    let events = answer["events"].as_array().unwrap();
    events
        .iter()
        .map(|e| e["message"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn groups_have_both_arns_retention_and_tags() {
    let client = Client::new();
    let name = json!({"logGroupName": "/aws/lambda/f"});
    let create = json!({"logGroupName": "/aws/lambda/f", "tags": {"a": "1"}});
    client.ok("CreateLogGroup", create.clone()).await;
    client
        .refused("CreateLogGroup", create, "ResourceAlreadyExistsException")
        .await;

    let retention = |days: i64| json!({"logGroupName": "/aws/lambda/f", "retentionInDays": days});
    client
        .refused(
            "PutRetentionPolicy",
            retention(13),
            "InvalidParameterException",
        )
        .await;
    client.ok("PutRetentionPolicy", retention(14)).await;
    let described = client
        .ok(
            "DescribeLogGroups",
            json!({"logGroupNamePrefix": "/aws/lambda/"}),
        )
        .await;
    let group = &described["logGroups"][0];
    let arn = "arn:aws:logs:eu-central-1:123456789012:log-group:/aws/lambda/f";
    assert_eq!(group["arn"], format!("{arn}:*"));
    assert_eq!(group["logGroupArn"], arn);
    assert_eq!(group["retentionInDays"], 14);
    assert!(described.get("nextToken").is_none());
    client.ok("DeleteRetentionPolicy", name.clone()).await;
    let described = client.ok("DescribeLogGroups", json!({})).await;
    assert!(described["logGroups"][0].get("retentionInDays").is_none());

    client
        .ok(
            "TagResource",
            json!({"resourceArn": arn, "tags": {"b": "2"}}),
        )
        .await;
    client
        .ok(
            "UntagResource",
            json!({"resourceArn": arn, "tagKeys": ["a", "absent"]}),
        )
        .await;
    let tags = client
        .ok("ListTagsForResource", json!({"resourceArn": arn}))
        .await;
    assert_eq!(tags, json!({"tags": {"b": "2"}}));
    assert_eq!(client.ok("ListTagsLogGroup", name.clone()).await, tags);
    let many: serde_json::Map<_, _> = (0..50).map(|n| (format!("k{n}"), json!(""))).collect();
    client
        .refused(
            "TagResource",
            json!({"resourceArn": arn, "tags": many}),
            "TooManyTagsException",
        )
        .await;

    client.ok("DeleteLogGroup", name.clone()).await;
    for operation in [
        "DeleteLogGroup",
        "DeleteRetentionPolicy",
        "ListTagsLogGroup",
    ] {
        client
            .refused(operation, name.clone(), "ResourceNotFoundException")
            .await;
    }
    assert_eq!(
        client.ok("DescribeLogGroups", json!({})).await,
        json!({"logGroups": []})
    );
}

#[tokio::test]
async fn groups_and_streams_come_in_pages() {
    let client = Client::new();
    for name in ["b", "a", "c"] {
        client
            .ok("CreateLogGroup", json!({"logGroupName": name}))
            .await;
        let stream = json!({"logGroupName": "b", "logStreamName": name});
        if name != "a" {
            client.ok("CreateLogStream", stream).await;
        }
    }
    let first = client.ok("DescribeLogGroups", json!({"limit": 2})).await;
    let second = json!({"limit": 2, "nextToken": first["nextToken"]});
    let second = client.ok("DescribeLogGroups", second).await;
    let names = |answer: &Value, list: &str, name: &str| -> Vec<String> {
        let rows = answer[list].as_array().unwrap();
        rows.iter()
            .map(|row| row[name].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&first, "logGroups", "logGroupName"), ["a", "b"]);
    assert_eq!(names(&second, "logGroups", "logGroupName"), ["c"]);
    assert!(second.get("nextToken").is_none());

    let mut ask = json!({"logGroupName": "b", "descending": true, "limit": 1});
    let first = client.ok("DescribeLogStreams", ask.clone()).await;
    ask["nextToken"] = first["nextToken"].clone();
    let second = client.ok("DescribeLogStreams", ask).await;
    assert_eq!(names(&first, "logStreams", "logStreamName"), ["c"]);
    assert_eq!(names(&second, "logStreams", "logStreamName"), ["b"]);
    let both = json!({"logGroupName": "b", "orderBy": "LastEventTime", "logStreamNamePrefix": "b"});
    client
        .refused("DescribeLogStreams", both, "InvalidParameterException")
        .await;
}

#[tokio::test]
async fn events_are_read_from_either_end_and_tokens_repeat_there() {
    let client = Client::new();
    client.group_with_stream().await;
    let now = env::now_ms();
    let event = |ms: u64, text: &str| json!({"timestamp": now + ms, "message": text});
    client
        .put(json!([event(1, "one"), event(3, "three")]))
        .await;
    client
        .put(json!([
            event(2, "two"),
            event(3, "also three"),
            event(4, "four")
        ]))
        .await;

    let ask = |more: Value| {
        let mut ask = json!({"logGroupName": "g", "logStreamName": "s/[$LATEST]", "limit": 2});
        ask.as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        ask
    };
    let page = client
        .ok("GetLogEvents", ask(json!({"startFromHead": true})))
        .await;
    assert_eq!(messages(&page), ["one", "two"]);
    let page = client
        .ok(
            "GetLogEvents",
            ask(json!({"nextToken": page["nextForwardToken"]})),
        )
        .await;
    assert_eq!(
        messages(&page),
        ["three", "also three"],
        "in order of arrival at the same time"
    );
    let page = client
        .ok(
            "GetLogEvents",
            ask(json!({"nextToken": page["nextForwardToken"]})),
        )
        .await;
    assert_eq!(messages(&page), ["four"]);
    let end = client
        .ok(
            "GetLogEvents",
            ask(json!({"nextToken": page["nextForwardToken"]})),
        )
        .await;
    assert_eq!(messages(&end), [""; 0]);
    assert_eq!(end["nextForwardToken"], page["nextForwardToken"]);
    client.put(json!([event(5, "five")])).await;
    let page = client
        .ok(
            "GetLogEvents",
            ask(json!({"nextToken": end["nextForwardToken"]})),
        )
        .await;
    assert_eq!(
        messages(&page),
        ["five"],
        "a token at the end leads on when there is more"
    );

    let page = client.ok("GetLogEvents", ask(json!({}))).await;
    assert_eq!(
        messages(&page),
        ["four", "five"],
        "the latest without a token"
    );
    let page = client
        .ok(
            "GetLogEvents",
            ask(json!({"nextToken": page["nextBackwardToken"]})),
        )
        .await;
    assert_eq!(messages(&page), ["three", "also three"]);
    let range = json!({"startTime": now + 2, "endTime": now + 3});
    let page = client.ok("GetLogEvents", ask(range.clone())).await;
    assert_eq!(messages(&page), ["two"], "the end is not part of the range");
    client
        .refused(
            "GetLogEvents",
            ask(json!({"nextToken": "x"})),
            "InvalidParameterException",
        )
        .await;

    let streams = client
        .ok("DescribeLogStreams", json!({"logGroupName": "g"}))
        .await;
    let stream = &streams["logStreams"][0];
    assert_eq!(stream["firstEventTimestamp"], now + 1);
    assert_eq!(stream["lastEventTimestamp"], now + 5);
    let mut filter = range;
    filter["logGroupName"] = "g".into();
    let found = client.ok("FilterLogEvents", filter).await;
    assert_eq!(
        messages(&found),
        ["two", "three", "also three"],
        "the end is part of this range"
    );
}

#[tokio::test]
async fn events_are_filtered_over_streams_in_pages() {
    let client = Client::new();
    client.group_with_stream().await;
    let handle = LogsHandle::new(client.store.clone());
    let region: Region = "eu-central-1".parse().unwrap();
    let now = env::now_ms();
    for (stream, ms) in [("x", 0), ("y", 1), ("x", 2), ("z", 3)] {
        let event = (now + ms, format!("ERROR {ms} in {stream}"));
        handle.append(&region, "g", stream, vec![event]).unwrap();
    }
    handle
        .append(&region, "g", "x", vec![(now, "fine".to_owned())])
        .unwrap();
    let mut ask = json!({"logGroupName": "g", "filterPattern": "ERROR -z", "limit": 2});
    let first = client.ok("FilterLogEvents", ask.clone()).await;
    assert_eq!(messages(&first), ["ERROR 0 in x", "ERROR 1 in y"]);
    assert_eq!(first["events"][1]["logStreamName"], "y");
    ask["nextToken"] = first["nextToken"].clone();
    let second = client.ok("FilterLogEvents", ask).await;
    assert_eq!(messages(&second), ["ERROR 2 in x"]);
    assert!(second.get("nextToken").is_none());
    let named = json!({"logGroupName": "g", "logStreamNames": ["z"]});
    assert_eq!(
        messages(&client.ok("FilterLogEvents", named).await),
        ["ERROR 3 in z"]
    );
    let prefix = json!({"logGroupName": "g", "logStreamNamePrefix": "y"});
    assert_eq!(
        messages(&client.ok("FilterLogEvents", prefix).await),
        ["ERROR 1 in y"]
    );
    let nowhere = json!({"logGroupName": "nowhere"});
    client
        .refused("FilterLogEvents", nowhere, "ResourceNotFoundException")
        .await;
}

#[tokio::test]
async fn puts_keep_to_the_limits() {
    let client = Client::new();
    client.group_with_stream().await;
    let now = env::now_ms();
    let hour = 60 * 60 * 1000;
    let put = |events: Value| json!({"logGroupName": "g", "logStreamName": "s/[$LATEST]", "logEvents": events});
    let event = |ms: u64| json!({"timestamp": ms, "message": "m"});
    let big = "x".repeat(1_048_576 - 25);
    for (events, says) in [
        (json!([]), "greater than or equal to 1"),
        (
            json!(vec![event(now); 10_001]),
            "less than or equal to 10000",
        ),
        (json!([event(now), event(now - 1)]), "chronological"),
        (json!([event(now - 25 * hour), event(now)]), "24 hours"),
        (
            json!([{"timestamp": now, "message": big}]),
            "Upload too large",
        ),
        (json!([{"timestamp": now, "message": ""}]), "length"),
        (json!([{"timestamp": now}]), "must not be null"),
    ] {
        let message = client
            .refused("PutLogEvents", put(events), "InvalidParameterException")
            .await;
        assert!(message.contains(says), "{message}");
    }
    let old = client.put(json!([event(now - 15 * 24 * hour)])).await;
    assert_eq!(
        old["rejectedLogEventsInfo"],
        json!({"tooOldLogEventEndIndex": 1})
    );
    let new = client.put(json!([event(now), event(now + 3 * hour)])).await;
    assert_eq!(
        new["rejectedLogEventsInfo"],
        json!({"tooNewLogEventStartIndex": 1})
    );
    let found = client
        .ok("FilterLogEvents", json!({"logGroupName": "g"}))
        .await;
    assert_eq!(messages(&found), ["m"], "only what was accepted is there");

    let mut nowhere = put(json!([event(now)]));
    nowhere["logStreamName"] = "nowhere".into();
    let message = client
        .refused("PutLogEvents", nowhere, "ResourceNotFoundException")
        .await;
    assert!(message.contains("log stream"), "{message}");
}

#[tokio::test]
async fn what_is_unknown_or_malformed_is_refused_by_name() {
    let client = Client::new();
    let kms = json!({"logGroupName": "g", "kmsKeyId": "k"});
    let message = client
        .refused("CreateLogGroup", kms, "InvalidParameterException")
        .await;
    assert!(message.contains("kmsKeyId"), "{message}");
    let message = client
        .refused("StartQuery", json!({}), "NotImplemented")
        .await;
    assert!(message.contains("logs StartQuery"), "{message}");
    client
        .refused("DescribeLogGroups", json!(["a"]), "SerializationException")
        .await;
    client
        .refused(
            "DescribeLogGroups",
            json!({"limit": "many"}),
            "SerializationException",
        )
        .await;
    client
        .refused(
            "DescribeLogGroups",
            json!({"limit": 51}),
            "InvalidParameterException",
        )
        .await;
    client
        .refused("CreateLogGroup", json!({}), "InvalidParameterException")
        .await;
    client
        .refused(
            "CreateLogGroup",
            json!({"logGroupName": "a b"}),
            "InvalidParameterException",
        )
        .await;
}
