//! The service spoken to in its own wire format, without a server in between: here the control plane, in
//! `execution` and `streams` what runs functions.

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::local::logs::LogsHandle;
use crate::local::sessions::SessionCredentials;

use super::*;

mod execution;
mod harness;
mod streams;

use crate::digest::Digest;

const FUNCTIONS: &str = "/2015-03-31/functions";
const ROLE: &str = "arn:aws:iam::123456789012:role/worker";

fn settings(folder: &std::path::Path) -> ExecutorSettings {
    let store = Store::open(folder).unwrap();
    ExecutorSettings {
        logs: LogsHandle::new(store.clone()),
        store,
        address: ([127, 0, 0, 1], 1).into(),
        role_credentials: Box::new(|role, _| {
            Ok((role == ROLE).then(|| SessionCredentials {
                access_key_id: "id".to_owned(),
                secret_access_key: "secret".to_owned(),
                token: "token".to_owned(),
            }))
        }),
        worker_environment: std::collections::BTreeMap::new(),
        isolation: None,
        node: None,
    }
}

fn service(folder: &std::path::Path) -> LambdaService {
    let neighbours = Neighbours {
        role_is_assumable: Box::new(|name, _| Ok(name == "worker")),
        objects: S3Data::new(
            Store::open(folder).unwrap(),
            "123456789012".parse().unwrap(),
            "eu-central-1".parse().unwrap(),
        ),
        faults: crate::local::Faults::default(),
    };
    LambdaService::new(settings(folder), neighbours)
}

fn request(
    method: Method,
    path: &str,
    headers: http::HeaderMap,
    body: impl Into<bytes::Bytes>,
) -> Request {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    Request {
        method,
        path: path.to_owned(),
        query: form_urlencoded::parse(query.as_bytes())
            .into_owned()
            .collect(),
        headers,
        body: body.into(),
        region: "eu-central-1".parse().unwrap(),
        account: "123456789012".parse().unwrap(),
        request_id: uuid::Uuid::new_v4().to_string(),
    }
}

fn zip(text: &str) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    writer.start_file("bootstrap", options).unwrap();
    writer.write_all(text.as_bytes()).unwrap();
    writer.finish().unwrap().into_inner()
}

/// Sends one request; the answer as (status, error type, body).
async fn call(
    service: &LambdaService,
    method: Method,
    path: &str,
    body: Value,
) -> (u16, String, Value) {
    let body = if body.is_null() {
        String::new()
    } else {
        body.to_string()
    };
    let request = request(method, path, http::HeaderMap::new(), body);
    let response = service.handle(request).await;
    let status = response.status().as_u16();
    let kind = response
        .headers()
        .get("x-amzn-errortype")
        .map_or("", |kind| kind.to_str().unwrap());
    let kind = kind.to_owned();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let body = if bytes.is_empty() {
        Value::Null
    } else {
        serde_json::from_slice(&bytes).unwrap()
    };
    (status, kind, body)
}

fn create(name: &str) -> Value {
    json!({
        "FunctionName": name, "Runtime": "provided.al2023", "Handler": "bootstrap", "Role": ROLE,
        "Code": { "ZipFile": STANDARD.encode(zip("one")) },
    })
}

/// Moves what has just been changed into the future, so that its phase lasts, or into the past, so that it is
/// over: no test depends on how long a phase is.
fn phase(service: &LambdaService, lasts: bool) {
    let time_ms = if lasts { u64::MAX / 2 } else { 1 };
    let change = |functions: &mut model::Functions| {
        for function in functions.0.values_mut() {
            for version in function.versions.values_mut().chain([&mut function.latest]) {
                if version.modified_ms == version.created_ms {
                    version.created_ms = time_ms;
                    version.modified_ms = time_ms;
                } else {
                    version.created_ms = 0;
                    version.modified_ms = time_ms;
                }
            }
        }
        Ok::<_, io::Error>(())
    };
    service
        .store
        .update("lambda-eu-central-1.json", change)
        .unwrap();
}

/// Lets every phase be over.
fn settle(service: &LambdaService) {
    phase(service, false);
}

#[tokio::test]
async fn a_function_from_creation_to_deletion() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    let one = format!("{FUNCTIONS}/f");
    let (status, _, created) = call(&service, Method::POST, FUNCTIONS, create("f")).await;
    assert_eq!((status, &created["State"]), (201, &json!("Pending")));
    assert_eq!(created["CodeSha256"], Digest::of(zip("one")).base64());
    phase(&service, true);
    let changed = json!({ "MemorySize": 256 });
    let (status, kind, _) = call(
        &service,
        Method::PUT,
        &format!("{one}/configuration"),
        changed.clone(),
    )
    .await;
    assert_eq!((status, kind.as_str()), (409, "ResourceConflictException"));
    let (_, kind, _) = call(&service, Method::POST, FUNCTIONS, create("f")).await;
    assert_eq!(kind, "ResourceConflictException");
    settle(&service);

    // Publishing twice without a change gives one version; a change gives the next.
    let versions = format!("{one}/versions");
    for expected in ["1", "1"] {
        let (_, _, version) = call(&service, Method::POST, &versions, Value::Null).await;
        assert_eq!(version["Version"], expected);
    }
    let (_, _, latest) = call(
        &service,
        Method::GET,
        &format!("{one}/configuration"),
        Value::Null,
    )
    .await;
    let stale = json!({ "MemorySize": 256, "RevisionId": created["RevisionId"] });
    let (status, kind, _) = call(
        &service,
        Method::PUT,
        &format!("{one}/configuration"),
        stale,
    )
    .await;
    assert_eq!(
        (status, kind.as_str()),
        (412, "PreconditionFailedException")
    );
    let fresh = json!({ "MemorySize": 256, "RevisionId": latest["RevisionId"] });
    let (_, _, updated) = call(
        &service,
        Method::PUT,
        &format!("{one}/configuration"),
        fresh,
    )
    .await;
    assert_eq!(updated["LastUpdateStatus"], "InProgress");
    phase(&service, true);
    let (_, kind, _) = call(&service, Method::POST, &versions, Value::Null).await;
    assert_eq!(kind, "ResourceConflictException");
    settle(&service);
    // What the answer called the revision is none any more.
    let stale = json!({ "MemorySize": 512, "RevisionId": updated["RevisionId"] });
    let path = format!("{one}/configuration");
    let (_, kind, _) = call(&service, Method::PUT, &path, stale).await;
    assert_eq!(kind, "PreconditionFailedException");

    // A dry run shows the new code and changes nothing.
    let code = json!({ "ZipFile": STANDARD.encode(zip("two")), "DryRun": true });
    let (_, _, dry) = call(&service, Method::PUT, &format!("{one}/code"), code).await;
    assert_eq!(dry["CodeSha256"], Digest::of(zip("two")).base64());
    let (_, _, now) = call(
        &service,
        Method::GET,
        &format!("{one}/configuration"),
        Value::Null,
    )
    .await;
    assert_eq!(
        (&now["CodeSha256"], &now["MemorySize"]),
        (&created["CodeSha256"], &json!(256))
    );
    let code = json!({ "ZipFile": STANDARD.encode(zip("two")), "Publish": true });
    let (_, _, second) = call(&service, Method::PUT, &format!("{one}/code"), code).await;
    assert_eq!(second["Version"], "2");

    // An alias holds its version; the version cannot go while it does.
    let alias = json!({ "Name": "live", "FunctionVersion": "1" });
    let (status, _, _) = call(
        &service,
        Method::POST,
        &format!("{one}/aliases"),
        alias.clone(),
    )
    .await;
    assert_eq!(status, 201);
    let (_, kind, _) = call(&service, Method::POST, &format!("{one}/aliases"), alias).await;
    assert_eq!(kind, "ResourceConflictException");
    let (status, _, _) = call(
        &service,
        Method::DELETE,
        &format!("{one}?Qualifier=1"),
        Value::Null,
    )
    .await;
    assert_eq!(status, 409);
    let (_, _, live) = call(
        &service,
        Method::GET,
        &format!("{one}?Qualifier=live"),
        Value::Null,
    )
    .await;
    assert_eq!(live["Configuration"]["Version"], "1");
    assert_eq!(live["Configuration"]["CodeSha256"], created["CodeSha256"]);

    let (_, _, all) = call(
        &service,
        Method::GET,
        &format!("{FUNCTIONS}?FunctionVersion=ALL&MaxItems=2"),
        Value::Null,
    )
    .await;
    assert_eq!(all["Functions"].as_array().unwrap().len(), 2);
    let next = format!(
        "{FUNCTIONS}?FunctionVersion=ALL&Marker={}",
        all["NextMarker"].as_str().unwrap()
    );
    let (_, _, rest) = call(&service, Method::GET, &next, Value::Null).await;
    assert_eq!(rest["Functions"].as_array().unwrap().len(), 1);

    let (status, _, _) = call(&service, Method::DELETE, &one, Value::Null).await;
    assert_eq!(status, 204);
    let (status, kind, _) = call(&service, Method::GET, &one, Value::Null).await;
    assert_eq!((status, kind.as_str()), (404, "ResourceNotFoundException"));
    let zips = std::fs::read_dir(folder.path().join("lambda-code-eu-central-1"))
        .unwrap()
        .count();
    assert_eq!(zips, 0, "zips of a deleted function are removed");
}

#[tokio::test]
async fn what_aws_refuses_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    let parameter = "InvalidParameterValueException";
    let validation = "ValidationException";
    for (member, value, kind) in [
        ("MemorySize", json!(64), validation),
        ("Timeout", json!(901), validation),
        ("EphemeralStorage", json!({ "Size": 100 }), validation),
        ("FunctionName", json!("a b"), validation),
        ("Runtime", json!("cobol"), parameter),
        (
            "Role",
            json!("arn:aws:iam::123456789012:role/missing"),
            parameter,
        ),
        (
            "Role",
            json!("arn:aws:iam::210987654321:role/worker"),
            "AccessDeniedException",
        ),
        (
            "Code",
            json!({ "ZipFile": STANDARD.encode("no zip") }),
            parameter,
        ),
        (
            "Code",
            json!({ "S3Bucket": "b", "S3Key": "missing" }),
            parameter,
        ),
        (
            "Environment",
            json!({ "Variables": { "AWS_REGION": "x" } }),
            parameter,
        ),
        (
            "Environment",
            json!({ "Variables": { "BIG": "x".repeat(5000) } }),
            parameter,
        ),
        ("Layers", json!(["no-arn"]), validation),
        (
            "SnapStart",
            json!({ "ApplyOn": "PublishedVersions" }),
            parameter,
        ),
        ("Unheard", json!(1), parameter),
    ] {
        let mut body = create("f");
        body[member] = value;
        let (_, got, answer) = call(&service, Method::POST, FUNCTIONS, body).await;
        assert_eq!(got, kind, "{member}: {answer}");
    }
    let (_, _, list) = call(&service, Method::GET, FUNCTIONS, Value::Null).await;
    assert_eq!(list, json!({ "Functions": [] }));
}

#[tokio::test]
async fn settings_of_a_function() {
    let folder = tempfile::tempdir().unwrap();
    let service = service(folder.path());
    call(&service, Method::POST, FUNCTIONS, create("f")).await;
    let arn = "arn%3Aaws%3Alambda%3Aeu-central-1%3A123456789012%3Afunction%3Af";
    let tags = format!("/2017-03-31/tags/{arn}");
    call(
        &service,
        Method::POST,
        &tags,
        json!({ "Tags": { "a": "1", "b": "2" } }),
    )
    .await;
    call(
        &service,
        Method::DELETE,
        &format!("{tags}?tagKeys=a"),
        Value::Null,
    )
    .await;
    let (_, _, listed) = call(&service, Method::GET, &tags, Value::Null).await;
    assert_eq!(listed, json!({ "Tags": { "b": "2" } }));

    let events = "/2019-09-25/functions/f/event-invoke-config";
    let (status, _, _) = call(&service, Method::GET, events, Value::Null).await;
    assert_eq!(status, 404);
    call(
        &service,
        Method::PUT,
        events,
        json!({ "MaximumRetryAttempts": 0 }),
    )
    .await;
    let aged = json!({ "MaximumEventAgeInSeconds": 60 });
    let (_, _, both) = call(&service, Method::POST, events, aged).await;
    assert_eq!(
        (
            &both["MaximumRetryAttempts"],
            &both["MaximumEventAgeInSeconds"]
        ),
        (&json!(0), &json!(60))
    );

    let put = "/2017-10-31/functions/f/concurrency";
    let (status, _, _) = call(
        &service,
        Method::PUT,
        put,
        json!({ "ReservedConcurrentExecutions": 901 }),
    )
    .await;
    assert_eq!(status, 400);
    call(
        &service,
        Method::PUT,
        put,
        json!({ "ReservedConcurrentExecutions": 7 }),
    )
    .await;
    let (_, _, function) = call(
        &service,
        Method::GET,
        &format!("{FUNCTIONS}/f"),
        Value::Null,
    )
    .await;
    assert_eq!(function["Concurrency"]["ReservedConcurrentExecutions"], 7);
    let (_, _, account) = call(
        &service,
        Method::GET,
        "/2016-08-19/account-settings",
        Value::Null,
    )
    .await;
    assert_eq!(
        account["AccountLimit"]["UnreservedConcurrentExecutions"],
        993
    );
    let (status, _, _) = call(
        &service,
        Method::POST,
        &format!("{FUNCTIONS}/f/policy"),
        Value::Null,
    )
    .await;
    assert_eq!(status, 501);
}
