//! `rmx doctor`: whether this machine has what the local target needs, and how to get what it lacks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use tokio::process::Command;

use crate::env::{self, Env, Tool};

use super::context::Context;
use super::error::{CommandError, CommandErrorKind, ExitStatus};
use super::ui::Style;

/// Check that this machine has what rmx needs, and say how to get what it lacks
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {}

/// One thing that was looked for.
#[derive(Debug, Serialize)]
struct Finding {
    name: &'static str,
    /// Whether it is there and runs.
    ok: bool,
    path: Option<PathBuf>,
    /// The first line of what it says its version is.
    version: Option<String>,
    /// What is wrong.
    problem: Option<String>,
    /// What it is needed for.
    purpose: &'static str,
    /// How to get it.
    install: &'static str,
}

pub(crate) async fn cmd_doctor(
    context: &Context,
    _args: &DoctorArgs,
) -> Result<ExitStatus, CommandError> {
    let env = &context.env;
    let (chromium, ffmpeg, ffprobe) = tokio::join!(
        tool(env, Tool::Chromium),
        tool(env, Tool::Ffmpeg),
        tool(env, Tool::Ffprobe),
    );
    let findings = [chromium, ffmpeg, ffprobe, font(env), worker(env)];
    if context.ui.json() {
        context.ui.print_json(&findings)?;
    } else {
        for finding in &findings {
            show(context, finding)?;
        }
    }
    let missing: Vec<_> = findings
        .iter()
        .filter(|finding| !finding.ok)
        .map(|finding| finding.name)
        .collect();
    if missing.is_empty() {
        return Ok(ExitStatus::Success);
    }
    Err(CommandError::new(
        CommandErrorKind::Preflight,
        "Something that rmx needs is missing",
    )
    .detail(format!("Missing or not working: {}.", missing.join(", ")))
    .hint("install what is named above, then run `rmx doctor` again"))
}

fn show(context: &Context, finding: &Finding) -> Result<(), CommandError> {
    let ui = &context.ui;
    let mark = match finding.ok {
        true => ui.paint(Style::Green, "ok     "),
        false => ui.paint(Style::Red, "missing"),
    };
    let found = match (&finding.problem, &finding.version, &finding.path) {
        (Some(problem), ..) => problem.clone(),
        (None, Some(version), Some(path)) => format!("{version} ({})", path.display()),
        (None, _, Some(path)) => path.display().to_string(),
        (None, ..) => String::new(),
    };
    ui.print(format_args!("{mark} {:<11} {found}", finding.name))?;
    if !finding.ok {
        ui.print(format_args!("        for: {}", finding.purpose))?;
        ui.print(format_args!("        get it: {}", finding.install))?;
    }
    Ok(())
}

async fn tool(env: &Env, tool: Tool) -> Finding {
    let (name, version_flag, purpose, install) = match tool {
        Tool::Chromium => (
            "chromium",
            "--version",
            "drawing frames",
            "apt-get install chromium-headless-shell, or let RMX_CHROMIUM name a headless shell of Chromium",
        ),
        Tool::Ffmpeg => (
            "ffmpeg",
            "-version",
            "encoding and stitching",
            "apt-get install ffmpeg, or let RMX_FFMPEG name one",
        ),
        Tool::Ffprobe => (
            "ffprobe",
            "-version",
            "looking into media files",
            "apt-get install ffmpeg, or let RMX_FFPROBE name one",
        ),
    };
    let path = env.find_tool(tool);
    let version = match &path {
        Some(path) => version(path, version_flag).await,
        None => Err(match env.variable(tool.variable()) {
            Some(given) => format!("{} is `{given}`, which cannot be run", tool.variable()),
            None => format!("not found in PATH as {}", tool.names().join(", ")),
        }),
    };
    Finding {
        name,
        ok: version.is_ok(),
        path,
        problem: version.as_ref().err().cloned(),
        version: version.ok(),
        purpose,
        install,
    }
}

/// The first line of what `program` says its version is.
async fn version(program: &Path, flag: &str) -> Result<String, String> {
    /// A browser takes a second to say its version on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(20);
    let run = Command::new(program)
        .arg(flag)
        .stdin(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let shown = program.display();
    match tokio::time::timeout(PATIENCE, run).await {
        Err(_) => Err(format!(
            "{shown} {flag} did not end within {} s",
            PATIENCE.as_secs()
        )),
        Ok(Err(error)) => Err(format!("{shown} does not start: {error}")),
        Ok(Ok(output)) if !output.status.success() => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default();
            Err(format!(
                "{shown} {flag} ended with {}: {last}",
                output.status
            ))
        }
        Ok(Ok(output)) => Ok(String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .trim()
            .to_owned()),
    }
}

/// A machine without any font draws pages without any text.
fn font(env: &Env) -> Finding {
    let home = Path::new(env.variable("HOME").unwrap_or("/"));
    let folders = [
        PathBuf::from("/usr/share/fonts"),
        PathBuf::from("/usr/local/share/fonts"),
        home.join(".fonts"),
        home.join(".local/share/fonts"),
    ];
    let is_font = |path: &Path| {
        path.extension()
            .is_some_and(|extension| matches!(extension.to_str(), Some("ttf" | "otf" | "ttc")))
    };
    let path = folders
        .iter()
        .flat_map(|folder| walkdir::WalkDir::new(folder).max_depth(6))
        .filter_map(Result::ok)
        .take(10_000)
        .map(walkdir::DirEntry::into_path)
        .find(|path| is_font(path));
    Finding {
        name: "font",
        ok: path.is_some(),
        problem: path
            .is_none()
            .then(|| "no font in /usr/share/fonts and the like".to_owned()),
        path,
        version: None,
        purpose: "text in pages that do not bring their own fonts",
        install: "apt-get install fonts-dejavu-core",
    }
}

/// The worker is packed as the function's code. It lies next to `rmx`.
fn worker(env: &Env) -> Finding {
    let path = env.executable.with_file_name("rmx-worker");
    let ok = env::is_program(&path);
    Finding {
        name: "rmx-worker",
        ok,
        problem: (!ok).then(|| format!("{} is not there or cannot be run", path.display())),
        path: Some(path),
        version: None,
        purpose: "the function's code",
        install: "build or copy it next to rmx: cargo build --bins",
    }
}
