//! Faults on request: the k-th request from now on goes wrong in a chosen way, before or after it took effect.
//!
//! This is how tests find out what a lost answer, a full quota or a killed client leave behind, at every single call.
//! Nothing goes wrong unless it was asked for, and the account has AWS's own quotas unless others are set.

use std::sync::{Arc, Mutex, PoisonError};

use http::StatusCode;
use tokio::sync::Notify;

use super::quotas::Quotas;
use super::trace::Trace;

/// Whether the request has its effect all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It has none.
    Before,
    /// It has.
    After,
}

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The service says that it is not available.
    Unavailable,
    /// The service says that there are too many requests.
    Throttled,
    /// The service says that the caller may not do that.
    Denied,
    /// The service says that somebody else is changing the same thing at this moment.
    Conflict,
    /// The connection ends without an answer.
    Lost,
    /// No answer ever comes, and [`Faults::struck`] returns: the moment to kill the client.
    Silence,
    /// The request waits, and [`Faults::struck`] returns, until [`Faults::release`]: the moment to do something behind the
    /// client's back. Then it has its effect, or its answer is sent.
    Held,
}

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which request it strikes, counted from 1 since [`Faults::schedule`].
    pub call: u64,
    /// Before or after the request's effect.
    pub moment: Moment,
    /// What happens.
    pub kind: FaultKind,
}

/// What is to go wrong in one embedded cloud. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    schedule: Mutex<Schedule>,
    struck: Notify,
    released: Notify,
    trace: Trace,
}

#[derive(Debug, Default)]
struct Schedule {
    calls: u64,
    faults: Vec<Fault>,
    role_refusals: u64,
    /// Every so many invocations are refused; none if 0.
    throttled_every: u64,
    invocations: u64,
    quotas: Quotas,
    /// Method, and part of the address, of a request that is to be held.
    awaited: Option<(&'static str, String)>,
}

impl Faults {
    /// Replaces what is to go wrong, and counts requests from 1 again.
    pub fn schedule(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut schedule = self.lock();
        schedule.faults = faults.into_iter().collect();
        schedule.calls = 0;
    }

    /// The next request with this method and `part` in its address is [`FaultKind::Held`] before it has its effect.
    pub fn hold_next(&self, method: &'static str, part: &str) {
        self.lock().awaited = Some((method, part.to_owned()));
    }

    /// Lambda cannot assume the role of a function the next `times` times, as for some seconds after the role was made.
    pub fn refuse_roles(&self, times: u64) {
        self.lock().role_refusals = times;
    }

    /// How often a role is going to be refused yet.
    pub fn role_refusals_left(&self) -> u64 {
        self.lock().role_refusals
    }

    /// From now on Lambda refuses every `every`-th invocation whose answer is waited for (429); 0: none.
    pub fn throttle_invocations(&self, every: u64) {
        let mut schedule = self.lock();
        schedule.throttled_every = every;
        schedule.invocations = 0;
    }

    /// Counts an invocation, and says whether it is refused.
    pub(super) fn throttles_invocation(&self) -> bool {
        let mut schedule = self.lock();
        schedule.invocations += 1;
        let Schedule {
            throttled_every,
            invocations,
            ..
        } = *schedule;
        throttled_every > 0 && invocations.is_multiple_of(throttled_every)
    }

    /// Invocations since [`Faults::throttle_invocations`], refused ones included.
    pub fn invocations(&self) -> u64 {
        self.lock().invocations
    }

    /// Gives the account other quotas than AWS's defaults.
    pub fn set_quotas(&self, quotas: Quotas) {
        self.lock().quotas = quotas;
    }

    /// What was asked of the cloud.
    pub fn trace(&self) -> &Trace {
        &self.0.trace
    }

    /// The account's quotas.
    pub(super) fn quotas(&self) -> Quotas {
        self.lock().quotas
    }

    /// Whether the role of a function is refused now.
    pub(super) fn refuses_role(&self) -> bool {
        let mut schedule = self.lock();
        let refuses = schedule.role_refusals > 0;
        schedule.role_refusals = schedule.role_refusals.saturating_sub(1);
        refuses
    }

    /// Requests, of whichever client, since the last [`Faults::schedule`].
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// How many of the scheduled faults have not struck yet.
    pub fn left(&self) -> usize {
        self.lock().faults.len()
    }

    /// Returns when a [`FaultKind::Silence`] or a [`FaultKind::Held`] has struck; at once if that was before anybody waited.
    pub async fn struck(&self) {
        self.0.struck.notified().await;
    }

    /// Lets a request go on that is held.
    pub fn release(&self) {
        self.0.released.notify_one();
    }

    /// Returns when the request may go on.
    pub(super) async fn hold(&self) {
        self.0.struck.notify_one();
        self.0.released.notified().await;
    }

    /// Counts a request with this method and address, and says what happens to it.
    pub(super) fn next(&self, method: &str, address: &str) -> Option<Fault> {
        let mut schedule = self.lock();
        schedule.calls += 1;
        let call = schedule.calls;
        let is_it = |(awaited, part): &mut (&str, String)| {
            *awaited == method && address.contains(part.as_str())
        };
        if schedule.awaited.take_if(is_it).is_some() {
            return Some(Fault {
                call,
                moment: Moment::Before,
                kind: FaultKind::Held,
            });
        }
        let found = schedule
            .faults
            .iter()
            .position(|fault| fault.call == call)?;
        Some(schedule.faults.remove(found))
    }

    /// Never returns.
    pub(super) async fn silence(&self) -> ! {
        self.0.struck.notify_one();
        std::future::pending().await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Schedule> {
        let schedule = &self.0.schedule;
        schedule.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Status and error code with which `service` refuses; `None` for a fault that gives no answer.
pub(super) fn refusal(service: &str, kind: FaultKind) -> Option<(StatusCode, &'static str)> {
    let (status, code) = match (kind, service) {
        (FaultKind::Unavailable, "lambda") => (500, "ServiceException"),
        (FaultKind::Unavailable, "logs") => (500, "ServiceUnavailableException"),
        (FaultKind::Unavailable, "iam") => (500, "ServiceFailure"),
        (FaultKind::Unavailable, _) => (503, "ServiceUnavailable"),
        (FaultKind::Throttled, "lambda") => (429, "TooManyRequestsException"),
        (FaultKind::Throttled, "logs") => (400, "ThrottlingException"),
        (FaultKind::Throttled, "s3") => (503, "SlowDown"),
        (FaultKind::Throttled, _) => (400, "Throttling"),
        (FaultKind::Denied, "lambda") => (403, "AccessDeniedException"),
        (FaultKind::Denied, "logs") => (400, "AccessDeniedException"),
        (FaultKind::Denied, _) => (403, "AccessDenied"),
        (FaultKind::Conflict, "s3") => (409, "ConditionalRequestConflict"),
        (FaultKind::Conflict, "iam") => (409, "ConcurrentModification"),
        (FaultKind::Conflict, "logs") => (400, "OperationAbortedException"),
        (FaultKind::Conflict, _) => (409, "ResourceConflictException"),
        (FaultKind::Lost | FaultKind::Silence | FaultKind::Held, _) => return None,
    };
    Some((StatusCode::from_u16(status).unwrap_or_default(), code))
}
