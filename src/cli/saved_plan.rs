//! Saved plans as files, and the question whether one still holds.

use std::path::Path;

use crate::env;
use crate::plan::PlanError;
use crate::plan::saved::{SavedPlan, SavedPlanError};

use super::context::Context;
use super::error::{CommandError, CommandErrorKind};
use super::files;
use super::planned::Planned;

/// The error of an apply that did not come to its end. A saved plan is carried out once, so its rest takes another one.
pub(super) fn cut_off(saved: Option<&SavedPlan>, error: CommandError) -> CommandError {
    match (saved, error.kind()) {
        (Some(_), CommandErrorKind::Interrupted) => {
            error.hint("make a new plan with `rmx plan --out FILE`: it holds what is left")
        }
        // Nothing was begun: the plan is as good as before.
        (None, _) | (Some(_), CommandErrorKind::Locked | CommandErrorKind::Credentials) => error,
        (Some(_), _) => error.hint(
            "mend what is named above, then make a new plan with `rmx plan --out FILE`: it holds what is left",
        ),
    }
}

/// Writes a plan to `path`, readable by its owner alone, and gives it back as it is in there.
///
/// # Errors
/// The file cannot be written.
pub(super) fn save(
    context: &Context,
    path: &Path,
    planned: &Planned,
) -> Result<SavedPlan, CommandError> {
    let saved = as_saved(planned);
    let failed = |error: std::io::Error| {
        CommandError::error("Cannot save the plan")
            .detail(format!("The file is {}.", path.display()))
            .cause(error)
            .hint("name a file in a folder that is there and can be written to")
    };
    let bytes = saved.encode().map_err(|error| failed(error.into()))?;
    files::replace_private(&context.path(path), &bytes).map_err(failed)?;
    Ok(saved)
}

/// A plan as it is saved now.
pub(super) fn as_saved(planned: &Planned) -> SavedPlan {
    SavedPlan {
        made_at: env::timestamp(env::now()),
        basis: planned.basis.clone(),
        request: planned.request.clone(),
        plan: planned.plan.clone(),
        losses: planned.losses.clone(),
        preflight: planned.preflight.clone(),
        cost: planned.cost.clone(),
        code_size: planned.code_size.clone(),
        refusals: planned.refusals.clone(),
    }
}

/// Reads a saved plan.
///
/// # Errors
/// The file cannot be read, or holds no plan that this rmx can carry out.
pub(super) fn load(context: &Context, path: &Path) -> Result<SavedPlan, CommandError> {
    let failed = |summary: &str| {
        CommandError::error(summary).detail(format!("The file is {}.", path.display()))
    };
    let bytes = std::fs::read(context.path(path)).map_err(|error| {
        failed("Cannot read the saved plan")
            .cause(error)
            .hint("`rmx plan --out FILE` writes one")
    })?;
    SavedPlan::decode(&bytes).map_err(|error| {
        let again = "make a new plan with `rmx plan --out FILE`";
        match &error {
            SavedPlanError::Damaged(_) | SavedPlanError::Edited => {
                failed("The saved plan cannot be used")
                    .cause(error)
                    .hint(again)
            }
            SavedPlanError::OtherFormat { .. } => CommandError::new(
                CommandErrorKind::StalePlan,
                "The saved plan is of another format",
            )
            .detail(format!("The file is {}.", path.display()))
            .cause(error)
            .hint("make a new plan with the very rmx that applies it: `rmx plan --out FILE`"),
            SavedPlanError::OtherVersion { written_by } => {
                let hint = format!("use rmx {written_by}, or {again}");
                CommandError::new(
                    CommandErrorKind::StalePlan,
                    "The saved plan is of another rmx",
                )
                .detail(format!("The file is {}.", path.display()))
                .cause(error)
                .hint(hint)
            }
        }
    })
}

/// Why there is no plan. Where one was saved there was one, so something has moved since.
pub(super) fn no_more(saved: Option<&SavedPlan>, error: PlanError) -> CommandError {
    let moved = matches!(error, PlanError::Foreign { .. } | PlanError::NotOurs { .. });
    match saved.filter(|_| moved) {
        Some(saved) => CommandError::from(error)
            .of_kind(CommandErrorKind::StalePlan)
            .detail(format!(
                "That is new since the plan was made at {}. Nothing was done.",
                saved.made_at
            )),
        None => error.into(),
    }
}

/// Requires that `planned`, which was made just now, is what was saved. Afterwards it deletes the old versions that were shown.
///
/// # Errors
/// Something moved in between; everything that did is told.
pub(super) fn require_same(saved: &SavedPlan, planned: &mut Planned) -> Result<(), CommandError> {
    saved.carry_over_old_versions(&mut planned.plan);
    let mut moved = saved.moved(&planned.basis, &planned.plan);
    moved.extend(saved.lost_besides(&planned.losses));
    if moved.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = moved.iter().map(|moved| format!("  - {moved}")).collect();
    let told = moved.iter().map(|moved| moved.to_string().into()).collect();
    Err(
        CommandError::new(CommandErrorKind::StalePlan, "The saved plan is stale")
            .detail(format!(
                "Since it was made at {}:\n{}",
                saved.made_at,
                lines.join("\n")
            ))
            .detail("Nothing was done.")
            .diagnostics(told)
            .hint(
                "make a new plan with `rmx plan --out FILE`, and look at it: what an apply of this one has done by now is \
                 not in it any more",
            ),
    )
}
