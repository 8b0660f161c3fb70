//! The page contract: the variables a page finds, what it has to offer, and how its compositions are read.

use serde_json::{Value, json};

use super::{Page, Setup};
use crate::media::Fps;
use crate::protocol::{Composition, CompositionDefaults, FailureKind};
use crate::worker::failure::{TaskResult, permanent};

/// The version of the page contract.
const SITE_VERSION: &str = "11";

/// The variables a page finds before its first script runs (page contract, "Injected variables").
pub(super) fn variables(setup: &Setup, proxy_port: u16) -> String {
    format!(
        "if (window === window.top) {{ window.remotion_puppeteerTimeout = {timeout}; window.remotion_isMainTab = true;
        window.remotion_mediaCacheSizeInBytes = null; window.remotion_initialMemoryAvailable = 1073741824;
        window.remotion_sampleRate = {sample_rate}; window.remotion_inputProps = {props};
        window.remotion_envVariables = {environment}; window.remotion_initialFrame = {frame};
        window.remotion_attempt = {attempt}; window.remotion_proxyPort = {port};
        window.remotion_audioEnabled = {audio}; window.remotion_videoEnabled = true;
        window.remotion_logLevel = 'info';
        window.process = window.process ?? {{}}; window.process.env = window.process.env ?? {{}};
        window.process.env.NODE_ENV = 'production';
        window.remotion_broadcastChannel = new BroadcastChannel('remotion-video-frame-extraction'); }}",
        timeout = setup.timeout_ms,
        props = Value::from(setup.input_props.as_str()),
        environment = Value::from(json!(setup.environment).to_string()),
        frame = setup.initial_frame,
        attempt = setup.attempt,
        port = proxy_port,
        audio = !setup.muted,
        sample_rate = setup.sample_rate,
    )
}

impl Page {
    /// Fails unless the loaded page speaks the contract.
    pub(super) async fn check_contract(&mut self) -> TaskResult<()> {
        let found = self
            .evaluate("[typeof window.getStaticCompositions, String(window.siteVersion), document.body?.innerText?.slice(0, 500) ?? '']")
            .await?;
        if found[0] == "function" && found[1] == SITE_VERSION {
            return Ok(());
        }
        self.drain();
        self.check_events("loading the page").await?;
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

    /// Lists what the site can render, or one composition by id.
    pub(in crate::worker) async fn compositions(
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
    pub(in crate::worker) async fn show(&mut self, composition: &Composition) -> TaskResult<()> {
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

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// What a page says of a composition: what is taken of it can be told to a worker.
    pub(crate) fn compositions(case: crate::fuzzing::Case<'_>) {
        let value = serde_json::from_slice::<Value>(case.0).unwrap_or_default();
        if let Ok(composition) = composition(&value) {
            let (width, height) = (composition.width, composition.height);
            assert!(width > 0 && height > 0 && composition.duration_in_frames > 0);
            let told = json!(composition).to_string();
            let read = serde_json::from_str::<Composition>(&told);
            assert_eq!(read.ok(), Some(composition), "{told}");
        }
    }
}
