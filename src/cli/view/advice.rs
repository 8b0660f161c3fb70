//! What a plan tells besides its changes: whether it could be carried out.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli::ui::{Style, Ui};
use crate::plan::preflight::{Check, Denied, Preflight, Verdict};

/// Denials that are shown one by one in a text for people; further ones are counted.
const DENIED_MAX: usize = 20;

/// The section for people, ending in a line break; nothing if nothing was checked.
pub(crate) fn preflight_text(preflight: Option<&Preflight>, ui: &Ui) -> String {
    let Some(preflight) = preflight else {
        return String::new();
    };
    let mut text = format!("\n{}\n", ui.paint(Style::Bold, "Preflight:"));
    for check in &preflight.checks {
        let Check {
            subject,
            verdict,
            detail,
            denied,
        } = check;
        let style = match verdict {
            Verdict::Ok => Style::Green,
            Verdict::Warning | Verdict::NotChecked => Style::Yellow,
            Verdict::Refused => Style::Red,
        };
        // Painted after it is padded: colours have no width.
        let word = ui.paint(style, format_args!("{:<11}", word(*verdict)));
        let subject = subject.as_str();
        push(&mut text, &format!("  {word} {subject:<13} {detail}\n"));
        for denied in denied.iter().take(DENIED_MAX) {
            push(&mut text, &format!("{:28}{}\n", "", denied_text(denied)));
        }
        if denied.len() > DENIED_MAX {
            let more = denied.len() - DENIED_MAX;
            push(&mut text, &format!("{:28}and {more} more\n", ""));
        }
    }
    text
}

/// The document for programs; null if nothing was checked.
pub(super) fn preflight_json(preflight: Option<&Preflight>) -> Value {
    json!(preflight)
}

/// What is to be known of a pull request at once: refusals, warnings, and what could not be told.
pub(super) fn preflight_markdown(preflight: Option<&Preflight>) -> String {
    let checks = preflight.map(|preflight| &preflight.checks[..]);
    let mut text = String::new();
    for check in checks.unwrap_or_default() {
        let (kind, what) = match check.verdict {
            Verdict::Ok => continue,
            Verdict::Refused => ("CAUTION", "Could not be carried out"),
            Verdict::Warning => ("WARNING", "Preflight"),
            Verdict::NotChecked => ("NOTE", "Preflight"),
        };
        let subject = check.subject.as_str();
        let detail = &check.detail;
        push(
            &mut text,
            &format!("\n> [!{kind}]\n> {what}: {subject}: {detail}.\n"),
        );
        for denied in check.denied.iter().take(DENIED_MAX) {
            push(&mut text, &format!("> - {}\n", denied_text(denied)));
        }
        if check.denied.len() > DENIED_MAX {
            let more = check.denied.len() - DENIED_MAX;
            push(&mut text, &format!("> - and {more} more\n"));
        }
    }
    text
}

/// A line of a stream for each check: what it says and which level it has.
pub(super) fn preflight_lines(preflight: Option<&Preflight>) -> Vec<(String, Value)> {
    let checks = preflight.map(|preflight| &preflight.checks[..]);
    let checks = checks.unwrap_or_default().iter();
    let line = |check: &Check| {
        let message = format!(
            "Preflight: {}: {}: {}",
            check.subject.as_str(),
            word(check.verdict),
            check.detail
        );
        (message, json!(check))
    };
    checks.map(line).collect()
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Ok => "ok",
        Verdict::Warning => "warning",
        Verdict::Refused => "refused",
        Verdict::NotChecked => "not checked",
    }
}

fn denied_text(denied: &Denied) -> String {
    let Denied {
        action,
        resource,
        reason,
        addresses,
    } = denied;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let needed = match addresses.len() {
        0 => String::new(),
        _ => format!(" ({})", addresses.join(", ")),
    };
    format!("{action} on {resource}{needed}: {reason}")
}

fn push(text: &mut String, more: &str) {
    text.write_str(more)
        .expect("writing to a String cannot fail");
}
