//! What workers may do on the embedded cloud, which holds them to their role as AWS does: all that rendering needs, and no more.

use rmx::cloud::Cloud;
use rmx::local::{Faults, TracedCall};
use serde_json::{Value, json};

use crate::clients::chunks_done;
use crate::failures::nasty;
use crate::farm::{self, Farm};
use crate::peer;

const ROLE: &str = "rmx-farm-us-east-1";

/// The pairs of action and resource that `rmx policies worker` allows.
fn allowed(farm: &Farm) -> Vec<(String, String)> {
    let printed = farm.rmx(&["policies", "worker"]).stdout;
    let policy: Value = serde_json::from_slice(&printed).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let texts = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let pairs = statements.flat_map(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        let resources = texts(&statement["Resource"]);
        let actions = texts(&statement["Action"]).into_iter();
        actions.flat_map(move |action| {
            let resources = resources.clone().into_iter();
            resources.map(move |resource| (action.clone(), resource))
        })
    });
    pairs.collect()
}

fn covers(pair: &(String, String), action: &str, resource: &str) -> bool {
    let (allowed, pattern) = pair;
    let on = match pattern.strip_suffix('*') {
        Some(prefix) => resource.starts_with(prefix),
        None => pattern == resource,
    };
    allowed == action && on
}

/// What Lambda does with the role, or what only an accident needs.
fn without_a_call((action, _): &(String, String)) -> bool {
    // The log is written by Lambda itself, and an upload in parts is given up only when one of them fails.
    action.starts_with("logs:") || action == "s3:AbortMultipartUpload"
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_policy_is_what_workers_call() {
    let (media, site) = (peer::slides(), nasty());
    let farm = Farm::of(&media);
    let config = std::fs::read_to_string(farm.path("remotion.toml")).unwrap();
    let nasty = format!(
        "{config}\n[[site]]\nname = \"nasty\"\nfolder = {:?}\n",
        site.path().to_str().unwrap()
    );
    std::fs::write(farm.path("remotion.toml"), nasty).unwrap();
    farm.rmx(&["apply", "--auto-approve"]);
    let faults = Faults::default();
    let running = farm.cloud(&faults).await;
    running.announce().unwrap();
    let cloud = farm::connected(&running).await;
    let said = |arguments: &[&str]| {
        let said = String::from_utf8(farm.rmx(arguments).stdout).unwrap();
        said.trim_end().to_owned()
    };
    faults.trace().begin(std::time::Duration::ZERO);

    // A film and sound, drawn by workers that `rmx render` drives; a still; the list.
    said(&[
        "render",
        "Media",
        "media.mp4",
        "--site=site",
        "--frames=0-9",
    ]);
    said(&["still", "Plain", "plain.png", "--site=nasty"]);
    said(&["compositions", "--site=nasty"]);
    // The same by an orchestrator: artifacts, props that are too large for an event, an end before its time.
    let detached = |more: &[&str]| said(&[&["render", "--detach", "--site=nasty"], more].concat());
    let emits = detached(&["Emits", "--frames-per-lambda=15"]);
    said(&["renders", "watch", &emits]);
    let props = json!({ "text": "a".repeat(200_000) }).to_string();
    std::fs::write(farm.path("props.json"), props).unwrap();
    let echo = detached(&["Echo", "--props=props.json"]);
    said(&["renders", "watch", &echo]);
    let slow = detached(&["Slow", "--frames-per-lambda=10"]);
    farm.wait_until("a chunk is done", |farm| {
        !chunks_done(farm, &slow).is_empty()
    });
    said(&["renders", "cancel", &slow]);
    farm.refused(&["renders", "watch", &slow]);
    said(&["renders", "resume", &slow]);
    said(&["renders", "watch", &slow]);
    // As a client asks for it whose output goes by itself.
    let start = json!({
        "type": "start", "version": version(&cloud).await, "serveUrl": "site", "composition": "Media", "codec": "h264",
        "inputProps": {"type": "payload", "payload": "{}"}, "frameRange": [0, 9], "privacy": "private",
        "deleteAfter": "1-day",
    });
    let begun = ask(&cloud, &start).await;
    let id = begun["renderId"].as_str().unwrap();
    assert!(id.starts_with("1-day-"), "{begun}");
    said(&["renders", "watch", id]);

    let calls: Vec<TracedCall> = faults.trace().end();
    let calls = calls
        .into_iter()
        .filter(|call| call.role.as_deref() == Some(ROLE));
    let made: Vec<_> = calls.flat_map(|call| call.permissions).collect();
    assert!(made.len() > 50, "{}", made.len());
    let allowed = allowed(&farm);
    for one in &made {
        let (action, resource) = (&one.action, &one.resource);
        let any = allowed.iter().any(|pair| covers(pair, action, resource));
        assert!(any, "called and not allowed: {one:?}");
    }
    let superfluous: Vec<_> = allowed
        .iter()
        .filter(|pair| !without_a_call(pair))
        .filter(|pair| {
            !made
                .iter()
                .any(|one| covers(pair, &one.action, &one.resource))
        })
        .collect();
    assert!(
        superfluous.is_empty(),
        "allowed and never called: {superfluous:#?}"
    );

    // What the role loses, workers lose.
    let nothing = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Action": "logs:PutLogEvents", "Resource": "*" } ] });
    cloud
        .put_role_policy(&ROLE.parse().unwrap(), &nothing)
        .await
        .unwrap();
    let (code, refused) = farm.refused(&["still", "Plain", "plain.png", "--site=nasty"]);
    assert_eq!(code, 1);
    let who = format!("assumed-role/{ROLE}/rmx-farm is not authorized to perform: s3:GetObject");
    assert!(refused.contains(&who), "{refused}");
    running.shutdown().await;
    farm.assert_quiet();
}

async fn ask(cloud: &Cloud, payload: &Value) -> Value {
    let payload = payload.to_string().into_bytes();
    let function = "rmx-farm".parse().unwrap();
    let answer = cloud.invoke(&function, "live", payload).await.unwrap();
    assert_eq!(answer.function_error, None, "{:?}", answer.payload);
    serde_json::from_slice(&answer.payload).unwrap()
}

async fn version(cloud: &Cloud) -> Value {
    ask(cloud, &json!({ "type": "info" })).await["version"].clone()
}
