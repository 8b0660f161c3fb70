//! A page that speaks the page contract: opened, asked for its compositions, and made to draw frame after frame.
//!
//! Frames of the browser happen only when we ask for one, so everything that waits here keeps asking.

mod capture;
mod contract;
mod events;
mod framebuffer;
mod frames;
mod test_picture;
mod window;
mod yuv;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use self::events::Events;
use self::framebuffer::Framebuffer;
pub(super) use self::frames::Drawn;
use self::window::Window;
use super::browser::Browser;
use super::cdp::{CRASHED, CdpError};
use super::colour::Yuv;
use super::failure::{TaskResult, permanent, retryable};
use super::milliseconds;
use super::serve::Server;
use super::site::Site;
use super::stack;
use super::tools::Tools;
use crate::media::ImageFormat;
use crate::protocol::{BrowserSettings, FailureKind, TaskFailure};

/// Pause between the frames we ask for while the page waits for something.
const PUMP_INTERVAL: Duration = Duration::from_millis(4);
/// A page's animation frame tells how it went at the latest so long after the browser drew it.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer than the page's own `delayRender` timeout we wait, as the official renderer does.
const GRACE: Duration = Duration::from_secs(3);

/// What a page says of a `delayRender` with retries left; each attempt at the frame takes one of them.
const WILL_BE_RETRIED: &str = "- Rendering the frame will be retried.";

/// How pictures leave the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Capture {
    /// As compressed images: format and JPEG quality.
    Screenshots(ImageFormat, u8),
    /// As one WebP image: quality.
    Webp(u8),
    /// As it would be printed.
    Pdf,
    /// As I420, out of the browser's own memory.
    Framebuffer(Yuv),
    /// Not at all: only what is heard counts.
    Nothing,
}

impl Capture {
    /// Whether light comes through where the page paints nothing.
    fn is_clear(self) -> bool {
        matches!(self, Self::Screenshots(ImageFormat::Png, _) | Self::Webp(_))
    }
}

/// What decides how a page is opened. Two tasks with equal setups can share a page.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setup {
    pub(super) input_props: String,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) timeout_ms: u32,
    /// Width, height and device scale factor.
    pub(super) viewport: (u32, u32, f64),
    pub(super) capture: Capture,
    pub(super) muted: bool,
    /// Samples of sound a second.
    pub(super) sample_rate: u32,
    pub(super) initial_frame: u32,
    /// Which attempt at its first frame this is, from 1 on.
    pub(super) attempt: u32,
    pub(super) browser: BrowserSettings,
}

impl Setup {
    /// Whether the browser and its window are the same with both: what it is started with, the window's size, scale and
    /// colour scheme, and whether it lets light through.
    pub(super) fn has_window_of(&self, other: &Self) -> bool {
        self.browser == other.browser
            && self.viewport == other.viewport
            && self.capture.is_clear() == other.capture.is_clear()
    }
}

/// Where the time of a page's start went, milliseconds each. A browser that was there takes no launch.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
pub(super) struct Start {
    /// From the start of the browser to its first answer.
    launch_ms: u64,
    /// A window, and what a page finds in it.
    page_ms: u64,
    /// Finding the framebuffer.
    framebuffer_ms: u64,
    /// Loading the site.
    load_ms: u64,
}

/// An open page in a browser of its own.
#[derive(Debug)]
pub(super) struct Page {
    browser: Browser,
    server: Server,
    session: String,
    setup: Setup,
    /// The scripts that run before the page's own.
    scripts: Vec<String>,
    start: Start,
    /// Number of the latest request to the driver.
    request: u64,
    /// The latest request and the frame it set, while that frame's picture is not taken.
    set: Option<(u64, u32)>,
    /// The newest picture.
    picture: Option<Bytes>,
    /// Where the browser draws, once it is known.
    framebuffer: Option<Framebuffer>,
    /// Whether pictures were read there since a test picture was last seen in it.
    unproven: bool,
    /// Whether the browser has drawn something since that picture.
    drawn: bool,
    events: Events,
}

impl Page {
    /// Opens the site's page and checks that it speaks the contract.
    pub(super) async fn open(tools: &Tools, site: &Site, setup: &Setup) -> TaskResult<Self> {
        let started = std::time::Instant::now();
        let server = Server::start(tools, site.clone()).await?;
        let window = Window::of(setup.viewport);
        let browser = Browser::launch(tools, window.browser_scale, &setup.browser).await?;
        let launch_ms = milliseconds(started);
        let session = browser
            .open_page(window.width, window.height)
            .await
            .map_err(|error| browser.failure("opening a page", &error))?;
        let mut page = Self {
            browser,
            server,
            session,
            setup: setup.clone(),
            scripts: Vec::new(),
            start: Start::default(),
            request: 0,
            set: None,
            picture: None,
            framebuffer: None,
            unproven: false,
            drawn: true,
            events: Events::default(),
        };
        page.prepare().await?;
        page.start.launch_ms = launch_ms;
        page.start.page_ms = milliseconds(started) - launch_ms;
        page.load().await?;
        Ok(page)
    }

    /// Loads the site as `setup` has it in the browser that is open, whose window must fit ([`Setup::has_window_of`]).
    /// Nothing is there that the page before has stored: the server is a new one, and so is the page's origin, and cookies,
    /// which are one for all ports, are cleared.
    pub(super) async fn load_anew(
        mut self,
        tools: &Tools,
        site: &Site,
        setup: &Setup,
    ) -> TaskResult<Self> {
        self.call("Page.navigate", json!({"url": "about:blank"}))
            .await?;
        self.call("Network.clearBrowserCookies", json!({})).await?;
        for script in std::mem::take(&mut self.scripts) {
            let script = json!({"identifier": script});
            self.call("Page.removeScriptToEvaluateOnNewDocument", script)
                .await?;
        }
        self.server = Server::start(tools, site.clone()).await?;
        self.setup = setup.clone();
        self.drain();
        self.events = Events::default();
        (self.set, self.picture, self.drawn) = (None, None, true);
        (self.framebuffer, self.unproven) = (None, false);
        self.start = Start::default();
        self.add_scripts().await?;
        self.load().await?;
        Ok(self)
    }

    /// Loads the site into a page that is prepared.
    async fn load(&mut self) -> TaskResult<()> {
        let started = std::time::Instant::now();
        if matches!(self.setup.capture, Capture::Framebuffer(_)) {
            self.find_framebuffer().await?;
        }
        self.start.framebuffer_ms = milliseconds(started);
        self.navigate().await?;
        self.check_contract().await?;
        self.start.load_ms = milliseconds(started) - self.start.framebuffer_ms;
        Ok(())
    }

    /// The setup it was opened with.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Where the time of its start went.
    pub(super) fn start(&self) -> Start {
        self.start
    }

    /// Lines of the page's console since the last call, and what else there is to be told of what it loads: level and text.
    pub(super) fn take_logs(&mut self) -> Vec<(String, String)> {
        self.drain();
        let mut logs = std::mem::take(&mut self.events.logs);
        let told = |level: &'static str| move |text| (level.to_owned(), text);
        logs.extend(self.server.take_notes().into_iter().map(told("warning")));
        let refusals = self.browser.proxy.take_refusals();
        logs.extend(refusals.into_iter().map(told("error")));
        logs
    }

    /// Ends the page and its browser.
    pub(super) async fn close(mut self) {
        self.browser.kill().await;
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(u64::from(self.setup.timeout_ms)) + GRACE
    }

    async fn call(&self, method: &'static str, params: Value) -> TaskResult<Value> {
        let answer = self
            .browser
            .cdp
            .call(Some(&self.session), method, params, self.timeout())
            .await;
        answer.map_err(|error| self.broken(&error))
    }

    async fn prepare(&mut self) -> TaskResult<()> {
        for method in [
            "Page.enable",
            "Runtime.enable",
            "Inspector.enable",
            "Log.enable",
        ] {
            self.call(method, json!({})).await?;
        }
        if self.setup.browser.dark_mode {
            let dark = json!([{"name": "prefers-color-scheme", "value": "dark"}]);
            let media = json!({"media": "screen", "features": dark});
            self.call("Emulation.setEmulatedMedia", media).await?;
        }
        let (width, height, scale) = self.setup.viewport;
        let metrics = json!({
            "mobile": false, "width": width, "height": height, "deviceScaleFactor": scale,
            "scale": Window::of(self.setup.viewport).page_scale, "dontSetVisibleSize": true,
            "screenOrientation": {"angle": 0, "type": "portraitPrimary"},
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        if self.setup.capture.is_clear() {
            let clear = json!({"color": {"r": 0, "g": 0, "b": 0, "a": 0}});
            self.call("Emulation.setDefaultBackgroundColorOverride", clear)
                .await?;
        }
        self.call("Runtime.addBinding", json!({"name": "__rmxSignal"}))
            .await?;
        self.add_scripts().await
    }

    /// Has the page find its variables and the driver.
    async fn add_scripts(&mut self) -> TaskResult<()> {
        for source in [
            contract::variables(&self.setup, self.server.port),
            include_str!("../driver.js").to_owned(),
        ] {
            let source = json!({"source": source});
            let added = self
                .call("Page.addScriptToEvaluateOnNewDocument", source)
                .await?;
            let script = added["identifier"].as_str().unwrap_or_default();
            self.scripts.push(script.to_owned());
        }
        Ok(())
    }

    async fn navigate(&mut self) -> TaskResult<()> {
        let url = self.server.page_url();
        let unreachable =
            |cause: &str| permanent(FailureKind::PageLoad, format!("loading {url}: {cause}"));
        let answer = self.call("Page.navigate", json!({"url": url})).await?;
        if let Some(error) = answer["errorText"].as_str() {
            return Err(TaskFailure {
                retryable: true,
                ..unreachable(error)
            });
        }
        let loaded = "[document.readyState, performance.getEntriesByType('navigation')[0]?.responseStatus ?? 200]";
        let deadline = Instant::now() + self.timeout();
        loop {
            let state = self.evaluate(loaded).await?;
            let status = state[1].as_u64().unwrap_or(200);
            self.server.check()?;
            if state[0] == "complete" && status >= 400 {
                let hint = "does the site have an index.html?";
                return Err(unreachable(&format!("status {status}; {hint}")));
            }
            if state[0] == "complete" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(unreachable(&format!(
                    "not loaded within {} ms",
                    self.timeout().as_millis()
                )));
            }
            self.pump().await?;
            sleep(PUMP_INTERVAL).await;
        }
    }

    /// Evaluates an expression; promises are waited for, with frames going on meanwhile.
    async fn evaluate(&mut self, expression: &str) -> TaskResult<Value> {
        let deadline = Instant::now() + self.timeout();
        let wrapped = format!(
            "(() => {{ const answer = {{done: false}}; window.__rmxAnswer = answer;
               Promise.resolve().then(() => ({expression})).then(
                 (value) => {{ answer.value = value; answer.done = true; }},
                 (error) => {{ answer.error = String(error?.stack ?? error); answer.done = true; }}); }})()
               //# sourceURL={OWN_SCRIPT}",
            OWN_SCRIPT = stack::OWN_SCRIPT,
        );
        self.run(&wrapped).await?;
        loop {
            let answer = self.run("window.__rmxAnswer").await?;
            if let Some(error) = answer["error"].as_str() {
                let error = error.to_owned();
                return Err(self.page_error("asking the page", &error).await);
            }
            if answer["done"] == true {
                return Ok(answer["value"].clone());
            }
            self.check_events("asking the page").await?;
            if Instant::now() > deadline {
                let message = format!(
                    "asking the page: no answer within {} ms",
                    self.timeout().as_millis()
                );
                return Err(permanent(FailureKind::PageStalled, message));
            }
            self.pump().await?;
            sleep(PUMP_INTERVAL).await;
        }
    }

    async fn run(&mut self, expression: &str) -> TaskResult<Value> {
        let parameters = json!({"expression": expression, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", parameters).await?;
        if let Some(text) = answer["exceptionDetails"]["exception"]["description"].as_str() {
            let text = text.to_owned();
            return Err(self.page_error("asking the page", &text).await);
        }
        Ok(answer["result"]["value"].take())
    }

    /// Has the browser draw a frame nobody looks at, so that what waits for one goes on. Returns whether anything changed.
    async fn pump(&mut self) -> TaskResult<bool> {
        let answer = self
            .call("HeadlessExperimental.beginFrame", json!({}))
            .await?;
        self.drain();
        let drawn = answer["hasDamage"] == true;
        self.drawn |= drawn;
        Ok(drawn)
    }

    /// Takes what the browser has said so far.
    fn drain(&mut self) {
        while let Ok(event) = self.browser.events.try_recv() {
            self.events.take(event);
        }
    }

    /// Fails if the page crashed, could not be served whole, or threw an exception that nobody caught; the official
    /// renderer does likewise.
    async fn check_events(&mut self, operation: &str) -> TaskResult<()> {
        if self.events.crashed {
            return Err(crashed(operation));
        }
        self.server.check()?;
        match self.events.exception.take() {
            Some(exception) => Err(self.page_error(operation, &exception).await),
            None => Ok(()),
        }
    }

    fn broken(&self, error: &CdpError) -> TaskFailure {
        match error {
            CdpError::Timeout { timeout, .. } => {
                let message = format!(
                    "drawing: the page did not answer within {} ms: a script that never ends?",
                    timeout.as_millis()
                );
                retryable(FailureKind::PageStalled, message)
            }
            CdpError::Refused { message, .. } if message.contains(CRASHED) => {
                crashed("driving the page")
            }
            _ => self.browser.failure("driving the page", error),
        }
    }

    fn not_ready(&self, holds: &[String]) -> TaskFailure {
        let holds = if holds.is_empty() {
            "(nothing it names)".to_owned()
        } else {
            holds.join(", ")
        };
        let message = format!(
            "drawing: the page was not ready within {} ms; it waits for: {holds}. A delayRender() was not continued; \
             a longer --timeout helps if it is only slow",
            self.timeout().as_millis(),
        );
        permanent(FailureKind::DelayRenderTimeout, message)
    }

    /// The page's own error, its stack mapped to the sources where the site has maps.
    async fn page_error(&mut self, operation: &str, stack: &str) -> TaskFailure {
        let mut maps = BTreeMap::new();
        for url in stack::scripts(stack) {
            let path = url.splitn(4, '/').nth(3).unwrap_or_default();
            let path = path.split(['?', '#']).next().unwrap_or_default();
            if let Ok(Some(file)) = self.server.site().file(&format!("{path}.map")).await
                && let Ok(bytes) = tokio::fs::read(file).await
                && let Some(map) = stack::parse(&bytes)
            {
                maps.insert(url, map);
            }
        }
        let mapped = stack::mapped(stack, &maps);
        let first = mapped
            .lines()
            .next()
            .unwrap_or("an error without a message")
            .to_owned();
        let timed_out = first.contains("delayRender()") && first.contains("not cleared");
        let retryable = timed_out && stack.contains(WILL_BE_RETRIED);
        let kind = if timed_out {
            FailureKind::DelayRenderTimeout
        } else {
            FailureKind::PageError
        };
        TaskFailure {
            stack: Some(mapped),
            retryable,
            ..permanent(kind, format!("{operation}: {first}"))
        }
    }
}

fn crashed(operation: &str) -> TaskFailure {
    let message = format!(
        "{operation}: the page crashed; most often it ran out of memory: give the function more with memory_mb"
    );
    retryable(FailureKind::PageCrashed, message)
}
