//! `rmx logs`: what the invocations of a render have written, of all that a log group holds.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::json;
use time::OffsetDateTime;

use crate::cloud::{Cloud, CloudError, LogEvent};
use crate::env::timestamp;
use crate::names::{LogGroupName, RenderId};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::farm;
use super::foreign::one_line;
use super::render::deployed::Deployed;

/// Streams that are read at the same time.
const READS_IN_FLIGHT: usize = 8;

/// Lines of one invocation that are read at most.
const LINES_MAX: usize = 10_000;

/// Show what the invocations of a render have logged: its orchestrator, if it has one in a Lambda, and its workers
///
/// Invocations come in the order in which they began, each with its lines. CloudWatch shows a line some seconds after it was
/// written.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LogsArgs {
    /// The render's id
    #[arg(long, value_name = "ID")]
    render: RenderId,
    /// Only the workers of the chunk with this number, counted from 0
    #[arg(long, value_name = "N")]
    chunk: Option<u32>,
}

pub(crate) async fn cmd_logs(
    context: &Context,
    args: &LogsArgs,
) -> Result<ExitStatus, CommandError> {
    let deployed = Deployed::recorded(context).await?;
    // Replicas log into one group.
    let group = deployed.log_group()?;
    let farm = farm::connect(context, &deployed.config).await?;
    // Nothing in this block returns before the embedded cloud has been shut down.
    let outcome = show(context, &farm.cloud, group, args).await;
    farm.shutdown().await;
    outcome.map(|()| ExitStatus::Success)
}

async fn show(
    context: &Context,
    cloud: &Cloud,
    group: &LogGroupName,
    args: &LogsArgs,
) -> Result<(), CommandError> {
    let LogsArgs { render, chunk } = args;
    let phrase = match chunk {
        Some(chunk) => format!("renderId={render},chunk={chunk},"),
        None => format!("renderId={render},"),
    };
    let (first_lines, all) = cloud.search_log_group(group, &phrase).await?;
    if !all {
        context
            .ui
            .warn("there is more in the log group than is searched");
    }
    // What a page writes may look like the line that begins an invocation.
    let first_lines = first_lines
        .into_iter()
        .filter_map(|event| Some((Invocation::parse(&event.message)?, event)));
    let read: Vec<(Invocation, Vec<LogEvent>)> = futures::stream::iter(first_lines)
        .map(|(invocation, first)| async move {
            let lines = lines_of(cloud, group, &first).await?;
            Ok::<_, CloudError>((invocation, lines))
        })
        .buffered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    if read.is_empty() {
        return Err(CommandError::error("Nothing of it is in the log")
            .detail(format!(
                "No line in the log group {group} was written for the render {render}{}.",
                chunk.map(|chunk| format!(" and its chunk {chunk}")).unwrap_or_default()
            ))
            .hint("CloudWatch shows lines some seconds after they were written, and keeps them for [logs] retention_days"));
    }
    for (invocation, lines) in &read {
        for event in lines {
            print(context, invocation, event)?;
        }
    }
    Ok(())
}

/// The lines of an invocation, from its first one to Lambda's report of it.
async fn lines_of(
    cloud: &Cloud,
    group: &LogGroupName,
    first: &LogEvent,
) -> Result<Vec<LogEvent>, CloudError> {
    let (mut begun, mut ended, mut count) = (false, false, 0);
    let read = cloud
        .read_log_stream(group, &first.stream, first.time_ms, |line| {
            begun |= line == first.message;
            let wanted = !ended && count < LINES_MAX && !(begun && line.starts_with("START "));
            ended = begun && line.starts_with("REPORT ");
            count += 1;
            wanted
        })
        .await?;
    let from_first = read
        .into_iter()
        .skip_while(|event| event.message != first.message);
    Ok(from_first.collect())
}

fn print(context: &Context, invocation: &Invocation, event: &LogEvent) -> Result<(), CommandError> {
    let time = OffsetDateTime::UNIX_EPOCH + Duration::from_millis(event.time_ms);
    let time = timestamp(time);
    let time = format!(
        "{}.{:03}Z",
        time.trim_end_matches('Z'),
        event.time_ms % 1_000
    );
    if context.ui.json() {
        return context.ui.print_json(&json!({
            "time": time,
            "method": invocation.method,
            "chunk": invocation.chunk,
            "attempt": invocation.attempt,
            "stream": event.stream,
            "message": event.message,
        }));
    }
    let label = invocation.to_string();
    let line = one_line(&event.message.trim().replace('\t', "  "));
    context
        .ui
        .print(format_args!("{time}  {label:<14}  {line}"))
}

/// What the first line of an invocation says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Invocation {
    method: String,
    chunk: Option<u32>,
    attempt: Option<u32>,
}

impl Invocation {
    /// Nothing if it is no such line.
    fn parse(line: &str) -> Option<Self> {
        let own = line.split_once("invocation: method=");
        // Remotion's function writes it behind what Node.js puts before each line.
        let remotions = || line.rsplit('\t').next()?.strip_prefix("method=");
        let fields = own.map(|(_, fields)| fields).or_else(remotions)?;
        let (method, fields) = fields.split_once(',')?;
        let number = |name: &str| {
            let mut fields = fields.split(',').filter_map(|field| field.split_once('='));
            fields
                .find(|(field, _)| *field == name)?
                .1
                .trim()
                .parse()
                .ok()
        };
        Some(Self {
            method: method.to_owned(),
            chunk: number("chunk"),
            attempt: number("attempt"),
        })
    }
}

impl std::fmt::Display for Invocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.chunk, self.attempt) {
            (None, _) => write!(f, "{}", one_line(&self.method)),
            (Some(chunk), None | Some(1)) => write!(f, "chunk {chunk}"),
            (Some(chunk), Some(attempt)) => write!(f, "chunk {chunk}, try {attempt}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_say_whose_they_are() {
        let shown = |line: &str| Invocation::parse(line).map(|found| found.to_string());
        let chunk = " INFO invocation: method=renderer,renderId=abc,chunk=3,attempt=1,isWarm=true";
        assert_eq!(shown(chunk).as_deref(), Some("chunk 3"));
        let again = chunk.replace("attempt=1", "attempt=2");
        assert_eq!(shown(&again).as_deref(), Some("chunk 3, try 2"));
        let launch = " INFO invocation: method=launch,renderId=abc,";
        assert_eq!(shown(launch).as_deref(), Some("launch"));
        let remotions = "2026-11-26T08:00:00.000Z\t1f9c\tINFO\tmethod=renderer,renderId=abc,chunk=4,dumpLogs=false";
        assert_eq!(shown(remotions).as_deref(), Some("chunk 4"));
        assert_eq!(shown(" WARN page: renderId=abc, is what I render"), None);
    }
}
