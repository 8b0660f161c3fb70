//! Renders that Remotion's function drives, with documents as it writes them.

use super::*;
use crate::cli::farm::embedded_for_tests;
use crate::cli::ui::Ui;
use crate::cloud::PutOptions;
use crate::local::{Fault, FaultKind, Faults, Moment};

/// A farm with a bucket in which there are objects of one render.
struct Stage {
    farm: Farm,
    faults: Faults,
    ui: Ui,
    bucket: BucketName,
    id: RenderId,
    folder: tempfile::TempDir,
}

impl Stage {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let faults = Faults::default();
        let farm = embedded_for_tests(folder.path(), &faults).await;
        let bucket = "rmx-test-bucket".parse().unwrap();
        farm.cloud.create_bucket(&bucket).await.unwrap();
        Self {
            farm,
            faults,
            bucket,
            ui: Ui::plain(),
            id: "abcdefghij".parse().unwrap(),
            folder,
        }
    }

    fn driven(&self, unseen_max: Duration) -> Driven<'_> {
        Driven {
            ui: &self.ui,
            farm: &self.farm,
            bucket: &self.bucket,
            id: &self.id,
            unseen_max,
        }
    }

    async fn write(&self, key: &str, content: String) {
        let options = PutOptions::default();
        let put = self
            .farm
            .cloud
            .put_object(&self.bucket, key, content.into(), &options);
        put.await.unwrap();
    }

    /// How a render ends whose document becomes each of `documents` in turn.
    async fn followed(
        &self,
        documents: &[&str],
        unseen_max: Duration,
        cancel: &CancellationToken,
    ) -> String {
        let key = progress::key(&self.id);
        self.write(&key, documents[0].to_owned()).await;
        let later = async {
            for document in &documents[1..] {
                sleep(PAUSE * 2).await;
                self.write(&key, (*document).to_owned()).await;
            }
        };
        let driven = self.driven(unseen_max);
        let following = driven.follow(cancel, |_: RenderEvent<'_>| {});
        let following = tokio::time::timeout(Duration::from_secs(60), following);
        let (followed, ()) = tokio::join!(following, later);
        followed.unwrap().unwrap_err().render(&Ui::plain())
    }

    async fn objects(&self) -> usize {
        let left = self.farm.cloud.list_objects(&self.bucket, "").await;
        left.unwrap().len()
    }
}

fn running() -> Progress {
    Progress {
        timeout_timestamp: now_ms() + 600_000,
        ..Progress::default()
    }
}

fn text(progress: &Progress) -> String {
    serde_json::to_string(progress).unwrap()
}

/// As Remotion's function writes it at the end.
fn done() -> String {
    let mut document = serde_json::to_value(running()).unwrap();
    let mut end = json!({
        "cost": { "currency": "USD", "disclaimer": "", "estimatedCost": 0.0, "estimatedDisplayCost": "" },
        "outputFile": "", "errors": [], "retriesInfo": [], "mostExpensiveFrameRanges": [],
        "deleteAfter": null, "artifactProgress": [],
    });
    for number in [
        "timeToFinish",
        "startTime",
        "endTime",
        "outputSize",
        "renderSize",
        "filesCleanedUp",
        "timeToEncode",
        "timeToCleanUp",
        "timeToRenderChunks",
        "timeToRenderFrames",
        "timeToCombine",
        "estimatedBillingDurationInMilliseconds",
    ] {
        end[number] = 0.into();
    }
    document["postRenderData"] = end;
    document.to_string()
}

#[tokio::test]
async fn what_cannot_be_looked_at_for_a_moment_is_followed_to_its_end() {
    // Of 1970.
    let dead = Progress {
        timeout_timestamp: 1,
        ..Progress::default()
    };
    let stage = Stage::new().await;
    let documents = ["half a docu", &text(&running()), &text(&dead)];
    let error = stage
        .followed(&documents, UNSEEN_MAX, &CancellationToken::new())
        .await;
    assert!(error.contains("The render abcdefghij is dead"), "{error}");
    stage.farm.shutdown().await;
}

#[tokio::test]
async fn what_cannot_be_looked_at_any_more_is_said_to_go_on_where_it_does() {
    let mut stage = Stage::new().await;
    let never = CancellationToken::new();
    let here = stage.followed(&["half a docu"], Duration::ZERO, &never);
    let here = here.await;
    assert!(here.contains("The render abcdefghij was ended"), "{here}");
    assert_eq!(stage.objects().await, 0);

    // As if it were served by another process.
    let running = stage.farm.local.take().unwrap();
    let elsewhere = stage.followed(&["half a docu"], Duration::ZERO, &never);
    let elsewhere = elsewhere.await;
    for says in ["The render abcdefghij goes on", "renders watch abcdefghij"] {
        assert!(elsewhere.contains(says), "{elsewhere}");
    }
    assert_eq!(stage.objects().await, 1);
    running.shutdown().await;
}

#[tokio::test]
async fn on_the_embedded_cloud_nothing_is_left_of_a_cancelled_render() {
    let stage = Stage::new().await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = stage
        .followed(&[&text(&running())], UNSEEN_MAX, &cancel)
        .await;
    assert!(error.contains("abcdefghij was cancelled"), "{error}");
    assert_eq!(stage.objects().await, 0);
    stage.farm.shutdown().await;
}

#[tokio::test]
async fn a_render_elsewhere_is_told_to_end() {
    let mut stage = Stage::new().await;
    let running_cloud = stage.farm.local.take().unwrap();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let error = stage
        .followed(&[&text(&running())], UNSEEN_MAX, &cancel)
        .await;
    assert!(error.contains("renders delete abcdefghij"), "{error}");
    let key = progress::cancel_key(&stage.id);
    let told = stage.farm.cloud.head_object(&stage.bucket, &key).await;
    assert!(told.unwrap().is_some());
    running_cloud.shutdown().await;
}

#[tokio::test]
async fn a_video_that_is_here_is_rendered_whatever_stays_in_the_bucket() {
    let stage = Stage::new().await;
    let mut last_call = None;
    // The second time the last call, which clears away, is refused.
    for left in [0, 1] {
        stage.write(&progress::key(&stage.id), done()).await;
        let video = progress::output_key(&stage.id, "out.mp4");
        stage.write(&video, "a video".to_owned()).await;
        stage.faults.schedule(last_call.map(|call| Fault {
            call,
            moment: Moment::Before,
            kind: FaultKind::Denied,
        }));
        let path = stage.folder.path().join("out.mp4");
        let output = OutputFile::create(&path, true).unwrap();
        let mut warnings = 0;
        let driven = stage.driven(UNSEEN_MAX);
        let brought = driven
            .bring(
                "out.mp4",
                output,
                stage.folder.path(),
                &CancellationToken::new(),
                |event| {
                    warnings += usize::from(matches!(event, RenderEvent::NotCleaned { .. }));
                },
            )
            .await;
        assert_eq!(brought.unwrap().size_bytes, 7);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "a video");
        last_call = Some(stage.faults.calls());
        stage.faults.schedule(None);
        assert_eq!((warnings, stage.objects().await), (left, left));
    }
    stage.farm.shutdown().await;
}
