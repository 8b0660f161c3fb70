//! The Lambda Runtime API (version 2018-06-01), one loopback listener an environment.
//!
//! The process long-polls `next` for its work and posts `response` or `error` for each; [`RuntimeApi`] is the
//! other side: it hands over one [`Job`] at a time and gets [`Reply`]s. A streamed response is passed on chunk
//! by chunk through a short channel, so a slow reader slows the function down and nothing piles up.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::failure::Failure;
use super::prompt::Prompt;

/// The most a buffered response may hold: 6 MiB and the allowance AWS gives.
pub(in crate::local::lambda) const RESPONSE_BYTES_MAX: usize = 6 * 1024 * 1024 + 100;

/// The most a streamed response may hold (developer guide, "Lambda quotas").
const STREAM_BYTES_MAX: usize = 200 * 1024 * 1024;

/// Connections a process may hold open at the same time.
const CONNECTIONS_MAX: usize = 32;

/// Pieces of a response that may wait for their reader.
const REPLIES_MAX: usize = 16;

/// One invocation as the process sees it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) request_id: String,
    /// Milliseconds since the epoch.
    pub(super) deadline_ms: u64,
    pub(super) function_arn: String,
    pub(super) trace_id: String,
    /// JSON.
    pub(super) client_context: Option<String>,
    pub(super) payload: Bytes,
    pub(super) replies: mpsc::Sender<Reply>,
}

/// What the process says about its job.
#[derive(Debug)]
pub(super) enum Reply {
    /// It has taken the job.
    Taken,
    /// A piece of the response.
    Chunk(Bytes),
    /// The end of the response, or why there is none.
    End(Result<(), Failure>),
}

/// How far the process's initialisation is.
#[derive(Debug, Clone)]
pub(super) enum Initialisation {
    Running,
    /// The process has asked for its first job.
    Done,
    /// The process has reported that it cannot start.
    Failed(Failure),
}

/// The service's side. Dropping it closes the listener and every connection.
#[derive(Debug)]
pub(super) struct RuntimeApi {
    pub(super) address: SocketAddr,
    pub(super) initialisation: watch::Receiver<Initialisation>,
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    jobs: tokio::sync::Mutex<mpsc::Receiver<Job>>,
    current: Mutex<Option<Current>>,
    initialisation: watch::Sender<Initialisation>,
}

/// The job the process has taken and not answered.
#[derive(Debug)]
struct Current {
    request_id: String,
    replies: mpsc::Sender<Reply>,
}

impl RuntimeApi {
    /// Starts listening on a free loopback port.
    pub(super) async fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (jobs, receiver) = mpsc::channel(1);
        let (sender, initialisation) = watch::channel(Initialisation::Running);
        let shared = Arc::new(Shared {
            jobs: tokio::sync::Mutex::new(receiver),
            current: Mutex::new(None),
            initialisation: sender,
        });
        let mut server = JoinSet::new();
        server.spawn(serve(listener, shared.clone()));
        Ok(Self {
            address,
            initialisation,
            jobs,
            shared,
            _server: server,
        })
    }

    /// Hands over a job; returns where its replies arrive.
    pub(super) async fn give(
        &self,
        job: impl FnOnce(mpsc::Sender<Reply>) -> Job,
    ) -> mpsc::Receiver<Reply> {
        let (sender, receiver) = mpsc::channel(REPLIES_MAX);
        // A refusal means that the listener is gone; then the receiver ends without a reply.
        let _ = self.jobs.send(job(sender)).await;
        receiver
    }

    /// Forgets the job: what the process still says about it is refused. A response that is being received
    /// is not cut off.
    pub(super) fn abandon(&self) {
        self.shared.take(None);
    }
}

impl Shared {
    /// Takes the current job if it is the one named, or whichever it is.
    fn take(&self, request_id: Option<&str>) -> Option<Current> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        match (request_id, current.as_ref()) {
            (Some(wanted), Some(present)) if wanted != present.request_id => None,
            _ => current.take(),
        }
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        while connections.len() >= CONNECTIONS_MAX {
            connections.join_next().await;
        }
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, or the peer is gone already: the next attempt may work.
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        let shared = shared.clone();
        connections.spawn(async move {
            let service = hyper::service::service_fn(move |request| {
                let shared = shared.clone();
                async move { Ok::<_, Infallible>(answer(&shared, request).await) }
            });
            // A connection that breaks is the process's affair; its exit is noticed elsewhere.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(Prompt::new(stream)), service)
                .await;
        });
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (request.method(), segments.as_slice()) {
        (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => next(shared).await,
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "response"]) => {
            match shared.take(Some(id)) {
                Some(current) => response(current, request).await,
                None => invalid_request_id(),
            }
        }
        (&Method::POST, ["2018-06-01", "runtime", "invocation", id, "error"]) => {
            match shared.take(Some(id)) {
                Some(current) => {
                    let failure = reported(request).await;
                    let _ = current.replies.send(Reply::End(Err(failure))).await;
                    accepted()
                }
                None => invalid_request_id(),
            }
        }
        (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
            let failure = reported(request).await;
            shared
                .initialisation
                .send_replace(Initialisation::Failed(failure));
            accepted()
        }
        _ => refused(
            StatusCode::NOT_FOUND,
            "NotFound",
            "no such path in the Runtime API",
        ),
    }
}

async fn next(shared: &Shared) -> Response<Full<Bytes>> {
    shared.initialisation.send_if_modified(|state| match state {
        Initialisation::Running => {
            *state = Initialisation::Done;
            true
        }
        Initialisation::Done | Initialisation::Failed(_) => false,
    });
    let Some(job) = shared.jobs.lock().await.recv().await else {
        return refused(
            StatusCode::GONE,
            "Gone",
            "the environment is being shut down",
        );
    };
    let headers = [
        (
            "Lambda-Runtime-Aws-Request-Id",
            Some(job.request_id.clone()),
        ),
        (
            "Lambda-Runtime-Deadline-Ms",
            Some(job.deadline_ms.to_string()),
        ),
        (
            "Lambda-Runtime-Invoked-Function-Arn",
            Some(job.function_arn),
        ),
        ("Lambda-Runtime-Trace-Id", Some(job.trace_id)),
        ("Lambda-Runtime-Client-Context", job.client_context),
    ];
    let _ = job.replies.try_send(Reply::Taken);
    *shared
        .current
        .lock()
        .unwrap_or_else(PoisonError::into_inner) = Some(Current {
        request_id: job.request_id,
        replies: job.replies,
    });
    let mut response = Response::new(Full::new(job.payload));
    for (name, value) in headers {
        if let Some(value) = value.and_then(|value| http::HeaderValue::try_from(value).ok())
            && let Ok(name) = http::HeaderName::try_from(name)
        {
            response.headers_mut().insert(name, value);
        }
    }
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}

/// Receives a response, whole or as a stream.
async fn response(current: Current, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let streaming = request
        .headers()
        .get("Lambda-Runtime-Function-Response-Mode")
        .is_some_and(|mode| mode.as_bytes().eq_ignore_ascii_case(b"streaming"));
    let body = request.into_body();
    let (end, answer) = if streaming {
        stream(&current, body).await
    } else {
        whole(&current, body).await
    };
    let _ = current.replies.send(Reply::End(end)).await;
    answer
}

type Received = (Result<(), Failure>, Response<Full<Bytes>>);

async fn whole(current: &Current, body: Incoming) -> Received {
    match Limited::new(body, RESPONSE_BYTES_MAX).collect().await {
        Ok(collected) => {
            let _ = current
                .replies
                .send(Reply::Chunk(collected.to_bytes()))
                .await;
            (Ok(()), accepted())
        }
        Err(error) if error.is::<LengthLimitError>() => too_large(RESPONSE_BYTES_MAX),
        Err(_) => truncated(),
    }
}

async fn stream(current: &Current, mut body: Incoming) -> Received {
    let mut size: usize = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            return truncated();
        };
        match frame.into_data() {
            Ok(chunk) => {
                size = size.saturating_add(chunk.len());
                if size > STREAM_BYTES_MAX {
                    return too_large(STREAM_BYTES_MAX);
                }
                if !chunk.is_empty() && current.replies.send(Reply::Chunk(chunk)).await.is_err() {
                    return (
                        Ok(()),
                        refused(StatusCode::GONE, "Gone", "the invocation has ended"),
                    );
                }
            }
            Err(frame) => {
                if let Some(failure) = frame.trailers_ref().and_then(midstream_failure) {
                    return (Err(failure), accepted());
                }
            }
        }
    }
    (Ok(()), accepted())
}

/// The failure that a streamed response's trailers tell of.
fn midstream_failure(trailers: &HeaderMap) -> Option<Failure> {
    let text = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let kind = text("Lambda-Runtime-Function-Error-Type")?;
    let document = text("Lambda-Runtime-Function-Error-Body")
        .and_then(|body| STANDARD.decode(body).ok())
        .unwrap_or_else(|| json!({ "errorType": kind }).to_string().into_bytes());
    Some(Failure {
        code: kind.to_owned(),
        document: document.into(),
    })
}

fn too_large(limit: usize) -> Received {
    let message =
        format!("Response payload size exceeded maximum allowed payload size ({limit} bytes).");
    let answer = refused(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        &message,
    );
    (
        Err(Failure::new("Function.ResponseSizeTooLarge", &message)),
        answer,
    )
}

fn truncated() -> Received {
    let message = "Response payload is truncated";
    let answer = refused(
        StatusCode::BAD_REQUEST,
        "Runtime.TruncatedResponse",
        message,
    );
    (Err(Failure::new(Failure::TRUNCATED, message)), answer)
}

/// The document of an `error` request, passed on as it is.
async fn reported(request: Request<Incoming>) -> Failure {
    let kind = request
        .headers()
        .get("Lambda-Runtime-Function-Error-Type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or("Unhandled")
        .to_owned();
    let document = match Limited::new(request.into_body(), RESPONSE_BYTES_MAX)
        .collect()
        .await
    {
        Ok(collected) => collected.to_bytes(),
        Err(_) => Bytes::new(),
    };
    let document = if serde_json::from_slice::<Value>(&document).is_ok() {
        document
    } else {
        let message = String::from_utf8_lossy(&document);
        json!({ "errorType": kind, "errorMessage": message })
            .to_string()
            .into()
    };
    Failure {
        code: Failure::UNHANDLED.to_owned(),
        document,
    }
}

fn accepted() -> Response<Full<Bytes>> {
    document(StatusCode::ACCEPTED, &json!({ "status": "OK" }))
}

fn invalid_request_id() -> Response<Full<Bytes>> {
    refused(
        StatusCode::BAD_REQUEST,
        "InvalidRequestID",
        "Invalid request ID",
    )
}

fn refused(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    document(
        status,
        &json!({ "errorType": kind, "errorMessage": message }),
    )
}

fn document(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    response
}
