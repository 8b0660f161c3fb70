//! `rmx state unlock`: removes a lock that its holder has not let go of.

use serde_json::json;

use super::super::context::Context;
use super::super::error::{CommandError, ExitStatus};
use super::super::recorded::Recorded;

pub(super) async fn unlock(
    context: &Context,
    id: &str,
    force: bool,
) -> Result<ExitStatus, CommandError> {
    let recorded = Recorded::open(context, &context.config()?).await?;
    let store = &recorded.store;
    let unlocked = async {
        // What cannot be removed is refused before anybody is asked.
        store.check_lock(id).await?;
        let question = "Do you really want to remove the lock? Its holder may still be at work.";
        if !force && !context.ui.confirm(question, "--force").await? {
            context.ui.say("Nothing was done.");
            return Ok(None);
        }
        Ok(Some(store.unlock(id).await?))
    };
    let unlocked: Result<_, CommandError> = unlocked.await;
    recorded.close().await;
    let Some(holder) = unlocked? else {
        return Ok(ExitStatus::Declined);
    };
    if context.ui.json() {
        context.ui.print_json(&json!({ "unlocked": holder }))?;
    } else {
        context
            .ui
            .print(format_args!("Removed the lock of {holder}"))?;
    }
    Ok(ExitStatus::Success)
}
