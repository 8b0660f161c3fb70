//! One deployment: what a user and others do to it, and what must hold after each step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use futures::FutureExt as _;
use proptest::prelude::*;
use proptest::test_runner::TestCaseError;
use rmx::apply::{self, Artefacts};
use rmx::bundle::{FunctionPackage, PackageRules, PackageSource, SiteBundle};
use rmx::cloud::wait::Patience;
use rmx::cloud::{BucketLifecycle, Cloud, FunctionSettings, PutOptions, Tags};
use rmx::config::{self, LoadOptions};
use rmx::env::Env;
use rmx::local::{Fault, FaultKind};
use rmx::plan::change::Desired;
use rmx::plan::desired::Ingredients;
use rmx::plan::observe::observe;
use rmx::resource::{Resource, site};
use rmx::state::{CloudIdentity, Holder, State, StateStore};
use tokio_util::sync::CancellationToken;

use super::model::{Drift, Round, THEIR_ROLE, Trouble, Wish, bootstrap, files};
use super::world::{Codes, World, digest, world};
use crate::support::cloud::{TestCloud, copy_folder, make_bucket, quick_folder};

type Checked<T = ()> = Result<T, TestCaseError>;

const LOG_GROUP: &str = "/aws/lambda/rmx-life";
const FUNCTION: &str = "rmx-life";
const ROLE: &str = "rmx-life-eu-central-1";

/// What every life begins with: a cloud with things of somebody else's in it, and a folder with every version of the code
/// and of the sites.
pub(super) struct Base {
    cloud: TestCloud,
    project: tempfile::TempDir,
    codes: Codes,
    theirs: World,
}

impl Base {
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let cloud = TestCloud::start().await;
            let sdk = cloud.connect().await;
            let theirs = make_bucket(&sdk, "somebodys-bucket").await;
            put(&sdk, theirs.as_str(), "precious", "theirs").await;
            let group = "/somebody/else".parse().unwrap();
            sdk.create_log_group(&group, &Tags::new()).await.unwrap();
            let role = rmx::resource::RoleSpec {
                name: THEIR_ROLE.parse().unwrap(),
                path: "/".to_owned(),
                permissions_boundary: None,
                trust_policy: rmx::resource::role::trust_policy(),
                policy: serde_json::json!({}),
                other_policies: std::collections::BTreeMap::new(),
                attached_policies: std::collections::BTreeSet::new(),
            };
            sdk.create_role(&role, &Tags::new()).await.unwrap();
            let project = tempfile::tempdir().unwrap();
            let mut codes = Codes::new();
            for code in 0..2 {
                let folder = project.path().join(format!("code-{code}"));
                std::fs::create_dir(&folder).unwrap();
                std::fs::write(folder.join("bootstrap"), bootstrap(code)).unwrap();
                let package = package(project.path(), &folder);
                codes.insert(digest(&std::fs::read(&package.zip).unwrap()), code);
            }
            for version in 0..3 {
                for (path, content) in files(version) {
                    let file = project.path().join(format!("site-{version}")).join(path);
                    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                    std::fs::write(file, content).unwrap();
                }
            }
            let (theirs, _) = world(&cloud.data(), &codes);
            assert_eq!(theirs.len(), 4, "{theirs:?}");
            Self {
                cloud,
                project,
                codes,
                theirs,
            }
        })
    }
}

fn package(project: &Path, folder: &Path) -> FunctionPackage {
    let rules = PackageRules {
        architecture: "x86_64",
        unzipped_bytes_max: None,
    };
    let source = PackageSource::Folder(folder.to_owned());
    FunctionPackage::build(&source, rules, &project.join(".rmx/cache")).unwrap()
}

async fn put(sdk: &Cloud, bucket: &str, key: &str, text: &'static str) {
    let body = Bytes::from_static(text.as_bytes());
    sdk.put_object(&bucket.parse().unwrap(), key, body, &PutOptions::default())
        .await
        .unwrap();
}

/// A deployment and those around it.
pub(super) struct Life<'a> {
    base: &'a Base,
    cloud: TestCloud,
    sdk: Cloud,
    identity: CloudIdentity,
    project: tempfile::TempDir,
    store: StateStore,
    /// What is somebody else's.
    theirs: World,
    wish: Wish,
}

impl<'a> Life<'a> {
    pub(super) async fn new(base: &'a Base) -> Self {
        let cloud = TestCloud::copy_of(&base.cloud).await;
        let sdk = cloud.connect().await;
        let project = quick_folder();
        copy_folder(base.project.path(), project.path());
        Self {
            base,
            identity: CloudIdentity {
                account: "123456789012".parse().unwrap(),
                region: sdk.region().clone(),
            },
            store: StateStore::new(project.path(), &"life".parse().unwrap(), None),
            cloud,
            sdk,
            project,
            theirs: base.theirs.clone(),
            wish: Wish::default(),
        }
    }

    /// An edit, what others do, and an apply.
    pub(super) async fn go_through(&mut self, round: &Round) -> Checked {
        for drift in &round.drifts {
            self.drift(*drift).await;
            self.check()?;
        }
        self.wish = round.wish.clone();
        let faults = self.cloud.faults().clone();
        let squatted = self.squatted();
        let Some((trouble, call)) = round.trouble else {
            return self.apply(self.wish.clone()).await;
        };
        let (moment, kind) = match trouble {
            Trouble::Killed(moment) => (moment, FaultKind::Silence),
            Trouble::Failed(moment, kind) => (moment, kind),
        };
        faults.schedule([Fault { call, moment, kind }]);
        let applied = if let Trouble::Killed(_) = trouble {
            tokio::select! {
                () = faults.struck() => None,
                applied = self.try_apply(Some(&self.wish)) => Some(applied),
            }
        } else {
            Some(self.try_apply(Some(&self.wish)).await)
        };
        faults.schedule(None);
        match applied {
            None => self.check(),
            Some(Ok(_)) => self.check_done(&self.wish.clone()),
            Some(Err(why)) => {
                prop_assert!(squatted, "{:?} at call {}: {}", trouble, call, why);
                self.check()
            }
        }
    }

    /// Applies until it is right, and destroys it.
    pub(super) async fn end(&mut self) -> Checked {
        self.leave_log_group().await;
        self.apply(self.wish.clone()).await?;
        let destroyed = self.try_apply(None).await;
        prop_assert!(destroyed.is_ok(), "{:?}", destroyed);
        let state = self.store.load().await.unwrap().unwrap();
        prop_assert!(state.records.is_empty(), "{:?}", state);
        let (left, _) = world(&self.cloud.data(), &self.base.codes);
        prop_assert_eq!(&left, &self.theirs);
        Ok(())
    }

    /// Whether the log group that is wished for, or recorded as made, is somebody else's.
    fn squatted(&self) -> bool {
        let name = format!("log group {LOG_GROUP}");
        if !self.theirs.contains_key(&name) {
            return false;
        }
        let state = self
            .store
            .load()
            .now_or_never()
            .expect("a file is read at once");
        let recorded = state.unwrap().is_some_and(|state| {
            let mut records = state.records.values();
            records.any(|record| {
                // One that is complete has it, and so has one whose change was cut off.
                matches!(&record.applied, Resource::LogGroup(_))
                    && record.outputs.contains_key("arn")
            })
        });
        self.wish.retention_days.is_some() || recorded
    }

    async fn apply(&mut self, wish: Wish) -> Checked {
        let applied = self.try_apply(Some(&wish)).await;
        if self.squatted() {
            let refused = applied.is_err_and(|why| why.contains("carries no tag"));
            prop_assert!(refused, "somebody else's log group was taken over");
            return self.check();
        }
        prop_assert!(applied.is_ok(), "{:?}", applied);
        self.check_done(&wish)?;
        let again = self.try_apply(Some(&wish)).await;
        prop_assert_eq!(again, Ok(0), "a second apply has nothing to do");
        Ok(())
    }

    /// As `rmx apply` or, for no wish, `rmx destroy`: how many changes there were.
    async fn try_apply(&self, wish: Option<&Wish>) -> Result<usize, String> {
        let folder = self.project.path();
        let said = |error: &dyn std::error::Error| {
            let causes = std::iter::successors(Some(error), |error| error.source());
            let causes: Vec<String> = causes.map(ToString::to_string).collect();
            causes.join(": ")
        };
        let mut artefacts = Artefacts::default();
        let mut desired = Desired::default();
        if let Some(wish) = wish {
            let path = folder.join("remotion.toml");
            std::fs::write(&path, wish.toml()).unwrap();
            let options = LoadOptions {
                path,
                shown_as: "remotion.toml".to_owned(),
                stage: None,
                check_folders: true,
            };
            let config = config::load(&options).map_err(|error| said(&error))?;
            let package = package(folder, config.function.package.as_ref().unwrap());
            let sites = config.sites.iter().map(|site| {
                let bundle = SiteBundle::read(&site.folder).unwrap();
                (site.name.clone(), bundle)
            });
            let sites: BTreeMap<_, _> = sites.collect();
            let ingredients = Ingredients {
                identity: &self.identity,
                code_sha256: package.code_sha256,
                sites: &sites,
                secrets: &BTreeMap::new(),
            };
            desired = Desired::from_config(&config, ingredients);
            artefacts = Artefacts {
                code: Some(package.zip),
                sites: sites
                    .into_iter()
                    .map(|(name, site)| (name, site.folder))
                    .collect(),
            };
        }
        let holder = Holder::new(&Env::read().unwrap(), "a test");
        let locked = self.store.lock(&holder).await;
        let mut locked = locked.map_err(|error| said(&error))?;
        let mut state = locked.state().clone();
        let observed = observe(&self.sdk, self.identity.clone(), &desired, &state).await;
        let observed = observed.map_err(|error| said(&error))?;
        let plan = rmx::plan::make(&desired, &observed, &state).map_err(|error| said(&error))?;
        if plan.is_empty() {
            return Ok(0);
        }
        let inputs = apply::Inputs {
            plan: &plan,
            artefacts: &artefacts,
            secrets: &BTreeMap::new(),
            delete_bucket_content: false,
            inline_code_bytes_max: u64::MAX,
            role_patience: Patience::ROLE,
            cloud: &self.sdk,
            stop: &CancellationToken::new(),
            smoke: None,
        };
        let mut save = async |state: &mut State| Ok(locked.save(state).await?);
        let applied = apply::apply(inputs, &mut state, &mut save, &|_| {}).await;
        let applied = applied.map_err(|error| said(&error))?;
        Ok(applied.done.len())
    }

    /// What holds at any time.
    fn check(&self) -> Checked {
        let state = self
            .store
            .load()
            .now_or_never()
            .expect("a file is read at once");
        prop_assert!(state.is_ok(), "{:?}", state);
        let state = state.unwrap();
        let (world, owners) = world(&self.cloud.data(), &self.base.codes);
        for (name, how) in &self.theirs {
            prop_assert_eq!(world.get(name), Some(how), "{} is somebody else's", name);
        }
        let recorded = state.as_ref().map(recorded).unwrap_or_default();
        let lineage = state.map(|state| state.lineage.to_string());
        for (name, owner) in owners {
            if self.theirs.contains_key(&name) {
                continue;
            }
            prop_assert!(recorded.contains(&name), "nobody recorded {}", name);
            // A bucket is tagged after it is made.
            let untagged = name.starts_with("bucket ") && owner.is_none();
            prop_assert!(untagged || owner == lineage, "{} is of {:?}", name, owner);
        }
        Ok(())
    }

    /// What holds after an apply that came to its end.
    fn check_done(&self, wish: &Wish) -> Checked {
        self.check()?;
        let (found, _) = world(&self.cloud.data(), &self.base.codes);
        let mut expected = wish.world();
        expected.extend(self.theirs.clone());
        prop_assert_eq!(found, expected);
        Ok(())
    }

    /// Somebody does something, where there is something to do it to.
    async fn drift(&mut self, drift: Drift) {
        let (sdk, wish) = (&self.sdk, &self.wish);
        let (found, _) = world(&self.cloud.data(), &self.base.codes);
        let is_there = |name: String| found.contains_key(&name) && !self.theirs.contains_key(&name);
        let group = LOG_GROUP.parse().unwrap();
        let function = FUNCTION.parse().unwrap();
        let role = ROLE.parse().unwrap();
        let bucket = wish.bucket();
        let bucket_name = bucket.parse().unwrap();
        let kind = match drift {
            Drift::DeleteLogGroup | Drift::SquatLogGroup | Drift::Retention => {
                format!("log group {LOG_GROUP}")
            }
            Drift::DeleteRole | Drift::RolePolicy => format!("role {ROLE}"),
            Drift::DeleteFunction | Drift::Memory => format!("function {FUNCTION}"),
            Drift::Alias => format!("live {FUNCTION}"),
            Drift::Lifecycle | Drift::PublicAccess | Drift::AddFile | Drift::DeleteBucket => {
                format!("bucket {bucket}")
            }
            Drift::SpoilFile | Drift::DeleteFile => {
                format!("object {bucket}/sites/one/index.html")
            }
            Drift::DeleteManifest => format!("object {bucket}/rmx/sites/one.json"),
        };
        if !is_there(kind) {
            return;
        }
        match drift {
            Drift::DeleteLogGroup => sdk.delete_log_group(&group).await.unwrap(),
            Drift::SquatLogGroup => {
                sdk.delete_log_group(&group).await.unwrap();
                sdk.create_log_group(&group, &Tags::new()).await.unwrap();
                let name = format!("log group {LOG_GROUP}");
                self.theirs.insert(name, "for ever".to_owned());
            }
            Drift::Retention => sdk.set_retention(&group, Some(1)).await.unwrap(),
            Drift::DeleteRole => sdk.delete_role(&role).await.unwrap(),
            Drift::RolePolicy => {
                let all = serde_json::json!({"Version": "2012-10-17", "Statement":
                    {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}});
                sdk.put_role_policy(&role, &all).await.unwrap();
            }
            Drift::DeleteFunction => sdk.delete_function(&function).await.unwrap(),
            Drift::Memory => {
                let now = sdk.settled_function(&function).await.unwrap().unwrap();
                let settings = FunctionSettings {
                    memory_mb: 512,
                    ..now.settings
                };
                // Its role may be gone; then there is nothing to change.
                let _ = sdk
                    .update_function_configuration(&function, &settings, &now.revision_id)
                    .await;
            }
            Drift::Alias => {
                let alias = sdk.live_alias(&function).await.unwrap().unwrap();
                sdk.move_live_alias(&function, "$LATEST", &alias.revision_id)
                    .await
                    .unwrap();
            }
            Drift::Lifecycle => {
                let other = BucketLifecycle {
                    expire_renders_days: Some(99),
                    abort_uploads_days: None,
                    expire_days: [("renders/1-day".to_owned(), 2)].into(),
                };
                sdk.set_lifecycle(&bucket_name, other).await.unwrap();
            }
            Drift::PublicAccess => sdk
                .set_block_public_access(&bucket_name, false)
                .await
                .unwrap(),
            Drift::SpoilFile => put(sdk, &bucket, "sites/one/index.html", "spoiled").await,
            Drift::AddFile => {
                if is_there(format!("object {bucket}/sites/one/index.html")) {
                    put(sdk, &bucket, "sites/one/more.js", "more").await;
                }
            }
            Drift::DeleteFile => {
                let keys = ["sites/one/index.html".to_owned()];
                sdk.delete_objects(&bucket_name, &keys).await.unwrap();
            }
            Drift::DeleteManifest => {
                let keys = ["rmx/sites/one.json".to_owned()];
                sdk.delete_objects(&bucket_name, &keys).await.unwrap();
            }
            Drift::DeleteBucket => {
                let objects = sdk.list_objects(&bucket_name, "").await.unwrap();
                let keys: Vec<String> = objects.into_iter().map(|object| object.key).collect();
                sdk.delete_objects(&bucket_name, &keys).await.unwrap();
                sdk.delete_bucket(&bucket_name).await.unwrap();
            }
        }
    }

    /// Whoever took the log group's name gives it back.
    async fn leave_log_group(&mut self) {
        if self
            .theirs
            .remove(&format!("log group {LOG_GROUP}"))
            .is_some()
        {
            let group = LOG_GROUP.parse().unwrap();
            self.sdk.delete_log_group(&group).await.unwrap();
        }
    }
}

/// Names of everything that a state records.
fn recorded(state: &State) -> BTreeSet<String> {
    let names = state.records.values().map(|record| match &record.applied {
        Resource::LogGroup(spec) => format!("log group {}", spec.name),
        Resource::Role(spec) => format!("role {}", spec.name),
        Resource::Bucket(spec) => format!("bucket {}", spec.name),
        Resource::Function(spec) => format!("function {}", spec.name),
        Resource::Site(spec) => format!("site {}/{}", spec.bucket, site::prefix(&spec.name)),
    });
    names.collect()
}
