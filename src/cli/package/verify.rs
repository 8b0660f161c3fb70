//! `rmx package verify`.

use std::path::Path;

use serde_json::json;

use crate::bundle::package::{self, Finding, Verification};

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::super::ui::Style;
use super::error::{NOT_VERIFIED, told_under};
use super::table::smaller;

pub(super) fn cmd_verify(context: &Context, folder: &Path) -> Result<ExitStatus, CommandError> {
    let Verification {
        manifest,
        over_bytes,
        findings,
    } = package::verify(folder).map_err(told_under(NOT_VERIFIED))?;
    let ui = &context.ui;
    if ui.json() {
        ui.print_json(&json!({
            "format_version": "1.0",
            "valid": findings.is_empty(),
            "findings": findings,
        }))?;
        return Ok(match findings.is_empty() {
            true => ExitStatus::Success,
            false => ExitStatus::Invalid,
        });
    }
    if findings.is_empty() {
        let success = ui.paint(Style::Green, "Success!");
        ui.print(format_args!(
            "{success} Every file is as it was built, and every program in it finds its libraries on Lambda."
        ))?;
        return Ok(ExitStatus::Success);
    }
    let lines: Vec<String> = findings.iter().map(line).collect();
    Err(
        CommandError::error("The function package would not run on Lambda")
            .detail(lines.join("\n"))
            .hint(match over_bytes {
                0 => {
                    "build it again with `rmx package build`, with components for Amazon Linux 2023"
                        .to_owned()
                }
                _ => format!(
                    "build it again with `rmx package build`: {}",
                    smaller(&manifest, over_bytes)
                ),
            }),
    )
}

fn line(Finding { path, problem }: &Finding) -> String {
    match path.as_str() {
        "" => problem.clone(),
        path => format!("{path}: {problem}"),
    }
}
