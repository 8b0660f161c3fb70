//! The frame loop: the page is set to a frame, the browser draws it when asked, and the page itself says of that very
//! picture whether it counts. While the browser still works on a picture, the page is set to the frame that follows.

use std::sync::atomic::{AtomicBool, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::events::{Asset, State};
use super::window::Window;
use super::{Capture, PUMP_INTERVAL, Page, SIGNAL_TIMEOUT};
use crate::media::ImageFormat;
use crate::protocol::FailureKind;
use crate::worker::artifacts::Artifact;
use crate::worker::cdp::CdpError;
use crate::worker::failure::{TaskResult, permanent, retryable};
use crate::worker::sound::{FrameSound, Heard};

/// A frame as the page shows it, what is heard meanwhile, and the files that it emits.
#[derive(Debug)]
pub(in crate::worker) struct Drawn {
    pub(in crate::worker) picture: Bytes,
    pub(in crate::worker) sound: FrameSound,
    pub(in crate::worker) artifacts: Vec<Artifact>,
}

impl Page {
    /// Waits until nothing holds the page back, after a change of what it shows.
    pub(super) async fn wait_ready(&mut self) -> TaskResult<()> {
        self.request += 1;
        let request = self.request;
        self.run(&format!("window.__rmx.wait({request})")).await?;
        self.picture_of(request, None).await.map(|_| ())
    }

    /// The page's picture of `frame`, and its sound. While the browser still draws it, the page is set to `next`.
    pub(in crate::worker) async fn draw_frame(
        &mut self,
        composition: &str,
        attempt: u32,
        frame: u32,
        next: Option<u32>,
    ) -> TaskResult<Drawn> {
        let next = next.filter(|_| !self.is_taken_afterwards());
        if self.set != Some((self.request, frame)) {
            self.request += 1;
            let script = self.set_script(self.request, frame, composition, attempt);
            self.post(&script).await?;
        }
        let request = self.request;
        let following = next.map(|next| self.set_script(request + 1, next, composition, attempt));
        let moves_on = following.is_some();
        let (picture, assets) = self.picture_of(request, following).await?;
        let (sound, artifacts) = self.sorted(assets)?;
        if moves_on {
            self.request = request + 1;
        }
        self.set = next.map(|next| (self.request, next));
        let nothing = (self.setup.capture == Capture::Nothing).then(Bytes::new);
        let picture = picture.or(nothing).ok_or_else(|| {
            retryable(
                FailureKind::Browser,
                "drawing: the browser delivered no picture",
            )
        })?;
        Ok(Drawn {
            picture,
            sound,
            artifacts,
        })
    }

    fn set_script(&self, request: u64, frame: u32, composition: &str, attempt: u32) -> String {
        let background = match self.setup.capture {
            Capture::Screenshots(ImageFormat::Png, _) | Capture::Webp(_) | Capture::Pdf => {
                "transparent"
            }
            Capture::Screenshots(ImageFormat::Jpeg, _)
            | Capture::Framebuffer(_)
            | Capture::Nothing => "black",
        };
        let composition = Value::from(composition);
        format!("window.__rmx.set({request}, {frame}, {composition}, {attempt}, '{background}')")
    }

    async fn post(&self, script: &str) -> TaskResult<()> {
        let parameters = json!({"expression": script});
        let posted = self
            .browser
            .cdp
            .post(
                &self.session,
                "Runtime.evaluate",
                parameters,
                self.timeout(),
            )
            .await;
        posted.map_err(|error| self.broken(&error))
    }

    /// Waits until the page has drawn `request` and nothing holds it back; returns the picture of just that moment, and
    /// what else the page asks for in it.
    /// As soon as the page says so, `following` is set off, while the browser still works on the picture.
    async fn picture_of(
        &mut self,
        request: u64,
        following: Option<String>,
    ) -> TaskResult<(Option<Bytes>, Vec<Asset>)> {
        let deadline = Instant::now() + self.timeout();
        self.armed(request, deadline).await?;
        loop {
            let holds = match self.draw(request, following.as_deref()).await? {
                State::Ready { assets, .. } => {
                    self.server.check()?;
                    self.read_framebuffer()?;
                    if self.is_taken_afterwards() {
                        self.picture = Some(self.take().await?);
                    }
                    return Ok((self.picture.clone(), assets));
                }
                State::Waiting { mut holds, fonts } => {
                    if fonts {
                        holds.push("fonts of the document".to_owned());
                    }
                    holds
                }
                State::Armed => Vec::new(),
                State::Cancelled { error } | State::Threw { error } => {
                    return Err(self.page_error("drawing", &error).await);
                }
                State::Broken { error } => return Err(broken(&error)),
            };
            self.server.check()?;
            if Instant::now() > deadline {
                return Err(self.not_ready(&holds));
            }
            sleep(PUMP_INTERVAL).await;
        }
    }

    /// Waits until the scripts that `request` set off have run.
    async fn armed(&mut self, request: u64, deadline: Instant) -> TaskResult<()> {
        loop {
            self.check_events("drawing").await?;
            match self.events.signal(request, |_| true) {
                Some(State::Cancelled { error } | State::Threw { error }) => {
                    return Err(self.page_error("drawing", &error).await);
                }
                Some(State::Broken { error }) => return Err(broken(&error)),
                Some(State::Armed) => return Ok(()),
                Some(State::Ready { .. } | State::Waiting { .. }) => {
                    return Err(silent("it answered out of turn"));
                }
                None => {}
            }
            match tokio::time::timeout_at(deadline, self.browser.events.recv()).await {
                Ok(Some(event)) => self.events.take(event),
                Ok(None) => return Err(self.browser.failure("drawing", &CdpError::Closed)),
                Err(_) => return Err(silent("a script that never ends?")),
            }
        }
    }

    /// Has the browser draw one frame, and returns what the page said of `request` in it. A page that is ready is set
    /// to `following` at once, whether the picture has arrived or not.
    async fn draw(&mut self, request: u64, following: Option<&str>) -> TaskResult<State> {
        let parameters = match self.setup.capture {
            _ if self.is_taken_afterwards() => json!({}),
            Capture::Screenshots(..) | Capture::Webp(_) => {
                json!({"screenshot": screenshot(self.setup.capture)})
            }
            Capture::Framebuffer(_) | Capture::Pdf | Capture::Nothing => json!({}),
        };
        let (mut verdict, mut answer) = (None, None);
        let timeout = self.timeout();
        let mut limit = Instant::now() + timeout + SIGNAL_TIMEOUT;
        {
            let Self {
                browser,
                session,
                events,
                ..
            } = self;
            let drawn = browser.cdp.call(
                Some(session),
                "HeadlessExperimental.beginFrame",
                parameters,
                timeout,
            );
            tokio::pin!(drawn);
            while verdict.is_none() || answer.is_none() {
                tokio::select! {
                    drawn = &mut drawn, if answer.is_none() => {
                        limit = Instant::now() + SIGNAL_TIMEOUT;
                        let failed = drawn.is_err();
                        answer = Some(drawn);
                        if failed {
                            break;
                        }
                    }
                    event = browser.events.recv() => {
                        let Some(event) = event else {
                            answer = Some(Err(CdpError::Closed));
                            break;
                        };
                        events.take(event);
                        // What goes wrong from here on belongs to the frame that follows.
                        if verdict.is_some() {
                            continue;
                        }
                        if events.exception.is_some() || events.crashed {
                            break;
                        }
                        verdict = events.signal(request, |state| !matches!(state, State::Armed));
                        if let (Some(State::Ready { .. }), Some(script)) = (&verdict, following) {
                            let parameters = json!({"expression": script});
                            if let Err(error) = browser.cdp.post(session, "Runtime.evaluate", parameters, timeout).await {
                                answer = Some(Err(error));
                                break;
                            }
                        }
                    }
                    () = sleep_until(limit) => break,
                }
            }
        }
        if verdict.is_none() {
            self.check_events("drawing").await?;
        }
        match answer {
            Some(Ok(answer)) => self.keep_picture(&answer)?,
            Some(Err(error)) => return Err(self.broken(&error)),
            None => {}
        }
        verdict.ok_or_else(|| silent("a script that never ends?"))
    }

    /// A picture comes only when something changed; without one, the page looks as it did.
    fn keep_picture(&mut self, answer: &Value) -> TaskResult<()> {
        self.drawn |= answer["hasDamage"] == true;
        if let Some(data) = answer["screenshotData"].as_str() {
            let bytes = STANDARD.decode(data).map_err(|_| {
                retryable(
                    FailureKind::Browser,
                    "drawing: the browser's picture is not base64",
                )
            })?;
            self.picture = Some(bytes.into());
        }
        Ok(())
    }

    /// Whether the browser is asked for a picture once the page is ready, because those of its own frames are not what is wanted.
    fn is_taken_afterwards(&self) -> bool {
        match self.setup.capture {
            Capture::Screenshots(..) | Capture::Webp(_) => {
                !Window::of(self.setup.viewport).is_exact
            }
            Capture::Pdf => true,
            Capture::Framebuffer(_) | Capture::Nothing => false,
        }
    }

    /// The picture of a page that is ready.
    async fn take(&self) -> TaskResult<Bytes> {
        let (method, taken) = match self.setup.capture {
            Capture::Pdf => ("Page.printToPDF", self.print().await?),
            capture => ("Page.captureScreenshot", self.shoot(capture).await?),
        };
        let data = taken["data"].as_str().unwrap_or_default();
        let picture = STANDARD.decode(data).map_err(|_| {
            let message = format!("drawing: what {method} answers is not base64");
            retryable(FailureKind::Browser, message)
        })?;
        Ok(picture.into())
    }

    /// The page as an image of just its own size, as the official renderer takes it. The browser draws it more than once
    /// meanwhile, and only when it is asked to.
    async fn shoot(&self, capture: Capture) -> TaskResult<Value> {
        let (width, height, _) = self.setup.viewport;
        let mut parameters = screenshot(capture);
        parameters["clip"] = json!({"x": 0, "y": 0, "width": width, "height": height, "scale": 1});
        parameters["captureBeyondViewport"] = true.into();
        let is_taken = AtomicBool::new(false);
        let shooting = async {
            let taken = self.call("Page.captureScreenshot", parameters).await;
            is_taken.store(true, Ordering::Relaxed);
            taken
        };
        let drawing = async {
            while !is_taken.load(Ordering::Relaxed) {
                self.call("HeadlessExperimental.beginFrame", json!({}))
                    .await?;
                sleep(PUMP_INTERVAL).await;
            }
            Ok(())
        };
        let (taken, drawn) = tokio::join!(shooting, drawing);
        drawn.and(taken)
    }

    /// The page as a PDF of one page of its own size, as the official renderer has it printed. A CSS inch has 96 pixels.
    async fn print(&self) -> TaskResult<Value> {
        let (width, height, _) = self.setup.viewport;
        let parameters = json!({
            "paperWidth": f64::from(width) / 96.0, "paperHeight": f64::from(height) / 96.0,
            "marginTop": 0, "marginBottom": 0, "marginLeft": 0, "marginRight": 0,
            "scale": 1, "printBackground": true,
        });
        self.call("Page.printToPDF", parameters).await
    }

    /// What is heard during a frame, and the files that it emits.
    fn sorted(&self, assets: Vec<Asset>) -> TaskResult<(FrameSound, Vec<Artifact>)> {
        let mut sound = FrameSound::default();
        let mut artifacts = Vec::new();
        for asset in assets {
            match asset {
                Asset::Other { kind, name } => {
                    let message =
                        format!("the page emits the {kind} {name}, which rmx does not keep yet");
                    return Err(permanent(FailureKind::Unsupported, message));
                }
                Asset::Artifact(artifact) => artifacts.push(artifact),
                Asset::Media { .. } | Asset::Samples(_) if self.setup.muted => {}
                Asset::Samples(samples) => sound.samples.push(samples),
                Asset::Media {
                    id,
                    source,
                    volume,
                    media_frame,
                    playback,
                } => {
                    let address = self.events.sources.get(source).ok_or_else(|| {
                        let message = format!("the sound {id} names an address it never gave");
                        permanent(FailureKind::PageContract, message)
                    })?;
                    sound.heard.push(Heard {
                        id,
                        source: self.server.media_source(address)?,
                        volume,
                        media_frame,
                        playback,
                    });
                }
            }
        }
        Ok((sound, artifacts))
    }
}

/// What the browser is told of an image.
fn screenshot(capture: Capture) -> Value {
    match capture {
        Capture::Screenshots(ImageFormat::Jpeg, quality) => {
            json!({"format": "jpeg", "quality": quality, "optimizeForSpeed": true})
        }
        Capture::Webp(quality) => {
            json!({"format": "webp", "quality": quality, "optimizeForSpeed": true})
        }
        _ => json!({"format": "png", "optimizeForSpeed": true}),
    }
}

fn broken(error: &str) -> crate::protocol::TaskFailure {
    permanent(FailureKind::PageContract, format!("drawing: {error}"))
}

fn silent(guess: &str) -> crate::protocol::TaskFailure {
    retryable(
        FailureKind::PageStalled,
        format!("drawing: the page stopped answering: {guess}"),
    )
}
