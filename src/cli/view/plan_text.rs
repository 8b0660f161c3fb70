//! A plan for people.

use std::fmt::Write as _;

use super::advice::preflight_text;
use super::code_size::code_size_text;
use super::cost::cost_text;
use super::fields::{Mark, lines};
use super::{Totals, loss, own_name};
use crate::cli::foreign::one_line;
use crate::cli::ui::{Style, Ui};
use crate::plan::change::{Action, Change, Drift, OLD_VERSIONS_FIELD, PROTECT_FIELD, Plan};
use crate::plan::gate::Violation;
use crate::plan::in_use::NEXT_VERSION;
use crate::plan::loss::Loss;
use crate::plan::preflight::Preflight;
use crate::plan::request::PlanMode;
use crate::plan::saved::SavedPlan;
use crate::resource::{Address, FieldChange, Resource, field_count};

const RULE: &str = "─────────────────────────────────────────────────────────────────────────────";

/// The whole text, ending in a line break.
pub(crate) fn plan_text(plan: &Plan, losses: &[Loss], mode: PlanMode, ui: &Ui) -> String {
    let mut text = String::new();
    if !plan.drift.is_empty() {
        push(&mut text, &drift_text(&plan.drift, ui));
    }
    if plan.is_empty() {
        let what = ui.paint(Style::Green, "No changes.");
        push(&mut text, &format!("{what} {}\n", nothing_to_do(mode)));
        push(&mut text, &versions_text(plan));
        return text;
    }
    push(&mut text, &legend(plan, ui));
    push(
        &mut text,
        match mode {
            PlanMode::Deploy | PlanMode::Destroy => "rmx will perform the following actions:\n",
            PlanMode::RefreshOnly => {
                "rmx will only record what is there, and change nothing in the cloud:\n"
            }
        },
    );
    for change in &plan.changes {
        if change.action != Action::NoOp {
            push(&mut text, &format!("\n{}", change_text(change, mode, ui)));
        }
    }
    if !losses.is_empty() {
        let title = ui.paint(Style::Red, "What is lost for ever:");
        push(&mut text, &format!("\n{title}\n"));
        for one in losses {
            push(&mut text, &format!("  - {}\n", loss(one)));
        }
    }
    let word = ui.paint(Style::Bold, "Plan:");
    push(&mut text, &versions_text(plan));
    push(
        &mut text,
        &format!("\n{word} {}.\n", Totals::of(plan, mode)),
    );
    text
}

/// Versions of which more is to say than what is done: old ones that would go if nothing used them, and those that are owed
/// a smoke render.
fn versions_text(plan: &Plan) -> String {
    let said = plan.changes.iter().flat_map(|change| {
        let address = &change.address;
        let kept = change.retention.kept.iter();
        let kept = kept.map(move |(version, users)| {
            let users: Vec<&str> = users.iter().map(String::as_str).collect();
            let users = one_line(&users.join(", "));
            format!("Version {version} of {address} is kept: in use by {users}.\n")
        });
        let denied = change.retention.denied.iter();
        let denied = denied.map(move |version| {
            format!(
                "Version {version} of {address} is kept: its deletion was denied. The next change of the function tries again.\n"
            )
        });
        let failed = smoke_owed(change).map(|owed| format!("{owed}\n"));
        kept.chain(denied).chain(failed)
    });
    let lines: String = said.collect();
    match lines.is_empty() {
        true => lines,
        false => format!("\n{lines}"),
    }
}

/// That a version has not passed its smoke render, and what follows from it.
pub(super) fn smoke_owed(change: &Change) -> Option<String> {
    let (version, address) = (change.owes_smoke_after()?, &change.address);
    let why = match version {
        NEXT_VERSION => format!(
            "A change of {address} was cut off before its version was there for a smoke render"
        ),
        _ => format!("Version {version} of {address} has not passed its smoke render"),
    };
    Some(format!(
        "{why}: the one that goes live next has to pass, asked for or not."
    ))
}

/// A saved plan: where it comes from, then what it would do.
pub(crate) fn saved_plan_text(saved: &SavedPlan, ui: &Ui) -> String {
    let SavedPlan {
        made_at,
        basis,
        request,
        plan,
        losses,
        preflight,
        cost,
        code_size,
        refusals,
    } = saved;
    let cost = cost.as_ref().filter(|_| !plan.is_empty());
    let stage = basis.stage.as_ref();
    let stage = stage.map(|stage| format!(", stage {stage}"));
    format!(
        "Saved plan of {made_at}: project {}{}, account {}, region {}, state serial {}.\n\n{}{}{}{}{}",
        basis.project,
        stage.unwrap_or_default(),
        plan.identity.account,
        plan.identity.region,
        basis.serial,
        plan_text(plan, losses, request.mode, ui),
        code_size_text(code_size.as_ref(), ui),
        cost_text(cost, ui),
        preflight_text(preflight.as_ref(), ui),
        refusals_text(refusals, preflight.as_ref(), ui)
    )
}

/// Why the plan was refused when it was made.
fn refusals_text(refusals: &[Violation], preflight: Option<&Preflight>, ui: &Ui) -> String {
    let by_preflight = preflight.into_iter().flat_map(Preflight::refusals);
    let by_preflight = by_preflight.map(|check| format!("preflight: {check}"));
    let refusals = refusals.iter().map(ToString::to_string).chain(by_preflight);
    let lines: String = refusals.map(|one| format!("  - {one}\n")).collect();
    if lines.is_empty() {
        return lines;
    }
    let title = ui.paint(Style::Red, "This plan was refused when it was made:");
    format!("\n{title}\n{lines}")
}

/// Why a plan of this kind has no changes.
pub(super) fn nothing_to_do(mode: PlanMode) -> &'static str {
    match mode {
        PlanMode::Deploy => "Your infrastructure matches the configuration.",
        PlanMode::Destroy => "No objects need to be destroyed.",
        PlanMode::RefreshOnly => "Your infrastructure still matches the recorded state.",
    }
}

fn push(text: &mut String, more: &str) {
    text.write_str(more)
        .expect("writing to a String cannot fail");
}

fn legend(plan: &Plan, ui: &Ui) -> String {
    let meanings = [
        (Mark::Create, "create"),
        (Mark::Update, "update in-place"),
        (Mark::Delete, "destroy"),
        (Mark::Replace, "destroy and then create replacement"),
    ];
    let used: Vec<Mark> = plan.changes.iter().map(mark).collect();
    let lines = meanings.iter().filter(|(mark, _)| used.contains(mark));
    let lines: String = lines
        .map(|(mark, meaning)| format!("{} {meaning}\n", mark.paint(ui)))
        .collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("Resource actions are indicated with the following symbols:\n{lines}\n")
}

fn mark(change: &Change) -> Mark {
    match change.action {
        Action::NoOp | Action::Forget => Mark::None,
        Action::Create => Mark::Create,
        Action::Update => Mark::Update,
        Action::Adopt if change.fields.is_empty() => Mark::None,
        Action::Adopt => Mark::Update,
        Action::Delete => Mark::Delete,
        Action::Replace => Mark::Replace,
    }
}

fn change_text(change: &Change, mode: PlanMode, ui: &Ui) -> String {
    let what = match change.action {
        Action::NoOp => "stays as it is",
        Action::Create => "will be created",
        Action::Update => "will be updated in-place",
        Action::Replace if change.replacement_requested => "will be replaced, as requested",
        Action::Replace => "must be replaced",
        Action::Delete => "will be destroyed",
        Action::Adopt if mode == PlanMode::RefreshOnly => "state will be updated to what is there",
        Action::Adopt if change.fields.is_empty() => "will be recorded: it exists and is ours",
        Action::Adopt => "will be recorded and updated in-place: it exists and is ours",
        Action::Forget => "will no longer be recorded: what was recorded is gone",
    };
    let title = ui.paint(Style::Bold, format_args!("  # {} {what}", change.address));
    let body = match change.action {
        Action::Forget => return format!("{title}\n"),
        Action::Adopt if change.fields.is_empty() => return format!("{title}\n"),
        _ => block(
            mark(change),
            &change.address,
            &change.fields,
            change.after.as_ref().or(change.before.as_ref()),
            ui,
        ),
    };
    format!("{title}\n{body}")
}

/// The resource with its fields; `whole` tells its name and how many fields are not shown.
fn block(
    mark: Mark,
    address: &Address,
    fields: &[FieldChange],
    whole: Option<&Resource>,
    ui: &Ui,
) -> String {
    let Address { kind, name } = address;
    let in_place = matches!(mark, Mark::Update | Mark::Replace);
    let whole = whole.filter(|_| in_place);
    let named = fields.iter().any(|field| field.path == "name");
    let name_line = whole.filter(|_| !named).map(own_name);
    let mut hidden = 0;
    if let Some(whole) = whole {
        let shown = fields
            .iter()
            .filter(|field| field.after.is_some() && !is_beside_spec(field))
            .count();
        hidden = field_count(whole).saturating_sub(shown + usize::from(!named));
    }
    let mut lines = lines(name_line.as_deref(), fields, ui);
    if hidden > 0 {
        let s = if hidden == 1 { "" } else { "s" };
        let note = format!("        # ({hidden} unchanged attribute{s} hidden)");
        lines.push(ui.paint(Style::Dim, note));
    }
    format!(
        "{} resource \"{kind}\" \"{name}\" {{\n{}\n    }}\n",
        mark.paint(ui),
        lines.join("\n")
    )
}

/// Whether a field is no part of the spec: what AWS assigns, or what is a matter of the record.
fn is_beside_spec(field: &FieldChange) -> bool {
    field.after == Some(crate::resource::FieldValue::KnownAfterApply)
        || [PROTECT_FIELD, OLD_VERSIONS_FIELD].contains(&field.path.as_str())
}

fn drift_text(drift: &[Drift], ui: &Ui) -> String {
    let mut text = format!(
        "{} Objects have changed outside of rmx\n\n\
         rmx detected the following changes made outside of rmx since the last `rmx apply`:\n",
        ui.paint(Style::Bold, "Note:")
    );
    for drift in drift {
        let (what, mark) = match drift.deleted {
            true => ("has been deleted", Mark::Delete),
            false => ("has changed", Mark::Update),
        };
        let title = ui.paint(Style::Bold, format_args!("  # {} {what}", drift.address));
        push(&mut text, &format!("\n{title}\n"));
        if !drift.deleted {
            push(
                &mut text,
                &block(mark, &drift.address, &drift.fields, None, ui),
            );
        }
    }
    push(&mut text, &format!("\n{RULE}\n\n"));
    text
}
