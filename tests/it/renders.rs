//! `rmx renders`: what lies in the bucket of renders that others began.

use bytes::Bytes;
use rmx::cloud::{Cloud, PutOptions};
use serde_json::{Value, json};

use crate::local_serve::Serve;
use crate::plan::{apply, project};
use crate::recovery::behind_its_back;
use crate::support::TestProject;

const BUCKET: &str = "rmx-hello-000000000000-us-east-1";

async fn put(cloud: &Cloud, key: &str, text: String) {
    let bucket = BUCKET.parse().unwrap();
    let options = PutOptions::default();
    let written = cloud.put_object(&bucket, key, Bytes::from(text), &options);
    written.await.unwrap();
}

/// A progress document, as clients read it.
pub(crate) fn progress(id: &str, change: impl FnOnce(&mut Value)) -> (String, String) {
    let mut document = json!({
        "cancellationEnabled": true,
        "chunks": [0],
        "framesRendered": 15,
        "framesEncoded": 15,
        "lambdasInvoked": 2,
        "timeoutTimestamp": 99_999_999_999_999_u64,
        "serveUrlOpened": 1,
        "compositionValidated": 1,
        "renderMetadata": {
            "siteId": "site", "startedDate": 1_764_144_000_000_u64, "totalChunks": 2,
            "estimatedTotalLambdaInvokations": 3, "estimatedRenderLambdaInvokations": 2,
            "compositionId": "Intro", "codec": "h264", "type": "video", "imageFormat": "jpeg",
            "inputProps": {"type": "payload", "payload": "{}"}, "lambdaVersion": "4.0.527",
            "framesPerLambda": 15, "memorySizeInMb": 2048, "region": "us-east-1", "renderId": id,
            "outName": {"bucketName": BUCKET, "key": format!("films/{id}.mp4")},
            "outputFileIsConditional": false, "privacy": "private", "everyNthFrame": 1,
            "frameRange": [0, 29], "audioCodec": null, "deleteAfter": null, "numberOfGifLoops": null,
            "downloadBehavior": {"type": "play-in-browser"}, "audioBitrate": null, "muted": false,
            "metadata": null, "functionName": "f", "rendererFunctionName": "f",
            "dimensions": {"width": 320, "height": 180}, "scale": 1,
        },
    });
    change(&mut document);
    (format!("renders/{id}/progress.json"), document.to_string())
}

fn failed(document: &mut Value) {
    document["errors"] = json!([{
        "type": "renderer", "message": "no such slide: 17", "name": "Error", "stack": "Error: no such slide: 17",
        "frame": 17, "chunk": 1, "isFatal": true, "attempt": 1, "willRetry": false, "totalAttempts": 1, "tmpDir": null,
    }]);
}

fn done(document: &mut Value) {
    document["postRenderData"] = json!({
        "cost": {
            "currency": "USD", "disclaimer": "", "estimatedCost": 0.002, "estimatedDisplayCost": "$0.002",
        },
        "outputFile": "https://s3.us-east-1.amazonaws.com/b/films/done.mp4", "timeToFinish": 1, "errors": [],
        "startTime": 1, "endTime": 2, "outputSize": 5, "renderSize": 5, "filesCleanedUp": 0, "timeToEncode": 1,
        "timeToCleanUp": 0, "timeToRenderChunks": 1, "timeToRenderFrames": 1, "timeToCombine": 1,
        "retriesInfo": [], "mostExpensiveFrameRanges": [],
        "estimatedBillingDurationInMilliseconds": 1, "deleteAfter": null, "artifactProgress": [],
    });
}

/// What an `rmx render` that has not ended leaves behind.
fn begun() -> String {
    json!({
        "format": 1, "rmx_version": "0.1.0", "began_at": "2025-11-26T08:00:00Z", "parts": {},
        "composition": {
            "id": "Intro", "width": 320, "height": 180, "fps": [30, 1],
            "duration_in_frames": 30, "resolved_props": "{}", "default_props": "{}",
            "defaults": {
                "codec": null, "out_name": null, "image_format": null, "pixel_format": null,
                "pro_res_profile": null, "sample_rate": null,
            },
        },
        "running": {"functions": {}, "may_run_until_ms": 1},
    })
    .to_string()
}

fn farm() -> TestProject {
    let project = project();
    apply(&project);
    behind_its_back(&project, async |cloud| {
        let documents = [
            progress("dead", |document| document["timeoutTimestamp"] = json!(1)),
            progress("done", done),
            progress("failed", failed),
            progress("ended", |document| {
                failed(document);
                document["errors"][0]["name"] = json!("CancelledError");
            }),
            // Remotion's function cancels the other chunks of a render that fails.
            progress("fallen", |document| {
                failed(document);
                let mut after = document["errors"][0].clone();
                after["message"] = json!("renderMedia() got cancelled");
                document["errors"].as_array_mut().unwrap().push(after);
            }),
            progress("going", |_| {}),
            progress("picture", |document| {
                document["renderMetadata"]["type"] = json!("still");
                document["renderMetadata"]["imageFormat"] = json!("png");
                document["renderMetadata"]["outName"] = Value::Null;
            }),
            progress("sketch", |document| {
                document["renderMetadata"]["type"] = json!("still");
                document["renderMetadata"]["imageFormat"] = json!("png");
            }),
            ("renders/picture/out.png".to_owned(), "picture".to_owned()),
            progress("stubborn", |document| {
                document["cancellationEnabled"] = json!(false);
            }),
            ("renders/broken/render.json".to_owned(), "{}".to_owned()),
            ("renders/torn/progress.json".to_owned(), "{\"chu".to_owned()),
            ("renders/mine/render.json".to_owned(), begun()),
            ("renders/done/artifacts/a.txt".to_owned(), "a".to_owned()),
            ("films/done.mp4".to_owned(), "video".to_owned()),
            ("films/other.mp4".to_owned(), "video".to_owned()),
        ];
        for (key, text) in documents {
            put(&cloud, &key, text).await;
        }
    });
    project
}

#[track_caller]
fn renders(project: &TestProject, arguments: &[&str], status: i32) -> String {
    let arguments = [&["renders"], arguments].concat();
    let output = project.rmx(&arguments).expect_status(status);
    output.to_string()
}

#[test]
fn renders_are_listed_and_shown_with_how_far_they_are() {
    let project = farm();
    assert_eq!(
        renders(&project, &["list"], 0),
        "\
broken    unfinished      -  -                     -
dead      dead         55 %  2025-11-26T08:00:00Z  Intro
done      done        100 %  2025-11-26T08:00:00Z  Intro
ended     cancelled    55 %  2025-11-26T08:00:00Z  Intro
failed    failed       55 %  2025-11-26T08:00:00Z  Intro
fallen    failed       55 %  2025-11-26T08:00:00Z  Intro
going     running      55 %  2025-11-26T08:00:00Z  Intro
mine      unfinished      -  2025-11-26T08:00:00Z  Intro
picture   still       100 %  2025-11-26T08:00:00Z  Intro
sketch    running      55 %  2025-11-26T08:00:00Z  Intro
stubborn  running      55 %  2025-11-26T08:00:00Z  Intro
torn      unreadable      -  -                     -
"
    );
    let torn = renders(&project, &["show", "torn"], 0);
    assert!(
        torn.contains("renders/torn/progress.json cannot be read"),
        "{torn}"
    );
    let watched = renders(&project, &["watch", "torn"], 1);
    assert!(
        watched.contains("The render torn is unreadable"),
        "{watched}"
    );
    assert!(renders(&project, &["delete", "torn", "--auto-approve"], 0).contains("torn: deleted"));
    assert_eq!(
        renders(&project, &["show", "failed"], 0),
        "\
failed: failed
composition  Intro
begun        2025-11-26T08:00:00Z
chunks       1 of 2
frames       15 of 30
error: no such slide: 17
"
    );
    let shown = renders(&project, &["show", "done"], 0);
    assert!(
        shown.contains("output       https://s3.us-east-1"),
        "{shown}"
    );
    assert!(shown.contains("cost         $0.002"), "{shown}");
    // What was written last before its end is not all of it.
    let whole = "chunks       2 of 2\nframes       30 of 30\n";
    assert!(shown.contains(whole), "{shown}");
    let picture = renders(&project, &["show", "picture"], 0);
    let address =
        format!("output       https://s3.us-east-1.amazonaws.com/{BUCKET}/renders/picture/out.png");
    assert!(picture.contains(&address), "{picture}");
    assert!(!picture.contains("chunks"), "{picture}");
    // Nobody has drawn it yet.
    let sketch = renders(&project, &["show", "sketch"], 0);
    assert!(!sketch.contains("output"), "{sketch}");
    assert!(sketch.contains("dead from    5138-11-16T"), "{sketch}");
    let mine = renders(&project, &["show", "mine"], 0);
    for part in [
        "composition  Intro",
        "begun        2025-11-26T08:00:00Z",
        "with --resume mine",
        "`rmx renders delete mine`",
    ] {
        assert!(mine.contains(part), "{mine}");
    }
    let done = project.rmx(&["renders", "watch", "done"]).expect_status(0);
    assert_eq!(
        done.stdout,
        "https://s3.us-east-1.amazonaws.com/b/films/done.mp4\n"
    );
    assert!(done.stderr.contains("done        100 %"), "{done}");
    for (id, says) in [
        ("failed", "no such slide: 17"),
        ("fallen", "no such slide: 17"),
        ("dead", "not been heard of"),
        ("mine", "--resume mine"),
    ] {
        let watched = renders(&project, &["watch", id], 1);
        assert!(watched.contains(says), "{watched}");
    }
    let absent = renders(&project, &["show", "absent"], 1);
    assert!(absent.contains("rmx renders list"), "{absent}");
    let listed = renders(&project, &["list", "--json"], 0);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[2]["cost_usd"], 0.002);
    assert_eq!(listed[2]["dead_from"], Value::Null);
    assert!(listed[6]["dead_from"].is_string(), "{listed}");
    assert_eq!(listed[4]["errors"][0]["frame"], 17);
    assert_eq!(listed[4]["chunks"], json!({ "done": 1, "total": 2 }));
    assert_eq!(listed[4]["frames"], json!({ "done": 15, "total": 30 }));
    assert_eq!(listed[0]["composition"], Value::Null);
    assert_eq!(listed[7]["composition"], "Intro");
    assert_eq!(listed[8]["chunks"], Value::Null);
}

#[test]
fn only_what_goes_on_is_cancelled_and_only_what_has_ended_is_deleted() {
    let project = farm();
    let told = renders(&project, &["cancel", "going", "--json"], 0);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told, json!({ "id": "going", "cancelling": true }));
    let stubborn = renders(&project, &["cancel", "stubborn"], 1);
    assert!(stubborn.contains("enableCancellation"), "{stubborn}");
    for (id, says) in [
        ("done", ["It is done.", "rmx renders show done"]),
        ("failed", ["It is failed.", "rmx renders resume failed"]),
        ("dead", ["It is dead.", "rmx renders resume dead"]),
        ("ended", ["It is cancelled.", "rmx renders resume ended"]),
        ("mine", ["It is unfinished.", "press Ctrl-C there"]),
    ] {
        let over = renders(&project, &["cancel", id], 1);
        assert!(says.iter().all(|part| over.contains(part)), "{over}");
    }

    let running = renders(&project, &["delete", "going", "--auto-approve"], 1);
    assert!(running.contains("rmx renders cancel going"), "{running}");
    let asked = renders(&project, &["delete", "done"], 64);
    assert!(
        asked.contains("Delete 3 objects of the render done?"),
        "{asked}"
    );
    assert!(asked.contains("--auto-approve"), "{asked}");
    for id in [
        "broken", "done", "ended", "failed", "mine", "picture", "torn",
    ] {
        let told = renders(&project, &["delete", id, "--auto-approve", "--json"], 0);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told, json!({ "id": id, "deleted": true }));
    }
    behind_its_back(&project, async |cloud| {
        let bucket = BUCKET.parse().unwrap();
        let mut keys = cloud.list_objects(&bucket, "renders/").await.unwrap();
        keys.extend(cloud.list_objects(&bucket, "films/").await.unwrap());
        let keys: Vec<&str> = keys.iter().map(|object| &object.key[..]).collect();
        assert_eq!(
            keys,
            [
                "renders/dead/progress.json",
                "renders/fallen/progress.json",
                "renders/going/cancel.json",
                "renders/going/progress.json",
                "renders/sketch/progress.json",
                "renders/stubborn/progress.json",
                "films/other.mp4",
            ]
        );
    });
}

#[test]
fn only_what_an_orchestrator_did_not_finish_is_taken_up_and_by_a_cloud_that_lasts() {
    let project = farm();
    let nobody = renders(&project, &["resume", "failed"], 1);
    assert!(nobody.contains("rmx local serve"), "{nobody}");
    let detached = project.rmx(&[
        "render",
        "Intro",
        "--detach",
        "--site",
        "http://127.0.0.1:1",
    ]);
    let detached = detached.expect_status(1).to_string();
    assert!(detached.contains("rmx local serve"), "{detached}");

    let _serve = Serve::start(&project);
    for (id, says) in [
        ("going", ["It is running.", "rmx renders watch going"]),
        ("done", ["It is done.", "rmx renders show done"]),
        ("mine", ["by `rmx render`", "--resume mine"]),
        // As one of an older rmx.
        ("failed", ["is not at s3://", "begin it anew"]),
    ] {
        let refused = renders(&project, &["resume", id], 1);
        let said = says.iter().all(|part| refused.contains(part));
        assert!(said, "{id}: {refused}");
    }
    behind_its_back(&project, async |cloud| {
        let launch = json!({
            "renderId": "failed", "bucketName": BUCKET, "functionName": "rmx-hello", "functionVersion": "77",
            "request": {
                "serveUrl": "site", "composition": "Intro", "codec": "h264", "privacy": "no-acl",
                "inputProps": {"type": "payload", "payload": "{}"}, "envVariables": {"TOKEN": ""},
                "webhook": {"url": "https://example.com", "secret": ""},
            },
        });
        put(&cloud, "renders/failed/launch.json", launch.to_string()).await;
    });
    let told = renders(&project, &["resume", "failed"], 64);
    assert!(
        told.contains("variables TOKEN") && told.contains("--env-file"),
        "{told}"
    );
    project.write("page.env", "TOKEN=abc\nOTHER=def\n");
    let resume = ["resume", "failed", "--env-file", "page.env"];
    let told = renders(&project, &resume, 64);
    assert!(told.contains("--webhook-secret"), "{told}");
    let resume = [&resume[..], &["--webhook-secret", "s"]].concat();
    let gone = renders(&project, &resume, 1);
    assert!(
        gone.contains("version 77 of the function rmx-hello"),
        "{gone}"
    );
    let still = renders(&project, &["show", "failed"], 0);
    assert!(still.starts_with("failed: failed"), "{still}");
}
