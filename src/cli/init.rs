//! `rmx init`: a commented configuration to begin with.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::config;
use crate::names::{NameError, ProjectName, SiteName};

use super::context::Context;
use super::error::{CommandError, ExitStatus};
use super::files;

/// Write a commented remotion.toml to begin with
#[derive(Debug, clap::Args)]
pub(crate) struct InitArgs {
    /// The project's name [default: made from the folder's name]
    #[arg(long, value_name = "NAME")]
    project: Option<ProjectName>,
    /// Declare this folder as a site, named after it
    #[arg(long, value_name = "FOLDER")]
    site: Option<PathBuf>,
    /// Write over a file that is there
    #[arg(long)]
    force: bool,
}

pub(crate) fn cmd_init(context: &Context, args: &InitArgs) -> Result<ExitStatus, CommandError> {
    let path = context.path(&context.global.config);
    let project = match &args.project {
        Some(project) => project.clone(),
        None => project_name(path.parent().unwrap_or(&path))?,
    };
    let site = match &args.site {
        Some(folder) => Some((site_name(folder)?, folder.as_path())),
        None => None,
    };
    let text = config::template(
        &project,
        site.as_ref().map(|(name, folder)| (name, *folder)),
    );
    write(&path, &text, args.force)?;
    let ignored = ignore_data_folder(&path)?;
    let shown = context.global.config.display();
    if context.ui.json() {
        context
            .ui
            .print_json(&json!({ "written": shown.to_string(), "project": project }))?;
    } else {
        context
            .ui
            .say(format_args!("Wrote {shown} for project {project}."));
        if let Some(ignored) = ignored {
            context
                .ui
                .say(format_args!("Added .rmx/ to {}.", ignored.display()));
        }
        context.ui.say(match site {
            Some(_) => "Next: run `rmx plan`.",
            None => "Next: declare a [[site]] in it, then run `rmx plan`.",
        });
    }
    Ok(ExitStatus::Success)
}

/// A project name made of a folder's name.
fn project_name(folder: &Path) -> Result<ProjectName, CommandError> {
    let name = folder
        .file_name()
        .map(|name| name.to_string_lossy().to_lowercase())
        .unwrap_or_default();
    let words: Vec<_> = name
        .split(|letter: char| !letter.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect();
    let short: String = words.join("-").chars().take(32).collect();
    short
        .trim_end_matches('-')
        .parse()
        .map_err(|error: NameError| {
            CommandError::usage("The folder's name does not make a project name")
                .detail(format!("The folder is {}.", folder.display()))
                .cause(error)
                .hint("pass --project NAME")
        })
}

fn site_name(folder: &Path) -> Result<SiteName, CommandError> {
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    name.parse().map_err(|error: NameError| {
        CommandError::usage("The site's folder has a name that a site cannot have")
            .detail(format!("The folder is {}.", folder.display()))
            .cause(error)
            .hint("leave --site out, and write the [[site]] into the file")
    })
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), CommandError> {
    let result = if force {
        files::replace(path, text.as_bytes())
    } else {
        files::create(path, text.as_bytes())
    };
    result.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            CommandError::error("There is a configuration already")
                .detail(format!("{} is left as it was.", path.display()))
                .hint("pass --force to write over it")
        }
        _ => Context::unwritable_configuration(path, error),
    })
}

/// Adds `.rmx/` to the `.gitignore` beside the file: it may become a repository later.
fn ignore_data_folder(config: &Path) -> Result<Option<PathBuf>, CommandError> {
    let folder = config.parent().unwrap_or(Path::new("/"));
    let path = folder.join(".gitignore");
    let failed = |error: std::io::Error| {
        CommandError::error("Cannot add .rmx/ to .gitignore")
            .detail(format!("The file is {}.", path.display()))
            .cause(error)
            .hint("add the line `.rmx/` by hand: state does not belong into the repository")
    };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failed(error)),
    };
    let is_ours = |line: &str| matches!(line.trim().trim_matches('/'), ".rmx");
    if text.lines().any(is_ours) {
        return Ok(None);
    }
    let gap = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .and_then(|mut file| file.write_all(format!("{gap}.rmx/\n").as_bytes()))
        .map_err(failed)?;
    Ok(Some(path))
}
