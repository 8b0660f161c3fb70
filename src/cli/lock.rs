//! Work with the state locked: waiting for the lock, letting go of it whatever happens, and stopping when it is lost.

use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::apply::STOP_GRACE;
use crate::state::{Holder, LockedStore, StateError, StateStore};

use super::context::Context;
use super::error::{CommandError, CommandErrorKind};

/// What helps when something was cut off.
pub(super) const GO_ON: &str = "run the same command again: it goes on from there";

/// How often a lock that somebody else holds is asked for again.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(1);

/// What to do when somebody else is at work.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct LockOptions {
    /// Wait that long for the lock of the state if somebody else has it, instead of ending with 11 at once
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=86_400))]
    lock_timeout: u64,
}

/// Does `work` with the state locked by `command`, and lets go of the lock whatever comes of it.
///
/// # Errors
/// The state cannot be locked, or what `work` says.
pub(crate) async fn with_lock<T>(
    context: &Context,
    store: &StateStore,
    command: &str,
    options: &LockOptions,
    work: impl AsyncFnOnce(&mut LockedStore) -> Result<T, CommandError>,
) -> Result<T, CommandError> {
    let interrupt = &context.interrupt;
    let holder = Holder::new(&context.env, command);
    let locking = lock(context, store, &holder, options);
    let mut locked = match interrupt.or_leave(locking).await {
        Ok(locked) => locked,
        Err(error) => {
            if interrupt.leaves() {
                // It may have been taken without our being told. What cannot be let go of now ends by itself.
                let _ = store.unlock(&holder.id).await;
            }
            return Err(error);
        }
    };
    if let Some(holder) = locked.taken_from() {
        let told = "the lock had run out and was taken over from";
        context.ui.warn(format_args!("{told} {holder}"));
    }
    let result = interrupt.or_leave(work(&mut locked)).await;
    if let Err(error) = locked.release().await {
        let told = "the lock could not be released and ends by itself within a minute";
        context.ui.warn(format_args!("{told}: {error}"));
    }
    result
}

/// Takes the lock, waiting for it if that is wanted.
async fn lock(
    context: &Context,
    store: &StateStore,
    holder: &Holder,
    options: &LockOptions,
) -> Result<LockedStore, CommandError> {
    let give_up = Instant::now() + Duration::from_secs(options.lock_timeout);
    let mut told = false;
    loop {
        let holder = holder.clone().from_now();
        let error = match store.lock(&holder).await {
            Err(error @ StateError::Locked { .. }) if Instant::now() < give_up => error,
            // While it waits, a call that fails is no reason to give up.
            Err(error @ StateError::Cloud { .. }) if told && Instant::now() < give_up => error,
            locked => return Ok(locked?),
        };
        if !told {
            let seconds = options.lock_timeout;
            context
                .ui
                .say(format_args!("Waiting up to {seconds} s: {error}"));
            told = true;
        }
        tokio::time::sleep(ASK_AGAIN_EVERY).await;
    }
}

/// Does `work`, which changes the cloud and records it before and after, so that it may be left at any moment. `None` if
/// the user wanted to stop, or the lock was lost, and it did not come to its end within a moment.
pub(crate) async fn unless_stopped<T>(
    context: &Context,
    lost: &CancellationToken,
    work: impl Future<Output = T>,
) -> Option<T> {
    let stop = context.interrupt.stop();
    let stopped = async {
        tokio::select! {
            () = stop.cancelled() => {}
            () = lost.cancelled() => {}
        }
        tokio::time::sleep(STOP_GRACE).await;
    };
    tokio::select! {
        biased;
        done = work => Some(done),
        () = stopped => None,
    }
}

/// The error of one who stopped before everything was done, with how far it came, and whether it may have changed anything.
pub(crate) fn stopped(store: &LockedStore, progress: String, begun: bool) -> CommandError {
    if store.lost().is_cancelled() {
        let lost = CommandError::from(store.lock_lost()).detail(progress);
        return match begun {
            true => lost.of_kind(CommandErrorKind::Partial),
            false => lost,
        };
    }
    CommandError::new(CommandErrorKind::Interrupted, "Interrupted")
        .detail(progress)
        .hint(GO_ON)
}
