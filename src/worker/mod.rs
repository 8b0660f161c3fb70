//! The Lambda side: a task comes in, a browser draws the frames, ffmpeg encodes them meanwhile, the segment goes to the
//! bucket, and messages about it stream back.
//!
//! ```text
//! handler (or direct) → task → page (browser, server, driver.js) → pictures → encode → segment → bucket
//! ```

mod artifacts;
mod blocks;
mod browser;
mod cdp;
mod colour;
mod connect;
mod direct;
mod encode;
mod failure;
mod fetch;
mod film;
mod handler;
mod invocation;
mod lane;
mod listen;
mod media;
mod open;
mod orchestrator;
mod packed;
mod page;
mod proxy;
mod scratch;
mod serve;
mod site;
mod smoke;
mod sound;
mod stack;
mod still;
mod task;
mod texts;
mod tools;
mod upload;
mod words;

use std::process::ExitCode;

use clap::Parser as _;

use crate::env::Env;

/// Exit code of a command line that is wrong; that of rmx.
const WRONG_USAGE: u8 = 64;

/// Runs the Lambda runtime loop until the environment is shut down; outside of Lambda, the command line.
pub fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RMX_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"))
        .add_directive(invocation::directive());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A log is searched, and colours are characters, too.
        .with_ansi(false)
        .without_time()
        .init();
    let outcome = Env::read()
        .map_err(|error| error.to_string())
        .and_then(|env| {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            if env.variable("AWS_LAMBDA_RUNTIME_API").is_some() {
                return runtime
                    .block_on(handler::run(&env))
                    .map(|()| ExitCode::SUCCESS)
                    .map_err(|error| error.to_string());
            }
            let arguments = match direct::Arguments::try_parse() {
                Ok(arguments) => arguments,
                Err(error) => {
                    let _ = error.print();
                    let wrong = error.use_stderr();
                    return Ok(if wrong {
                        ExitCode::from(WRONG_USAGE)
                    } else {
                        ExitCode::SUCCESS
                    });
                }
            };
            runtime
                .block_on(direct::run(&env, arguments))
                .map(|()| ExitCode::SUCCESS)
                .map_err(|failure| {
                    let frame = failure
                        .frame
                        .map(|frame| format!("frame {frame}: "))
                        .unwrap_or_default();
                    let stack = failure
                        .stack
                        .map(|stack| format!("\n{stack}"))
                        .unwrap_or_default();
                    format!("{frame}{}{stack}", failure.message)
                })
        });
    match outcome {
        Ok(code) => code,
        Err(message) => {
            tracing::error!("{message}");
            ExitCode::FAILURE
        }
    }
}

/// Milliseconds since then.
fn milliseconds(since: std::time::Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
