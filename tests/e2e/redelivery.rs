//! Events of an orchestrator that Lambda delivers twice, or again after it died at its very end.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rmx::cloud::Cloud;
use rmx::local::{Faults, Running};
use rmx::names::{BucketName, FunctionName};
use rmx::render::launch_key;
use serde_json::{Value, json};

use crate::failures::nasty;
use crate::farm::{self, Farm};

/// A farm on an embedded cloud of the test's own, and a receiver of its webhooks.
struct Scene {
    cloud: Cloud,
    faults: Faults,
    running: Running,
    farm: Farm,
    bucket: BucketName,
    function: FunctionName,
    version: String,
    receiver: String,
    letters: Arc<AtomicU32>,
    _site: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let site = nasty();
        let farm = Farm::of(site.path());
        let faults = Faults::default();
        let running = farm.cloud(&faults).await;
        let cloud = farm::connected(&running).await;
        let (receiver, letters) = receiver();
        let mut scene = Self {
            cloud,
            faults,
            running,
            farm,
            bucket: "rmx-farm-000000000000-us-east-1".parse().unwrap(),
            function: "rmx-farm".parse().unwrap(),
            version: String::new(),
            receiver,
            letters,
            _site: site,
        };
        let info = scene.ask(json!({ "type": "info" })).await;
        scene.version = info["version"].as_str().unwrap().to_owned();
        scene
    }

    async fn ask(&self, payload: Value) -> Value {
        let payload = payload.to_string().into_bytes();
        let answer = self.cloud.invoke(&self.function, "live", payload).await;
        let answer = answer.unwrap();
        assert_eq!(answer.function_error, None, "{:?}", answer.payload);
        serde_json::from_slice(&answer.payload).unwrap()
    }

    /// Begins a render; returns its id and the event of its orchestrator.
    async fn start(&self) -> (String, Value) {
        let request = json!({
            "type": "start",
            "version": self.version,
            "serveUrl": "site",
            "composition": "Plain",
            "inputProps": { "type": "payload", "payload": "{}" },
            "codec": "h264",
            "privacy": "private",
            "webhook": { "url": self.receiver, "secret": null },
        });
        let id = self.ask(request).await["renderId"]
            .as_str()
            .unwrap()
            .to_owned();
        // What it was asked for is kept, and nothing of it is a secret here.
        let key = launch_key(&id.parse().unwrap());
        let kept = self.cloud.get_object(&self.bucket, &key).await.unwrap();
        let mut launch: Value = serde_json::from_slice(&kept).unwrap();
        launch["type"] = "launch".into();
        (id, launch)
    }

    async fn struck(&self) {
        let struck = tokio::time::timeout(Duration::from_secs(120), self.faults.struck());
        struck.await.expect("the request was never made");
    }

    async fn progress(&self, id: &str) -> Value {
        let key = format!("renders/{id}/progress.json");
        let content = self.cloud.get_object(&self.bucket, &key).await.unwrap();
        serde_json::from_slice(&content).unwrap()
    }

    /// Waits until nothing but the output and what is told of it is left of the render, and a letter has come; returns what
    /// is told.
    async fn ended_well(&self, id: &str) -> Value {
        let prefix = format!("renders/{id}/");
        let expected = ["out.mp4", "progress.json"].map(|name| format!("{prefix}{name}"));
        let began = Instant::now();
        loop {
            let left = self.cloud.list_objects(&self.bucket, &prefix).await;
            let left: Vec<_> = left.unwrap().into_iter().map(|it| it.key).collect();
            if left == expected && self.letters.load(Ordering::SeqCst) > 0 {
                return self.progress(id).await;
            }
            assert!(began.elapsed().as_secs() < 120, "{left:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Something that listens for letters, and counts them.
fn receiver() -> (String, Arc<AtomicU32>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let letters = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&letters);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // A letter is shorter than what is read at once.
            let _ = stream.read(&mut [0; 64 * 1024]);
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        }
    });
    (address, letters)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_comes_twice_has_one_end() {
    let scene = Scene::new().await;
    scene.faults.hold_next("PUT", "/out.mp4");
    let (id, launch) = scene.start().await;
    scene.struck().await;
    // The first one uploads the output. All that it works with is there.
    let launched = async || scene.progress(&id).await["functionLaunched"].clone();
    let before = launched().await;
    scene.ask(launch).await;
    assert_eq!(launched().await, before, "the second told something");
    scene.faults.release();
    let last = scene.ended_well(&id).await;
    assert!(!last["postRenderData"].is_null(), "{last}");
    assert_eq!(last["errors"], json!([]));
    assert_eq!(scene.letters.load(Ordering::SeqCst), 1);
    scene.running.shutdown().await;
    scene.farm.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_dies_after_its_last_word_leaves_a_finished_render() {
    let scene = Scene::new().await;
    // What it worked with is about to be removed.
    scene.faults.hold_next("POST", "?delete");
    let (id, launch) = scene.start().await;
    scene.struck().await;
    let told = scene.progress(&id).await;
    scene.farm.kill_workers();
    assert!(!told["postRenderData"].is_null(), "{told}");
    assert_eq!(scene.letters.load(Ordering::SeqCst), 0);
    scene.ask(launch).await;
    assert_eq!(scene.ended_well(&id).await, told);
    scene.running.shutdown().await;
    scene.farm.assert_quiet();
}
