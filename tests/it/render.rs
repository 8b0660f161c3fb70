//! The render room against the embedded cloud, with a worker that crashes, stalls and loses answers when it is told to.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use rmx::cloud::{Cloud, Connection, FunctionCode, FunctionSettings, StaticCredentials};
use rmx::digest::Digest;
use rmx::local::LocalOptions;
use rmx::media::{Codec, ColorSpace, Container};
use rmx::names::{BucketName, Region, RenderId};
use rmx::protocol::SiteLocation;
use rmx::render::chunks::ChunkLength;
use rmx::render::dispatch::{Session, Workers};
use rmx::render::invocation::WorkerFunction;
use rmx::render::output::OutputFile;
use rmx::render::request::{
    CaptureOptions, EncodeOptions, Overrides, PageOptions, RenderOptions, RenderRequest,
    SoundOptions,
};
use rmx::render::scheduler::{ChunkFailure, RenderFailure};
use rmx::render::{RenderError, RenderEvent, RenderJob, RenderOutput, new_render_id, render};
use rmx::resource::{
    Address, BucketSpec, FunctionSpec, Resource, ResourceKind, RoleReference, RoleSpec,
};
use rmx::state::{CloudIdentity, Holder, Record, RecordStatus, StateStore};
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::TestProject;
use crate::support::cloud::{TestCloud, make_bucket};

const WORKER: &str = include_str!("render/worker.py");

/// A deployed worker and somewhere to put videos.
struct Scene {
    cloud: Cloud,
    workers: Workers,
    folder: TempDir,
    running: TestCloud,
}

/// Thirty frames in chunks of ten.
fn request(composition: &str, props: &serde_json::Value) -> RenderRequest {
    RenderRequest::new(RenderOptions {
        composition: composition.to_owned(),
        page: PageOptions {
            site: SiteLocation::Url("http://localhost/".to_owned()),
            input_props: props.to_string(),
            environment: BTreeMap::new(),
            timeout_ms: 30_000,
            browser: Default::default(),
        },
        overrides: Overrides::default(),
        frames: None,
        every_nth_frame: 1,
        chunk_length: ChunkLength::Frames(10),
        capture: CaptureOptions {
            method: None,
            image_format: None,
            jpeg_quality: 80,
            scale: 1.0,
            muted: false,
        },
        encode: EncodeOptions {
            codec: Codec::H264,
            container: Container::Mp4,
            crf: None,
            video_bitrate: None,
            buffer_size: None,
            max_rate: None,
            x264_preset: None,
            pro_res_profile: None,
            pixel_format: None,
            color_space: ColorSpace::Default,
            gop_size: None,
            gif_loops: None,
            metadata: BTreeMap::new(),
        },
        sound: SoundOptions::default(),
        retries_per_chunk: 1,
    })
    .unwrap()
}

/// Makes a bucket, a role and a function that runs `bootstrap` in the account `account`.
async fn deploy(cloud: &Cloud, account: &str, bootstrap: &str) -> Workers {
    let bucket = make_bucket(cloud, "renders").await;
    let role = RoleSpec {
        name: "worker".parse().unwrap(),
        path: "/".to_owned(),
        permissions_boundary: None,
        trust_policy: rmx::resource::role::trust_policy(),
        policy: json!({ "Version": "2012-10-17", "Statement": [
            { "Effect": "Allow", "Action": "s3:*", "Resource": "*" },
        ]}),
        other_policies: BTreeMap::new(),
        attached_policies: std::collections::BTreeSet::new(),
    };
    cloud.create_role(&role, &BTreeMap::new()).await.unwrap();
    // Functions are held to it.
    let put = cloud.put_role_policy(&role.name, &role.policy);
    put.await.unwrap();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let executable = zip::write::SimpleFileOptions::default().unix_permissions(0o755);
    zip.start_file("bootstrap", executable).unwrap();
    zip.write_all(bootstrap.as_bytes()).unwrap();
    let zip = zip.finish().unwrap().into_inner();
    let digest = Digest::of(&zip);
    let settings = FunctionSettings {
        role_arn: format!("arn:aws:iam::{account}:role/worker"),
        runtime: "provided.al2023".to_owned(),
        handler: "bootstrap".to_owned(),
        architecture: match std::env::consts::ARCH {
            "aarch64" => "arm64".to_owned(),
            other => other.to_owned(),
        },
        memory_mb: 512,
        timeout_s: 60,
        disk_mb: 512,
        environment: BTreeMap::new(),
        layers: Vec::new(),
        subnet_ids: Vec::new(),
        security_group_ids: Vec::new(),
        log_group: "/aws/lambda/worker".to_owned(),
        code_sha256: Some(digest),
    };
    let name = "worker".parse().unwrap();
    let code = FunctionCode::Inline(zip.into());
    cloud
        .create_function(&name, &settings, &code, &BTreeMap::new())
        .await
        .unwrap();
    let now = cloud.settled_function(&name).await.unwrap().unwrap();
    let version = cloud
        .publish_version(&name, &digest, &now.revision_id)
        .await
        .unwrap();
    cloud
        .settled_version(&name, &version)
        .await
        .unwrap()
        .unwrap();
    Workers {
        functions: vec![WorkerFunction { name, version }],
        bucket,
        timeout_s: 60,
        concurrency_max: 3,
    }
}

impl Scene {
    async fn new(bootstrap: &str) -> Self {
        let running = TestCloud::start().await;
        let cloud = running.connect().await;
        Self {
            workers: deploy(&cloud, "123456789012", bootstrap).await,
            cloud,
            folder: tempfile::tempdir().unwrap(),
            running,
        }
    }

    /// Its chunks are rendered one after another: those before a failing one are done then.
    fn one_at_a_time(mut self) -> Self {
        self.workers.concurrency_max = 1;
        self
    }

    fn output(&self) -> PathBuf {
        self.folder.path().join("out.mp4")
    }

    /// Renders thirty frames in chunks of ten.
    async fn render(
        &self,
        composition: &str,
        props: serde_json::Value,
        id: &RenderId,
        resume: bool,
    ) -> Result<RenderOutput, RenderError> {
        let output = self.output();
        self.render_to(&output, composition, props, id, resume)
            .await
    }

    async fn render_to(
        &self,
        output: &Path,
        composition: &str,
        props: serde_json::Value,
        id: &RenderId,
        resume: bool,
    ) -> Result<RenderOutput, RenderError> {
        let request = request(composition, &props);
        let job = RenderJob {
            id: id.clone(),
            resume,
            keep_segments: false,
            output: OutputFile::create(output, true).unwrap(),
            ffmpeg: None,
            artifacts_folder: output.with_extension("artifacts"),
        };
        let cancel = CancellationToken::new();
        let session = Session {
            cloud: &self.cloud,
            workers: &self.workers,
            cancel: &cancel,
        };
        render(&request, job, "a test", session, |_| {}).await
    }

    async fn objects(&self) -> Vec<String> {
        let bucket: &BucketName = &self.workers.bucket;
        let objects = self.cloud.list_objects(bucket, "renders/").await.unwrap();
        objects.into_iter().map(|object| object.key).collect()
    }
}

/// Frames in a video, counted by decoding it.
pub(crate) fn frame_count(path: &Path) -> String {
    let output = std::process::Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-show_entries"])
        .args(["stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(path)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn crashes_stalls_and_lost_answers_are_survived() {
    let scene = Scene::new(WORKER).await;
    let faults = json!({ "faults": { "0:1": "crash", "1:1": "lost answer", "2:1": "stall" } });
    let id = new_render_id();
    let output = scene.render("Title", faults, &id, false).await.unwrap();
    assert_eq!(frame_count(&scene.output()), "30");
    assert_eq!((output.frame_count, output.chunks), (30, 3));
    assert_eq!((output.retries, output.backups), (2, 1));
    assert_eq!(output.captured.framebuffer_chunks, 3, "as the workers say");
    assert_eq!(
        std::fs::metadata(scene.output()).unwrap().len(),
        output.size_bytes
    );
    assert_eq!(scene.objects().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_dies_uploading_leaves_nothing_and_the_first_goes_on() {
    let scene = Scene::new(WORKER).await;
    let faults = json!({
        "faults": { "2:1": "waits for its twin", "2:2": "dies uploading" },
        "twin": scene.folder.path().join("twin"),
    });
    let id = new_render_id();
    let output = scene.render("Title", faults, &id, false).await.unwrap();
    assert!(scene.folder.path().join("twin").exists(), "there was one");
    assert_eq!(frame_count(&scene.output()), "30");
    assert_eq!((output.frame_count, output.chunks), (30, 3));
    assert!(output.backups >= 1, "{output:?}");
    assert_eq!(scene.objects().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_render_is_taken_up_where_it_failed() {
    let scene = Scene::new(WORKER).await.one_at_a_time();
    let props = json!({
        "faults": { "2:1": "page error" },
        "marker": scene.folder.path().join("marker"),
    });
    let id = new_render_id();
    let error = scene
        .render("Title", props.clone(), &id, false)
        .await
        .unwrap_err();
    let RenderError::Work {
        frames, failure, ..
    } = error
    else {
        panic!("{error:?}")
    };
    assert_eq!(frames.unwrap().to_string(), "20-29");
    let RenderFailure::Chunk {
        attempts, failure, ..
    } = *failure
    else {
        panic!("{failure:?}")
    };
    let ChunkFailure::Task(task) = *failure else {
        panic!("{failure:?}")
    };
    assert_eq!((attempts, task.frame), (1, Some(21)));
    assert_eq!(task.message, "no such image");
    assert_eq!(task.stack.as_deref(), Some("at page.js:1"));
    // No half of a video is left, and the segments stay.
    let marker = "marker".to_owned();
    let files = std::fs::read_dir(scene.folder.path()).unwrap();
    let files: Vec<_> = files
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(files, [marker]);
    assert_eq!(
        scene.objects().await.len(),
        3,
        "{:?}",
        scene.objects().await
    );

    let other = json!({ "faults": {} });
    let error = scene.render("Title", other, &id, true).await.unwrap_err();
    assert!(
        error.to_string().ends_with("other values: props differ"),
        "{error}"
    );
    let output = scene.render("Title", props, &id, true).await.unwrap();
    assert_eq!((output.chunks, output.chunks_resumed), (3, 2));
    assert_eq!(frame_count(&scene.output()), "30");
    assert_eq!(scene.objects().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_of_one_render_the_second_is_refused_by_name() {
    let scene = Scene::new(WORKER).await;
    let id = new_render_id();
    let waits = json!({ "waits": scene.folder.path().join("go on") });
    let first = scene.render("Title", waits.clone(), &id, false);
    let others = async {
        while scene.objects().await.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        let [a, b] = ["a.mp4", "b.mp4"].map(|name| scene.folder.path().join(name));
        let (a, b) = tokio::join!(
            scene.render_to(&a, "Title", waits.clone(), &id, true),
            scene.render_to(&b, "Title", waits.clone(), &id, true),
        );
        for refused in [a, b] {
            let error = refused.unwrap_err();
            assert!(matches!(error, RenderError::Busy { .. }), "{error:?}");
            assert!(error.to_string().starts_with("a test since "), "{error}");
        }
        std::fs::write(scene.folder.path().join("go on"), "").unwrap();
    };
    let (first, ()) = tokio::join!(first, others);
    assert_eq!(first.unwrap().frame_count, 30);
    assert_eq!(scene.objects().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_render_whose_run_died_is_taken_up_and_the_run_cannot_tidy_up_any_more() {
    let scene = Scene::new(WORKER).await;
    let id = new_render_id();
    let waits = json!({ "waits": scene.folder.path().join("go on") });
    // A lease that nobody renews.
    let key = format!("renders/{id}/lease.json");
    let lease = json!({ "run": "x", "holder": "the dead", "since": "then", "renewals": 3 });
    let lease = serde_json::to_vec(&lease).unwrap();
    let (cloud, bucket) = (&scene.cloud, &scene.workers.bucket);
    let put = async || {
        let options = rmx::cloud::PutOptions::default();
        let put = cloud.put_object(bucket, &key, lease.clone().into(), &options);
        put.await.unwrap();
    };
    put().await;
    let began = std::time::Instant::now();
    let first = scene.render("Title", waits, &id, false);
    let other = async {
        // Until the dead one's lease has been taken over and the work has begun.
        while scene.objects().await.len() < 2 {
            assert!(began.elapsed().as_secs() < 120, "it was never taken over");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        // A renewal hangs. Now somebody takes the lease from that run, and holds on to it.
        let faults = scene.running.faults();
        faults.hold_next("PUT", &key);
        let struck = tokio::time::timeout(std::time::Duration::from_secs(60), faults.struck());
        struck.await.expect("the lease is not renewed");
        put().await;
        std::fs::write(scene.folder.path().join("go on"), "").unwrap();
    };
    let (first, ()) = tokio::join!(first, other);
    let error = first.unwrap_err();
    assert!(matches!(error, RenderError::TakenOver(_)), "{error:?}");
    let left = scene.objects().await;
    assert!(left.contains(&key) && left.len() == 5, "{left:?}");
    assert!(!scene.output().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_artifact_that_cannot_be_written_costs_no_video() {
    let scene = Scene::new(WORKER).await.one_at_a_time();
    let props = json!({
        "faults": { "2:1": "page error" },
        "marker": scene.folder.path().join("marker"),
    });
    let id = new_render_id();
    let render = async |resume| scene.render("Title", props.clone(), &id, resume).await;
    render(false).await.unwrap_err();
    let key = format!("renders/{id}/artifacts/0000003/data/words.txt");
    let (bucket, options) = (&scene.workers.bucket, rmx::cloud::PutOptions::default());
    let put = scene
        .cloud
        .put_object(bucket, &key, "words".into(), &options);
    put.await.unwrap();
    // A file is where its folder should be.
    let folder = scene.output().with_extension("artifacts");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("data"), "").unwrap();
    let error = render(true).await.unwrap_err();
    let RenderError::WithoutArtifacts { video, .. } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(frame_count(video), "30");
    assert!(scene.objects().await.contains(&key));
    std::fs::remove_file(folder.join("data")).unwrap();
    let output = render(true).await.unwrap();
    assert_eq!(output.artifacts[0].path, folder.join("data/words.txt"));
    assert_eq!(scene.objects().await, [] as [&str; 0]);
}

/// A slow line takes minutes for them, and workers that were not even asked must not be given up.
#[tokio::test(flavor = "multi_thread")]
async fn no_worker_is_waited_for_while_its_long_props_are_on_their_way() {
    let scene = Scene::new(WORKER).await;
    let request = request("Title", &json!({ "text": "long ".repeat(100_000) }));
    let job = RenderJob {
        id: new_render_id(),
        resume: false,
        keep_segments: false,
        output: OutputFile::create(&scene.output(), true).unwrap(),
        ffmpeg: None,
        artifacts_folder: scene.folder.path().join("artifacts"),
    };
    let cancel = CancellationToken::new();
    let session = Session {
        cloud: &scene.cloud,
        workers: &scene.workers,
        cancel: &cancel,
    };
    let running = std::sync::atomic::AtomicU32::new(0);
    let on_event = |event: RenderEvent<'_>| {
        if let RenderEvent::Progress(now) = event {
            running.fetch_max(now.running, std::sync::atomic::Ordering::SeqCst);
        }
    };
    let faults = scene.running.faults();
    let others = async {
        // Those of the composition, and then those of the chunks.
        for _ in 0..2 {
            faults.hold_next("PUT", "/texts/");
            let struck = faults.struck();
            let struck = tokio::time::timeout(std::time::Duration::from_secs(60), struck);
            struck.await.expect("no props are uploaded");
            assert_eq!(running.load(std::sync::atomic::Ordering::SeqCst), 0);
            faults.release();
        }
        cancel.cancel();
    };
    let rendered = render(&request, job, "a test", session, on_event);
    let (rendered, ()) = tokio::join!(rendered, others);
    assert!(rendered.is_err(), "{rendered:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_composition_is_answered_with_the_nearest() {
    let scene = Scene::new(WORKER).await;
    let error = scene
        .render("helloworld", json!({}), &new_render_id(), false)
        .await
        .unwrap_err();
    let RenderError::UnknownComposition { known, .. } = error else {
        panic!("{error:?}")
    };
    assert_eq!(known, ["HelloWorld", "Title"]);
    assert_eq!(scene.objects().await, [] as [&str; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_is_no_worker_is_recognised() {
    let other = "#!/usr/bin/env python3\n\
        import http.client, os\n\
        api = os.environ['AWS_LAMBDA_RUNTIME_API']\n\
        while True:\n\
        \x20   c = http.client.HTTPConnection(api)\n\
        \x20   c.request('GET', '/2018-06-01/runtime/invocation/next')\n\
        \x20   job = c.getresponse()\n\
        \x20   job.read()\n\
        \x20   path = f\"/2018-06-01/runtime/invocation/{job.headers['Lambda-Runtime-Aws-Request-Id']}/response\"\n\
        \x20   c.request('POST', path, b'{\"statusCode\": 200}')\n\
        \x20   c.getresponse().read()\n";
    let scene = Scene::new(other).await;
    let error = scene
        .render("Title", json!({}), &new_render_id(), false)
        .await
        .unwrap_err();
    let RenderError::Work { failure, .. } = error else {
        panic!("{error:?}")
    };
    let text = format!("{failure:?}");
    assert!(
        text.contains("Protocol") && text.contains("statusCode"),
        "{text}"
    );
}

/// A project whose state says that a worker is deployed, as `rmx apply` would leave it.
pub(crate) async fn deployed_project() -> TestProject {
    let project = TestProject::new();
    project.write("remotion.toml", "project = \"films\"\n");
    let account = "000000000000";
    let region: Region = "us-east-1".parse().unwrap();
    let surroundings = rmx::env::Env::read().unwrap();
    let options = LocalOptions {
        directory: project.path().join(".rmx/local"),
        account: account.parse().unwrap(),
        region: region.clone(),
        faults: Default::default(),
        isolation: None,
        node: None,
        worker_environment: BTreeMap::from([(
            "PATH".to_owned(),
            surroundings.variables["PATH"].clone(),
        )]),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .unwrap();
    let running = rmx::local::start(options, listener).await.unwrap();
    let cloud = Cloud::connect(&Connection {
        region: region.clone(),
        endpoint_url: Some(running.endpoint_url().to_owned()),
        credentials: Some(StaticCredentials {
            access_key_id: running.credentials().access_key_id.clone(),
            secret_access_key: running.credentials().secret_access_key.clone(),
            session_token: None,
        }),
        timeouts: Default::default(),
    })
    .await;
    let workers = deploy(&cloud, account, WORKER).await;
    running.shutdown().await;

    let function = &workers.functions[0];
    let record = |applied, outputs: &[(&str, &str)]| Record {
        applied,
        outputs: outputs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        status: RecordStatus::Complete,
        protect: false,
        releases: Vec::new(),
    };
    let bucket = Resource::Bucket(BucketSpec {
        name: workers.bucket.clone(),
        expire_renders_days: None,
        abort_uploads_days: None,
        expire_days: BTreeMap::new(),
        block_public_access: true,
        owner_enforced: true,
        public_read: false,
    });
    let worker = Resource::Function(FunctionSpec {
        name: function.name.clone(),
        role: RoleReference::Arn("arn".to_owned()),
        runtime: "provided.al2023".to_owned(),
        handler: "bootstrap".to_owned(),
        runtime_version_arn: None,
        architecture: "x86_64".to_owned(),
        memory_mb: 512,
        timeout_s: 60,
        disk_mb: 512,
        environment: BTreeMap::new(),
        layers: Vec::new(),
        subnet_ids: Vec::new(),
        security_group_ids: Vec::new(),
        log_group: "/aws/lambda/worker".parse().unwrap(),
        code_sha256: Digest::of("code"),
        published: true,
    });
    let store = StateStore::new(project.path(), &"films".parse().unwrap(), None);
    let holder = Holder {
        id: "test".to_owned(),
        who: "test".to_owned(),
        host: "test".to_owned(),
        pid: std::process::id(),
        since: String::new(),
        command: "test".to_owned(),
        ci_job: None,
    };
    let mut store = store.lock(&holder).await.unwrap();
    let mut state = store.state().clone();
    state.deployed_to = Some(CloudIdentity {
        account: account.parse().unwrap(),
        region,
    });
    state.records.insert(
        Address::new(ResourceKind::Bucket, "main"),
        record(bucket, &[]),
    );
    state.records.insert(
        Address::new(ResourceKind::Function, "worker"),
        record(worker, &[("version", &function.version)]),
    );
    store.save(&mut state).await.unwrap();
    project
}

#[tokio::test(flavor = "multi_thread")]
async fn the_verbs_render_and_say_what_they_did() {
    let project = deployed_project().await;
    let site = ["--site", "http://localhost/", "--frames-per-lambda", "10"];
    let run = |arguments: &[&str]| project.rmx(&[arguments, &site].concat());
    let output = run(&["render", "Title"]).expect_status(0);
    assert_eq!(output.stdout, "out/Title.mp4\n");
    assert!(output.stderr.contains("30 frames"), "{output}");
    assert_eq!(frame_count(&project.path().join("out/Title.mp4")), "30");

    let output = run(&["render", "Title", "b.mp4", "--json", "--frames", "5-14"]).expect_status(0);
    let events: Vec<serde_json::Value> = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.last().unwrap()["type"], "render_complete");
    assert_eq!(events.last().unwrap()["frames"], 10);

    let output = run(&["render", "title"]).expect_status(1);
    assert!(output.stderr.contains("did you mean `Title`?"), "{output}");
    let output = run(&["render", "Title", "--props", "{\"a\": }"]).expect_status(64);
    assert!(output.stderr.contains("line 1 column 7"), "{output}");
    let output = run(&["render", "Title", "--frames", "20-30"]).expect_status(64);
    assert!(output.stderr.contains("has the frames 0-29"), "{output}");
    let output = run(&["render", "Title", "--gl", "angle"]).expect_status(64);
    assert!(
        output.stderr.contains("--gl: rmx does not do this yet"),
        "{output}"
    );
    let faults = "{\"faults\": {\"1:1\": \"page error\"}}";
    let output = run(&["render", "Title", "--props", faults]).expect_status(1);
    assert!(
        output
            .stderr
            .contains("Frame 11, in the chunk 10-19 of Title")
            && output.stderr.contains("at page.js:1"),
        "{output}"
    );
    let output = project
        .rmx(&["compositions", "--site", "http://localhost/"])
        .expect_status(0);
    assert!(output.stdout.contains("HelloWorld"), "{output}");
}
