//! One browser's share of a chunk: every n-th of its frames. The lanes of a chunk draw at the same time, each a few
//! frames ahead of the encoder at most, and their pictures are dealt out in the order of the frames.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::failure::{TaskResult, internal};
use super::page::{Drawn, Page, Setup};
use super::site::Site;
use super::tools::Tools;
use crate::protocol::{ChunkTask, Composition, FailureKind, SiteLocation, WorkerMessage};

/// Tries of a frame at which the browser stalls or goes away.
const BROWSER_TRIES_MAX: u32 = 3;
/// Attempts at a frame whose `delayRender` has retries left, however many it says.
const ATTEMPTS_MAX: u32 = 50;
/// Pictures of a lane that wait for the encoder.
const PICTURES_WAITING_MAX: usize = 2;

/// A page that stays open between tasks that can share it.
#[derive(Debug)]
pub(super) struct Open {
    location: SiteLocation,
    /// What the page shows; `None` while it is in use for lookups.
    composition: Option<Composition>,
    pub(super) page: Page,
}

impl Open {
    /// Opens a page in a browser of its own.
    pub(super) async fn new(
        tools: &Tools,
        (location, site): (&SiteLocation, Site),
        setup: Setup,
        composition: Option<&Composition>,
    ) -> TaskResult<Self> {
        let mut page = Page::open(tools, site, setup).await?;
        if let Some(composition) = composition {
            page.show(composition).await?;
        }
        Ok(Self {
            location: location.clone(),
            composition: composition.cloned(),
            page,
        })
    }

    /// Whether a task with this setup can use the page as it is.
    pub(super) fn fits(
        &self,
        location: &SiteLocation,
        setup: &Setup,
        composition: Option<&Composition>,
    ) -> bool {
        let mut same = self.page.setup().clone();
        same.initial_frame = setup.initial_frame;
        same.attempt = setup.attempt;
        self.location == *location && same == *setup && self.composition.as_ref() == composition
    }
}

/// What a lane draws, and with what.
#[derive(Debug, Clone)]
pub(super) struct Drawing {
    pub(super) tools: Tools,
    pub(super) site: Site,
    pub(super) task: Arc<ChunkTask>,
    pub(super) setup: Setup,
    pub(super) messages: mpsc::Sender<WorkerMessage>,
}

/// The lanes of one chunk. Dropped, they stop and their browsers end.
#[derive(Debug)]
pub(super) struct Lanes {
    running: JoinSet<Option<Open>>,
    pictures: Vec<mpsc::Receiver<TaskResult<Drawn>>>,
    next: usize,
}

impl Lanes {
    /// Starts `count` lanes, with the pages of `open` that fit; the other pages are closed.
    pub(super) async fn start(drawing: Drawing, count: u32, mut open: Vec<Open>) -> Self {
        let mut running = JoinSet::new();
        let mut pictures = Vec::new();
        let count = count.clamp(1, drawing.task.frames.len().div_ceil(drawing.task.stride()));
        for lane in 0..count {
            let page = open.pop();
            let page = match page {
                Some(page) if drawing.can_use(&page) => Some(page),
                Some(page) => {
                    page.page.close().await;
                    None
                }
                None => None,
            };
            let (sender, receiver) = mpsc::channel(PICTURES_WAITING_MAX);
            pictures.push(receiver);
            running.spawn(drawing.clone().draw(lane, count, page, sender));
        }
        for page in open {
            page.page.close().await;
        }
        Self {
            running,
            pictures,
            next: 0,
        }
    }

    /// The frame that follows.
    pub(super) async fn next(&mut self) -> TaskResult<Drawn> {
        let lane = self.next % self.pictures.len();
        self.next += 1;
        let picture = self.pictures[lane].recv().await;
        picture.unwrap_or_else(|| Err(internal("drawing", "a browser's task ended early")))
    }

    /// Waits for the lanes and returns their pages.
    pub(super) async fn finish(self) -> Vec<Open> {
        drop(self.pictures);
        self.running
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// Sends what the page wrote to its console. Lines that nobody reads fast enough are dropped.
pub(super) fn pass_on_logs(page: &mut Page, messages: &mpsc::Sender<WorkerMessage>) {
    for (level, text) in page.take_logs() {
        let _ = messages.try_send(WorkerMessage::Log { level, text });
    }
}

impl Drawing {
    fn can_use(&self, open: &Open) -> bool {
        let Self { task, setup, .. } = self;
        open.fits(&task.page.site, setup, Some(&task.composition))
    }

    /// Draws every `step`-th frame from the chunk's `first` on; returns the page, if it is still good.
    async fn draw(
        self,
        first: u32,
        step: u32,
        mut open: Option<Open>,
        pictures: mpsc::Sender<TaskResult<Drawn>>,
    ) -> Option<Open> {
        let frames = self.task.frames;
        let stride = self.task.stride();
        let (first, step) = (first * stride, step * stride);
        let mut frame = frames.start() + first;
        while frames.contains(frame) {
            let next = frame
                .checked_add(step)
                .filter(|next| frames.contains(*next));
            let mut picture = self.picture(&mut open, frame, next).await;
            if let (Ok(_), None, Some(open)) = (&picture, next, &mut open)
                && let Err(failure) = open.page.check_framebuffer().await
            {
                picture = Err(failure);
            }
            let failed = picture.is_err();
            if pictures.send(picture).await.is_err() || failed {
                break;
            }
            let Some(next) = next else { break };
            frame = next;
        }
        open
    }

    /// One frame. A browser that stalls or goes away is replaced and the frame taken again, and so it is if a
    /// `delayRender` that may be tried again was not continued.
    async fn picture(
        &self,
        open: &mut Option<Open>,
        frame: u32,
        next: Option<u32>,
    ) -> TaskResult<Drawn> {
        let task = &self.task;
        let (mut tries, mut attempt) = (1, task.attempt);
        loop {
            let mut used = match open.take() {
                Some(open) => open,
                None => {
                    let site = (&task.page.site, self.site.clone());
                    Open::new(
                        &self.tools,
                        site,
                        Setup {
                            attempt,
                            ..self.setup.clone()
                        },
                        Some(&task.composition),
                    )
                    .await?
                }
            };
            let picture = used
                .page
                .draw_frame(&task.composition.id, attempt, frame, next)
                .await;
            pass_on_logs(&mut used.page, &self.messages);
            match picture {
                Ok(picture) => {
                    *open = Some(used);
                    return Ok(picture);
                }
                Err(failure) => {
                    used.page.close().await;
                    let held = failure.kind == FailureKind::DelayRenderTimeout;
                    let left = if held {
                        attempt < ATTEMPTS_MAX
                    } else {
                        tries < BROWSER_TRIES_MAX
                    };
                    if !failure.retryable || !left {
                        return Err(failure);
                    }
                    tracing::warn!("frame {frame}, try {tries}: {failure}");
                    if held {
                        attempt += 1;
                        let text = format!("frame {frame} is drawn again: {failure}");
                        let level = "warning".to_owned();
                        let _ = self.messages.try_send(WorkerMessage::Log { level, text });
                    } else {
                        tries += 1;
                    }
                }
            }
        }
    }
}
