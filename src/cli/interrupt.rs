//! Ctrl-C and SIGTERM: the first asks the verb to stop where that is safe, the second leaves at once.
//!
//! A verb that has something to bring to an end takes [`Interrupt::stop`] and finishes by itself once the token is
//! cancelled. Any other verb is dropped at the first signal: its futures end, and with them child processes and
//! the embedded cloud.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::error::{CommandError, CommandErrorKind};
use super::ui::Ui;

/// The user's wish to stop.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt {
    token: CancellationToken,
    /// Whether the verb looks at the token.
    watched: Arc<AtomicBool>,
}

impl Interrupt {
    /// The token that the first signal cancels. Who takes it promises to end soon after, with state saved.
    pub(crate) fn stop(&self) -> CancellationToken {
        self.watched.store(true, Ordering::SeqCst);
        self.token.clone()
    }

    /// Comes back when the verb is to be dropped.
    pub(super) async fn leave(&self, ui: &Ui) -> CommandError {
        let signals = || -> std::io::Result<(Signal, Signal)> {
            Ok((
                signal(SignalKind::interrupt())?,
                signal(SignalKind::terminate())?,
            ))
        };
        let (mut interrupt, mut terminate) = match signals() {
            Ok(signals) => signals,
            Err(error) => {
                ui.warn(format_args!("Ctrl-C will not be handled: {error}"));
                return std::future::pending().await;
            }
        };
        let mut next = async || {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        };
        next().await;
        if !self.watched.load(Ordering::SeqCst) {
            return CommandError::new(CommandErrorKind::Interrupted, "Interrupted");
        }
        self.token.cancel();
        ui.say("Interrupted: what is under way comes to its end, then rmx stops. Once more leaves at once.");
        next().await;
        CommandError::new(CommandErrorKind::Interrupted, "Interrupted twice").detail(
            "What was under way has not come to its end. The next plan looks at what became of it.",
        )
    }
}
