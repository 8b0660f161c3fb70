//! Invocations: waited for, asynchronous, dry, and streamed.

use std::io;
use std::time::Duration;

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use futures::stream;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::env;
use crate::local::http::{Body, Request, answer, whole};

use super::error::{Kind, ServiceError};
use super::executor::{
    Failure, Invocation, Limit, Permit, Piece, RESPONSE_BYTES_MAX, Target, Throttle,
};
use super::model::Functions;
use super::reference::Place;
use super::{LambdaService, document};

/// Payload limits (developer guide, "Lambda quotas"): waited for or streamed, and asynchronous.
const PAYLOAD_BYTES_MAX: usize = 6 * 1024 * 1024;
const EVENT_PAYLOAD_BYTES_MAX: usize = 1024 * 1024;

/// The limit AWS documents for the decoded `X-Amz-Client-Context`.
const CLIENT_CONTEXT_BYTES_MAX: usize = 3583;

/// Asynchronous invocations that may wait to be run or to be tried again.
const EVENTS_WAITING_MAX: usize = 10_000;

/// AWS's defaults for asynchronous invocations.
const EVENT_RETRIES_DEFAULT: u32 = 2;
const EVENT_AGE_DEFAULT_S: u32 = 21_600;

/// The longest pause between two attempts at an event that was throttled.
const THROTTLED_PAUSE_MAX: Duration = Duration::from_secs(5 * 60);

/// What the document says about an invocation: what runs, and what bounds it.
struct Prepared {
    invocation: Invocation,
    limit: Limit,
    event_retries_max: u32,
    event_age_max: Duration,
}

impl LambdaService {
    pub(super) async fn invoke(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        match header(request, "X-Amz-Invocation-Type").unwrap_or("RequestResponse") {
            "RequestResponse" => {
                let prepared = self.prepare(request, name, PAYLOAD_BYTES_MAX)?;
                self.request_response(request, prepared).await
            }
            "Event" => {
                let prepared = self.prepare(request, name, EVENT_PAYLOAD_BYTES_MAX)?;
                self.event(prepared)
            }
            "DryRun" => {
                self.prepare(request, name, PAYLOAD_BYTES_MAX)?;
                Ok(answer(StatusCode::NO_CONTENT, "application/json", ""))
            }
            other => Err(ServiceError::constraint(
                other,
                "invocationType",
                "satisfy enum value set: [Event, RequestResponse, DryRun]",
            )),
        }
    }

    async fn request_response(
        &self,
        request: &Request,
        prepared: Prepared,
    ) -> Result<Response<Body>, ServiceError> {
        let permit = self.admit(&prepared)?;
        let version = prepared.invocation.target.version.clone();
        let mut pieces = self.executor.start(permit, prepared.invocation);
        let mut payload = BytesMut::new();
        let (failure, log_tail) = loop {
            match pieces.recv().await {
                // A streaming function may send more than can be returned at once.
                Some(Piece::Chunk(chunk)) if payload.len() + chunk.len() > RESPONSE_BYTES_MAX => {
                    break (Some(Failure::response_too_large()), String::new());
                }
                Some(Piece::Chunk(chunk)) => payload.extend_from_slice(&chunk),
                Some(Piece::End { failure, log_tail }) => break (failure, log_tail),
                None => return Err(shutting_down()),
            }
        };
        let payload = failure
            .as_ref()
            .map_or(payload.freeze(), |failure| failure.document.clone());
        let mut response = answer(StatusCode::OK, "application/json", payload);
        insert(&mut response, "X-Amz-Executed-Version", &version);
        if failure.is_some() {
            insert(&mut response, "X-Amz-Function-Error", "Unhandled");
        }
        if wants_tail(request) {
            insert(
                &mut response,
                "X-Amz-Log-Result",
                &STANDARD.encode(log_tail),
            );
        }
        Ok(response)
    }

    /// Queues an asynchronous invocation. The queue lives in this process: what has not run when it ends is lost.
    fn event(&self, prepared: Prepared) -> Result<Response<Body>, ServiceError> {
        let slot = self.events.clone().try_acquire_owned().map_err(|_| {
            throttled(
                "CallerRateLimitExceeded",
                "Too many asynchronous invocations are waiting.",
            )
        })?;
        let executor = self.executor.clone();
        let pause = self.event_retry_pause;
        self.executor.background(async move {
            let began = std::time::Instant::now();
            let mut failures = 0;
            let mut throttled_pause = Duration::from_secs(1);
            while began.elapsed() < prepared.event_age_max {
                match executor.admit(&prepared.invocation.target, prepared.limit) {
                    Ok(permit) => {
                        let mut pieces = executor.start(permit, prepared.invocation.clone());
                        let failed = loop {
                            match pieces.recv().await {
                                Some(Piece::Chunk(_)) => {}
                                Some(Piece::End { failure, .. }) => break failure.is_some(),
                                None => return,
                            }
                        };
                        failures += 1;
                        if !failed || failures > prepared.event_retries_max {
                            break;
                        }
                        tokio::time::sleep(pause * failures).await;
                    }
                    Err(Throttle::Account | Throttle::Reserved) => {
                        tokio::time::sleep(throttled_pause).await;
                        throttled_pause = (throttled_pause * 2).min(THROTTLED_PAUSE_MAX);
                    }
                }
            }
            drop(slot);
        });
        Ok(answer(StatusCode::ACCEPTED, "application/json", ""))
    }

    pub(super) fn invoke_with_response_stream(
        &self,
        request: &Request,
        name: &str,
    ) -> Result<Response<Body>, ServiceError> {
        let prepared = self.prepare(request, name, PAYLOAD_BYTES_MAX)?;
        match header(request, "X-Amz-Invocation-Type").unwrap_or("RequestResponse") {
            "RequestResponse" => {}
            "DryRun" => return Ok(answer(StatusCode::NO_CONTENT, "application/json", "")),
            other => {
                return Err(ServiceError::constraint(
                    other,
                    "invocationType",
                    "satisfy enum value set: [RequestResponse, DryRun]",
                ));
            }
        }
        let permit = self.admit(&prepared)?;
        let version = prepared.invocation.target.version.clone();
        let pieces = self.executor.start(permit, prepared.invocation);
        let mut response = Response::new(frames(pieces, wants_tail(request)));
        insert(
            &mut response,
            "Content-Type",
            "application/vnd.amazon.eventstream",
        );
        insert(&mut response, "X-Amz-Executed-Version", &version);
        Ok(response)
    }

    fn prepare(
        &self,
        request: &Request,
        name: &str,
        payload_bytes_max: usize,
    ) -> Result<Prepared, ServiceError> {
        let place = Place::of(request);
        let reference = place.resolve(name, request.query_value("Qualifier"))?;
        if request.body.len() > payload_bytes_max {
            return Err(ServiceError::new(
                Kind::RequestTooLarge,
                format!(
                    "Request must be smaller than {payload_bytes_max} bytes for the InvokeFunction operation"
                ),
            ));
        }
        let payload = if request.body.is_empty() {
            Bytes::from_static(b"{}")
        } else {
            request.body.clone()
        };
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(&payload) {
            return Err(ServiceError::new(
                Kind::InvalidRequestContent,
                format!("Could not parse request body into json: {error}"),
            ));
        }
        let functions: Functions = self.store.read(&document(&place))?;
        let (function, version) = functions.routed(&place, &reference)?;
        let now_ms = env::now_ms();
        version.check_created(now_ms)?;
        let version = function.serving(version, now_ms);
        let runtime = &version.configuration.runtime;
        if let Some(problem) = self.executor.runtime_problem(runtime) {
            return Err(ServiceError::new(Kind::InvalidRuntime, problem));
        }
        let reserved: u32 = functions
            .0
            .values()
            .filter_map(|f| f.reserved_concurrency)
            .sum();
        let limit = match function.reserved_concurrency {
            Some(reserved) => Limit::Reserved(reserved),
            None => Limit::Shared(self.quotas().concurrent_executions.saturating_sub(reserved)),
        };
        let qualifier = reference.qualifier.as_deref().unwrap_or("$LATEST");
        let events = function.event_invoke.get(qualifier);
        Ok(Prepared {
            limit,
            event_retries_max: events
                .and_then(|events| events.retries_max)
                .unwrap_or(EVENT_RETRIES_DEFAULT),
            event_age_max: Duration::from_secs(u64::from(
                events
                    .and_then(|events| events.age_max_s)
                    .unwrap_or(EVENT_AGE_DEFAULT_S),
            )),
            invocation: Invocation {
                invoked_arn: place.arn(&reference),
                request_id: request.request_id.clone(),
                trace_id: header(request, "X-Amzn-Trace-Id").map_or_else(trace_id, str::to_owned),
                client_context: client_context(request)?,
                payload,
                target: Target {
                    place,
                    function: reference.name,
                    version: version.name.clone(),
                    code: version.code.clone(),
                    configuration: version.configuration.clone(),
                },
            },
        })
    }

    fn admit(&self, prepared: &Prepared) -> Result<Permit, ServiceError> {
        if self.neighbours.faults.throttles_invocation() {
            return Err(throttled("CallerRateLimitExceeded", "Rate Exceeded."));
        }
        self.executor
            .admit(&prepared.invocation.target, prepared.limit)
            .map_err(|limit| {
                let reason = match limit {
                    Throttle::Account => "ConcurrentInvocationLimitExceeded",
                    Throttle::Reserved => "ReservedFunctionConcurrentInvocationLimitExceeded",
                };
                throttled(reason, "Rate Exceeded.")
            })
    }
}

/// Permits for asynchronous invocations that wait.
pub(super) fn event_slots() -> std::sync::Arc<tokio::sync::Semaphore> {
    std::sync::Arc::new(tokio::sync::Semaphore::new(EVENTS_WAITING_MAX))
}

fn throttled(reason: &'static str, message: &str) -> ServiceError {
    ServiceError::new(Kind::TooManyRequests(reason), message)
}

fn shutting_down() -> ServiceError {
    ServiceError::new(Kind::Service, "the embedded cloud is shutting down")
}

/// An answer as event stream frames, each sent when its piece arrives: `PayloadChunk`s and one `InvokeComplete`.
fn frames(pieces: mpsc::Receiver<Piece>, tail: bool) -> Body {
    let stream = stream::unfold(Some(pieces), move |pieces| async move {
        let mut pieces = pieces?;
        let (message, more) = match pieces.recv().await? {
            Piece::Chunk(bytes) => (
                event("PayloadChunk", "application/octet-stream", bytes),
                true,
            ),
            Piece::End { failure, log_tail } => {
                let mut end = json!({});
                if let Some(failure) = failure {
                    end["ErrorCode"] = failure.code.into();
                    end["ErrorDetails"] = Value::from(String::from_utf8_lossy(&failure.document));
                }
                if tail {
                    end["LogResult"] = STANDARD.encode(log_tail).into();
                }
                (
                    event("InvokeComplete", "application/json", end.to_string().into()),
                    false,
                )
            }
        };
        let mut frame = Vec::new();
        let written = write_message_to(&message, &mut frame)
            .map(|()| Frame::data(Bytes::from(frame)))
            .map_err(io::Error::other);
        Some((written, more.then_some(pieces)))
    });
    StreamBody::new(Box::pin(stream)).boxed()
}

fn event(kind: &'static str, content_type: &'static str, payload: Bytes) -> Message {
    let header = |name: &'static str, value: &'static str| {
        Header::new(name, HeaderValue::String(value.into()))
    };
    Message::new(payload)
        .add_header(header(":message-type", "event"))
        .add_header(header(":event-type", kind))
        .add_header(header(":content-type", content_type))
}

fn header<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request
        .headers
        .get(name)
        .and_then(|value| value.to_str().ok())
}

fn insert(response: &mut Response<Body>, name: &'static str, value: &str) {
    match (
        http::HeaderName::try_from(name),
        http::HeaderValue::try_from(value),
    ) {
        (Ok(name), Ok(value)) => {
            response.headers_mut().insert(name, value);
        }
        _ => *response.body_mut() = whole(Bytes::new()),
    }
}

fn wants_tail(request: &Request) -> bool {
    header(request, "X-Amz-Log-Type") == Some("Tail")
}

/// The client's context, JSON in base64.
fn client_context(request: &Request) -> Result<Option<String>, ServiceError> {
    let Some(text) = header(request, "X-Amz-Client-Context") else {
        return Ok(None);
    };
    let json = STANDARD
        .decode(text)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|text| text.len() <= CLIENT_CONTEXT_BYTES_MAX)
        .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    json.map(Some).ok_or_else(|| {
        ServiceError::new(
            Kind::InvalidRequestContent,
            "Client context must be a valid Base64-encoded JSON object.",
        )
    })
}

/// A trace that nobody samples, in X-Ray's form.
fn trace_id() -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let parent = uuid::Uuid::new_v4().simple().to_string();
    format!(
        "Root=1-{:08x}-{};Parent={};Sampled=0",
        env::now_ms() / 1000,
        &id[..24],
        &parent[..16]
    )
}
