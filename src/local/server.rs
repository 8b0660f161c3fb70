//! The listener: one port for all services, told apart by the scope of a request's signature.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::authorization::{Denial, Signer};
use super::credentials::Credentials;
use super::faults::{self, Fault, FaultKind, Faults, Moment};
use super::http::{self as wire, Body};
use super::isolation::{Isolation, NodeRuntime};
use super::permission::Permission;
use super::s3::permissions;
use super::served;
use super::services::Services;
use super::signature::{self, Refusal, Scope};
use super::store::Store;
use crate::names::{AccountId, Region};

/// Largest body of the services beside S3: Lambda's zip of 50 MB, in base64.
const BODY_BYTES_MAX: usize = 80 * 1024 * 1024;
/// Largest document of a `DeleteObjects`: 1000 keys of 1024 bytes, and what goes around them.
const DELETE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Connections at the same time; more wait.
const CONNECTIONS_MAX: usize = 2048;
/// How long requests under way get when the cloud is shut down.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

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
    /// How functions are kept from this machine; `None`: they are not.
    pub isolation: Option<Isolation>,
    /// What runs functions with a `nodejs` runtime; `None`: nothing. They have a root of their own whether or not others have.
    pub node: Option<(Isolation, NodeRuntime)>,
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

    /// Lets other processes find it, see [`super::served`], until it is shut down.
    ///
    /// # Errors
    /// The data folder cannot be written to.
    pub fn announce(&self) -> io::Result<()> {
        served::announce(&self.services.store, &self.endpoint_url)
    }

    /// Ends the processes of its functions: nothing that was begun goes on. All else is served as before.
    pub async fn end_functions(&self) {
        self.services.shutdown().await;
    }

    /// Ends it: no new requests, those under way get a second, no process of a function is left.
    pub async fn shutdown(mut self) {
        // Who finds it afterwards finds that nobody answers.
        let _ = served::withdraw(&self.services.store, &self.endpoint_url);
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
    let services = Arc::new(Services::new(store, &options, address, &credentials)?);
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
    let address = parts.uri.to_string();
    let fault = services.faults.next(parts.method.as_str(), &address);
    let strikes = |moment| fault.filter(|fault| fault.moment == moment);
    match strikes(Moment::Before) {
        Some(fault) if fault.kind == FaultKind::Held => services.faults.hold().await,
        Some(fault) => {
            let answer = failed(services, fault, service, &request_id).await?;
            return Ok(named(answer, &request_id));
        }
        None => {}
    }
    let call = Call {
        services,
        scope: scope.as_ref(),
        request_id: &request_id,
    };
    let answered = if service == "s3" {
        call.s3(parts, body).await
    } else {
        let scope = scope.as_ref().expect("a request without a scope is S3's");
        call.signed(parts, body, scope).await
    };
    let response = answered.unwrap_or_else(|denial| {
        error_answer(
            service,
            denial.status,
            denial.code,
            &denial.message,
            &request_id,
        )
    });
    match strikes(Moment::After) {
        Some(fault) if fault.kind == FaultKind::Held => services.faults.hold().await,
        Some(fault) => {
            let answer = failed(services, fault, service, &request_id).await?;
            return Ok(named(answer, &request_id));
        }
        None => {}
    }
    Ok(named(response, &request_id))
}

/// An answer with the request's id in its headers, as every answer of AWS has it.
fn named(mut response: Response<Body>, request_id: &str) -> Response<Body> {
    if let Ok(value) = HeaderValue::from_str(request_id) {
        let headers = response.headers_mut();
        headers
            .entry("x-amzn-requestid")
            .or_insert_with(|| value.clone());
        headers.entry("x-amz-request-id").or_insert(value);
    }
    response
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

/// A request on its way to its service.
struct Call<'a> {
    services: &'a Services,
    scope: Option<&'a Scope>,
    request_id: &'a str,
}

impl Call<'_> {
    /// Answers a request of S3, which checks signatures itself.
    async fn s3(&self, parts: Parts, body: Incoming) -> Result<Response<Body>, Denial> {
        let signer = self.signer(&parts)?;
        let query = parts.uri.query().unwrap_or_default();
        let (body, document) = if permissions::names_keys_in_body(&parts.method, query) {
            let document = whole(body, DELETE_BYTES_MAX, "MaxMessageLengthExceeded").await?;
            (s3s::Body::from(document.clone()), document)
        } else {
            (s3s::Body::from(body), Bytes::new())
        };
        let source = parts.headers.get("x-amz-copy-source");
        let needed = permissions::permissions(
            &parts.method,
            parts.uri.path(),
            query,
            source.and_then(|source| source.to_str().ok()),
            &document,
        );
        // Of an unsigned request the service knows whether it has to be signed.
        if let Some(scope) = self.scope {
            self.require(&signer, scope, &needed)?;
        }
        let request = Request::from_parts(parts, body);
        let call = self.services.faults.trace().began(signer.role(), needed);
        let response = self.services.s3(request).await;
        self.services.faults.trace().ended(call).await;
        Ok(response)
    }

    /// Answers a request of any other service.
    async fn signed(
        &self,
        parts: Parts,
        body: Incoming,
        scope: &Scope,
    ) -> Result<Response<Body>, Denial> {
        let body = whole(body, BODY_BYTES_MAX, "RequestEntityTooLargeException").await?;
        let signer = self.signer(&parts)?;
        if let Err(refusal) = signature::verify(&parts, &body, scope, &signer.credentials) {
            let (code, message) = refusal_words(&scope.service, refusal);
            return Err(Denial::new(StatusCode::FORBIDDEN, code, message));
        }
        let Ok(region) = scope.region.parse::<Region>() else {
            return Err(Denial::new(
                StatusCode::FORBIDDEN,
                "SignatureDoesNotMatch",
                "Credential should be scoped to a valid region.",
            ));
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
            account: self.services.account.clone(),
            request_id: self.request_id.to_owned(),
        };
        let needed = self.services.permissions(&scope.service, &request)?;
        self.require(&signer, scope, &needed)?;
        let call = self.services.faults.trace().began(signer.role(), needed);
        let response = self.services.handle(&scope.service, request).await;
        self.services.faults.trace().ended(call).await;
        response.ok_or_else(|| {
            let service = &scope.service;
            Denial::new(
                StatusCode::NOT_IMPLEMENTED,
                "NotImplemented",
                format!(
                    "the embedded cloud has no service `{service}`: it has s3, lambda, iam, sts, logs, ssm and servicequotas"
                ),
            )
        })
    }

    fn signer(&self, parts: &Parts) -> Result<Signer, Denial> {
        let Services {
            store, credentials, ..
        } = self.services;
        Signer::of(store, credentials, self.scope, parts)
    }

    fn require(&self, signer: &Signer, scope: &Scope, needed: &[Permission]) -> Result<(), Denial> {
        let Services { store, account, .. } = self.services;
        signer.require(store, account, scope, needed)
    }
}

/// A body that is read whole.
async fn whole(body: Incoming, bytes_max: usize, too_large: &'static str) -> Result<Bytes, Denial> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Denial::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            too_large,
            "the request is too large",
        )),
        Err(error) => Err(Denial::new(
            StatusCode::BAD_REQUEST,
            "BadRequest",
            error.to_string(),
        )),
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
