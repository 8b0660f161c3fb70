//! What Remotion Lambda's clients ask of a function: the orchestrator of a render, inside a Lambda.
//!
//! ```text
//! start ─event→ launch: RenderRequest → render::render (⇄ workers, as for `rmx render`) → output → bucket
//!                  └ progress.json ←─ status
//! ```
//!
//! It draws nothing: it asks workers, invocations of its own function, for everything, by the same scheduler as `rmx render`.

mod board;
mod deliver;
mod failure;
mod launch;
mod request;
mod site;
mod start;
mod status;
mod still;
mod webhook;

use std::time::Duration;

use lambda_runtime::streaming::Sender;
use lambda_runtime::{Context, Diagnostic, Error};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::cloud::Cloud;
use crate::env::{Env, now_ms, variable};
use crate::names::{BucketName, FunctionName};
use crate::render::dispatch::{Session, Workers};
use crate::render::invocation::WorkerFunction;
use crate::render::request::PageOptions;
use crate::resource::price::prices;
use crate::wire::cost::Rates;
use crate::wire::request::{Compositions, Request};
use crate::wire::{CompositionsReply, ErrorReply, InfoReply, VideoConfig};

use super::invocation::note_invocation;
use failure::Failure;

/// This invocation stops so long before Lambda would end it, to say that it had no time left.
const MARGIN_MS: u64 = 3_000;

/// The most workers at the same time where nobody says how many there may be. Lambda refuses what is too many, and the scheduler
/// slows down.
const CONCURRENCY_MAX: u32 = 1_000;

/// The disk that Remotion's estimate of cost assumes: a function is not told its own.
const DISK_MB: u32 = 10_240;

/// The routine whose answer is a stream.
const STILL: &str = "still";

/// Whether the client of this payload takes a stream for an answer.
pub(super) fn is_streamed(kind: &str, payload: &Value) -> bool {
    kind == STILL && payload.get("streamed") == Some(&Value::Bool(true))
}

/// Answers for as long as the environment lives.
#[derive(Debug)]
pub(super) struct Orchestrator {
    env: Env,
    cloud: OnceCell<Cloud>,
}

/// The farm as an invocation of its function sees it.
#[derive(Debug)]
struct Farm {
    cloud: Cloud,
    bucket: BucketName,
    /// Whose it is.
    account: String,
    /// The version of Remotion it claims to be of.
    remotion_version: String,
    /// This function, in this version.
    function: WorkerFunction,
    memory_mb: u32,
    concurrency_max: u32,
    /// When this invocation ends.
    deadline_ms: u64,
    timeout_s: u32,
    rates: Rates,
}

impl Orchestrator {
    pub(super) fn new(env: &Env) -> Self {
        Self {
            env: env.clone(),
            cloud: OnceCell::new(),
        }
    }

    /// Answers a payload whose routine is `kind`.
    ///
    /// # Errors
    /// The invocation fails. Of some routines clients expect that; of others they expect an answer that says so.
    pub(super) async fn answer(
        &self,
        kind: &str,
        payload: Value,
        context: &Context,
    ) -> Result<Value, Diagnostic> {
        let answered = match self.perform(kind, payload, context).await {
            Err(failure) if matches!(kind, "info" | "start" | "compositions" | "still") => {
                reply(ErrorReply::new(failure.info().message))
            }
            answered => answered,
        };
        answered.map_err(|failure| Diagnostic {
            error_type: failure.error_type().to_owned(),
            error_message: failure.info().message,
        })
    }

    /// Answers a payload of the routine `still` whose client listens: messages, each as soon as there is something to say.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub(super) async fn stream(
        &self,
        payload: Value,
        context: &Context,
        to: &mut Sender,
    ) -> Result<(), Error> {
        let failure = match self.farm(context).await {
            Err(failure) => failure,
            Ok(farm) => match Request::parse(STILL, payload, &farm.remotion_version) {
                Ok(Request::Still(request)) => {
                    return still::streamed(&farm, &self.env, &request, to).await;
                }
                Ok(_) => Failure::Reply(format!("the payload is none of `{STILL}`")),
                Err(error) => error.into(),
            },
        };
        to.send_data(still::failed(&failure).bytes()?.into())
            .await?;
        Ok(())
    }

    async fn perform(
        &self,
        kind: &str,
        payload: Value,
        context: &Context,
    ) -> Result<Value, Failure> {
        let farm = self.farm(context).await?;
        match Request::parse(kind, payload, &farm.remotion_version)? {
            Request::Info => reply(InfoReply::new(&farm.remotion_version)),
            Request::Start(request) => reply(start::start(&farm, *request).await?),
            Request::Launch(launch) => {
                launch::launch(&farm, &self.env, *launch).await?;
                reply(serde_json::json!({}))
            }
            Request::Status(request) => status::status(&farm, &request).await,
            Request::Compositions(request) => reply(compositions(&farm, *request).await?),
            Request::Still(request) => still::buffered(&farm, &self.env, &request).await,
        }
    }

    async fn farm(&self, context: &Context) -> Result<Farm, Failure> {
        let connect = || Cloud::connect_ambient(None);
        let cloud = self.cloud.get_or_try_init(connect).await?.clone();
        let said = |name: &'static str| self.env.variable(name).ok_or(Failure::NotSet(name));
        let number = |name| said(name).ok().and_then(|text| text.parse().ok());
        let name: FunctionName = said("AWS_LAMBDA_FUNCTION_NAME")?.parse()?;
        let memory_mb = number("AWS_LAMBDA_FUNCTION_MEMORY_SIZE").unwrap_or(0);
        let architecture = match cfg!(target_arch = "aarch64") {
            true => "arm64",
            false => "x86_64",
        };
        let prices = prices(cloud.region(), architecture);
        let deadline_ms = context.deadline;
        let left_ms = deadline_ms.saturating_sub(now_ms());
        Ok(Farm {
            bucket: said(variable::BUCKET)?.parse()?,
            account: account_of(&context.invoked_function_arn).to_owned(),
            remotion_version: said(variable::REMOTION_VERSION)?.to_owned(),
            function: WorkerFunction {
                name,
                version: said("AWS_LAMBDA_FUNCTION_VERSION")?.to_owned(),
            },
            memory_mb,
            concurrency_max: number(variable::CONCURRENCY_MAX).unwrap_or(CONCURRENCY_MAX),
            deadline_ms,
            // This invocation has just begun: what is left of its time is all of it.
            timeout_s: u32::try_from(left_ms.div_ceil(1_000)).unwrap_or(u32::MAX),
            rates: prices.map_or_else(Rates::default, |prices| Rates {
                second_usd: prices.second_usd(memory_mb, DISK_MB),
                request_usd: prices.request_usd,
            }),
            cloud,
        })
    }
}

impl Farm {
    fn region(&self) -> &str {
        self.cloud.region().as_str()
    }

    /// How long it may go on.
    fn left(&self) -> Duration {
        let left_ms = self.deadline_ms.saturating_sub(now_ms());
        Duration::from_millis(left_ms.saturating_sub(MARGIN_MS))
    }

    fn workers(&self) -> Workers {
        Workers {
            functions: vec![self.function.clone()],
            bucket: self.bucket.clone(),
            timeout_s: self.timeout_s,
            concurrency_max: self.concurrency_max,
        }
    }
}

async fn compositions(farm: &Farm, request: Compositions) -> Result<CompositionsReply, Failure> {
    let page = PageOptions {
        site: site::location(farm, &request.serve_url).await?,
        input_props: site::input_props(farm, &request.input_props).await?,
        environment: request.env_variables.unwrap_or_default(),
        timeout_ms: request::timeout_ms(request.timeout_in_milliseconds),
        browser: request::browser(request.chromium_options.as_ref()),
    };
    let session = Session {
        cloud: &farm.cloud,
        workers: &farm.workers(),
        cancel: &CancellationToken::new(),
    };
    let found = crate::render::compositions(&page, 1, session, |_| {}).await?;
    let parsed = |text: &str| serde_json::from_str(text).unwrap_or_default();
    let found = found.into_iter().map(|composition| VideoConfig {
        id: composition.id,
        width: composition.width,
        height: composition.height,
        fps: composition.fps.as_f64(),
        duration_in_frames: composition.duration_in_frames,
        default_props: parsed(&composition.default_props),
        props: parsed(&composition.resolved_props),
        default_codec: composition.defaults.codec,
        default_out_name: composition.defaults.out_name,
        default_video_image_format: composition.defaults.image_format,
        default_pixel_format: composition.defaults.pixel_format,
        default_pro_res_profile: composition.defaults.pro_res_profile,
        default_sample_rate: composition.defaults.sample_rate,
    });
    Ok(CompositionsReply::new(found.collect()))
}

/// The account in an ARN.
fn account_of(arn: &str) -> &str {
    arn.split(':').nth(4).unwrap_or_default()
}

fn reply(value: impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(value).map_err(|error| Failure::Reply(error.to_string()))
}
