//! One writer at a time among all machines: an object beside the state that says who works on it, and until when.
//!
//! It is created only if there is none (`If-None-Match: *`), renewed every few seconds only if it still is ours
//! (`If-Match`), and deleted in the end. Whoever finds one that has run out may replace it. This keeps people from
//! working at the same time; that nobody's work is overwritten does not depend on it, nor on anybody's clock: see
//! `s3.rs`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::StateError;
use super::lock::Holder;
use super::s3::{Precondition, Remote};
use crate::env;

/// How often somebody else may come first before taking the lease is given up.
const ATTEMPTS_MAX: usize = 8;

/// What part of a lease is left when its holder stops working, so that what is under way ends before others may begin:
/// six seconds of a minute.
const STOPS_BEFORE: u32 = 10;

/// How often the clock is looked at. A machine that was asleep wakes with a lease that has run out.
const CLOCK_EVERY: Duration = Duration::from_secs(1);

/// A renewal gets at least that long.
const RENEWAL_MIN: Duration = Duration::from_secs(5);

/// How long letting go may take. After that the lease ends by itself.
const RELEASE_MAX: Duration = Duration::from_secs(3);

/// How long a lease lasts, and by which clock.
#[derive(Clone)]
pub struct LeaseTerms {
    /// How long after its last renewal others may take it.
    pub lasts: Duration,
    /// How often its holder renews it.
    pub renewed_every: Duration,
    /// The time.
    pub clock: Arc<dyn Fn() -> OffsetDateTime + Send + Sync>,
}

impl Default for LeaseTerms {
    /// A minute: three renewals may fail before it ends, and a job that is started again after its runner was killed
    /// does not wait for long.
    fn default() -> Self {
        Self {
            lasts: Duration::from_secs(60),
            renewed_every: Duration::from_secs(15),
            clock: Arc::new(env::now),
        }
    }
}

impl fmt::Debug for LeaseTerms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LeaseTerms")
            .field("lasts", &self.lasts)
            .field("renewed_every", &self.renewed_every)
            .finish_non_exhaustive()
    }
}

/// The object's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct LeaseDocument {
    #[serde(flatten)]
    pub(super) holder: Holder,
    /// RFC 3339.
    expires: String,
}

impl LeaseDocument {
    fn new(holder: &Holder, expires: OffsetDateTime) -> Self {
        Self {
            holder: holder.clone(),
            expires: expires.format(&Rfc3339).unwrap_or_default(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("texts and a number are JSON")
    }

    pub(super) fn has_expired(&self, now: OffsetDateTime) -> bool {
        OffsetDateTime::parse(&self.expires, &Rfc3339).is_ok_and(|expires| expires <= now)
    }

    /// What others who want the lock are told.
    pub(super) fn locked(&self, remote: &Remote) -> StateError {
        let expires = OffsetDateTime::parse(&self.expires, &Rfc3339);
        StateError::Locked {
            place: remote.place(),
            holder: Some(Box::new(self.holder.clone())),
            expires: expires.ok().map(env::timestamp),
        }
    }
}

/// A lease that is held, and renewed until it is released or dropped.
#[derive(Debug)]
pub(super) struct Lease {
    held: Arc<Held>,
    _renewals: JoinSet<()>,
}

#[derive(Debug)]
struct Held {
    remote: Remote,
    holder: Holder,
    /// The lease as we wrote it last.
    written: Mutex<Written>,
    /// Somebody else has it, or may take it.
    lost: CancellationToken,
    /// We want it no more.
    ended: CancellationToken,
}

#[derive(Debug, Clone)]
struct Written {
    etag: String,
    expires: OffsetDateTime,
}

impl Lease {
    /// Takes the lease of `remote`; with whom it was taken from, if that one let it run out.
    ///
    /// # Errors
    /// Somebody holds it, or S3 cannot be asked.
    pub(super) async fn take(
        remote: &Remote,
        holder: &Holder,
    ) -> Result<(Self, Option<Holder>), StateError> {
        for _ in 0..ATTEMPTS_MAX {
            let expires = (remote.terms.clock)() + remote.terms.lasts;
            let held = |etag| Self::held(remote, holder, Written { etag, expires });
            let document = LeaseDocument::new(holder, expires).bytes();
            let created = remote.put_lease(document.clone(), Precondition::Absent);
            if let Some(etag) = created.await? {
                return Ok((held(etag), None));
            }
            let Some((found, etag)) = read(remote).await? else {
                continue; // released a moment ago
            };
            if found.holder.id == holder.id {
                return Ok((held(etag), None)); // the answer was lost
            }
            if !found.has_expired((remote.terms.clock)()) {
                return Err(found.locked(remote));
            }
            let still = Precondition::Unchanged(&etag);
            if let Some(etag) = remote.put_lease(document, still).await? {
                return Ok((held(etag), Some(found.holder)));
            }
        }
        Err(StateError::Locked {
            place: remote.place(),
            holder: None,
            expires: None,
        })
    }

    fn held(remote: &Remote, holder: &Holder, written: Written) -> Self {
        let held = Arc::new(Held {
            remote: remote.clone(),
            holder: holder.clone(),
            written: Mutex::new(written),
            lost: CancellationToken::new(),
            ended: CancellationToken::new(),
        });
        let mut renewals = JoinSet::new();
        renewals.spawn(Arc::clone(&held).keep());
        Self {
            held,
            _renewals: renewals,
        }
    }

    /// Cancelled once somebody else has it, or may have it because it could not be renewed in time.
    pub(super) fn lost(&self) -> CancellationToken {
        self.held.lost.clone()
    }

    /// Lets go of it. What somebody else has taken by now stays.
    ///
    /// # Errors
    /// S3 cannot be asked, or does not answer soon: then it ends when its time has come.
    pub(super) async fn release(self) -> Result<(), StateError> {
        self.held.ended.cancel();
        let release = async {
            // A renewal under way comes to its end first.
            let written = self.held.written.lock().await.clone();
            let remote = &self.held.remote;
            if remote.delete_lease(&written.etag).await? {
                return Ok(());
            }
            match read(remote).await? {
                Some((found, etag)) if found.holder.id == self.held.holder.id => {
                    remote.delete_lease(&etag).await.map(drop)
                }
                _ => Ok(()),
            }
        };
        match tokio::time::timeout(RELEASE_MAX, release).await {
            Ok(released) => released,
            Err(_) => Err(self.held.remote.no_answer("let go of the lock")),
        }
    }
}

impl Held {
    /// Renews the lease until it ends or is lost. Whoever cannot renew it stops before others may take it.
    async fn keep(self: Arc<Self>) {
        let every = self.remote.terms.renewed_every;
        let mut due = Instant::now() + every;
        loop {
            let next = due.saturating_duration_since(Instant::now());
            let next = next.min(self.left().await).min(CLOCK_EVERY);
            tokio::select! {
                () = self.ended.cancelled() => return,
                () = tokio::time::sleep(next) => {}
            }
            let left = self.left().await;
            if left.is_zero() {
                return self.lost.cancel();
            }
            if Instant::now() < due {
                continue;
            }
            due = Instant::now() + every;
            // One connection that hangs must not cost the lock: the next try has its own.
            match tokio::time::timeout(left.min(every.max(RENEWAL_MIN)), self.renew()).await {
                Ok(Ok(true)) => {}
                Ok(Ok(false)) => return self.lost.cancel(),
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the lock of the state could not be renewed");
                }
                Err(_) => tracing::warn!("the lock of the state could not be renewed: no answer"),
            }
        }
    }

    /// How long its holder may go on working.
    async fn left(&self) -> Duration {
        let terms = &self.remote.terms;
        let stops = self.written.lock().await.expires - terms.lasts / STOPS_BEFORE;
        (stops - (terms.clock)())
            .try_into()
            .unwrap_or(Duration::ZERO)
    }

    /// Whether it still is ours.
    async fn renew(&self) -> Result<bool, StateError> {
        let mut written = self.written.lock().await;
        let expires = (self.remote.terms.clock)() + self.remote.terms.lasts;
        let document = LeaseDocument::new(&self.holder, expires).bytes();
        let still = Precondition::Unchanged(&written.etag);
        if let Some(etag) = self.remote.put_lease(document, still).await? {
            *written = Written { etag, expires };
            return Ok(true);
        }
        match read(&self.remote).await? {
            // An answer was lost: this one's, or an earlier one's.
            Some((found, etag)) if found.holder.id == self.holder.id => {
                written.etag = etag;
                if let Ok(expires) = OffsetDateTime::parse(&found.expires, &Rfc3339) {
                    written.expires = expires;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

/// The lease in force with its entity tag; `None` if there is none.
pub(super) async fn read(remote: &Remote) -> Result<Option<(LeaseDocument, String)>, StateError> {
    let Some(object) = remote.lease().await? else {
        return Ok(None);
    };
    match serde_json::from_slice(&object.content) {
        Ok(document) => Ok(Some((document, object.etag))),
        Err(error) => Err(StateError::Damaged {
            place: remote.lease_place(),
            reason: error.to_string(),
            backup: None,
        }),
    }
}

/// Removes the lease `id`, whoever holds it, and answers who that was. The next holder makes sure that nothing the
/// former one still writes takes effect.
///
/// # Errors
/// There is none, it is another one, or S3 cannot be asked.
pub(super) async fn remove(remote: &Remote, id: &str) -> Result<Holder, StateError> {
    for _ in 0..ATTEMPTS_MAX {
        let Some((found, etag)) = read(remote).await? else {
            break;
        };
        if found.holder.id != id {
            return Err(StateError::OtherLock {
                place: remote.place(),
                given: id.to_owned(),
                holder: Some(Box::new(found.holder)),
            });
        }
        // Its holder may be renewing it.
        if remote.delete_lease(&etag).await? {
            return Ok(found.holder);
        }
    }
    Err(StateError::NotLocked {
        place: remote.place(),
    })
}
