//! `rmx explain`: what an exit code means, and what to do next.

use serde_json::{Value, json};

use super::context::Context;
use super::error::{CommandError, CommandErrorKind, ExitStatus};

/// Explain an exit code
///
/// Says what the code means, what state things are in, and what to do next. Without CODE, lists all of them.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct ExplainArgs {
    /// An exit code (`10`) or the `kind` that errors have with `--json` (`stale_plan`)
    code: Option<String>,
}

pub(crate) fn cmd_explain(
    context: &Context,
    args: &ExplainArgs,
) -> Result<ExitStatus, CommandError> {
    let all = explanations();
    let ui = &context.ui;
    let Some(code) = &args.code else {
        if ui.json() {
            let list: Vec<Value> = all.iter().map(Explanation::to_json).collect();
            ui.print_json(&list)?;
        } else {
            for one in &all {
                ui.print(format_args!(
                    "{:>3}  {:<16} {}",
                    one.code, one.kind, one.title
                ))?;
            }
        }
        return Ok(ExitStatus::Success);
    };
    let found = all
        .iter()
        .find(|one| one.code.to_string() == *code || one.kind == code);
    let Some(one) = found else {
        return Err(CommandError::usage("There is no such exit code")
            .detail(format!("rmx never ends with `{code}`."))
            .hint("`rmx explain` lists all that there are; 128 and above is a signal's number plus 128"));
    };
    if ui.json() {
        ui.print_json(&one.to_json())?;
    } else {
        let Explanation {
            code,
            kind,
            title,
            meaning,
            next,
        } = one;
        ui.print(format_args!(
            "{code} ({kind}): {title}\n\n{meaning}\n\nNext: {next}"
        ))?;
    }
    Ok(ExitStatus::Success)
}

/// An exit code, explained.
struct Explanation {
    code: u8,
    kind: &'static str,
    title: &'static str,
    meaning: &'static str,
    next: &'static str,
}

impl Explanation {
    fn to_json(&self) -> Value {
        json!({
            "exit_code": self.code,
            "kind": self.kind,
            "title": self.title,
            "meaning": self.meaning,
            "next": self.next,
        })
    }
}

/// All codes in their order.
fn explanations() -> Vec<Explanation> {
    let failures = CommandErrorKind::ALL.into_iter().filter_map(|kind| {
        let (title, meaning, next) = of_failure(kind)?;
        Some(Explanation {
            code: kind.number(),
            kind: kind.word(),
            title,
            meaning,
            next,
        })
    });
    let successes = [
        Explanation {
            code: 0,
            kind: "success",
            title: "done",
            meaning: "The command did what it was asked for. `plan --detailed-exitcode`: there are no changes.",
            next: "nothing",
        },
        Explanation {
            code: 2,
            kind: "changes",
            title: "the plan has changes",
            meaning: "Only `plan --detailed-exitcode` ends so. No error: what differs was printed, nothing was touched.",
            next: "look at the plan, then `rmx apply`",
        },
        Explanation {
            code: 3,
            kind: "format_differs",
            title: "the file is not laid out as `rmx fmt` would",
            meaning: "Only `fmt --check` ends so. The file was not changed.",
            next: "`rmx fmt`",
        },
    ];
    let mut all: Vec<Explanation> = successes.into_iter().chain(failures).collect();
    all.sort_by_key(|one| one.code);
    all
}

/// Title, meaning and next step. `None` for what is no failure to a user.
fn of_failure(kind: CommandErrorKind) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match kind {
        CommandErrorKind::BrokenPipe => return None,
        CommandErrorKind::Error => (
            "it did not work",
            "The text on standard error names the operation, the resource, the chain of causes and a hint. No change of \
             an apply that ends so came to its end; a question that was not answered with `yes` ends so too.",
            "do what the hint says, then run the same command again",
        ),
        CommandErrorKind::StalePlan => (
            "something moved since the plan was made",
            "The configuration, what it uploads, the state or an object in the cloud is not what the plan was made from. Each \
             of them is named. If the plan was a saved one, nothing was done.",
            "make a new plan and look at it: `rmx plan --out FILE`",
        ),
        CommandErrorKind::Locked => (
            "somebody else holds the state's lock",
            "Another rmx works on the same project and stage. Who, where and since when is told. Nothing was done; if the lock was \
             lost on the way, what was done until then is told.",
            "wait until it is done, then run the same command again, or let it wait with `--lock-timeout SECONDS`; a lock in S3 whose holder is gone runs out within a minute",
        ),
        CommandErrorKind::Credentials => (
            "no usable credentials",
            "There are no AWS credentials, or they are wrong or have expired.",
            "`aws sso login` or `aws configure`; in CI, look at the step that assumes the role",
        ),
        CommandErrorKind::Preflight => (
            "what the work needs is missing",
            "It was found before anything was done: a permission is missing, a limit of the account is too low, data would be lost, \
             or a tool is not there.",
            "do what the hint says; `rmx doctor` lists what is missing on this machine",
        ),
        CommandErrorKind::Interrupted => (
            "interrupted, and the state is saved",
            "SIGINT or SIGTERM came. What was done is recorded, and so is what was under way.",
            "run the same command again: it goes on from there. A saved plan is carried out once: plan again for what is left",
        ),
        CommandErrorKind::Partial => (
            "applied in part, and the state is saved",
            "A change failed after others had been done, or in its own middle. What is done is recorded; what is not, or not \
             wholly, is named.",
            "mend what is named, then run `rmx apply` again: it goes on from there. A saved plan is carried out once: plan again for \
             what is left",
        ),
        CommandErrorKind::Policy => (
            "refused by policy",
            "The plan does what `[policy] deny` or `--deny` forbids, makes a minute of video dearer than \
             `max_cost_per_minute_usd`, would delete or replace what `protect = true` protects, or the credentials are of \
             another account than `account` allows. Rule and resource are named. Nothing was done.",
            "change what is planned, or the rule, or the credentials",
        ),
        CommandErrorKind::Usage => (
            "wrong usage",
            "The command line is not understood, or what it asks for does not exist.",
            "`rmx VERB --help`",
        ),
        CommandErrorKind::Internal => (
            "a bug in rmx",
            "rmx met what it believed to be impossible, and stopped. What an apply had done by then is recorded.",
            "report the text together with the command; then run `rmx plan` to see how things stand",
        ),
    })
}
