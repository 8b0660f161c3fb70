//! One run at a time works on a render: `renders/ID/lease.json` says which.
//!
//! It is written only if there is none, renewed only while it still is ours, and gone with the run that wrote it. One that
//! is not renewed any more was left by a run that died, and is taken over: whoever finds it watches it, so nobody's clock
//! has to be right. Two runs that work at the same time all the same would do no harm before the end, since segments are
//! written once; but whoever has lost its lease must not tidy up ([`Lease::check`]).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::cloud::{Cloud, CloudError, Precondition};
use crate::env;
use crate::names::{BucketName, RenderId};

use super::dispatch::Session;
use super::progress::RenderEvent;
use super::{RenderError, document};

/// How often a lease is renewed.
const RENEWED_EVERY: Duration = Duration::from_secs(5);
/// A lease that was not renewed for so long is nobody's any more: three renewals may fail.
const LASTS: Duration = Duration::from_secs(20);
/// How often a lease of somebody else is looked at.
const LOOKED_AT_EVERY: Duration = Duration::from_millis(500);
/// How long letting go may take. After that the lease is left to run out.
const RELEASE_MAX: Duration = Duration::from_secs(1);

/// The object's content.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Document {
    /// A random UUID.
    run: String,
    /// Who works on the render, for people.
    holder: String,
    since: String,
    /// Each renewal makes another content, and so another entity tag.
    renewals: u64,
}

impl Document {
    fn bytes(&self) -> Bytes {
        serde_json::to_vec_pretty(self)
            .expect("texts and a number are JSON")
            .into()
    }
}

/// A lease that is held, and renewed until it is released or dropped.
#[derive(Debug)]
pub(super) struct Lease {
    held: Arc<Held>,
    renewing: JoinSet<()>,
}

#[derive(Debug)]
struct Held {
    cloud: Cloud,
    bucket: BucketName,
    id: RenderId,
    key: String,
    /// Of what we wrote last; nothing once somebody else has the lease.
    etag: Mutex<Option<String>>,
}

impl Lease {
    /// Takes the lease of the render `id` for `holder`. One of somebody else is watched until it is renewed, gone, or has
    /// run out.
    ///
    /// # Errors
    /// Another run works on the render, the user has had enough, or the cloud says no.
    pub(super) async fn take(
        session: Session<'_>,
        id: &RenderId,
        holder: &str,
        on_event: &mut impl FnMut(RenderEvent<'_>),
    ) -> Result<Self, RenderError> {
        let Session { cloud, workers, .. } = session;
        let (bucket, key) = (&workers.bucket, document::lease_key(id));
        let ours = Document {
            run: uuid::Uuid::new_v4().to_string(),
            holder: holder.to_owned(),
            since: env::timestamp(env::now()),
            renewals: 0,
        };
        let put = async |is_so: Precondition<'_>| {
            let content = ours.bytes();
            cloud.write_object_if(bucket, &key, content, is_so).await
        };
        let mut watched: Option<(String, Instant)> = None;
        let etag = loop {
            if let Some(etag) = put(Precondition::Absent).await? {
                break etag;
            }
            let Some(found) = cloud.tagged_object(bucket, &key).await? else {
                continue; // let go of between the two calls
            };
            let theirs = serde_json::from_slice::<Document>(&found.content).ok();
            if theirs.as_ref().is_some_and(|theirs| theirs.run == ours.run) {
                break found.etag; // the answer was lost
            }
            let holder = theirs.map_or_else(
                || "another run".to_owned(),
                |theirs| format!("{} since {}", theirs.holder, theirs.since),
            );
            match &watched {
                None => {
                    on_event(RenderEvent::Watching { holder: &holder });
                    watched = Some((found.etag, Instant::now()));
                }
                Some((etag, _)) if *etag != found.etag => {
                    let id = id.clone();
                    return Err(RenderError::Busy { id, holder });
                }
                Some((etag, first)) if first.elapsed() >= LASTS => {
                    if let Some(etag) = put(Precondition::Unchanged(etag)).await? {
                        break etag;
                    }
                }
                Some(_) => {}
            }
            tokio::select! {
                biased;
                () = session.cancel.cancelled() => {
                    return Err(RenderError::cancelled("taking up the render"));
                }
                () = sleep(LOOKED_AT_EVERY) => {}
            }
        };
        let held = Arc::new(Held {
            cloud: cloud.clone(),
            bucket: bucket.clone(),
            id: id.clone(),
            key: key.clone(),
            etag: Mutex::new(Some(etag)),
        });
        let mut renewing = JoinSet::new();
        renewing.spawn(renew(Arc::clone(&held), ours));
        Ok(Self { held, renewing })
    }

    /// Fails once another run has the lease: what is left to be done is for that one to do.
    pub(super) fn check(&self) -> Result<(), RenderError> {
        match self.held.etag() {
            Some(_) => Ok(()),
            None => Err(RenderError::TakenOver(self.held.id.clone())),
        }
    }

    /// Lets go of it.
    pub(super) async fn release(mut self) {
        // A renewal under way would make it another object.
        self.renewing.shutdown().await;
        let Held {
            cloud, bucket, key, ..
        } = &*self.held;
        if let Some(etag) = self.held.etag() {
            // It is gone already with everything else of a render that ended well, and runs out otherwise.
            let deleted = cloud.delete_object_if(bucket, key, &etag);
            let _ = timeout(RELEASE_MAX, deleted).await;
        }
    }
}

impl Held {
    fn etag(&self) -> Option<String> {
        let etag = self.etag.lock().unwrap_or_else(PoisonError::into_inner);
        etag.clone()
    }

    /// Writes it anew; whether it is ours no more.
    async fn renew(&self, document: &Document) -> Result<bool, CloudError> {
        let Some(etag) = self.etag() else {
            return Ok(true);
        };
        let Self {
            cloud, bucket, key, ..
        } = self;
        let still = Precondition::Unchanged(&etag);
        let mut written = cloud
            .write_object_if(bucket, key, document.bytes(), still)
            .await?;
        if written.is_none() {
            // The answer to this write, or to one before it, may have been lost.
            let found = cloud.tagged_object(bucket, key).await?;
            let is_ours = |content: &[u8]| {
                serde_json::from_slice::<Document>(content)
                    .is_ok_and(|found| found.run == document.run)
            };
            written = found
                .filter(|found| is_ours(&found.content))
                .map(|found| found.etag);
        }
        let is_lost = written.is_none();
        *self.etag.lock().unwrap_or_else(PoisonError::into_inner) = written;
        Ok(is_lost)
    }
}

async fn renew(held: Arc<Held>, mut document: Document) {
    loop {
        sleep(RENEWED_EVERY).await;
        document.renewals += 1;
        match held.renew(&document).await {
            Ok(false) => {}
            Ok(true) => return,
            // What lasts is found out by whoever takes the lease over.
            Err(error) => tracing::debug!("renewing the lease of a render: {error}"),
        }
    }
}
