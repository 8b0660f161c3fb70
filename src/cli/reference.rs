//! `docs/cli-reference.md`, made from what clap knows.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

/// Every verb with its arguments and options, in Markdown.
pub fn reference() -> String {
    let mut command = super::command();
    command.build();
    let mut text = String::from(
        "# Command line\n\n\
         <!-- Generated from the code: `RMX_UPDATE_DOCS=1 cargo test --test it documents` rewrites it. -->\n\n\
         Data goes to standard output, everything else to standard error. A verb that would ask a question fails where\n\
         nobody can be asked, and says which option to pass. With `--json` an error is one JSON object on standard error.\n",
    );
    push(&mut text, "\n## Options of every verb\n");
    options(&mut text, &command, true);
    for verb in command.get_subcommands() {
        section(&mut text, verb, "rmx", 2);
    }
    push(&mut text, EXIT_CODES);
    text
}

const EXIT_CODES: &str = "
## Exit codes

| code | meaning |
|---|---|
| 0 | done |
| 1 | it did not work, or the user did not say `yes` |
| 2 | `plan --detailed-exitcode`: there are changes |
| 3 | `fmt --check`: the file would be laid out otherwise |
| 10 | what the plan was made from has changed since |
| 11 | the state is locked by somebody else |
| 12 | no credentials, or bad ones |
| 13 | something that is needed is missing; nothing was done |
| 14 | interrupted; the state is saved |
| 15 | applied in part; the state is saved |
| 16 | refused by a rule: `account`, [policy], --deny or `protect` |
| 64 | the command line is wrong |
| 70 | a bug in rmx |

## Environment variables

| variable | meaning |
|---|---|
| `NO_COLOR` | no colours |
| `RMX_LOG` | a log filter such as `debug` or `rmx::apply=trace`; the log goes to standard error |
| `RMX_CHROMIUM`, `RMX_FFMPEG`, `RMX_FFPROBE` | programs to use instead of those found in `PATH` |
| `RMX_FUNCTION_PROGRAMS` | a folder of programs that the embedded cloud lays over those in the zips of functions for Node.js, see docs/WIRE.md |
| `AWS_...` | credentials and endpoint, as every AWS tool reads them; used by the target `aws` |
";

fn section(text: &mut String, command: &Command, parent: &str, depth: usize) {
    if command.is_hide_set() {
        return;
    }
    let name = format!("{parent} {}", command.get_name());
    let heading = "#".repeat(depth);
    push(text, &format!("\n{heading} `{name}`\n\n"));
    if let Some(about) = command.get_long_about().or(command.get_about()) {
        push(
            text,
            &format!("{}.\n\n", about.to_string().trim_end_matches('.')),
        );
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage: ").trim();
    push(text, &format!("```text\n{usage}\n```\n"));
    options(text, command, false);
    for inner in command.get_subcommands() {
        section(text, inner, &name, depth + 1);
    }
}

fn options(text: &mut String, command: &Command, global: bool) {
    let mut rows: Vec<_> = command
        .get_arguments()
        .filter(|arg| !arg.is_hide_set() && arg.is_global_set() == global)
        .filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version"))
        .collect();
    rows.sort_by_key(|arg| !arg.is_positional());
    if rows.is_empty() {
        return;
    }
    push(text, "\n| argument | meaning |\n|---|---|\n");
    for arg in rows {
        push(
            text,
            &format!("| `{}` | {} |\n", spelled(arg), meaning(arg)),
        );
    }
}

fn spelled(arg: &Arg) -> String {
    let value = arg
        .get_value_names()
        .and_then(|names| names.first())
        .map_or_else(
            || arg.get_id().to_string().to_uppercase(),
            ToString::to_string,
        );
    if arg.is_positional() {
        return value;
    }
    let short = arg.get_short().map(|short| format!("-{short}"));
    let long = arg.get_long().map(|long| format!("--{long}"));
    let flags: Vec<_> = short.into_iter().chain(long).collect();
    let flags = flags.join(", ");
    match arg.get_action() {
        ArgAction::Set | ArgAction::Append => format!("{flags} {value}"),
        _ => flags,
    }
}

fn meaning(arg: &Arg) -> String {
    let mut meaning = arg
        .get_long_help()
        .or(arg.get_help())
        .map(ToString::to_string)
        .unwrap_or_default()
        .replace("\n\n", " ")
        .replace('\n', " ")
        .replace('|', "\\|");
    let words: Vec<_> = match arg.get_action() {
        ArgAction::Set | ArgAction::Append => arg
            .get_possible_values()
            .iter()
            .map(|value| format!("`{}`", value.get_name()))
            .collect(),
        _ => Vec::new(),
    };
    if !words.is_empty() {
        push(&mut meaning, &format!(": {}", words.join(", ")));
    }
    let defaults: Vec<_> = arg
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .collect();
    if !defaults.is_empty() && !arg.is_hide_default_value_set() && arg.get_action().takes_values() {
        push(
            &mut meaning,
            &format!(" (default: `{}`)", defaults.join(" ")),
        );
    }
    meaning
}

fn push(text: &mut String, more: &str) {
    text.write_str(more)
        .expect("writing to a String cannot fail");
}
