//! `rmx local serve`: the embedded cloud in the foreground, for other people's clients.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use crate::config::ConfigError;
use crate::local::{self, Entrance, LocalOptions, NodeRuntime, Running};
use crate::names::Region;

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm::{local_options, local_options_at, require_isolation};

/// Where there is no configuration: the region it would default to.
const REGION_DEFAULT: &str = "us-east-1";

/// The embedded cloud
#[derive(Debug, clap::Args)]
pub(crate) struct LocalArgs {
    #[command(subcommand)]
    verb: LocalVerb,
}

#[derive(Debug, clap::Subcommand)]
enum LocalVerb {
    Serve(ServeArgs),
    #[command(hide = true)]
    Enter(EnterArgs),
}

/// Become an isolated function; started by the embedded cloud, in namespaces of its own
#[derive(Debug, clap::Args)]
pub(crate) struct EnterArgs {
    #[arg(long)]
    root: PathBuf,
    #[arg(long)]
    task: PathBuf,
    #[arg(long)]
    layers: Option<PathBuf>,
    #[arg(long)]
    disk_mb: u32,
    #[arg(long)]
    listen: Vec<SocketAddr>,
    #[arg(long)]
    node: Option<PathBuf>,
    #[arg(long, value_parser = parse_link)]
    opt: Vec<(String, PathBuf)>,
    #[arg(long)]
    programs: Option<PathBuf>,
}

/// Serve the embedded cloud's S3, Lambda, IAM, STS and CloudWatch Logs to any AWS client, until interrupted
///
/// The data is that of the project: what `rmx apply` has made for the target local is there. The environment
/// variables that are printed are all a client needs.
#[derive(Debug, clap::Args)]
pub(crate) struct ServeArgs {
    /// Where to listen; only loopback addresses are taken, port 0 is any free port
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:4566",
        value_parser = parse_listen
    )]
    listen: SocketAddr,
}

pub(crate) async fn cmd_local(
    context: &Context,
    args: &LocalArgs,
) -> Result<ExitStatus, CommandError> {
    match &args.verb {
        LocalVerb::Serve(args) => serve(context, args).await,
        LocalVerb::Enter(args) => Err(enter(args)),
    }
}

/// Returns only if it fails.
fn enter(args: &EnterArgs) -> CommandError {
    let entrance = Entrance {
        root: args.root.clone(),
        task: args.task.clone(),
        layers: args.layers.clone(),
        disk_mb: args.disk_mb,
        listen: args.listen.clone(),
        node: args.node.clone().map(|node| NodeRuntime {
            node,
            opt: args.opt.iter().cloned().collect(),
            programs: args.programs.clone(),
        }),
    };
    CommandError::error("Cannot isolate the function").cause(local::enter(&entrance))
}

async fn serve(context: &Context, args: &ServeArgs) -> Result<ExitStatus, CommandError> {
    let stop = context.interrupt.stop();
    let options = options(context)?;
    require_isolation(&options).await?;
    let region = options.region.clone();
    let directory = options.directory.clone();
    let listener = TcpListener::bind(args.listen)
        .await
        .map_err(|error| cannot_listen(args.listen, error))?;
    let cannot_start = |error: std::io::Error| {
        CommandError::error("Cannot start the embedded cloud")
            .detail(format!("Its data is in {}.", directory.display()))
            .cause(error)
    };
    let running = local::start(options, listener)
        .await
        .map_err(cannot_start)?;
    running.announce().map_err(cannot_start)?;
    let variables = variables(&running, &region);
    if context.ui.json() {
        context.ui.print_json(&json!({
            "endpoint_url": running.endpoint_url(),
            "region": region,
            "directory": directory,
            "environment": variables.iter().cloned().collect::<Map<String, Value>>(),
        }))?;
    } else {
        for (name, value) in &variables {
            let value = value.as_str().unwrap_or_default();
            context.ui.print(format_args!("export {name}={value}"))?;
        }
        if context.env.variable("AWS_SESSION_TOKEN").is_some() {
            // It belongs to other credentials, and clients would send it along with these.
            context.ui.print("unset AWS_SESSION_TOKEN")?;
        }
        context.ui.say(format_args!(
            "The embedded cloud is ready at {}; its data is in {}. Ctrl-C ends it.",
            running.endpoint_url(),
            directory.display()
        ));
    }
    stop.cancelled().await;
    running.shutdown().await;
    Ok(ExitStatus::Success)
}

/// What any AWS client needs to find the embedded cloud. Some read one name of the region, some the other.
fn variables(running: &Running, region: &Region) -> Vec<(String, Value)> {
    let credentials = running.credentials();
    [
        ("AWS_ENDPOINT_URL", running.endpoint_url()),
        ("AWS_ACCESS_KEY_ID", &credentials.access_key_id),
        ("AWS_SECRET_ACCESS_KEY", &credentials.secret_access_key),
        ("AWS_REGION", region.as_str()),
        ("AWS_DEFAULT_REGION", region.as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.into()))
    .into()
}

/// The project's embedded cloud. A folder without a configuration has one as well.
fn options(context: &Context) -> Result<LocalOptions, CommandError> {
    let load = context.load_options(false);
    match crate::config::load(&load) {
        Ok(config) => Ok(local_options(context, &config)),
        Err(ConfigError::Read { path, error }) if error.kind() == std::io::ErrorKind::NotFound => {
            let project = path.parent().unwrap_or(&path);
            let region = REGION_DEFAULT.parse().expect("it is a region");
            Ok(local_options_at(context, project, region))
        }
        Err(error) => Err(context.config_error(error)),
    }
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> CommandError {
    let in_use = error.kind() == std::io::ErrorKind::AddrInUse;
    let error = CommandError::error("Cannot listen")
        .detail(format!("The address is {address}."))
        .cause(error);
    if in_use {
        error.hint(
            "stop what listens there, perhaps another `rmx local serve`, or pass --listen 127.0.0.1:0 for a free port",
        )
    } else {
        error.hint("pass another address with --listen")
    }
}

fn parse_link(text: &str) -> Result<(String, PathBuf), String> {
    let (path, target) = text.split_once('=').ok_or("it is not PATH=TARGET")?;
    Ok((path.to_owned(), target.into()))
}

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.replacen("localhost:", "127.0.0.1:", 1);
    let address: SocketAddr = numeric
        .parse()
        .map_err(|_| "it is not an IP address and a port, such as 127.0.0.1:4566".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "{} is not a loopback address, and whoever reaches the embedded cloud can run programs on this machine",
            address.ip()
        ))
    }
}
