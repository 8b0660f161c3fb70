//! An apply as it goes: what is going to be done, each step, and how it ended. With `--json` the lines of Terraform's
//! `-json` stream.

use std::time::Duration;

use serde_json::{Value, json};

use super::advice::{preflight_lines, preflight_text};
use super::cost::cost_text;
use super::{Totals, change_name, plan_json, plan_text};
use crate::apply::{ApplyEvent, Completed};
use crate::cli::error::{CommandError, ExitStatus};
use crate::cli::foreign::one_line;
use crate::cli::planned::Planned;
use crate::cli::ui::{Style, Ui};
use crate::env;
use crate::plan::change::{Action, Plan};
use crate::plan::request::PlanMode;
use crate::resource::{Address, Resource};
use crate::state::State;

/// Shows the plan that is about to be applied.
pub(crate) fn announce(ui: &Ui, planned: &Planned) -> Result<(), CommandError> {
    let plan = &planned.plan;
    if !ui.json() {
        let text = plan_text(plan, &planned.losses, planned.request.mode, ui);
        let cost = planned.cost.as_ref().filter(|_| !plan.is_empty());
        let cost = cost_text(cost, ui);
        let preflight = preflight_text(planned.preflight.as_ref(), ui);
        return ui.print_raw(&format!("{text}{cost}{preflight}"));
    }
    let version = env!("CARGO_PKG_VERSION");
    let line = message(format!("rmx {version}"), "version");
    ui.print_event(with(line, &[("rmx", version.into()), ("ui", "1.2".into())]))?;
    for drift in &plan.drift {
        let action = if drift.deleted { "delete" } else { "update" };
        let line = message(
            format!("{}: Drift detected ({action})", drift.address),
            "resource_drift",
        );
        let change = json!({ "resource": resource(&drift.address), "action": action });
        ui.print_event(with(line, &[("change", change)]))?;
    }
    for change in plan
        .changes
        .iter()
        .filter(|change| change.action != Action::NoOp)
    {
        let word = action_word(change.action);
        let line = message(
            format!("{}: Plan to {word}", change.address),
            "planned_change",
        );
        let change = json!({ "resource": resource(&change.address), "action": word });
        ui.print_event(with(line, &[("change", change)]))?;
    }
    for loss in &planned.losses {
        let line = message(format!("Would be lost: {}", super::loss(loss)), "data_loss");
        ui.print_event(with(line, &[("loss", json!(loss))]))?;
    }
    if let Some(cost) = &planned.cost {
        let line = message("Cost of a minute of video".to_owned(), "cost");
        ui.print_event(with(line, &[("cost", json!(cost))]))?;
    }
    for (text, check) in preflight_lines(planned.preflight.as_ref()) {
        let line = message(text, "preflight");
        ui.print_event(with(line, &[("check", check)]))?;
    }
    ui.print_event(summary(Totals::of(plan, planned.request.mode), "plan"))
}

/// Shows a step.
pub(crate) fn event(ui: &Ui, plan: &Plan, event: &ApplyEvent) {
    if ui.json() {
        // Whoever closes the pipe has had enough; the apply goes on to its end.
        drop(ui.print_event(event_json(plan, event)));
    } else {
        ui.say(event_text(plan, event));
    }
}

/// Shows how an apply without errors ended.
pub(crate) fn applied(
    ui: &Ui,
    planned: &Planned,
    done: &[Completed],
    state: &State,
) -> Result<ExitStatus, CommandError> {
    let mode = planned.request.mode;
    let totals = Totals::of_done(&planned.plan, done).in_mode(mode);
    let outputs = outputs(state);
    if ui.json() {
        let operation = if mode == PlanMode::Destroy {
            "destroy"
        } else {
            "apply"
        };
        ui.print_event(summary(totals, operation))?;
        let line = message(format!("Outputs: {}", outputs.len()), "outputs");
        let values = outputs.into_iter().map(|(name, value)| {
            (
                name,
                json!({ "sensitive": false, "type": "string", "value": value }),
            )
        });
        ui.print_event(with(line, &[("outputs", Value::Object(values.collect()))]))?;
        return Ok(ExitStatus::Success);
    }
    let Totals {
        record,
        adopt,
        add,
        change,
        destroy: destroyed,
    } = totals;
    let text = if mode == PlanMode::Destroy {
        format!("Destroy complete! Resources: {destroyed} destroyed.")
    } else {
        let adopt = if adopt > 0 {
            format!("{adopt} adopted, ")
        } else {
            String::new()
        };
        let record = match record {
            0 => String::new(),
            _ => format!("{record} updated in the state, "),
        };
        format!(
            "Apply complete! Resources: {record}{adopt}{add} added, {change} changed, {destroyed} destroyed."
        )
    };
    ui.print(format_args!("\n{}", ui.paint(Style::Green, text)))?;
    if !outputs.is_empty() {
        ui.print(format_args!("\n{}\n", ui.paint(Style::Green, "Outputs:")))?;
        for (name, value) in outputs {
            ui.print(format_args!("{name} = {}", Value::from(value)))?;
        }
    }
    Ok(ExitStatus::Success)
}

/// What somebody who uses the farm wants to know.
fn outputs(state: &State) -> Vec<(String, String)> {
    let named = state.records.iter().filter_map(|(address, record)| {
        let name = match &record.applied {
            Resource::Bucket(_) => "bucket".to_owned(),
            Resource::Function(_) => format!("function_{}", address.name),
            Resource::Site(_) => format!("site_{}", address.name),
            Resource::LogGroup(_) | Resource::Role(_) => return None,
        };
        Some((name, super::cloud_name(&record.applied)))
    });
    named.collect()
}

fn event_text(plan: &Plan, event: &ApplyEvent) -> String {
    match event {
        ApplyEvent::Started { address, action } => {
            let id = match action {
                Action::Create => None,
                _ => name_of(plan, address, *action),
            };
            let id = id.map(|id| format!(" [id={id}]")).unwrap_or_default();
            format!("{address}: {}...{id}", words(*action).0)
        }
        ApplyEvent::StillRunning {
            address,
            action,
            elapsed,
        } => {
            let verb = words(*action).0.to_lowercase();
            format!("{address}: Still {verb}... [{} elapsed]", seconds(*elapsed))
        }
        ApplyEvent::Waiting { address, what } => format!("{address}: Waiting for {what}..."),
        ApplyEvent::Kept {
            address,
            version,
            reason,
        } => format!("{address}: Version {version} is kept: {}", one_line(reason)),
        ApplyEvent::Done {
            address,
            action,
            elapsed,
        } => {
            let id = match action {
                Action::Delete => None,
                _ => name_of(plan, address, *action),
            };
            let id = id.map(|id| format!(" [id={id}]")).unwrap_or_default();
            format!(
                "{address}: {} complete after {}{id}",
                words(*action).1,
                seconds(*elapsed)
            )
        }
        ApplyEvent::Failed {
            address,
            action,
            elapsed,
        } => {
            format!(
                "{address}: {} failed after {}",
                words(*action).1,
                seconds(*elapsed)
            )
        }
    }
}

/// What is being done, and the noun of it.
fn words(action: Action) -> (&'static str, &'static str) {
    match action {
        Action::Create => ("Creating", "Creation"),
        Action::Update => ("Modifying", "Modifications"),
        Action::Delete => ("Destroying", "Destruction"),
        Action::Replace => ("Replacing", "Replacement"),
        Action::NoOp | Action::Adopt => ("Recording", "Recording"),
        Action::Forget => ("Forgetting", "Forgetting"),
    }
}

fn seconds(elapsed: Duration) -> String {
    match elapsed.as_secs() {
        seconds @ 0..60 => format!("{seconds}s"),
        seconds => format!("{}m{:02}s", seconds / 60, seconds % 60),
    }
}

fn event_json(plan: &Plan, event: &ApplyEvent) -> Value {
    let (kind, address, action, elapsed) = match event {
        ApplyEvent::Started { address, action } => ("apply_start", address, Some(*action), None),
        ApplyEvent::StillRunning {
            address,
            action,
            elapsed,
        } => ("apply_progress", address, Some(*action), Some(*elapsed)),
        ApplyEvent::Waiting { address, .. } | ApplyEvent::Kept { address, .. } => {
            ("log", address, None, None)
        }
        ApplyEvent::Done {
            address,
            action,
            elapsed,
        } => ("apply_complete", address, Some(*action), Some(*elapsed)),
        ApplyEvent::Failed {
            address,
            action,
            elapsed,
        } => ("apply_errored", address, Some(*action), Some(*elapsed)),
    };
    let mut hook = json!({ "resource": resource(address) });
    if let Some(action) = action {
        hook["action"] = action_word(action).into();
    }
    if let Some(elapsed) = elapsed {
        hook["elapsed_seconds"] = elapsed.as_secs().into();
    }
    if kind == "apply_complete"
        && let Some(name) = action.and_then(|action| name_of(plan, address, action))
    {
        hook["id_key"] = "name".into();
        hook["id_value"] = name.into();
    }
    with(message(event_text(plan, event), kind), &[("hook", hook)])
}

fn name_of(plan: &Plan, address: &Address, action: Action) -> Option<String> {
    let mut changes = plan.changes.iter();
    let change = changes.find(|change| change.address == *address)?;
    match (action, &change.before) {
        // Of a replacement, what goes has another name than what comes.
        (Action::Delete, Some(before)) => Some(super::cloud_name(before)),
        _ => change_name(change),
    }
}

/// The stream's words for an action.
fn action_word(action: Action) -> &'static str {
    match action {
        Action::NoOp => "noop",
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
        Action::Adopt => "import",
        Action::Forget => "remove",
    }
}

fn summary(totals: Totals, operation: &str) -> Value {
    let Totals {
        record: _,
        adopt,
        add,
        change,
        destroy,
    } = totals;
    let text = format!("{operation}: {add} to add, {change} to change, {destroy} to destroy");
    let changes = json!({
        "add": add, "change": change, "import": adopt, "remove": destroy, "operation": operation,
    });
    with(message(text, "change_summary"), &[("changes", changes)])
}

fn resource(address: &Address) -> Value {
    let mut fields = plan_json::resource(address);
    fields.insert("addr".to_owned(), address.to_string().into());
    fields.insert("resource_type".to_owned(), address.kind.as_str().into());
    fields.insert("resource_name".to_owned(), address.name.clone().into());
    fields.into()
}

fn message(text: String, kind: &str) -> Value {
    json!({
        "@level": "info",
        "@message": text,
        "@module": "rmx.ui",
        "@timestamp": env::timestamp(env::now()),
        "type": kind,
    })
}

fn with(mut line: Value, more: &[(&str, Value)]) -> Value {
    for (name, value) in more {
        line[*name] = value.clone();
    }
    line
}
