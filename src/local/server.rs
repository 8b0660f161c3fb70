//! The listener: one port for all services, told apart by the scope of a request's signature.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::credentials::Credentials;
use super::faults::{self, Fault, FaultKind, Faults, Moment};
use super::http::{self as wire, Body};
use super::services::Services;
use super::signature::{self, Refusal, Scope};
use super::store::Store;
use crate::names::{AccountId, Region};

/// Largest body of the services beside S3: Lambda's zip of 50 MB, in base64.
const BODY_BYTES_MAX: usize = 80 * 1024 * 1024;
/// Connections at the same time; more wait.
const CONNECTIONS_MAX: usize = 2048;
/// How long requests under way get when the cloud is shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// Where the embedded cloud lives and what it says it is.
#[derive(Debug, Clone)]
pub struct LocalOptions {
    /// Folder of its data; made if it does not exist. May be in use by other processes.
    pub directory: PathBuf,
    /// The account everything belongs to.
    pub account: AccountId,
    /// The region of requests that name none.
    pub region: Region,
    /// Environment variables of executed functions, beside Lambda's own: `PATH` and the like.
    pub worker_environment: BTreeMap<String, String>,
    /// What goes wrong on request. Nothing does by default.
    pub faults: Faults,
}

/// An embedded cloud that answers requests until it is shut down or dropped.
#[derive(Debug)]
pub struct Running {
    endpoint_url: String,
    credentials: Credentials,
    stop: CancellationToken,
    services: Arc<Services>,
    accepting: JoinSet<()>,
}

impl Running {
    /// `http://127.0.0.1:PORT`
    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// What requests have to be signed with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Ends it: no new requests, those under way get two seconds, no process of a function is left.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.accepting.join_next()).await;
        self.services.shutdown().await;
    }
}

/// Serves the embedded cloud on `listener`.
///
/// # Errors
/// The listener is not on loopback, or the data folder cannot be used.
pub async fn start(options: LocalOptions, listener: TcpListener) -> io::Result<Running> {
    let address = listener.local_addr()?;
    if !address.ip().is_loopback() {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("the embedded cloud listens on loopback only, and {address} is not"),
        ));
    }
    let store = Store::open(&options.directory)?;
    let credentials = Credentials::of(&store)?;
    let endpoint_url = format!("http://{address}");
    let services = Arc::new(Services::new(store, &options, &endpoint_url, &credentials)?);
    let stop = CancellationToken::new();
    let mut accepting = JoinSet::new();
    accepting.spawn(accept(listener, Arc::clone(&services), stop.clone()));
    Ok(Running {
        endpoint_url,
        credentials,
        stop,
        services,
        accepting,
    })
}

async fn accept(listener: TcpListener, services: Arc<Services>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, Arc::clone(&services), stop.clone()));
                }
                // Out of file descriptors, for example: the connection waits, we try again.
                Err(error) => {
                    tracing::warn!("accepting a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, services: Arc<Services>, stop: CancellationToken) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let services = Arc::clone(&services);
        async move { respond(&services, request).await }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended: {error}");
    }
}

/// The connection ends without an answer, as a fault demands.
#[derive(Debug, thiserror::Error)]
#[error("the answer was lost on purpose")]
struct Lost;

async fn respond(services: &Services, request: Request<Incoming>) -> Result<Response<Body>, Lost> {
    let request_id = uuid::Uuid::new_v4().to_string();
    let (parts, body) = request.into_parts();
    let scope = signature::scope(&parts);
    let service = scope.as_ref().map_or("s3", |scope| scope.service.as_str());
    let fault = services.faults.next();
    let strikes = |moment| fault.filter(|fault| fault.moment == moment);
    if let Some(fault) = strikes(Moment::Before) {
        return failed(services, fault, service, &request_id).await;
    }
    let mut response = if service == "s3" {
        services.s3(Request::from_parts(parts, body)).await
    } else {
        let scope = scope.clone().expect("a request without a scope is S3's");
        signed(services, parts, body, &scope, &request_id).await
    };
    if let Some(fault) = strikes(Moment::After) {
        return failed(services, fault, service, &request_id).await;
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response
            .headers_mut()
            .entry("x-amzn-requestid")
            .or_insert_with(|| value.clone());
        response
            .headers_mut()
            .entry("x-amz-request-id")
            .or_insert(value);
    }
    Ok(response)
}

async fn failed(
    services: &Services,
    fault: Fault,
    service: &str,
    request_id: &str,
) -> Result<Response<Body>, Lost> {
    match faults::refusal(service, fault.kind) {
        Some((status, code)) => {
            let message = "This fault was asked for.";
            Ok(error_answer(service, status, code, message, request_id))
        }
        None if fault.kind == FaultKind::Silence => services.faults.silence().await,
        None => Err(Lost),
    }
}

async fn signed(
    services: &Services,
    parts: http::request::Parts,
    body: Incoming,
    scope: &Scope,
    request_id: &str,
) -> Response<Body> {
    let refuse = |status, code: &str, message: &str| {
        error_answer(&scope.service, status, code, message, request_id)
    };
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "RequestEntityTooLargeException",
                "the request is too large",
            );
        }
        Err(error) => return refuse(StatusCode::BAD_REQUEST, "BadRequest", &error.to_string()),
    };
    if let Err(refusal) = signature::verify(&parts, &body, scope, &services.credentials) {
        let (code, message) = refusal_words(&scope.service, refusal);
        return refuse(StatusCode::FORBIDDEN, code, message);
    }
    let Ok(region) = scope.region.parse::<Region>() else {
        return refuse(
            StatusCode::FORBIDDEN,
            "SignatureDoesNotMatch",
            "Credential should be scoped to a valid region.",
        );
    };
    let request = wire::Request {
        query: parts
            .uri
            .query()
            .map(|query| {
                form_urlencoded::parse(query.as_bytes())
                    .into_owned()
                    .collect()
            })
            .unwrap_or_default(),
        path: parts.uri.path().to_owned(),
        method: parts.method,
        headers: parts.headers,
        body,
        region,
        account: services.account.clone(),
        request_id: request_id.to_owned(),
    };
    match services.handle(&scope.service, request).await {
        Some(response) => response,
        None => refuse(
            StatusCode::NOT_IMPLEMENTED,
            "NotImplemented",
            &format!(
                "the embedded cloud has no service `{}`: it has s3, lambda, iam, sts and logs",
                scope.service
            ),
        ),
    }
}

/// The words each protocol family has for a bad signature.
fn refusal_words(service: &str, refusal: Refusal) -> (&'static str, &'static str) {
    let query = matches!(service, "iam" | "sts");
    match refusal {
        Refusal::Missing => (
            "IncompleteSignature",
            "The request signature does not conform to AWS standards.",
        ),
        Refusal::UnknownKey if query => (
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        ),
        Refusal::UnknownKey => (
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        Refusal::Expired if query => (
            "SignatureDoesNotMatch",
            "Signature expired or not yet current: check this machine's clock.",
        ),
        Refusal::Expired => (
            "InvalidSignatureException",
            "Signature expired or not yet current: check this machine's clock.",
        ),
        Refusal::Mismatch if query => (
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
        ),
        Refusal::Mismatch => (
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method.",
        ),
    }
}

/// An error in the wire format of the service: XML for the query services, JSON for the others.
fn error_answer(
    service: &str,
    status: StatusCode,
    code: &str,
    message: &str,
    request_id: &str,
) -> Response<Body> {
    if service == "s3" {
        let body = format!(
            "<Error><Code>{code}</Code><Message>{message}</Message><RequestId>{request_id}</RequestId></Error>"
        );
        return wire::answer(status, "application/xml", body);
    }
    if matches!(service, "iam" | "sts") {
        let escaped = message
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;");
        let body = format!(
            "<ErrorResponse xmlns=\"https://{service}.amazonaws.com/doc/\"><Error><Type>Sender</Type><Code>{code}</Code>\
             <Message>{escaped}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        );
        return wire::answer(status, "text/xml", body);
    }
    let body =
        serde_json::json!({"__type": code, "Type": "User", "message": message, "Message": message});
    let mut response = wire::answer(status, "application/json", body.to_string());
    if let Ok(value) = HeaderValue::from_str(code) {
        response.headers_mut().insert("x-amzn-errortype", value);
    }
    response
}
