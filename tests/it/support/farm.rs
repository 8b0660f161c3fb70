//! A farm of one of each kind of resource, in an embedded cloud of its own, driven at the level of plan and apply.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use rmx::apply::{self, Applied, ApplyError, ApplyEvent, Artefacts, Completed, SaveError};
use rmx::cloud::Cloud;
use rmx::cloud::wait::Patience;
use rmx::digest::Digest;
use rmx::names::{BucketName, FunctionName};
use rmx::plan::change::{Desired, Observed, Plan};
use rmx::plan::observe::observe;
use rmx::resource::role::{WorkerAccess, policy_document, trust_policy};
use rmx::resource::{
    BucketSpec, EnvironmentSpec, FunctionSpec, LogGroupSpec, Resource, RoleReference, RoleSpec,
    SiteSpec, remotion,
};
use rmx::state::{CloudIdentity, State};
use tokio_util::sync::CancellationToken;

use super::cloud::{TestCloud, copy_folder};

/// The value of the secret environment variable.
pub(crate) const SECRET: &str = "a secret value that must not be seen";

/// A smoke render that every version passes.
#[derive(Clone)]
pub(crate) struct Smoke {
    /// Whether each version has to, and not only what follows one that has not.
    pub(crate) always: bool,
    /// Those that have.
    pub(crate) passed: Arc<Mutex<BTreeSet<String>>>,
}

/// A farm of one of each kind, and everything needed to deploy it.
pub(crate) struct Farm {
    pub(crate) test_cloud: TestCloud,
    pub(crate) cloud: Cloud,
    identity: CloudIdentity,
    folder: tempfile::TempDir,
    pub(crate) desired: Desired,
    pub(crate) state: State,
    pub(crate) force_destroy: bool,
    pub(crate) inline_code_bytes_max: u64,
    pub(crate) role_patience: Patience,
    /// What new versions have to show.
    pub(crate) smoke: Option<Smoke>,
    function_name: FunctionName,
    bucket_name: BucketName,
    /// What a killed process leaves on disk.
    saved: Arc<Mutex<State>>,
}

impl Farm {
    pub(crate) async fn new() -> Self {
        let test_cloud = TestCloud::start().await;
        let cloud = test_cloud.connect().await;
        let caller = cloud.identity().await.unwrap();
        let identity = CloudIdentity {
            account: caller.account,
            region: cloud.region().clone(),
        };
        let state = State {
            lineage: uuid::Uuid::new_v4().to_string().parse().unwrap(),
            serial: 0,
            deployed_to: None,
            records: BTreeMap::new(),
        };
        let mut farm = Self {
            test_cloud,
            cloud,
            identity,
            folder: tempfile::tempdir().unwrap(),
            desired: Desired::default(),
            saved: Arc::new(Mutex::new(state.clone())),
            state,
            force_destroy: false,
            inline_code_bytes_max: 50 * 1024 * 1024,
            role_patience: Patience::ROLE,
            smoke: None,
            function_name: "rmx-test".parse().unwrap(),
            bucket_name: "rmx-test-bucket".parse().unwrap(),
        };
        farm.declare();
        farm
    }

    /// The same farm once more, in a cloud of its own.
    pub(crate) async fn copy_of(other: &Self) -> Self {
        let test_cloud = TestCloud::copy_of(&other.test_cloud).await;
        let folder = tempfile::tempdir().unwrap();
        copy_folder(other.folder.path(), folder.path());
        Self {
            cloud: test_cloud.connect().await,
            test_cloud,
            identity: other.identity.clone(),
            folder,
            desired: other.desired.clone(),
            state: other.state.clone(),
            saved: Arc::new(Mutex::new(other.state.clone())),
            force_destroy: other.force_destroy,
            inline_code_bytes_max: other.inline_code_bytes_max,
            role_patience: other.role_patience,
            smoke: other.smoke.clone(),
            function_name: other.function_name.clone(),
            bucket_name: other.bucket_name.clone(),
        }
    }

    /// As if the process had been killed: what counts is what was saved.
    pub(crate) fn killed(&mut self) {
        self.state = self.saved.lock().unwrap().clone();
    }

    pub(crate) fn declare(&mut self) {
        let function = self.function_name.clone();
        let bucket = self.bucket_name.clone();
        let log_group = "/aws/lambda/rmx-test".parse().unwrap();
        let role = "rmx-test-role".parse().unwrap();
        let policy = policy_document(&WorkerAccess {
            account: &self.identity.account,
            region: &self.identity.region,
            bucket: &bucket,
            functions: std::slice::from_ref(&function),
            log_group: &log_group,
            log_group_managed: true,
            in_vpc: false,
        });
        let code_sha256 = self.write_code("one");
        let path = "/".to_owned();
        self.want(
            "log_group.main",
            Resource::LogGroup(LogGroupSpec {
                name: log_group.clone(),
                retention_days: Some(14),
            }),
        );
        self.want(
            "role.main",
            Resource::Role(RoleSpec {
                name: role,
                path: path.clone(),
                permissions_boundary: None,
                trust_policy: trust_policy(),
                policy,
                other_policies: std::collections::BTreeMap::new(),
                attached_policies: std::collections::BTreeSet::new(),
            }),
        );
        self.want(
            "bucket.main",
            Resource::Bucket(BucketSpec {
                name: bucket.clone(),
                expire_renders_days: Some(30),
                abort_uploads_days: Some(1),
                expire_days: rmx::resource::expiry::expire_days(),
                block_public_access: true,
                owner_enforced: true,
                public_read: false,
            }),
        );
        self.want(
            "function.worker",
            Resource::Function(FunctionSpec {
                name: function,
                role: RoleReference::Managed {
                    name: "rmx-test-role".parse().unwrap(),
                    path,
                },
                runtime: "provided.al2023".to_owned(),
                handler: "bootstrap".to_owned(),
                runtime_version_arn: None,
                architecture: "x86_64".to_owned(),
                memory_mb: 2048,
                timeout_s: 240,
                disk_mb: 2048,
                environment: BTreeMap::from([
                    ("MODE".to_owned(), EnvironmentSpec::Plain("test".to_owned())),
                    (
                        "TOKEN".to_owned(),
                        EnvironmentSpec::Secret(Digest::of(SECRET)),
                    ),
                ]),
                layers: Vec::new(),
                subnet_ids: Vec::new(),
                security_group_ids: Vec::new(),
                log_group,
                code_sha256,
                published: true,
            }),
        );
        self.want_site(&[
            ("index.html", "<h1>one</h1>"),
            ("a/app.js", "1"),
            ("b.js", "2"),
        ]);
    }

    pub(crate) fn want(&mut self, address: &str, resource: Resource) {
        self.desired
            .resources
            .insert(address.parse().unwrap(), resource);
    }

    pub(crate) fn function(&mut self) -> &mut FunctionSpec {
        let address = "function.worker".parse().unwrap();
        match self.desired.resources.get_mut(&address) {
            Some(Resource::Function(spec)) => spec,
            _ => panic!("the farm has a function"),
        }
    }

    /// Declares everything with the names that a function of Remotion's needs.
    pub(crate) fn named_for_remotion(&mut self) {
        self.function_name = "remotion-render-test".parse().unwrap();
        self.bucket_name = "remotionlambda-test".parse().unwrap();
        self.declare();
    }

    /// As `worker = "remotion"` has function and bucket, but for the code.
    pub(crate) fn want_remotions(&mut self) {
        self.named_for_remotion();
        let region = self.identity.region.clone();
        let function = self.function();
        function.runtime = "nodejs24.x".to_owned();
        function.handler = "index.handler".to_owned();
        function.runtime_version_arn = remotion::runtime_version_arn(&region);
        function.layers = remotion::layers(&region);
        let bucket = self.bucket_spec();
        bucket.block_public_access = false;
        bucket.owner_enforced = false;
        bucket.public_read = true;
    }

    pub(crate) fn bucket_spec(&mut self) -> &mut BucketSpec {
        let address = "bucket.main".parse().unwrap();
        match self.desired.resources.get_mut(&address) {
            Some(Resource::Bucket(spec)) => spec,
            _ => panic!("the farm has a bucket"),
        }
    }

    pub(crate) fn bucket(&self) -> BucketName {
        self.bucket_name.clone()
    }

    pub(crate) fn code_path(&self) -> PathBuf {
        self.folder.path().join("function.zip")
    }

    /// Makes `content` the `bootstrap` of the function zip.
    pub(crate) fn write_code(&self, content: &str) -> Digest {
        self.write_zip(function_zip(content))
    }

    /// As large as `content` is.
    pub(crate) fn write_stored_code(&self, content: &[u8]) -> Digest {
        self.write_zip(zip_of(content, zip::CompressionMethod::Stored))
    }

    fn write_zip(&self, zip: Vec<u8>) -> Digest {
        std::fs::write(self.code_path(), &zip).unwrap();
        Digest::of(zip)
    }

    /// A site of these files and no others.
    pub(crate) fn want_site(&mut self, files: &[(&str, &str)]) {
        let folder = self.folder.path().join("site");
        let _ = std::fs::remove_dir_all(&folder);
        let mut digests = BTreeMap::new();
        for (path, content) in files {
            let file = folder.join(path);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, content).unwrap();
            digests.insert((*path).to_owned(), Digest::of(content));
        }
        let site = Resource::Site(SiteSpec {
            name: "hello".parse().unwrap(),
            bucket: self.bucket(),
            digest: Digest::of(format!("{digests:?}")),
            files: digests,
        });
        self.want("site.hello", site);
    }

    pub(crate) async fn observe(&self) -> Observed {
        let identity = self.identity.clone();
        observe(&self.cloud, identity, &self.desired, &self.state)
            .await
            .unwrap()
    }

    pub(crate) async fn plan(&self) -> Plan {
        rmx::plan::make(&self.desired, &self.observe().await, &self.state).unwrap()
    }

    /// Plans and applies; `saves_max` saves of the state work, the next one fails as a killed process would.
    pub(crate) async fn apply_until(&mut self, saves_max: usize) -> Result<Applied, ApplyError> {
        let plan = self.plan().await;
        self.apply_plan(&plan, saves_max).await
    }

    pub(crate) async fn apply_plan(
        &mut self,
        plan: &Plan,
        saves_max: usize,
    ) -> Result<Applied, ApplyError> {
        self.apply_plan_telling(plan, saves_max, &|_| {}).await
    }

    pub(crate) async fn apply_plan_telling(
        &mut self,
        plan: &Plan,
        saves_max: usize,
        on_event: &(dyn Fn(ApplyEvent) + Send + Sync),
    ) -> Result<Applied, ApplyError> {
        let saved = Arc::clone(&self.saved);
        *saved.lock().unwrap() = self.state.clone();
        let mut saves = 0;
        let save = async |state: &mut State| {
            saves += 1;
            if saves > saves_max {
                return Err("killed".into());
            }
            state.serial += 1;
            *saved.lock().unwrap() = state.clone();
            Ok(())
        };
        let result = self.apply_saving(plan, save, on_event).await;
        self.killed();
        result
    }

    /// Applies a plan; `save` is called around each change.
    pub(crate) async fn apply_saving(
        &mut self,
        plan: &Plan,
        mut save: impl AsyncFnMut(&mut State) -> Result<(), SaveError>,
        on_event: &(dyn Fn(ApplyEvent) + Send + Sync),
    ) -> Result<Applied, ApplyError> {
        let artefacts = Artefacts {
            code: Some(self.code_path()),
            sites: BTreeMap::from([("hello".parse().unwrap(), self.folder.path().join("site"))]),
        };
        let secrets = BTreeMap::from([("TOKEN".to_owned(), SECRET.to_owned())]);
        let stop = CancellationToken::new();
        let smoke = self.smoke.clone();
        let passed = smoke.as_ref().map(|smoke| Arc::clone(&smoke.passed));
        let check = move |_, version: String| {
            if let Some(passed) = &passed {
                passed.lock().unwrap().insert(version);
            }
            std::future::ready(Ok(())).boxed()
        };
        let inputs = apply::Inputs {
            plan,
            artefacts: &artefacts,
            secrets: &secrets,
            delete_bucket_content: self.force_destroy,
            inline_code_bytes_max: self.inline_code_bytes_max,
            role_patience: self.role_patience,
            smoke: smoke.as_ref().map(|smoke| apply::SmokeCheck {
                always: smoke.always,
                check: &check,
            }),
            cloud: &self.cloud,
            stop: &stop,
        };
        apply::apply(inputs, &mut self.state, &mut save, on_event).await
    }

    /// Plans; the cloud may fail.
    pub(crate) async fn try_plan(&self) -> Result<Plan, String> {
        let identity = self.identity.clone();
        let observed = observe(&self.cloud, identity, &self.desired, &self.state).await;
        let observed = observed.map_err(|error| error.to_string())?;
        let plan = rmx::plan::make(&self.desired, &observed, &self.state);
        plan.map_err(|error| error.to_string())
    }

    /// Plans and applies; an error of either is an error.
    pub(crate) async fn try_apply(&mut self) -> Result<(), String> {
        let plan = self.try_plan().await?;
        let applied = self.apply_plan(&plan, usize::MAX).await;
        applied.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Applies and requires that a second plan is empty.
    pub(crate) async fn apply(&mut self) -> Vec<String> {
        let applied = self.apply_until(usize::MAX).await.unwrap();
        assert!(applied.remaining.is_empty());
        let again = self.plan().await;
        assert!(again.is_empty(), "{again:#?}");
        assert!(!serde_json::to_string(&self.state).unwrap().contains(SECRET));
        applied.done.iter().map(text).collect()
    }

    pub(crate) async fn keys(&self) -> Vec<String> {
        self.keys_in(&self.bucket()).await
    }

    pub(crate) async fn keys_in(&self, bucket: &BucketName) -> Vec<String> {
        let objects = self.cloud.list_objects(bucket, "").await.unwrap();
        objects.into_iter().map(|object| object.key).collect()
    }
}

/// A function zip whose `bootstrap` is `content`.
pub(crate) fn function_zip(content: &str) -> Vec<u8> {
    zip_of(content.as_bytes(), zip::CompressionMethod::Deflated)
}

fn zip_of(content: &[u8], method: zip::CompressionMethod) -> Vec<u8> {
    use std::io::Write as _;
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default()
        .unix_permissions(0o755)
        .compression_method(method)
        .last_modified_time(zip::DateTime::default());
    zip.start_file("bootstrap", options).unwrap();
    zip.write_all(content).unwrap();
    zip.finish().unwrap().into_inner()
}

/// "Create bucket.main".
pub(crate) fn text(completed: &Completed) -> String {
    format!("{:?} {}", completed.action, completed.address)
}
