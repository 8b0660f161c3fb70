//! The browsers that draw a chunk. Each takes the next frame that nobody has taken, a few frames ahead of the encoder at
//! most; their pictures are handed on in the order of the frames. One begins; others join while it pays to start them.

mod pace;
mod queue;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};

use self::pace::Pace;
use self::queue::Queue;
use super::failure::{TaskResult, internal};
use super::open::{Need, Open};
use super::page::{Drawn, Page, Setup};
use super::site::Site;
use super::tools::Tools;
use crate::protocol::{ChunkTask, FailureKind, TaskFailure, WorkerMessage};

/// Tries of a frame at which the browser goes away.
const BROWSER_TRIES_MAX: u32 = 3;
/// Tries of a frame at which nothing answers, each as long as the page's timeout. A browser that stalls does so by accident; what
/// stalls a new one as well is the page.
const STALLED_TRIES_MAX: u32 = 2;
/// Attempts at a frame whose `delayRender` has retries left, however many it says.
const ATTEMPTS_MAX: u32 = 50;
/// Frames of a lane that are taken and not handed on: one is drawn, the page is set to the next, and two wait.
const AHEAD_MAX: usize = 4;

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
    drawing: Drawing,
    /// Lanes that may run at the same time.
    count_max: u32,
    count: u32,
    queue: Arc<Queue>,
    running: JoinSet<TaskResult<Option<Open>>>,
    /// Pages that no lane has a use for, while they are closed.
    closing: JoinSet<()>,
    /// Never more than the queue allows frames: its bound is the queue's.
    sender: mpsc::UnboundedSender<(u32, TaskResult<Drawn>)>,
    drawn: mpsc::UnboundedReceiver<(u32, TaskResult<Drawn>)>,
    /// Pictures that came before their turn.
    early: BTreeMap<u32, TaskResult<Drawn>>,
    next: u32,
    pace: Pace,
    /// Pages of the lanes that are done.
    done: Vec<Open>,
}

impl Lanes {
    /// Starts a lane for each page of `open` that can be used as it is, and one in any case; the other pages are closed.
    /// There will be `count_max` lanes at most.
    pub(super) fn start(drawing: Drawing, count_max: u32, open: Vec<Open>) -> Self {
        let (sender, drawn) = mpsc::unbounded_channel();
        let (frames, stride) = (drawing.task.frames, drawing.task.stride());
        let mut lanes = Self {
            count_max: count_max.clamp(1, frames.len().div_ceil(stride)),
            count: 0,
            queue: Arc::new(Queue::new(frames, stride)),
            running: JoinSet::new(),
            closing: JoinSet::new(),
            sender,
            drawn,
            early: BTreeMap::new(),
            next: frames.start(),
            pace: Pace::new(),
            done: Vec::new(),
            drawing,
        };
        let need = lanes.drawing.need(&lanes.drawing.setup);
        let (fitting, mut others): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|open| open.fits(need));
        let usable = others.iter().position(|open| open.can_be_loaded_anew(need));
        let mut fitting = fitting.into_iter();
        let first = fitting
            .next()
            .or_else(|| usable.map(|place| others.remove(place)));
        lanes.start_lane(first);
        for open in fitting {
            if lanes.count < lanes.count_max {
                lanes.start_lane(Some(open));
            } else {
                others.push(open);
            }
        }
        for open in others {
            lanes.closing.spawn(open.page.close());
        }
        lanes
    }

    fn start_lane(&mut self, open: Option<Open>) {
        self.count += 1;
        self.queue.allow(AHEAD_MAX);
        let (drawing, queue) = (self.drawing.clone(), Arc::clone(&self.queue));
        let is_first = self.count == 1;
        self.running
            .spawn(drawing.draw(queue, is_first, open, self.sender.clone()));
    }

    /// The frame that follows.
    pub(super) async fn next(&mut self) -> TaskResult<Drawn> {
        let asked = Instant::now();
        let picture = self.picture().await?;
        let task = &self.drawing.task;
        self.next += task.stride();
        self.queue.allow(1);
        self.pace.took(asked.elapsed());
        let left = task.frames.end().saturating_sub(self.next);
        let left = left.div_ceil(task.stride());
        if self.count < self.count_max && self.pace.another_helps(self.count, left) {
            tracing::debug!("one more browser, at frame {}", self.next);
            self.start_lane(None);
            self.pace.begin_again();
        }
        Ok(picture)
    }

    async fn picture(&mut self) -> TaskResult<Drawn> {
        loop {
            if let Some(picture) = self.early.remove(&self.next) {
                return picture;
            }
            tokio::select! {
                biased;
                Some((frame, picture)) = self.drawn.recv() => {
                    self.early.insert(frame, picture);
                }
                ended = self.running.join_next() => match ended {
                    Some(ended) => self.keep(ended)?,
                    None => return Err(ended_early()),
                },
            }
        }
    }

    fn keep(&mut self, ended: Result<TaskResult<Option<Open>>, JoinError>) -> TaskResult<()> {
        let open = ended.map_err(|_| ended_early())??;
        self.done.extend(open);
        Ok(())
    }

    /// Waits for the lanes and returns their pages.
    ///
    /// # Errors
    /// A page does not draw any more where its frames were read: none of the chunk's frames count.
    pub(super) async fn finish(mut self) -> TaskResult<Vec<Open>> {
        self.queue.stop();
        while let Some(ended) = self.running.join_next().await {
            self.keep(ended)?;
        }
        self.closing.join_all().await;
        Ok(self.done)
    }
}

fn ended_early() -> TaskFailure {
    internal("drawing", "a browser's task ended early")
}

/// Sends what the page wrote to its console. Lines that nobody reads fast enough are dropped.
pub(super) fn pass_on_logs(page: &mut Page, messages: &mpsc::Sender<WorkerMessage>) {
    for (level, text) in page.take_logs() {
        let _ = messages.try_send(WorkerMessage::Log { level, text });
    }
}

impl Drawing {
    fn need<'a>(&'a self, setup: &'a Setup) -> Need<'a> {
        Need {
            tools: &self.tools,
            location: &self.task.page.site,
            site: &self.site,
            setup,
            composition: Some(&self.task.composition),
            messages: &self.messages,
        }
    }

    /// Draws frames of the queue while there are any; returns the page, if it is still good. No frame is taken before the
    /// page is there: the others would have to wait for it.
    async fn draw(
        self,
        queue: Arc<Queue>,
        is_first: bool,
        mut open: Option<Open>,
        pictures: mpsc::UnboundedSender<(u32, TaskResult<Drawn>)>,
    ) -> TaskResult<Option<Open>> {
        let opened = tokio::select! {
            opened = Open::for_need(open.take(), self.need(&self.setup)) => opened,
            // The others have taken every frame meanwhile.
            () = queue.stopped() => return Ok(None),
        };
        match opened {
            Ok(opened) => open = Some(opened),
            Err(failure) if is_first => {
                if let Some(frame) = queue.take().await {
                    let _ = pictures.send((frame, Err(failure)));
                }
                return Ok(None);
            }
            Err(failure) => {
                tracing::warn!("one browser fewer draws: {failure}");
                return Ok(None);
            }
        }
        let (mut following, mut has_drawn) = (None, false);
        loop {
            let frame = match following.take() {
                Some(frame) => frame,
                None => match queue.take().await {
                    Some(frame) => frame,
                    None => break,
                },
            };
            following = queue.try_take();
            let picture = self.picture(&mut open, frame, following).await;
            let failed = picture.is_err();
            if pictures.send((frame, picture)).is_err() || failed {
                return Ok(open);
            }
            has_drawn = true;
        }
        if let (true, Some(open)) = (has_drawn, &mut open) {
            open.page.check_framebuffer().await?;
        }
        Ok(open)
    }

    /// One frame. A browser that stalls or goes away is replaced and the frame taken again, and so it is if a
    /// `delayRender` that may be tried again was not continued. A page that is `open` is the one that is needed.
    async fn picture(
        &self,
        open: &mut Option<Open>,
        frame: u32,
        next: Option<u32>,
    ) -> TaskResult<Drawn> {
        let task = &self.task;
        let (mut tries, mut attempt) = (1, self.setup.attempt);
        loop {
            let mut used = match open.take() {
                Some(open) => open,
                None => {
                    let setup = Setup {
                        attempt,
                        ..self.setup.clone()
                    };
                    Open::for_need(None, self.need(&setup)).await?
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
                    let held = failure.kind == FailureKind::DelayRenderTimeout;
                    let left = match failure.kind {
                        FailureKind::DelayRenderTimeout => attempt < ATTEMPTS_MAX,
                        FailureKind::PageStalled => tries < STALLED_TRIES_MAX,
                        _ => tries < BROWSER_TRIES_MAX,
                    };
                    // What it drew before is in the chunk already, and this page is not there at the chunk's end.
                    let proven = match failure.retryable && left {
                        true => used.page.prove_frames(held).await,
                        false => Err(failure.clone()),
                    };
                    used.page.close().await;
                    proven?;
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
