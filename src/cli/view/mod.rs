//! Plans, applies and states as people and programs read them, in Terraform's shapes.
//!
//! Text: symbols, totals, `(known after apply)`, `# forces replacement`. JSON: `terraform show -json` and the lines of
//! its `-json` stream, so that tools which know these need to learn nothing.

mod advice;
mod code_size;
mod cost;
mod fields;
mod outcome;
mod plan_json;
mod plan_markdown;
mod plan_text;
mod state;

pub(super) use advice::preflight_text;
pub(super) use code_size::code_size_text;
pub(super) use cost::{cost_text, usd};
pub(super) use outcome::{announce, applied, event};
pub(super) use plan_json::plan_json;
pub(super) use plan_markdown::plan_markdown;
pub(super) use plan_text::{plan_text, saved_plan_text};
pub(super) use state::{record_json, record_text, state_json, state_text};

use std::fmt;

use super::foreign::quoted;
use super::render::view::size;

use crate::apply::Completed;
use crate::plan::change::{Action, Change, Plan};
use crate::plan::loss::{Loss, LossKind};
use crate::plan::request::PlanMode;
use crate::resource::Resource;

/// How much a plan changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Totals {
    /// Records that follow what others changed.
    record: usize,
    adopt: usize,
    add: usize,
    change: usize,
    destroy: usize,
}

impl Totals {
    fn of(plan: &Plan, mode: PlanMode) -> Self {
        let mut totals = Self::default();
        for change in &plan.changes {
            totals.count(change.action, !change.fields.is_empty());
        }
        totals.in_mode(mode)
    }

    /// Where only the record changes, whatever is recorded was recorded before: nothing is adopted.
    fn in_mode(self, mode: PlanMode) -> Self {
        match mode {
            PlanMode::Deploy | PlanMode::Destroy => self,
            PlanMode::RefreshOnly => Self {
                record: self.adopt,
                adopt: 0,
                ..self
            },
        }
    }

    /// Of those changes of `plan` that are done, counted as the plan counts them.
    fn of_done(plan: &Plan, done: &[Completed]) -> Self {
        let mut totals = Self::default();
        for Completed { address, action } in done {
            let mut changes = plan.changes.iter();
            let change = changes.find(|change| change.address == *address);
            totals.count(
                *action,
                change.is_some_and(|change| !change.fields.is_empty()),
            );
        }
        totals
    }

    /// A replacement is a destroy and an add; forgetting is nothing.
    fn count(&mut self, action: Action, differs: bool) {
        match action {
            Action::NoOp | Action::Forget => {}
            Action::Create => self.add += 1,
            Action::Update => self.change += 1,
            Action::Replace => {
                self.add += 1;
                self.destroy += 1;
            }
            Action::Delete => self.destroy += 1,
            Action::Adopt => {
                self.adopt += 1;
                self.change += usize::from(differs);
            }
        }
    }
}

/// `1 to adopt, 2 to add, 0 to change, 0 to destroy`; adopting, or updating the state alone, only where there is any.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            record,
            adopt,
            add,
            change,
            destroy,
        } = self;
        if *record > 0 {
            write!(f, "{record} to update in the state, ")?;
        }
        if *adopt > 0 {
            write!(f, "{adopt} to adopt, ")?;
        }
        write!(f, "{add} to add, {change} to change, {destroy} to destroy")
    }
}

/// A key of S3 may have 1024 characters; more than this is cut off.
const EXAMPLE_CHARACTERS_MAX: usize = 200;

/// What is lost with a resource.
pub(super) fn loss(loss: &Loss) -> String {
    let Loss {
        address,
        kind,
        count,
        complete,
        size_bytes,
        example,
    } = loss;
    let what = match (kind, count) {
        (LossKind::Objects, 1) => "object that rmx did not put there to do its work",
        (LossKind::Objects, _) => "objects that rmx did not put there to do its work",
        (LossKind::LogStreams, 1) => "log stream",
        (LossKind::LogStreams, _) => "log streams",
    };
    let at_least = if *complete { "" } else { "at least " };
    let example = example.as_ref();
    let example = example.map_or_else(String::new, |name| {
        format!(", such as {}", quoted(name, EXAMPLE_CHARACTERS_MAX))
    });
    format!(
        "{address} holds {at_least}{count} {what} ({at_least}{}){example}",
        size(*size_bytes)
    )
}

/// What AWS calls it.
pub(super) fn cloud_name(resource: &Resource) -> String {
    match resource {
        Resource::LogGroup(spec) => spec.name.to_string(),
        Resource::Role(spec) => spec.name.to_string(),
        Resource::Bucket(spec) => spec.name.to_string(),
        Resource::Function(spec) => spec.name.to_string(),
        Resource::Site(spec) => format!("s3://{}/sites/{}/", spec.bucket, spec.name),
    }
}

/// The name that the resource's own block in a plan begins with.
fn own_name(resource: &Resource) -> String {
    match resource {
        Resource::Site(spec) => spec.name.to_string(),
        other => cloud_name(other),
    }
}

/// What AWS calls the object of a change, where there is one.
fn change_name(change: &Change) -> Option<String> {
    change
        .after
        .as_ref()
        .or(change.before.as_ref())
        .map(cloud_name)
}
