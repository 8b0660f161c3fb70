//! Connects a verb to the cloud its configuration names. For the local target that is the embedded cloud, started
//! within this process for as long as the verb runs.

use std::collections::BTreeMap;
use std::path::Path;

use tokio::net::TcpListener;

use crate::cloud::{
    Cloud, CloudError, CloudErrorKind, Connection, Identity, StaticCredentials, Timeouts,
};
use crate::config::{Config, Target};
use crate::env::{Env, Tool, variable};
use crate::local::{self, Isolation, LocalOptions, NodeRuntime, Running};
use crate::names::{AccountId, Region};
use crate::protocol::browsers;
use crate::state::CloudIdentity;

use super::context::Context;
use super::error::{CommandError, CommandErrorKind};

/// The account of the embedded cloud.
const LOCAL_ACCOUNT: &str = "000000000000";

/// The account of the embedded cloud.
pub(super) fn local_account() -> AccountId {
    LOCAL_ACCOUNT.parse().expect("it has 12 digits")
}

/// A connected cloud.
#[derive(Debug)]
pub(crate) struct Farm {
    /// The cloud.
    pub(crate) cloud: Cloud,
    /// How it was reached.
    pub(crate) connection: Connection,
    /// The account and region it is connected to; the config's `account` guard has been asked.
    pub(crate) identity: CloudIdentity,
    /// ARN of the caller.
    pub(crate) caller: String,
    /// The embedded cloud, if it is that. Keep it for as long as `cloud` is used.
    pub(crate) local: Option<Running>,
}

impl Farm {
    /// Ends the embedded cloud and the processes of its functions; does nothing for AWS.
    pub(crate) async fn shutdown(self) {
        if let Some(local) = self.local {
            local.shutdown().await;
        }
    }
}

/// Connects to the cloud of `config` and asks it who we are.
///
/// # Errors
/// The embedded cloud cannot start, the credentials are missing or bad, or the account is not the one that the
/// config's `account` allows.
pub(crate) async fn connect(context: &Context, config: &Config) -> Result<Farm, CommandError> {
    let (connection, local) = match config.target {
        Target::Aws => (
            Connection {
                region: config.region.clone(),
                endpoint_url: None,
                credentials: None,
                timeouts: Timeouts::default(),
            },
            None,
        ),
        Target::Local => {
            let running = start_local(context, config).await?;
            let connection = embedded(config, running.endpoint_url(), running.credentials());
            (connection, Some(running))
        }
    };
    let cloud = Cloud::connect(&connection).await;
    let identity = cloud.identity().await?;
    farm(config, cloud, connection, identity, local)
}

/// As [`connect`], to a cloud that goes on when this process has ended, and with it what is begun there.
///
/// # Errors
/// As for [`connect`]; and for the target local, nobody serves the embedded cloud.
pub(crate) async fn connect_lasting(
    context: &Context,
    config: &Config,
) -> Result<Farm, CommandError> {
    if config.target == Target::Aws {
        return connect(context, config).await;
    }
    let nobody = || {
        CommandError::error("Nobody would carry on what is begun")
            .detail(
                "For the target local, the embedded cloud ends with the command that started it, and its functions with it.",
            )
            .hint("run `rmx local serve` in another terminal, then this command again")
    };
    let served = local::served(&local_options(context, config).directory);
    let served = served.map_err(|error| nobody().cause(error))?;
    let local::Served {
        endpoint_url,
        credentials,
    } = served.ok_or_else(nobody)?;
    let connection = embedded(config, &endpoint_url, &credentials);
    let cloud = Cloud::connect(&connection).await;
    // Who served it may have been killed.
    let identity = cloud.identity().await.map_err(|_| nobody())?;
    farm(config, cloud, connection, identity, None)
}

/// How an embedded cloud is reached.
fn embedded(config: &Config, endpoint_url: &str, credentials: &local::Credentials) -> Connection {
    Connection {
        region: config.region.clone(),
        endpoint_url: Some(endpoint_url.to_owned()),
        credentials: Some(StaticCredentials {
            access_key_id: credentials.access_key_id.clone(),
            secret_access_key: credentials.secret_access_key.clone(),
            session_token: None,
        }),
        timeouts: Timeouts::default(),
    }
}

fn farm(
    config: &Config,
    cloud: Cloud,
    connection: Connection,
    Identity { account, arn }: Identity,
    local: Option<Running>,
) -> Result<Farm, CommandError> {
    guard(config, &account)?;
    Ok(Farm {
        cloud,
        connection,
        identity: CloudIdentity {
            account,
            region: config.region.clone(),
        },
        caller: arn,
        local,
    })
}

/// Refuses any other account than the one the config allows.
fn guard(config: &Config, account: &AccountId) -> Result<(), CommandError> {
    match &config.account {
        Some(allowed) if allowed != account => {
            let error = CommandError::new(
                CommandErrorKind::Policy,
                "The credentials belong to another account than the configuration allows",
            )
            .detail(format!(
                "The configuration allows account {allowed}; this is account {account}. Nothing was done."
            ));
            Err(match config.target {
                Target::Aws => error.hint("use credentials of the account that is allowed"),
                Target::Local => error.hint(format!(
                    "move `account` to the stage whose target is aws: the embedded cloud is account {account}"
                )),
            })
        }
        _ => Ok(()),
    }
}

async fn start_local(context: &Context, config: &Config) -> Result<Running, CommandError> {
    let options = local_options(context, config);
    require_isolation(&options).await?;
    let directory = options.directory.clone();
    let started = async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        local::start(options, listener).await
    };
    started.await.map_err(|error: std::io::Error| {
        CommandError::error("Cannot start the embedded cloud")
            .detail(format!("Its data is in {}.", directory.display()))
            .cause(error)
    })
}

/// Where the embedded cloud of `config` lives, and what its functions find in their environment.
pub(crate) fn local_options(context: &Context, config: &Config) -> LocalOptions {
    let mut options = LocalOptions {
        isolation: config.local.isolate.then(|| Isolation {
            launcher: context.env.executable.clone(),
        }),
        ..local_options_at(context, &config.directory, config.region.clone())
    };
    // A function that hands out work does not know that all of it comes to this machine.
    let workers = local_workers_max(config.function.memory_mb);
    let name = variable::CONCURRENCY_MAX.to_owned();
    let environment = &mut options.worker_environment;
    environment
        .entry(name)
        .or_insert_with(|| workers.to_string());
    options
}

/// How many workers the embedded cloud runs at the same time: as many as have a browser for each processor.
pub(crate) fn local_workers_max(memory_mb: u32) -> u32 {
    let cores = std::thread::available_parallelism()
        .ok()
        .and_then(|cores| u32::try_from(cores.get()).ok())
        .unwrap_or(1);
    (cores / browsers(memory_mb)).max(1)
}

/// Requires that functions can be isolated, if they are to be.
///
/// # Errors
/// This system does not let them.
pub(crate) async fn require_isolation(options: &LocalOptions) -> Result<(), CommandError> {
    let Some(isolation) = &options.isolation else {
        return Ok(());
    };
    isolation.check().await.map_err(|error| {
        CommandError::new(
            CommandErrorKind::Preflight,
            "Functions cannot be isolated on this system",
        )
        .detail("`isolate` under [local] needs namespaces of users, mounts and networks.")
        .cause(error)
        .hint("allow them (in a container: --privileged, or run as a user outside of it), or set `isolate = false`")
    })
}

/// The same for a project's folder, whether it has a configuration or not.
pub(crate) fn local_options_at(context: &Context, project: &Path, region: Region) -> LocalOptions {
    LocalOptions {
        directory: project.join(".rmx/local"),
        account: local_account(),
        region,
        worker_environment: worker_environment(&context.env),
        isolation: None,
        node: node_runtime(&context.env),
        faults: Default::default(),
    }
}

/// What runs functions for Node.js: this machine's `node`, and its Chromium and fonts where Remotion's function has them from layers.
fn node_runtime(env: &Env) -> Option<(Isolation, NodeRuntime)> {
    let fonts = Path::new("/etc/fonts/fonts.conf");
    let opt = [
        ("bin/chromium", env.find_tool(Tool::Chromium)),
        ("fonts.conf", fonts.exists().then(|| fonts.to_owned())),
    ];
    let opt = opt.into_iter();
    let programs = env.variable(variable::FUNCTION_PROGRAMS);
    let runtime = NodeRuntime {
        node: env.find_in_path("node")?,
        opt: opt
            .filter_map(|(path, target)| Some((path.to_owned(), target?)))
            .collect(),
        programs: programs.map(|folder| env.working_directory.join(folder)),
    };
    let isolation = Isolation {
        launcher: env.executable.clone(),
    };
    Some((isolation, runtime))
}

/// What a worker process needs to find and run its tools. No credentials: those come from the embedded cloud.
fn worker_environment(env: &Env) -> BTreeMap<String, String> {
    const PASSED_ON: [&str; 9] = [
        "PATH",
        "HOME",
        "TMPDIR",
        "LANG",
        "TZ",
        "LD_LIBRARY_PATH",
        "FONTCONFIG_FILE",
        "FONTCONFIG_PATH",
        "XDG_DATA_HOME",
    ];
    env.variables
        .iter()
        .filter(|(name, _)| PASSED_ON.contains(&name.as_str()) || name.starts_with("RMX_"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

impl From<CloudError> for CommandError {
    fn from(error: CloudError) -> Self {
        match error.kind {
            CloudErrorKind::Credentials => CommandError::new(
                CommandErrorKind::Credentials,
                "There are no usable AWS credentials",
            )
            .cause(error)
            .hint("log in (`aws sso login`, `aws configure`), or set `target = \"local\"`"),
            CloudErrorKind::AccessDenied => CommandError::error("The cloud refused permission")
                .cause(error)
                .hint("allow the action named above to the credentials in use"),
            CloudErrorKind::Unavailable => {
                CommandError::error("The cloud did not answer as it should")
                    .cause(error)
                    .hint(
                        "look at the network, a proxy, and AWS_ENDPOINT_URL where it is set, then run the same command again: \
                         nothing is done twice",
                    )
            }
            CloudErrorKind::Throttled => {
                CommandError::error("The cloud did not answer as it should")
                    .cause(error)
                    .hint("run the same command again: nothing is done twice")
            }
            CloudErrorKind::NotFound
            | CloudErrorKind::AlreadyExists
            | CloudErrorKind::Conflict
            | CloudErrorKind::PreconditionFailed
            | CloudErrorKind::Invalid
            | CloudErrorKind::RoleNotReady
            | CloudErrorKind::Other => {
                CommandError::error("A call to the cloud failed")
                    .cause(error)
                    .hint("mend what is named above, then run the same command again: nothing is done twice")
            }
        }
    }
}

/// A farm whose embedded cloud has its data below `folder`, and `faults`.
#[cfg(test)]
pub(crate) async fn embedded_for_tests(folder: &Path, faults: &local::Faults) -> Farm {
    let text = "project = \"a\"\nregion = \"eu-central-1\"";
    let config = Config {
        directory: folder.to_owned(),
        ..crate::config::parse_for_tests(text, None)
    };
    let context = context_for_tests();
    let options = LocalOptions {
        faults: faults.clone(),
        ..local_options(&context, &config)
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let running = local::start(options, listener).await.unwrap();
    let connection = embedded(&config, running.endpoint_url(), running.credentials());
    let cloud = Cloud::connect(&connection).await;
    let identity = cloud.identity().await.unwrap();
    farm(&config, cloud, connection, identity, Some(running)).unwrap()
}

#[cfg(test)]
fn context_for_tests() -> Context {
    use clap::{CommandFactory as _, FromArgMatches as _};

    let arguments = super::Cli::command().get_matches_from(["rmx", "schema"]);
    let cli = super::Cli::from_arg_matches(&arguments).unwrap();
    Context::new(Env::read().unwrap(), super::ui::Ui::plain(), cli.global).unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::Ui;
    use crate::config::parse_for_tests;

    #[test]
    fn another_account_is_refused_by_name() {
        let config = parse_for_tests("project = \"a\"\naccount = \"111111111111\"", None);
        assert!(guard(&config, &"111111111111".parse().unwrap()).is_ok());
        let error = guard(&config, &LOCAL_ACCOUNT.parse().unwrap()).unwrap_err();
        let text = error.render(&Ui::plain());
        assert!(
            text.contains("111111111111") && text.contains(LOCAL_ACCOUNT),
            "{text}"
        );
        assert_eq!(error.to_json()["exit_code"], 16);
    }

    #[test]
    fn workers_get_tools_and_no_credentials() {
        let mut env = Env::read().unwrap();
        for name in ["PATH", "RMX_CHROMIUM", "AWS_SECRET_ACCESS_KEY", "OTHER"] {
            env.variables.insert(name.to_owned(), "x".to_owned());
        }
        let passed_on = worker_environment(&env);
        assert!(passed_on.contains_key("PATH") && passed_on.contains_key("RMX_CHROMIUM"));
        assert!(
            !passed_on.contains_key("AWS_SECRET_ACCESS_KEY") && !passed_on.contains_key("OTHER")
        );
    }

    #[tokio::test]
    async fn the_embedded_cloud_is_started_and_says_who_we_are() {
        let folder = tempfile::tempdir().unwrap();
        let text = "project = \"a\"\nregion = \"eu-central-1\"";
        let config = Config {
            directory: folder.path().to_owned(),
            ..parse_for_tests(text, None)
        };
        let farm = connect(&context_for_tests(), &config).await.unwrap();
        assert_eq!(farm.identity.account.as_str(), LOCAL_ACCOUNT);
        assert_eq!(farm.identity.region.as_str(), "eu-central-1");
        assert!(folder.path().join(".rmx/local").is_dir());
        farm.shutdown().await;
    }
}
