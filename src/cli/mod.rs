//! Words in, words out: one verb a file. The only room that prints.
//!
//! A verb is a file with `XArgs` (its doc comments are the help text) and
//! `cmd_x(context, args) -> Result<ExitStatus, CommandError>`. To add one: a `mod` line, and a line in each of
//! `Verb` and `run`. A verb parses nothing and decides no exit code by itself: `error.rs` maps errors to codes.

mod apply;
mod bench;
mod bundled;
mod completions;
mod compositions;
mod context;
mod destroy;
mod doctor;
mod error;
mod explain;
mod farm;
mod files;
mod fmt;
mod foreign;
mod import;
mod init;
mod interrupt;
mod local;
mod lock;
mod logs;
mod package;
mod plan;
mod planned;
mod policies;
mod preflight;
mod project;
mod protection;
mod recorded;
mod reference;
mod render;
mod renders;
mod rollback;
mod saved_plan;
mod schema;
mod show;
mod smoke;
mod state;
mod still;
mod ui;
mod validate;
mod versions;
mod view;

pub use reference::reference;

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{EnvFilter, filter_fn};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::cloud::REQUEST_LOG_TARGETS;
use crate::env::Env;
use context::{Context, GlobalOptions};
use error::{CommandError, CommandErrorKind, ExitStatus};
use interrupt::Signals;
use ui::Ui;

/// How long the verb, and then what it left running, may hold up the end of the process by blocking (a name lookup, a read, a
/// digest). Twice this and the time a verb has to end are below two seconds.
const BLOCKED_TIME_MAX: Duration = Duration::from_millis(200);

/// As large as that of a main thread is as a rule: the futures of the SDK are deep.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Plan, apply and render: a serverless video render farm, declared in remotion.toml.
#[derive(Debug, clap::Parser)]
#[command(
    name = "rmx",
    version,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "`rmx VERB --help` says more about a verb."
)]
struct Cli {
    #[command(flatten)]
    global: GlobalOptions,
    #[command(subcommand)]
    verb: Verb,
}

/// What to do.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    Init(init::InitArgs),
    Validate(validate::ValidateArgs),
    Fmt(fmt::FmtArgs),
    Schema(schema::SchemaArgs),
    Plan(plan::PlanArgs),
    Apply(apply::ApplyArgs),
    Destroy(destroy::DestroyArgs),
    Show(show::ShowArgs),
    State(state::StateArgs),
    Import(import::ImportArgs),
    Versions(versions::VersionsArgs),
    Rollback(rollback::RollbackArgs),
    Render(Box<render::RenderArgs>),
    Renders(renders::RendersArgs),
    Logs(logs::LogsArgs),
    Still(still::StillArgs),
    Compositions(compositions::CompositionsArgs),
    Bench(Box<bench::BenchArgs>),
    Package(package::PackageArgs),
    Policies(policies::PoliciesArgs),
    Doctor(doctor::DoctorArgs),
    Explain(explain::ExplainArgs),
    Local(local::LocalArgs),
    Completions(completions::CompletionsArgs),
}

async fn run(context: &Context, verb: &Verb) -> Result<ExitStatus, CommandError> {
    match verb {
        Verb::Init(args) => init::cmd_init(context, args),
        Verb::Validate(args) => validate::cmd_validate(context, args),
        Verb::Fmt(args) => fmt::cmd_fmt(context, args),
        Verb::Schema(args) => schema::cmd_schema(context, args),
        Verb::Plan(args) => plan::cmd_plan(context, args).await,
        Verb::Apply(args) => apply::cmd_apply(context, args).await,
        Verb::Destroy(args) => destroy::cmd_destroy(context, args).await,
        Verb::Show(args) => show::cmd_show(context, args).await,
        Verb::State(args) => state::cmd_state(context, args).await,
        Verb::Import(args) => import::cmd_import(context, args).await,
        Verb::Versions(args) => versions::cmd_versions(context, args).await,
        Verb::Rollback(args) => rollback::cmd_rollback(context, args).await,
        Verb::Render(args) => render::cmd_render(context, args).await,
        Verb::Renders(args) => renders::cmd_renders(context, args).await,
        Verb::Logs(args) => logs::cmd_logs(context, args).await,
        Verb::Still(args) => still::cmd_still(context, args).await,
        Verb::Compositions(args) => compositions::cmd_compositions(context, args).await,
        Verb::Bench(args) => bench::cmd_bench(context, args).await,
        Verb::Package(args) => package::cmd_package(context, args).await,
        Verb::Policies(args) => policies::cmd_policies(context, args).await,
        Verb::Doctor(args) => doctor::cmd_doctor(context, args).await,
        Verb::Explain(args) => explain::cmd_explain(context, args),
        Verb::Local(args) => local::cmd_local(context, args).await,
        Verb::Completions(args) => completions::cmd_completions(context, args),
    }
}

/// The command line as clap knows it, for completions and the generated reference.
pub fn command() -> clap::Command {
    Cli::command()
}

/// Reads the surroundings and the command line, runs the verb, and turns its result into an exit code.
pub fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let env = match Env::read() {
        Ok(env) => env,
        Err(error) => {
            let error = CommandError::error("Cannot read the process's surroundings").cause(error);
            return error.report(&Ui::plain());
        }
    };
    // `--json` and `--color` are wanted before clap has parsed, since they shape clap's own errors too.
    let ui = Ui::new(&env, &arguments);
    install_panic_hook(ui.json());
    guard(|| match parse(env, ui.clone(), &arguments) {
        Ok((context, verb)) => match block_on(context, verb) {
            Ok(status) => status.code(),
            Err(error) => error.report(&ui),
        },
        Err(Outcome::Help(text)) => match ui.print_raw(&text) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => error.report(&ui),
        },
        Err(Outcome::Usage(error)) => error.report(&ui),
    })
}

/// Why parsing did not yield a verb.
enum Outcome {
    /// `--help` or `--version`: text for standard output.
    Help(String),
    /// The command line is wrong.
    Usage(CommandError),
}

fn parse(env: Env, ui: Ui, arguments: &[std::ffi::OsString]) -> Result<(Context, Verb), Outcome> {
    let cli = Cli::command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| match error.kind() {
            clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion => {
                let text = error.render();
                Outcome::Help(if ui.colors_stdout() {
                    text.ansi().to_string()
                } else {
                    text.to_string()
                })
            }
            _ => Outcome::Usage(CommandError::from_clap(&error)),
        })?;
    let context = Context::new(env, ui, cli.global).map_err(Outcome::Usage)?;
    start_log(&context).map_err(Outcome::Usage)?;
    Ok((context, cli.verb))
}

/// Runs the verb on a thread of its own: what it does there without a pause, such as digesting a large file, keeps nobody from
/// leaving.
fn block_on(context: Context, verb: Verb) -> Result<ExitStatus, CommandError> {
    let cannot_start = |error| CommandError::error("Cannot start the runtime").cause(error);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(cannot_start)?;
    let (ui, interrupt) = (context.ui.clone(), context.interrupt.clone());
    let handle = runtime.handle().clone();
    let dropped = CancellationToken::new();
    let result = runtime.block_on(async {
        // Before the verb begins, so that no signal finds nobody listening.
        let signals = Signals::catch();
        let (end, mut ended) = tokio::sync::oneshot::channel();
        let is_dropped = dropped.clone();
        let work = move || {
            let verb = async {
                tokio::select! {
                    result = run(&context, &verb) => Some(result),
                    () = is_dropped.cancelled() => None,
                }
            };
            let result = std::panic::catch_unwind(AssertUnwindSafe(|| handle.block_on(verb)));
            // Nobody listens where the process is being left.
            let _ = end.send(result);
        };
        let thread = std::thread::Builder::new().name("verb".to_owned());
        thread
            .stack_size(STACK_BYTES)
            .spawn(work)
            .map_err(cannot_start)?;
        tokio::select! {
            ended = &mut ended => match ended {
                Ok(Ok(Some(result))) => result,
                Ok(Err(panic)) => std::panic::resume_unwind(panic),
                Ok(Ok(None)) | Err(_) => unreachable!("it ends with a result unless it is dropped"),
            },
            error = interrupt.leave(&ui, signals) => {
                dropped.cancel();
                drop(tokio::time::timeout(BLOCKED_TIME_MAX, &mut ended).await);
                Err(error)
            }
        }
    });
    runtime.shutdown_timeout(BLOCKED_TIME_MAX);
    result
}

/// `RMX_LOG` is a `tracing` filter such as `debug` or `rmx::apply=trace`. The log goes to standard error.
fn start_log(context: &Context) -> Result<(), CommandError> {
    let Some(filter) = context.env.variable("RMX_LOG") else {
        return Ok(());
    };
    let filter = filter.parse::<EnvFilter>().map_err(|error| {
        CommandError::usage("RMX_LOG is not a log filter")
            .detail(format!("RMX_LOG is `{filter}`."))
            .cause(error)
            .hint("set RMX_LOG=debug, or unset it")
    })?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(context.ui.colors_stderr())
        .with_filter(filter_fn(holds_no_request));
    // A second initialisation can only happen in tests within one process; the first one stays.
    drop(
        tracing_subscriber::registry()
            .with(filter)
            .with(lines)
            .try_init(),
    );
    Ok(())
}

/// The SDK's own lines below `info` hold whole requests, and with them the values of secrets: whatever `RMX_LOG` asks for,
/// they are left out.
fn holds_no_request(line: &tracing::Metadata<'_>) -> bool {
    let crate_name = line.target().split("::").next().unwrap_or_default();
    *line.level() <= tracing::Level::INFO || !REQUEST_LOG_TARGETS.contains(&crate_name)
}

/// Runs `body`; a panic in it ends the process with the code of a bug in rmx. The hook has told the user by then.
fn guard(body: impl FnOnce() -> ExitCode) -> ExitCode {
    std::panic::catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|_payload: Box<dyn Any + Send>| CommandErrorKind::Internal.exit_code())
}

fn install_panic_hook(json: bool) {
    std::panic::set_hook(Box::new(move |info: &PanicHookInfo<'_>| {
        let what = info.payload_as_str().unwrap_or("no message");
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        CommandError::new(CommandErrorKind::Internal, "This is a bug in rmx")
            .detail(format!(
                "rmx {} met a situation it believed to be impossible, at {place}: {what}",
                env!("CARGO_PKG_VERSION")
            ))
            .hint("please report this text together with the command you ran")
            .report(&Ui::plain().with_json(json));
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_panic_ends_with_code_70() {
        let code = guard(|| panic!("a bug, on purpose"));
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::from(70)));
    }
}
