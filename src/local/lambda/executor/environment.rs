//! An execution environment: one process, its Runtime API, its scratch folder and its log stream.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use time::macros::format_description;
use tokio::task::JoinSet;

use crate::env;
use crate::local::isolation::{Isolation, NodeRuntime, Room, SCRATCH_FOLDER, TASK_FOLDER};
use crate::local::sessions::SessionCredentials;
use crate::names::FunctionName;

use super::super::layers;
use super::super::model::{Code, Configuration};
use super::super::reference::Place;
use super::failure::Failure;
use super::output::{Output, Pipe};
use super::process::{Isolated, Process, Start, entrypoint_problem, start_problem};
use super::runtime_api::{Initialisation, RuntimeApi};
use super::{NODE_RUNTIMES, Shared};

/// What an environment can run. An environment is used again only for exactly the same.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::local::lambda) struct Target {
    pub(in crate::local::lambda) place: Place,
    pub(in crate::local::lambda) function: FunctionName,
    /// `$LATEST` or a number.
    pub(in crate::local::lambda) version: String,
    pub(in crate::local::lambda) code: Code,
    pub(in crate::local::lambda) configuration: Configuration,
}

/// A live environment. Dropping it kills its processes and removes its scratch folder.
#[derive(Debug)]
pub(super) struct Environment {
    pub(super) target: Target,
    pub(super) output: Output,
    pub(super) pipe: Pipe,
    pub(super) runtime: RuntimeApi,
    pub(super) started: Instant,
    pub(super) idle_since: Instant,
    pub(super) process: Process,
    _reader: JoinSet<()>,
    // Last, so that it goes after those who use it.
    _scratch: TempDir,
}

/// How initialisation ended.
#[derive(Debug)]
pub(super) enum Initialised {
    Ready,
    Failed(Failure),
    TimedOut,
}

impl Environment {
    /// Starts the process. It has not asked for work yet: see [`Self::initialise`].
    pub(super) async fn start(
        shared: &Shared,
        target: &Target,
        request_id: &str,
    ) -> Result<Self, Failure> {
        let invalid = |what: &str| Failure::invalid_entrypoint(request_id, what);
        let codes = super::super::code::CodeStore::new(&shared.settings.store, &target.place);
        let digest = target.code.sha256;
        let node = node(shared, target);
        // Only who has a root of their own has a /opt of their own.
        let layers = match node.is_some() || shared.settings.isolation.is_some() {
            true => target.configuration.layers.clone(),
            false => Vec::new(),
        };
        let (store, place) = (shared.settings.store.clone(), target.place.clone());
        let unpacking = tokio::task::spawn_blocking(move || {
            let layers = layers::unpacked(&store, &place, &layers)?;
            Ok::<_, std::io::Error>((codes.unpacked(&digest)?, layers))
        });
        let (folder, layers) = unpacking
            .await
            .map_err(|error| invalid(&error.to_string()))?
            .map_err(|error| invalid(&format!("a zip cannot be unpacked: {error}")))?;
        let program = folder.join("bootstrap");
        if node.is_some() {
            // Remotion's function, for one, empties the folder `/tmp` before each of its invocations.
            Isolation::check_root().await.map_err(|error| {
                invalid(&format!(
                    "functions for Node.js take /tmp for their own and are run only in a root of their own, which this system \
                     does not let them have: {error}"
                ))
            })?;
        } else if let Some(problem) =
            entrypoint_problem(&program, &target.configuration.architecture)
        {
            return Err(invalid(&problem));
        }
        let internal = |error: std::io::Error| Failure::new("ServiceException", &error.to_string());
        let role = &target.configuration.role;
        let credentials = (shared.settings.role_credentials)(role, &target.function);
        let credentials = credentials.map_err(internal)?;
        let credentials = credentials.ok_or_else(Failure::role_not_assumable)?;
        let scratch = scratch_folder(shared).map_err(internal)?;
        let runtime = RuntimeApi::start().await.map_err(internal)?;
        let stream = log_stream(&target.version);
        let output = Output::open(
            &shared.tasks,
            shared.settings.logs.clone(),
            target.place.region.clone(),
            target.configuration.log_group.clone(),
            stream.clone(),
        );
        let address = runtime.address.to_string();
        let own_network = shared.settings.isolation.is_some();
        let isolation = match node {
            Some((isolation, _)) => Some(isolation),
            None => shared.settings.isolation.as_ref(),
        };
        let (task, tmp) = match isolation {
            Some(_) => (Path::new(TASK_FOLDER), Path::new(SCRATCH_FOLDER)),
            None => (folder.as_path(), scratch.path()),
        };
        let environment = Variables {
            target,
            credentials: &credentials,
            folder: task,
            scratch: tmp,
            stream: &stream,
            address: &address,
        }
        .all(shared);
        let reachable: &[_] = match own_network {
            true => &[runtime.address, shared.settings.address],
            false => &[],
        };
        let start = Start {
            program: &program,
            folder: &folder,
            environment: &environment,
            mark: format!("AWS_LAMBDA_LOG_STREAM_NAME={stream}"),
            isolated: isolation.map(|isolation| Isolated {
                isolation,
                room: Room {
                    task: &folder,
                    layers: layers.as_deref(),
                    root: scratch.path(),
                    disk_mb: target.configuration.disk_mb,
                    reachable,
                    node: node.map(|(_, runtime)| runtime),
                },
                memory_mb: own_network.then_some(target.configuration.memory_mb),
            }),
        };
        let (process, receiver) = Process::start(start)
            .await
            .map_err(|error| invalid(&start_problem(&error)))?;
        let pipe = Pipe::new(receiver);
        let mut reader = JoinSet::new();
        reader.spawn(pipe.clone().read(output.clone()));
        Ok(Self {
            target: target.clone(),
            output,
            pipe,
            runtime,
            started: Instant::now(),
            idle_since: Instant::now(),
            process,
            _reader: reader,
            _scratch: scratch,
        })
    }

    /// Waits until the process asks for its first job, ends, reports an error, or `limit` has passed.
    pub(super) async fn initialise(&self, limit: Duration, request_id: &str) -> Initialised {
        let mut state = self.runtime.initialisation.clone();
        let settled = async {
            let settled = |state: &Initialisation| !matches!(state, Initialisation::Running);
            state.wait_for(settled).await.map(|state| state.clone())
        };
        tokio::select! {
            biased;
            settled = settled => match settled {
                Ok(Initialisation::Failed(failure)) => Initialised::Failed(failure),
                Ok(Initialisation::Done | Initialisation::Running) => Initialised::Ready,
                Err(_) => Initialised::Failed(Failure::shut_down(request_id)),
            },
            status = self.process.exited() => {
                // An error report may be on its way while the process ends.
                tokio::time::sleep(Duration::from_millis(20)).await;
                let state = self.runtime.initialisation.borrow().clone();
                match state {
                    Initialisation::Failed(failure) => Initialised::Failed(failure),
                    Initialisation::Running | Initialisation::Done => {
                        Initialised::Failed(Failure::exited(request_id, status))
                    }
                }
            }
            () = tokio::time::sleep(limit) => Initialised::TimedOut,
        }
    }
}

/// What runs it, if it is a function for Node.js.
fn node<'a>(shared: &'a Shared, target: &Target) -> Option<&'a (Isolation, NodeRuntime)> {
    let runs = target.configuration.runtime.starts_with(NODE_RUNTIMES);
    shared.settings.node.as_ref().filter(|_| runs)
}

/// What an environment's variables are made of.
struct Variables<'a> {
    target: &'a Target,
    credentials: &'a SessionCredentials,
    folder: &'a Path,
    scratch: &'a Path,
    stream: &'a str,
    address: &'a str,
}

impl Variables<'_> {
    /// In the order in which the later wins: ours, the cloud's own, the function's, and those AWS defines.
    fn all(&self, shared: &Shared) -> BTreeMap<String, String> {
        let settings = &shared.settings;
        let configuration = &self.target.configuration;
        let scratch = self.scratch.display().to_string();
        let folder = self.folder.display().to_string();
        let region = self.target.place.region.to_string();
        let mut variables = BTreeMap::from([
            (
                "PATH".to_owned(),
                "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned(),
            ),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("TZ".to_owned(), ":UTC".to_owned()),
            ("HOME".to_owned(), scratch.clone()),
        ]);
        let node = node(shared, self.target).is_some();
        if settings.isolation.is_none() && !node {
            // It speaks of this machine.
            variables.extend(settings.worker_environment.clone());
        }
        variables.extend(configuration.environment.clone().unwrap_or_default());
        let runtime_folder = match node {
            true => "/var/runtime".to_owned(),
            false => folder.clone(),
        };
        if node {
            // Custom runtimes have neither.
            variables.insert(
                "AWS_EXECUTION_ENV".to_owned(),
                format!("AWS_Lambda_{}", configuration.runtime),
            );
            variables.insert(
                "NODE_PATH".to_owned(),
                "/opt/nodejs/node_modules".to_owned(),
            );
        }
        let defined = [
            ("AWS_ACCESS_KEY_ID", self.credentials.access_key_id.clone()),
            ("AWS_DEFAULT_REGION", region.clone()),
            ("AWS_ENDPOINT_URL", format!("http://{}", settings.address)),
            (
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
                configuration.memory_mb.to_string(),
            ),
            ("AWS_LAMBDA_FUNCTION_NAME", self.target.function.to_string()),
            ("AWS_LAMBDA_FUNCTION_VERSION", self.target.version.clone()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", configuration.log_group.clone()),
            ("AWS_LAMBDA_LOG_STREAM_NAME", self.stream.to_owned()),
            ("AWS_LAMBDA_RUNTIME_API", self.address.to_owned()),
            ("AWS_REGION", region),
            (
                "AWS_SECRET_ACCESS_KEY",
                self.credentials.secret_access_key.clone(),
            ),
            ("AWS_SESSION_TOKEN", self.credentials.token.clone()),
            ("LAMBDA_TASK_ROOT", folder),
            ("LAMBDA_RUNTIME_DIR", runtime_folder),
            ("TMPDIR", scratch),
            ("_HANDLER", configuration.handler.clone()),
        ];
        variables.extend(defined.map(|(name, value)| (name.to_owned(), value)));
        variables
    }
}

/// `2026/11/23/[$LATEST]0123...`: AWS's form.
fn log_stream(version: &str) -> String {
    let date = env::now()
        .format(format_description!("[year]/[month]/[day]"))
        .unwrap_or_default();
    format!("{date}/[{version}]{}", uuid::Uuid::new_v4().simple())
}

/// Prefix of scratch folders; what follows is the id of the process they belong to.
const SCRATCH_PREFIX: &str = "environment-";

fn scratch_folder(shared: &Shared) -> std::io::Result<TempDir> {
    let parent = scratch_parent(shared);
    std::fs::create_dir_all(&parent)?;
    let prefix = format!("{SCRATCH_PREFIX}{}-", std::process::id());
    tempfile::Builder::new().prefix(&prefix).tempdir_in(parent)
}

fn scratch_parent(shared: &Shared) -> PathBuf {
    shared.settings.store.path("lambda-scratch")
}

/// Removes the scratch folders of processes that were killed before they could.
pub(super) fn sweep_scratch(shared: &Shared) {
    for entry in std::fs::read_dir(scratch_parent(shared))
        .into_iter()
        .flatten()
        .flatten()
    {
        let name = entry.file_name();
        let owner = name
            .to_str()
            .and_then(|name| name.strip_prefix(SCRATCH_PREFIX))
            .and_then(|rest| rest.split('-').next())
            .and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()) {
            // What cannot be removed now is tried again next time.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
