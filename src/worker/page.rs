//! A page that speaks the page contract: opened, asked for its compositions, and made to draw frame after frame.
//!
//! Frames of the browser happen only when we ask for one, so everything that waits here keeps asking.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::browser::Browser;
use super::cdp::{CdpError, Event};
use super::failure::{TaskResult, permanent, retryable};
use super::serve::Server;
use super::site::Site;
use super::stack;
use super::tools::Tools;
use crate::media::{Fps, ImageFormat};
use crate::protocol::{Composition, CompositionDefaults, FailureKind, TaskFailure};

/// Pause between the frames we ask for while the page waits for something.
const PUMP_INTERVAL: Duration = Duration::from_millis(4);
/// A page's animation frame tells how it went at the latest so long after the browser drew it.
const SIGNAL_TIMEOUT: Duration = Duration::from_secs(5);
/// How much longer than the page's own `delayRender` timeout we wait, as the official renderer does.
const GRACE: Duration = Duration::from_secs(3);
/// The version of the page contract.
const SITE_VERSION: &str = "11";

/// What decides how a page is opened. Two tasks with equal setups can share a page.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setup {
    pub(super) input_props: String,
    pub(super) environment: BTreeMap<String, String>,
    pub(super) timeout_ms: u32,
    /// Width, height and device scale factor.
    pub(super) viewport: (u32, u32, f64),
    /// Format and JPEG quality.
    pub(super) image: (ImageFormat, u8),
    pub(super) muted: bool,
    pub(super) initial_frame: u32,
}

/// An open page in a browser of its own.
#[derive(Debug)]
pub(super) struct Page {
    browser: Browser,
    server: Server,
    session: String,
    setup: Setup,
    /// Number of the latest request to the driver.
    request: u64,
    /// The latest request and the frame it set, while that frame's picture is not taken.
    set: Option<(u64, u32)>,
    signals: Vec<Signal>,
    /// The newest picture; what the page looks like now.
    picture: Option<Bytes>,
    logs: Vec<(String, String)>,
    /// An exception the page threw, with its stack in terms of the page.
    exception: Option<String>,
    crashed: bool,
}

/// What the driver says.
#[derive(Debug, Clone, Deserialize)]
struct Signal {
    request: u64,
    #[serde(flatten)]
    state: State,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
enum State {
    Armed,
    Ready {
        #[serde(default)]
        assets: Vec<Asset>,
    },
    Waiting {
        holds: Vec<String>,
        fonts: bool,
    },
    Cancelled {
        error: String,
    },
    Threw {
        error: String,
    },
}

#[derive(Debug, Clone, Deserialize)]
struct Asset {
    r#type: String,
    name: String,
}

impl Page {
    /// Opens the site's page and checks that it speaks the contract.
    pub(super) async fn open(tools: &Tools, site: Site, setup: Setup) -> TaskResult<Self> {
        let server = Server::start(site).await?;
        let browser = Browser::launch(tools).await?;
        let (width, height, _) = setup.viewport;
        let session = browser
            .open_page(width, height)
            .await
            .map_err(|error| browser.failure("opening a page", &error))?;
        let mut page = Self {
            browser,
            server,
            session,
            setup,
            request: 0,
            set: None,
            signals: Vec::new(),
            picture: None,
            logs: Vec::new(),
            exception: None,
            crashed: false,
        };
        page.prepare().await?;
        page.navigate().await?;
        page.check_contract().await?;
        Ok(page)
    }

    /// The setup it was opened with.
    pub(super) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Lines of the page's console since the last call: level and text.
    pub(super) fn take_logs(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.logs)
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

    fn broken(&self, error: &CdpError) -> TaskFailure {
        if let CdpError::Timeout { timeout, .. } = error {
            return retryable(
                FailureKind::PageStalled,
                format!(
                    "drawing: the page did not answer within {} ms: a script that never ends?",
                    timeout.as_millis()
                ),
            );
        }
        self.browser.failure("driving the page", error)
    }

    async fn prepare(&mut self) -> TaskResult<()> {
        for method in ["Page.enable", "Runtime.enable", "Inspector.enable"] {
            self.call(method, json!({})).await?;
        }
        let (width, height, scale) = self.setup.viewport;
        let metrics = json!({
            "mobile": false, "width": width, "height": height, "deviceScaleFactor": scale,
            "screenOrientation": {"angle": 0, "type": "portraitPrimary"},
        });
        self.call("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        if self.setup.image.0 == ImageFormat::Png {
            let clear = json!({"color": {"r": 0, "g": 0, "b": 0, "a": 0}});
            self.call("Emulation.setDefaultBackgroundColorOverride", clear)
                .await?;
        }
        self.call("Runtime.addBinding", json!({"name": "__rmxSignal"}))
            .await?;
        for source in [self.variables(), include_str!("driver.js").to_owned()] {
            self.call(
                "Page.addScriptToEvaluateOnNewDocument",
                json!({"source": source}),
            )
            .await?;
        }
        Ok(())
    }

    /// The variables a page finds before its first script runs (page contract, "Injected variables").
    fn variables(&self) -> String {
        let setup = &self.setup;
        format!(
            "window.remotion_puppeteerTimeout = {timeout}; window.remotion_isMainTab = true;
            window.remotion_mediaCacheSizeInBytes = null; window.remotion_initialMemoryAvailable = 1073741824;
            window.remotion_sampleRate = 48000; window.remotion_inputProps = {props};
            window.remotion_envVariables = {environment}; window.remotion_initialFrame = {frame};
            window.remotion_attempt = 1; window.remotion_proxyPort = {port};
            window.remotion_audioEnabled = {audio}; window.remotion_videoEnabled = true;
            window.remotion_logLevel = 'info';
            window.process = window.process ?? {{}}; window.process.env = window.process.env ?? {{}};
            window.process.env.NODE_ENV = 'production';
            window.remotion_broadcastChannel = new BroadcastChannel('remotion-video-frame-extraction');",
            timeout = setup.timeout_ms,
            props = Value::from(setup.input_props.as_str()),
            environment = Value::from(json!(setup.environment).to_string()),
            frame = setup.initial_frame,
            port = self.server.port,
            audio = !setup.muted,
        )
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
            self.frame(false).await?;
            sleep(PUMP_INTERVAL).await;
        }
    }

    async fn check_contract(&mut self) -> TaskResult<()> {
        let found = self
            .evaluate("[typeof window.getStaticCompositions, String(window.siteVersion), document.body?.innerText?.slice(0, 500) ?? '']")
            .await?;
        if found[0] == "function" && found[1] == SITE_VERSION {
            return Ok(());
        }
        if let Some(exception) = self.exception.take() {
            return Err(self.page_error("loading the page", &exception).await);
        }
        let what = if found[0] == "function" {
            format!(
                "it has version {} of the page contract, and version {SITE_VERSION} is needed: bundle it again with a current Remotion",
                found[1]
            )
        } else {
            "window.getStaticCompositions is missing: is this folder a bundle made by `npx remotion bundle`?".to_owned()
        };
        let body = found[2].as_str().unwrap_or_default();
        let message = format!(
            "{} does not speak the page contract: {what}\nthe page says: {body}",
            self.server.page_url()
        );
        Err(permanent(FailureKind::PageContract, message))
    }

    /// Evaluates an expression; promises are waited for, with frames going on meanwhile.
    async fn evaluate(&mut self, expression: &str) -> TaskResult<Value> {
        let deadline = Instant::now() + self.timeout();
        let wrapped = format!(
            "(() => {{ const answer = {{done: false}}; window.__rmxAnswer = answer;
               Promise.resolve().then(() => ({expression})).then(
                 (value) => {{ answer.value = value; answer.done = true; }},
                 (error) => {{ answer.error = String(error?.stack ?? error); answer.done = true; }}); }})()"
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
            self.check_events()?;
            if Instant::now() > deadline {
                let message = format!(
                    "asking the page: no answer within {} ms",
                    self.timeout().as_millis()
                );
                return Err(permanent(FailureKind::PageStalled, message));
            }
            self.frame(false).await?;
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

    /// Lists what the site can render, or one composition by id.
    pub(super) async fn compositions(
        &mut self,
        only: Option<&str>,
    ) -> TaskResult<Vec<Composition>> {
        self.evaluate("void window.remotion_setBundleMode({type: 'evaluation'})")
            .await?;
        self.wait_ready().await?;
        let Some(id) = only else {
            let all = self.evaluate("window.getStaticCompositions()").await?;
            return all
                .as_array()
                .into_iter()
                .flatten()
                .map(composition)
                .collect();
        };
        let names = self
            .evaluate("window.remotion_getCompositionNames()")
            .await?;
        let names: Vec<&str> = names
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        if !names.contains(&id) {
            let message = format!(
                "the site has no composition `{id}`; it has: {}",
                names.join(", ")
            );
            return Err(permanent(FailureKind::UnknownComposition, message));
        }
        let expression = format!("window.remotion_calculateComposition({})", Value::from(id));
        let found = self.evaluate(&expression).await?;
        Ok(vec![composition(&found)?])
    }

    /// Makes the page show a composition, ready for its first frame.
    pub(super) async fn show(&mut self, composition: &Composition) -> TaskResult<()> {
        let defaults = &composition.defaults;
        let mode = json!({
            "type": "composition",
            "compositionName": composition.id,
            "serializedResolvedPropsWithSchema": composition.resolved_props,
            "compositionDurationInFrames": composition.duration_in_frames,
            "compositionFps": composition.fps.as_f64(),
            "compositionWidth": composition.width,
            "compositionHeight": composition.height,
            "compositionDefaultCodec": defaults.codec,
            "compositionDefaultOutName": defaults.out_name,
            "compositionDefaultVideoImageFormat": defaults.image_format,
            "compositionDefaultPixelFormat": defaults.pixel_format,
            "compositionDefaultProResProfile": defaults.pro_res_profile,
            "compositionDefaultSampleRate": defaults.sample_rate,
        });
        self.evaluate(&format!("void window.remotion_setBundleMode({mode})"))
            .await?;
        self.wait_ready().await
    }

    async fn wait_ready(&mut self) -> TaskResult<()> {
        self.request += 1;
        let request = self.request;
        self.run(&format!("window.__rmx.wait({request})")).await?;
        self.picture_of(request, None).await.map(|_| ())
    }

    /// The page's picture of `frame`. While the browser still draws it, the page is set to `next`.
    pub(super) async fn picture(
        &mut self,
        composition: &str,
        attempt: u32,
        frame: u32,
        next: Option<u32>,
    ) -> TaskResult<Bytes> {
        if self.set != Some((self.request, frame)) {
            self.request += 1;
            let script = self.set_script(self.request, frame, composition, attempt);
            self.post(&script).await?;
        }
        let request = self.request;
        let following = next.map(|next| self.set_script(request + 1, next, composition, attempt));
        let moves_on = following.is_some();
        let picture = self.picture_of(request, following).await?;
        if moves_on {
            self.request = request + 1;
        }
        self.set = next.map(|next| (self.request, next));
        picture.ok_or_else(|| {
            retryable(
                FailureKind::Browser,
                "drawing: the browser delivered no picture",
            )
        })
    }

    fn set_script(&self, request: u64, frame: u32, composition: &str, attempt: u32) -> String {
        let background = match self.setup.image.0 {
            ImageFormat::Jpeg => "black",
            ImageFormat::Png => "transparent",
        };
        let composition = Value::from(composition);
        format!("window.__rmx.set({request}, {frame}, {composition}, {attempt}, '{background}')")
    }

    async fn post(&self, script: &str) -> TaskResult<()> {
        let parameters = json!({"expression": script});
        let posted = self
            .browser
            .cdp
            .post(&self.session, "Runtime.evaluate", parameters)
            .await;
        posted.map_err(|error| self.broken(&error))
    }

    /// Waits until the page has drawn `request` and nothing holds it back; returns the picture of just that moment.
    /// As soon as the page says so, `following` is set off, while the browser still works on the picture.
    async fn picture_of(
        &mut self,
        request: u64,
        following: Option<String>,
    ) -> TaskResult<Option<Bytes>> {
        let deadline = Instant::now() + self.timeout();
        self.signal(request, deadline, |state| {
            matches!(state, State::Armed).then_some(())
        })
        .await?;
        let mut holds = Vec::new();
        loop {
            let answer = self.frame_with(request, following.as_deref()).await?;
            let state = match answer {
                Some(state) => state,
                None => {
                    let limit = Instant::now() + SIGNAL_TIMEOUT;
                    let state = self.signal(request, limit, |state| {
                        (!matches!(state, State::Armed)).then(|| state.clone())
                    });
                    let state = state.await?;
                    if let (State::Ready { .. }, Some(script)) = (&state, &following) {
                        self.post(script).await?;
                    }
                    state
                }
            };
            match state {
                State::Ready { assets } => {
                    self.check_assets(&assets)?;
                    return Ok(self.picture.clone());
                }
                State::Waiting {
                    holds: labels,
                    fonts,
                } => {
                    holds = labels;
                    if fonts {
                        holds.push("fonts of the document".to_owned());
                    }
                }
                State::Armed => {}
                State::Cancelled { error } | State::Threw { error } => {
                    return Err(self.page_error("drawing", &error).await);
                }
            }
            if self.server.proxy_was_asked() {
                return Err(permanent(
                    FailureKind::Unsupported,
                    "drawing: the page uses <OffthreadVideo>, whose frames rmx does not extract yet; use <Video> of @remotion/media",
                ));
            }
            if Instant::now() > deadline {
                let message = format!(
                    "drawing: the page was not ready within {} ms; it waits for: {}. A delayRender() was not \
                     continued; a longer --timeout helps if it is only slow",
                    self.timeout().as_millis(),
                    if holds.is_empty() {
                        "(nothing it names)".to_owned()
                    } else {
                        holds.join(", ")
                    }
                );
                return Err(permanent(FailureKind::DelayRenderTimeout, message));
            }
            sleep(PUMP_INTERVAL).await;
        }
    }

    /// Takes the first signal of `request` that `wanted` accepts, waiting for it until `deadline`.
    async fn signal<T>(
        &mut self,
        request: u64,
        deadline: Instant,
        wanted: impl Fn(&State) -> Option<T>,
    ) -> TaskResult<T> {
        loop {
            self.check_events()?;
            self.signals.retain(|signal| signal.request >= request);
            for index in 0..self.signals.len() {
                let signal = &self.signals[index];
                if signal.request != request {
                    continue;
                }
                if let State::Cancelled { error } | State::Threw { error } = &signal.state {
                    let error = error.clone();
                    return Err(self.page_error("drawing", &error).await);
                }
                if let Some(found) = wanted(&signal.state) {
                    self.signals.remove(index);
                    return Ok(found);
                }
            }
            let event = tokio::time::timeout_at(deadline, self.browser.events.recv()).await;
            match event {
                Ok(Some(event)) => self.take(event),
                Ok(None) => return Err(self.browser.failure("drawing", &CdpError::Closed)),
                Err(_) => {
                    return Err(retryable(
                        FailureKind::PageStalled,
                        "drawing: the page stopped answering: a script that never ends?",
                    ));
                }
            }
        }
    }

    /// Has the browser draw one frame. If the page says how `request` went while it does, that is returned, and a
    /// ready page is set to `following` at once.
    async fn frame_with(
        &mut self,
        request: u64,
        following: Option<&str>,
    ) -> TaskResult<Option<State>> {
        let Self {
            browser,
            session,
            setup,
            signals,
            picture,
            logs,
            exception,
            crashed,
            ..
        } = self;
        let timeout = Duration::from_millis(u64::from(setup.timeout_ms)) + GRACE;
        let parameters = json!({"screenshot": screenshot(setup.image)});
        let mut state = None;
        let answer = {
            let drawn = browser.cdp.call(
                Some(session),
                "HeadlessExperimental.beginFrame",
                parameters,
                timeout,
            );
            tokio::pin!(drawn);
            loop {
                tokio::select! {
                    answer = &mut drawn => break answer,
                    event = browser.events.recv() => match event {
                        Some(event) => {
                            take(event, signals, logs, exception, crashed);
                            let found = signals.iter().position(|signal| {
                                signal.request == request && !matches!(signal.state, State::Armed)
                            });
                            if let (None, Some(index)) = (&state, found) {
                                let signal = signals.remove(index);
                                if let (State::Ready { .. }, Some(script)) = (&signal.state, following) {
                                    let parameters = json!({"expression": script});
                                    let _ = browser.cdp.post(session, "Runtime.evaluate", parameters).await;
                                }
                                state = Some(signal.state);
                            }
                        }
                        None => break Err(CdpError::Closed),
                    },
                }
            }
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.check_events()?;
                return Err(self.broken(&error));
            }
        };
        if let Some(data) = answer["screenshotData"].as_str() {
            let bytes = STANDARD.decode(data).map_err(|_| {
                retryable(
                    FailureKind::Browser,
                    "drawing: the browser's picture is not base64",
                )
            })?;
            *picture = Some(bytes.into());
        }
        self.check_events()?;
        Ok(state)
    }

    /// Has the browser draw one frame, so that what waits for one goes on.
    async fn frame(&mut self, with_picture: bool) -> TaskResult<()> {
        let image = screenshot(self.setup.image);
        let parameters = if with_picture {
            json!({"screenshot": image})
        } else {
            json!({})
        };
        self.call("HeadlessExperimental.beginFrame", parameters)
            .await?;
        while let Ok(event) = self.browser.events.try_recv() {
            self.take(event);
        }
        Ok(())
    }

    fn take(&mut self, event: Event) {
        take(
            event,
            &mut self.signals,
            &mut self.logs,
            &mut self.exception,
            &mut self.crashed,
        );
    }

    fn check_events(&self) -> TaskResult<()> {
        if self.crashed {
            let message = "drawing: the page crashed; most often it ran out of memory: give the function more with memory_mb";
            return Err(retryable(FailureKind::PageCrashed, message));
        }
        Ok(())
    }

    /// An exception since the last look, as a failure.
    pub(super) async fn take_exception(&mut self) -> TaskResult<()> {
        match self.exception.take() {
            Some(exception) => Err(self.page_error("drawing", &exception).await),
            None => Ok(()),
        }
    }

    fn check_assets(&self, assets: &[Asset]) -> TaskResult<()> {
        for asset in assets {
            let sound = matches!(asset.r#type.as_str(), "audio" | "video" | "inline-audio");
            if sound && !self.setup.muted {
                let message = format!(
                    "the composition has sound ({}), which rmx does not carry yet; pass --muted to render without it",
                    asset.name
                );
                return Err(permanent(FailureKind::Unsupported, message));
            }
            if asset.r#type == "artifact" {
                let message = format!(
                    "the page emits the artifact {}, which rmx does not keep yet",
                    asset.name
                );
                return Err(permanent(FailureKind::Unsupported, message));
            }
        }
        Ok(())
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
        let kind = if timed_out {
            FailureKind::DelayRenderTimeout
        } else {
            FailureKind::PageError
        };
        TaskFailure {
            stack: Some(mapped),
            ..permanent(kind, format!("{operation}: {first}"))
        }
    }
}

fn screenshot((format, quality): (ImageFormat, u8)) -> Value {
    match format {
        ImageFormat::Jpeg => {
            json!({"format": "jpeg", "quality": quality, "optimizeForSpeed": true})
        }
        ImageFormat::Png => json!({"format": "png", "optimizeForSpeed": true}),
    }
}

/// Files an event where it is looked for later.
fn take(
    event: Event,
    signals: &mut Vec<Signal>,
    logs: &mut Vec<(String, String)>,
    exception: &mut Option<String>,
    crashed: &mut bool,
) {
    const LOGS_MAX: usize = 200;
    match event.method.as_str() {
        "Runtime.bindingCalled" if event.params["name"] == "__rmxSignal" => {
            let payload = event.params["payload"].as_str().unwrap_or_default();
            match serde_json::from_str(payload) {
                Ok(signal) => signals.push(signal),
                Err(error) => tracing::warn!("the driver's signal {payload}: {error}"),
            }
        }
        "Runtime.exceptionThrown" => {
            let details = &event.params["exceptionDetails"];
            let text = details["exception"]["description"]
                .as_str()
                .or(details["text"].as_str());
            exception
                .get_or_insert_with(|| text.unwrap_or("an exception without a message").to_owned());
        }
        "Inspector.targetCrashed" => *crashed = true,
        "Runtime.consoleAPICalled" if logs.len() < LOGS_MAX => {
            let words: Vec<String> = event.params["args"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|word| {
                    word["value"]
                        .as_str()
                        .or(word["description"].as_str())
                        .map(str::to_owned)
                })
                .collect();
            let text: String = words.join(" ").chars().take(1000).collect();
            logs.push((
                event.params["type"].as_str().unwrap_or("log").to_owned(),
                text,
            ));
        }
        _ => {}
    }
}

fn composition(value: &Value) -> TaskResult<Composition> {
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let broken = |what: &str| {
        let id = value["id"].as_str().unwrap_or("(no id)");
        permanent(
            FailureKind::PageContract,
            format!("composition `{id}`: its {what} is missing or wrong"),
        )
    };
    let whole = |name: &'static str| {
        let number = value[name].as_u64();
        number
            .and_then(|n| u32::try_from(n).ok())
            .filter(|n| *n > 0)
            .ok_or_else(|| broken(name))
    };
    Ok(Composition {
        id: text("id").ok_or_else(|| broken("id"))?,
        width: whole("width")?,
        height: whole("height")?,
        fps: value["fps"]
            .as_f64()
            .and_then(|fps| Fps::from_number(fps).ok())
            .ok_or_else(|| broken("fps"))?,
        duration_in_frames: whole("durationInFrames")?,
        resolved_props: text("serializedResolvedPropsWithCustomSchema")
            .ok_or_else(|| broken("props"))?,
        default_props: text("serializedDefaultPropsWithCustomSchema")
            .unwrap_or_else(|| "{}".to_owned()),
        defaults: CompositionDefaults {
            codec: text("defaultCodec"),
            out_name: text("defaultOutName"),
            image_format: text("defaultVideoImageFormat"),
            pixel_format: text("defaultPixelFormat"),
            pro_res_profile: text("defaultProResProfile"),
            sample_rate: value["defaultSampleRate"]
                .as_u64()
                .and_then(|rate| u32::try_from(rate).ok()),
        },
    })
}
