//! One run at a time works on a render: `renders/ID/lease.json` says which.
//!
//! It is written only if there is none, renewed only while it still is ours, and gone with the run that wrote it. One that
//! is not renewed any more was left by a run that died, and is taken over: whoever finds it watches it, so nobody's clock
//! has to be right. Two runs that work at the same time all the same would do no harm before the end, since segments are
//! written once; but whoever has lost its lease must not tidy up. A run that was asleep, or whose renewals hang, does not
//! know: before it ends, it asks ([`Lease::check`]).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use crate::cloud::{Cloud, CloudError, Precondition};
use crate::env;
use crate::names::{BucketName, RenderId};

use super::dispatch::Session;
use super::progress::RenderEvent;
use super::{RenderError, document};

/// How often a lease is renewed, and how long a renewal may take.
const RENEWED_EVERY: Duration = Duration::from_secs(5);
/// A lease that was not renewed for so long is nobody's any more: two renewals may fail.
const LASTS: Duration = Duration::from_secs(20);
/// How often a run asks whether the lease still is its own, if it is not told.
const CHECKS_MAX: u32 = 3;
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
pub struct Lease {
    held: Arc<Held>,
    renewing: JoinSet<()>,
}

#[derive(Debug)]
struct Held {
    cloud: Cloud,
    bucket: BucketName,
    id: RenderId,
    key: String,
    written: Mutex<Written>,
}

/// What we wrote last.
#[derive(Debug)]
struct Written {
    document: Document,
    /// Its entity tag; nothing once somebody else has the lease.
    etag: Option<String>,
}

impl Lease {
    /// Takes the lease of the render `id` for `holder`. One of somebody else is watched until it is renewed, gone, or has
    /// run out.
    ///
    /// # Errors
    /// Another run works on the render, the user has had enough, or the cloud says no.
    pub async fn take(
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
            written: Mutex::new(Written {
                document: ours,
                etag: Some(etag),
            }),
        });
        let mut renewing = JoinSet::new();
        renewing.spawn(renew(Arc::clone(&held)));
        Ok(Self { held, renewing })
    }

    /// Renews it now. What is done within seconds afterwards is done while no other run works on the render.
    ///
    /// # Errors
    /// Another run has the lease, and what is left to be done is for that one to do; or nobody can tell.
    pub async fn check(&self) -> Result<(), RenderError> {
        let id = || self.held.id.clone();
        for _ in 0..CHECKS_MAX {
            match timeout(RENEWED_EVERY, self.held.renew()).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => return Err(RenderError::TakenOver(id())),
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => {}
            }
        }
        Err(RenderError::Unsure(id()))
    }

    /// Lets go of it.
    pub async fn release(mut self) {
        // A renewal under way would make it another object.
        self.renewing.shutdown().await;
        let Held {
            cloud, bucket, key, ..
        } = &*self.held;
        if let Some(etag) = &self.held.written.lock().await.etag {
            // It is gone already with everything else of a render that ended well, and runs out otherwise.
            let deleted = cloud.delete_object_if(bucket, key, etag);
            let _ = timeout(RELEASE_MAX, deleted).await;
        }
    }
}

impl Held {
    /// Writes it anew; whether it still is ours.
    async fn renew(&self) -> Result<bool, CloudError> {
        let mut written = self.written.lock().await;
        let Written { document, etag } = &mut *written;
        let Some(known) = etag else {
            return Ok(false);
        };
        let Self {
            cloud, bucket, key, ..
        } = self;
        document.renewals += 1;
        let still = Precondition::Unchanged(known);
        let mut now = cloud
            .write_object_if(bucket, key, document.bytes(), still)
            .await?;
        if now.is_none() {
            // The answer to this write, or to one before it, may have been lost.
            let found = cloud.tagged_object(bucket, key).await?;
            let is_ours = |content: &[u8]| {
                serde_json::from_slice::<Document>(content)
                    .is_ok_and(|found| found.run == document.run)
            };
            now = found
                .filter(|found| is_ours(&found.content))
                .map(|found| found.etag);
        }
        *etag = now;
        Ok(etag.is_some())
    }
}

async fn renew(held: Arc<Held>) {
    let mut pause = interval(RENEWED_EVERY);
    pause.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pause.tick().await;
    loop {
        pause.tick().await;
        match timeout(RENEWED_EVERY, held.renew()).await {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => return,
            // What lasts is found out by whoever takes the lease over. A write whose answer was not waited for is known by
            // its content.
            Ok(Err(error)) => tracing::debug!("renewing the lease of a render: {error}"),
            Err(_) => tracing::debug!("renewing the lease of a render: no answer"),
        }
    }
}
