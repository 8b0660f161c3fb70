//! What is protected is neither deleted nor replaced.

use std::collections::BTreeSet;

use serde_json::json;

use crate::names::StageName;
use crate::plan::change::{Action, Plan};
use crate::plan::gate;
use crate::resource::ResourceKind;

use super::error::{CommandError, CommandErrorKind};

/// Requires that `plan`, of `stage`, deletes and replaces nothing that is protected.
///
/// # Errors
/// It does; every resource is named, and how its protection is lifted.
pub(super) fn require_kept(plan: &Plan, stage: Option<&StageName>) -> Result<(), CommandError> {
    let breaches = gate::breaches(plan);
    if breaches.is_empty() {
        return Ok(());
    }
    let lines = breaches.iter().map(|change| {
        let what = match change.action {
            Action::Replace => "replaced",
            _ => "destroyed",
        };
        format!("  - {} is protected and would be {what}", change.address)
    });
    let lines: Vec<String> = lines.collect();
    let told = breaches.iter().map(
        |change| json!({ "rule": "protect", "address": change.address, "action": change.action }),
    );
    let keys: BTreeSet<_> = breaches
        .iter()
        .map(|change| block(change.address.kind))
        .collect();
    let keys: Vec<_> = keys.into_iter().collect();
    // What the stage's table says goes before what stands outside of it.
    let overlay = stage.map_or_else(String::new, |stage| {
        format!(" (or the same within [stage.{stage}])")
    });
    let error = CommandError::new(
        CommandErrorKind::Policy,
        "The plan is refused: it would destroy what is protected",
    );
    Err(error
        .detail(format!("Nothing was done:\n{}", lines.join("\n")))
        .diagnostics(told.collect())
        .hint(format!(
            "to lift the protection, set `protect = false` under {}{overlay} and apply that first; a key or a block that is gone has \
             to be put back for it",
            keys.join(" and ")
        )))
}

/// The block of the configuration that declares such a resource.
fn block(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::LogGroup => "[logs]",
        ResourceKind::Role => "[role]",
        ResourceKind::Bucket => "[bucket]",
        ResourceKind::Function => "[function]",
        ResourceKind::Site => "its [[site]]",
    }
}
