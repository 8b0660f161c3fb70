//! Errors as the user meets them, and the one table of exit codes.
//!
//! The form is: `Error: <summary>`, details in sentences, `Caused by:` with the chain of causes, `hint: <one action>`.
//! A summary holds no data of the user's, so that it can be recognised and searched for. Each room's error becomes
//! a [`CommandError`] by a `From` in this folder, which picks the kind and the hint.

use std::error::Error;
use std::fmt::{Display, Write as _};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::cloud::CloudError;
use crate::env;

use super::foreign;
use super::ui::{Style, Ui};

/// How a verb ended when nothing failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// Done: 0.
    Success,
    /// `validate --json` has told what is wrong: 1.
    Invalid,
    /// The user did not say `yes`: 1.
    Declined,
    /// `plan --detailed-exitcode` has changes: 2.
    Changes,
    /// `fmt --check` would change the file: 3.
    FormatDiffers,
}

impl ExitStatus {
    pub(super) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Success => 0,
            Self::Invalid | Self::Declined => 1,
            Self::Changes => 2,
            Self::FormatDiffers => 3,
        })
    }
}

/// What kind of failure, each with its exit code. Programs may rely on both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CommandErrorKind {
    /// 0: whoever read standard output has had enough. Nothing is printed.
    BrokenPipe,
    /// 1: it did not work.
    Error,
    /// 10: what the plan was made from has moved since.
    StalePlan,
    /// 11: somebody else holds the state's lock.
    Locked,
    /// 12: no credentials, or bad ones.
    Credentials,
    /// 13: what the work needs is missing, found before anything was done.
    Preflight,
    /// 14: interrupted; the state is saved.
    Interrupted,
    /// 15: applied in part; the state is saved.
    Partial,
    /// 16: refused by a guard the user set up, such as `account`.
    Policy,
    /// 64: the command line is wrong.
    Usage,
    /// 70: a bug in rmx.
    Internal,
}

impl CommandErrorKind {
    /// All of them.
    pub(super) const ALL: [Self; 11] = [
        Self::BrokenPipe,
        Self::Error,
        Self::StalePlan,
        Self::Locked,
        Self::Credentials,
        Self::Preflight,
        Self::Interrupted,
        Self::Partial,
        Self::Policy,
        Self::Usage,
        Self::Internal,
    ];

    /// The exit code.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Error => 1,
            Self::StalePlan => 10,
            Self::Locked => 11,
            Self::Credentials => 12,
            Self::Preflight => 13,
            Self::Interrupted => 14,
            Self::Partial => 15,
            Self::Policy => 16,
            Self::Usage => 64,
            Self::Internal => 70,
        }
    }

    /// The word for it, the same in every version.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::BrokenPipe => "broken_pipe",
            Self::Error => "error",
            Self::StalePlan => "stale_plan",
            Self::Locked => "locked",
            Self::Credentials => "credentials",
            Self::Preflight => "preflight",
            Self::Interrupted => "interrupted",
            Self::Partial => "partial",
            Self::Policy => "policy",
            Self::Usage => "usage",
            Self::Internal => "internal",
        }
    }

    pub(super) fn exit_code(self) -> ExitCode {
        ExitCode::from(self.number())
    }
}

/// A failure, ready to be shown.
#[derive(Debug)]
pub(crate) struct CommandError(Box<Parts>);

#[derive(Debug)]
struct Parts {
    kind: CommandErrorKind,
    summary: String,
    details: Vec<String>,
    causes: Vec<String>,
    hint: Option<String>,
    diagnostics: Vec<Value>,
    /// The call to the cloud that failed, for programs.
    cloud: Option<Value>,
}

impl CommandError {
    /// A failure of `kind`; `summary` says in one line, without the user's data, what went wrong.
    pub(crate) fn new(kind: CommandErrorKind, summary: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            kind,
            summary: summary.into(),
            details: Vec::new(),
            causes: Vec::new(),
            hint: None,
            diagnostics: Vec::new(),
            cloud: None,
        }))
    }

    /// A failure with exit code 1.
    pub(crate) fn error(summary: impl Into<String>) -> Self {
        Self::new(CommandErrorKind::Error, summary)
    }

    /// Wrong usage, exit code 64.
    pub(crate) fn usage(summary: impl Into<String>) -> Self {
        Self::new(CommandErrorKind::Usage, summary)
    }

    /// Whoever was asked did not agree; the summary says what is therefore not done.
    pub(crate) fn not_agreed(summary: &str) -> Self {
        Self::error(summary)
            .detail("Only `yes` is a yes.")
            .hint("run the command again and say `yes`, or pass --auto-approve")
    }

    /// Adds a paragraph: full sentences that name the subject.
    #[must_use]
    pub(crate) fn detail(mut self, detail: impl Into<String>) -> Self {
        self.0.details.push(detail.into());
        self
    }

    /// Adds `error` and everything behind it to the chain of causes.
    #[must_use]
    pub(crate) fn cause(mut self, error: impl Error + 'static) -> Self {
        let mut next: Option<&(dyn Error + 'static)> = Some(&error);
        // A chain longer than this is a loop.
        for _ in 0..32 {
            let Some(error) = next else { break };
            let text = error.to_string();
            if let Some(error) = error.downcast_ref::<CloudError>() {
                self.0.cloud = Some(json!({
                    "operation": error.operation,
                    "resource": error.subject,
                    "api": error.api,
                    "code": error.code,
                    "request_id": error.request_id,
                }));
            }
            // Some libraries repeat their source in their own text.
            if self.0.causes.last() != Some(&text) {
                self.0.causes.push(text);
            }
            next = error.source();
        }
        self
    }

    /// The one action that helps.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// What kind of failure it is.
    pub(crate) fn kind(&self) -> CommandErrorKind {
        self.0.kind
    }

    /// The same as a failure of another kind.
    #[must_use]
    pub(crate) fn of_kind(mut self, kind: CommandErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// Machine-readable parts for `--json`.
    #[must_use]
    pub(crate) fn diagnostics(mut self, diagnostics: Vec<Value>) -> Self {
        self.0.diagnostics = diagnostics;
        self
    }

    /// clap's own words, in our form.
    pub(super) fn from_clap(error: &clap::Error) -> Self {
        let text = error.render().to_string();
        let text = text.trim_end();
        let summary = match error.kind() {
            clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => "No verb is given",
            _ => "The command line is not understood",
        };
        Self::usage(summary).detail(text.strip_prefix("error: ").unwrap_or(text))
    }

    /// The text for people, without a line break at its end.
    pub(super) fn render(&self, ui: &Ui) -> String {
        let mut text = format!(
            "{} {}",
            ui.paint_stderr(Style::Red, "Error:"),
            ui.paint_stderr(Style::Bold, &self.0.summary)
        );
        for detail in &self.0.details {
            push(&mut text, format_args!("\n\n{detail}"));
        }
        if !self.0.causes.is_empty() {
            push(&mut text, "\n\nCaused by:");
            for cause in &self.0.causes {
                push(
                    &mut text,
                    // What the cloud or a page said may be among them.
                    format_args!("\n  {}", foreign::lines(cause).replace('\n', "\n    ")),
                );
            }
        }
        if let Some(hint) = &self.0.hint {
            let word = ui.paint_stderr(Style::Cyan, "hint:");
            push(&mut text, format_args!("\n\n{word} {hint}"));
        }
        text
    }

    /// The object for programs: Terraform's `diagnostic` message with rmx's kind, exit code and causes beside it.
    pub(super) fn to_json(&self) -> Value {
        json!({
            "@level": "error",
            "@message": format!("Error: {}", self.0.summary),
            "@module": "rmx",
            "@timestamp": env::timestamp(env::now()),
            "type": "diagnostic",
            "diagnostic": {
                "severity": "error",
                "summary": self.0.summary,
                "detail": self.0.details.join("\n\n"),
            },
            "kind": self.0.kind.word(),
            "exit_code": self.0.kind.number(),
            "causes": self.0.causes,
            "hint": self.0.hint,
            "cloud": self.0.cloud,
            "diagnostics": self.0.diagnostics,
        })
    }

    /// Shows the error on standard error and tells the exit code.
    pub(super) fn report(&self, ui: &Ui) -> ExitCode {
        if self.0.kind == CommandErrorKind::BrokenPipe {
        } else if ui.json() {
            ui.say(self.to_json());
        } else {
            ui.say(self.render(ui));
        }
        self.0.kind.exit_code()
    }
}

fn push(text: &mut String, more: impl Display) {
    write!(text, "{more}").expect("writing to a String cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `a`")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn an_error_reads_from_summary_to_hint() {
        let error = CommandError::error("Cannot read the file")
            .detail("The file is `a`.")
            .cause(Outer(std::io::Error::other("disk on fire")))
            .hint("use another disk");
        assert_eq!(
            error.render(&Ui::plain()),
            "Error: Cannot read the file\n\nThe file is `a`.\n\nCaused by:\n  cannot read `a`\n  \
             disk on fire\n\nhint: use another disk"
        );
        let json = error.to_json();
        assert_eq!(json["causes"][1], "disk on fire");
        let told = std::io::Error::other("page: \u{1b}]52;c;x\u{7}\n::error::all is well");
        let text = CommandError::error("It failed")
            .cause(told)
            .render(&Ui::plain());
        assert!(
            text.ends_with("page: \\u{1b}]52;c;x\\u{7}\n    | ::error::all is well"),
            "{text}"
        );
        assert_eq!(json["exit_code"], 1);
    }
}
