//! Ctrl-C and SIGTERM: the first asks the verb to stop where that is safe, the second leaves at once.
//!
//! A verb that has something to bring to an end takes [`Interrupt::stop`] and finishes by itself once the token is
//! cancelled; if that takes too long, because a call to the cloud hangs, it is left as at the second signal. Any other
//! verb is dropped at the first signal: its futures end, and with them child processes and the embedded cloud. What it
//! has to let go of by a call, it lets go of behind [`Interrupt::or_leave`]. Signals are waited for beside the verb and
//! not between its steps, so that a verb which is busy digesting a large file is left as well.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::error::{CommandError, CommandErrorKind};
use super::ui::Ui;

/// How long a verb may take to end by itself. CI systems kill after a few seconds, and rmx promises to be gone in two.
const ENDING_TIME_MAX: Duration = Duration::from_millis(1_300);

/// The signals that ask to stop.
#[derive(Debug)]
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// From now on none of them ends the process by itself.
    ///
    /// # Errors
    /// They cannot be caught.
    pub(super) fn catch() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The user's wish to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    /// Whether the verb looks at the token.
    watched: Arc<AtomicBool>,
    /// The first signal came, and nobody looks at `token`.
    leaving: CancellationToken,
    /// Whether the verb has something to let go of before it is dropped.
    holds: Arc<AtomicBool>,
}

impl Interrupt {
    /// The token that the first signal cancels. Who takes it promises to end soon after, with state saved.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.watched.store(true, Ordering::SeqCst);
        self.token.clone()
    }

    /// Does `work`, but gives it up at the first signal if that would drop the verb. What the verb does behind this
    /// gets a moment.
    pub(crate) async fn or_leave<T>(
        &self,
        work: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        self.holds.store(true, Ordering::SeqCst);
        tokio::select! {
            biased;
            () = self.leaving.cancelled() => Err(interrupted()),
            result = work => result,
        }
    }

    /// Whether the verb is being dropped.
    pub(crate) fn leaves(&self) -> bool {
        self.leaving.is_cancelled()
    }

    /// Does `work`, which takes a moment, to its end: the first signal waits for it.
    pub(crate) async fn to_the_end<T>(&self, work: impl Future<Output = T>) -> T {
        self.watched.store(true, Ordering::SeqCst);
        work.await
    }

    /// Comes back when the verb is to be dropped.
    pub(super) async fn leave(&self, ui: &Ui, signals: std::io::Result<Signals>) -> CommandError {
        let mut signals = match signals {
            Ok(signals) => signals,
            Err(error) => {
                ui.warn(format_args!("Ctrl-C will not be handled: {error}"));
                return std::future::pending().await;
            }
        };
        signals.next().await;
        if !self.watched.load(Ordering::SeqCst) {
            self.leaving.cancel();
            if self.holds.load(Ordering::SeqCst) {
                tokio::select! {
                    () = signals.next() => {}
                    () = tokio::time::sleep(ENDING_TIME_MAX) => {}
                }
            }
            return interrupted();
        }
        self.token.cancel();
        ui.say("Interrupted: what is under way comes to its end, then rmx stops. Once more leaves at once.");
        let summary = tokio::select! {
            () = signals.next() => "Interrupted twice",
            () = tokio::time::sleep(ENDING_TIME_MAX) => "Interrupted",
        };
        CommandError::new(CommandErrorKind::Interrupted, summary).detail(
            "What was under way has not come to its end. The next plan looks at what became of it.",
        )
    }
}

fn interrupted() -> CommandError {
    CommandError::new(CommandErrorKind::Interrupted, "Interrupted")
}
