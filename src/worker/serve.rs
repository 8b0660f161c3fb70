//! The page's server on loopback: the site's files, with ranges; and frames of films at `/proxy`.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt as _;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::io::ReaderStream;

use super::failure::{TaskResult, internal, permanent};
use super::film::{self, Films, Wanted};
use super::site::Site;
use super::tools::Tools;
use crate::protocol::{FailureKind, MediaSource, TaskFailure};

/// What a connection takes before it is read on the other side. ffmpeg looks at a film's beginning and goes elsewhere:
/// what lies in the buffer then was fetched in vain.
const SEND_BUFFER_BYTES: u32 = 256 * 1024;
/// As the standard library has it.
const CONNECTIONS_WAITING_MAX: u32 = 128;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Body = BoxBody<Bytes, io::Error>;

/// A server that ends with this value.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) port: u16,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    port: u16,
    site: Site,
    films: Films,
    /// The first file that could not be served though the site has it. A page may go on without it, and look wrong.
    failure: OnceLock<TaskFailure>,
}

impl Server {
    pub(super) async fn start(tools: &Tools, site: Site) -> TaskResult<Self> {
        let listen = || async {
            let socket = TcpSocket::new_v4()?;
            socket.set_send_buffer_size(SEND_BUFFER_BYTES)?;
            socket.bind(([127, 0, 0, 1], 0).into())?;
            let listener = socket.listen(CONNECTIONS_WAITING_MAX)?;
            let port = listener.local_addr()?.port();
            Ok::<_, io::Error>((listener, port))
        };
        let (listener, port) = listen()
            .await
            .map_err(|error| internal("opening the page's server", error))?;
        let shared = Arc::new(Shared {
            port,
            films: Films::new(tools, site.clone(), port),
            site,
            failure: OnceLock::new(),
        });
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            port,
            shared,
            _accepting: accepting,
        })
    }

    /// Fails once a file could not be served: what the page draws without it does not count.
    pub(super) fn check(&self) -> TaskResult<()> {
        self.shared.failure.get().cloned().map_or(Ok(()), Err)
    }

    /// What there is to be told of films that the page plays.
    pub(super) fn take_notes(&self) -> Vec<String> {
        self.shared.films.take_notes()
    }

    pub(super) fn site(&self) -> &Site {
        &self.shared.site
    }

    /// See [`media_source`].
    pub(super) fn media_source(&self, address: &str) -> TaskResult<MediaSource> {
        media_source(self.port, address)
    }

    /// Where the page is.
    pub(super) fn page_url(&self) -> String {
        match &self.shared.site {
            Site::Url(url) => {
                let url = url.split(['?', '#']).next().unwrap_or(url);
                let folder = url.strip_suffix("index.html").unwrap_or(url);
                format!("{}/index.html", folder.trim_end_matches('/'))
            }
            Site::Folder(_) | Site::Bucket { .. } => {
                format!("http://localhost:{}/index.html", self.port)
            }
        }
    }
}

impl Shared {
    /// Notes a failure and tells the page of it.
    fn fail(&self, status: StatusCode, failure: TaskFailure) -> Response<Body> {
        let response = json_error(status, &failure.message);
        let _ = self.failure.set(failure);
        response
    }
}

/// Where the media file with this address, as the page sees it, comes from. The page's own files are named by their
/// path: each worker's server has another port.
fn media_source(port: u16, address: &str) -> TaskResult<MediaSource> {
    let own = format!("http://localhost:{port}/");
    if let Some(path) = address.strip_prefix(&own) {
        let path = path.split(['?', '#']).next().unwrap_or(path);
        let path = percent_encoding::percent_decode_str(path).decode_utf8();
        if let Ok(path) = path {
            return Ok(MediaSource::Site(path.into_owned()));
        }
    }
    if ["http://", "https://", "data:"]
        .iter()
        .any(|scheme| address.starts_with(scheme))
    {
        return Ok(MediaSource::Url(address.to_owned()));
    }
    let message = format!(
        "playing {address:.200}: only files of the site, http(s) and data addresses can be played in a video"
    );
    Err(permanent(FailureKind::Media, message))
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Out of file descriptors, most likely: some come free when connections end.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(respond(&shared, &request).await) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    let _ = connection.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        }
    }
}

async fn respond(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    let is_film = path == "/proxy";
    let remote = path
        .strip_prefix(film::REMOTE_PATH)
        .and_then(|number| number.parse().ok());
    let mut response = match *request.method() {
        Method::GET | Method::HEAD if is_film => film_frame(shared, request).await,
        Method::GET if remote.is_some() => film_bytes(shared, remote, request),
        Method::GET | Method::HEAD => file(shared, request).await,
        Method::OPTIONS => Response::new(whole(Bytes::new())),
        _ => json_error(StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD and OPTIONS only"),
    };
    let headers = response.headers_mut();
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_ORIGIN,
        HeaderValue::from_static("*"),
    );
    response
}

/// A frame of a film, for `<OffthreadVideo>` (page contract, "Server endpoints").
async fn film_frame(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    let Some((address, time_s, transparent, tone_mapped)) =
        film::parse_query(request.uri().query().unwrap_or_default())
    else {
        return json_error(StatusCode::BAD_REQUEST, "`src` and `time` are needed");
    };
    let frame = async {
        let wanted = Wanted {
            source: media_source(shared.port, &address)?,
            transparent,
            tone_mapped,
        };
        shared.films.frame(&wanted, time_s).await
    };
    let frame = match frame.await {
        Ok(frame) => frame,
        Err(failure) => return shared.fail(StatusCode::INTERNAL_SERVER_ERROR, failure),
    };
    let size_bytes = frame.image.len().to_string();
    let mut response = Response::new(whole(frame.image));
    for (name, value) in [
        (header::CONTENT_TYPE, frame.content_type),
        (header::CONTENT_LENGTH, &size_bytes),
        (header::CACHE_CONTROL, "no-cache, no-store, must-revalidate"),
    ] {
        set(&mut response, name, value);
    }
    response
}

/// A film on another server, for our own ffmpeg.
fn film_bytes(
    shared: &Shared,
    number: Option<usize>,
    request: &Request<Incoming>,
) -> Response<Body> {
    let film = match number {
        Some(number) => shared.films.remote(number),
        None => None,
    };
    let Some(film) = film else {
        return json_error(StatusCode::NOT_FOUND, "there is no such film");
    };
    let mut response = Response::new(whole(Bytes::new()));
    let Some((start, end)) = answer_range(&mut response, request.headers(), film.size_bytes) else {
        return response;
    };
    let pieces = futures::stream::try_unfold(start, move |at| {
        let film = Arc::clone(&film);
        async move {
            let piece = film.read(at..end).await.map_err(io::Error::other)?;
            let next = at + piece.len() as u64;
            Ok((!piece.is_empty()).then_some((Frame::data(piece), next)))
        }
    });
    *response.body_mut() = http_body_util::BodyExt::boxed(StreamBody::new(pieces));
    response
}

async fn file(shared: &Shared, request: &Request<Incoming>) -> Response<Body> {
    let path = percent_encoding::percent_decode_str(request.uri().path().trim_start_matches('/'));
    let Ok(path) = path.decode_utf8() else {
        return json_error(StatusCode::BAD_REQUEST, "the path is not UTF-8");
    };
    let path = if path.is_empty() {
        "index.html".into()
    } else {
        path
    };
    let file = match shared.site.file(&path).await {
        Ok(Some(file)) => file,
        Ok(None) => {
            return json_error(
                StatusCode::NOT_FOUND,
                &format!("the site has no file `{path}`"),
            );
        }
        Err(failure) => return shared.fail(StatusCode::BAD_GATEWAY, failure),
    };
    match send(
        &file,
        &path,
        request.headers(),
        request.method() == Method::HEAD,
    )
    .await
    {
        Ok(response) => response,
        Err(error) => shared.fail(
            StatusCode::INTERNAL_SERVER_ERROR,
            internal(&format!("serving {path}"), error),
        ),
    }
}

async fn send(
    file: &std::path::Path,
    path: &str,
    headers: &HeaderMap,
    head_only: bool,
) -> io::Result<Response<Body>> {
    let mut source = tokio::fs::File::open(file).await?;
    let size_bytes = source.metadata().await?.len();
    let mut response = Response::new(whole(Bytes::new()));
    let Some((start, end)) = answer_range(&mut response, headers, size_bytes) else {
        return Ok(response);
    };
    let media_type = mime_guess::from_path(path).first_or_octet_stream();
    set(&mut response, header::CONTENT_TYPE, media_type.as_ref());
    if !head_only {
        source.seek(io::SeekFrom::Start(start)).await?;
        let pieces = ReaderStream::with_capacity(source.take(end - start), 64 * 1024);
        *response.body_mut() =
            http_body_util::BodyExt::boxed(StreamBody::new(pieces.map_ok(Frame::data)));
    }
    Ok(response)
}

/// Status and headers for the bytes that are asked for of `size_bytes`; returns these, half-open, unless there are none.
fn answer_range(
    response: &mut Response<Body>,
    headers: &HeaderMap,
    size_bytes: u64,
) -> Option<(u64, u64)> {
    let range = headers
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let (start, end) = match range.map(|range| parse_range(range, size_bytes)) {
        None | Some(Range::Ignored) => (0, size_bytes),
        Some(Range::Unsatisfiable) => {
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            let all = format!("bytes */{size_bytes}");
            set(response, header::CONTENT_RANGE, &all);
            return None;
        }
        Some(Range::Bytes(start, end)) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            let range = format!("bytes {start}-{}/{size_bytes}", end - 1);
            set(response, header::CONTENT_RANGE, &range);
            (start, end)
        }
    };
    let length = (end - start).to_string();
    set(response, header::CONTENT_LENGTH, &length);
    set(response, header::ACCEPT_RANGES, "bytes");
    Some((start, end))
}

fn set(response: &mut Response<Body>, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}

/// What a `Range` header asks for; several ranges at once are ignored, which HTTP allows.
#[derive(Debug, PartialEq, Eq)]
enum Range {
    Ignored,
    Unsatisfiable,
    /// Start and end, half-open.
    Bytes(u64, u64),
}

fn parse_range(header: &str, size_bytes: u64) -> Range {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
    else {
        return Range::Ignored;
    };
    let (start, end) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => (first, last.saturating_add(1).min(size_bytes)),
        (Ok(first), Err(_)) if last.is_empty() => (first, size_bytes),
        (Err(_), Ok(count)) if first.is_empty() => (size_bytes.saturating_sub(count), size_bytes),
        _ => return Range::Ignored,
    };
    if start < end {
        Range::Bytes(start, end)
    } else {
        Range::Unsatisfiable
    }
}

fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

fn json_error(status: StatusCode, message: &str) -> Response<Body> {
    let document =
        serde_json::json!({"statusCode": status.as_u16(), "message": message, "error": message});
    let mut response = Response::new(whole(document.to_string()));
    *response.status_mut() = status;
    set(&mut response, header::CONTENT_TYPE, "application/json");
    response
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// What a page asks its server for: the answer lies in the file.
    pub(crate) fn asked_ranges(mut case: crate::fuzzing::Case<'_>) {
        let size_bytes = case.number();
        let header = case.text();
        if let Range::Bytes(start, end) = parse_range(&header, size_bytes) {
            assert!(start < end && end <= size_bytes, "{start} {end}");
        }
        let mut response = Response::new(whole(Bytes::new()));
        let headers = HeaderValue::from_str(&header).map(|value| (header::RANGE, value));
        let headers = HeaderMap::from_iter(headers.ok());
        let range = answer_range(&mut response, &headers, size_bytes);
        let is_refused = response.status() == StatusCode::RANGE_NOT_SATISFIABLE;
        assert_eq!(range.is_none(), is_refused);
        let _ = media_source(3000, &case.text());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_http_defines_them() {
        assert_eq!(parse_range("bytes=0-0", 10), Range::Bytes(0, 1));
        assert_eq!(parse_range("bytes=5-", 10), Range::Bytes(5, 10));
        assert_eq!(parse_range("bytes=-3", 10), Range::Bytes(7, 10));
        assert_eq!(parse_range("bytes=2-99", 10), Range::Bytes(2, 10));
        assert_eq!(parse_range("bytes=10-", 10), Range::Unsatisfiable);
        assert_eq!(parse_range("bytes=1-2,4-5", 10), Range::Ignored);
        assert_eq!(parse_range("frames=1-2", 10), Range::Ignored);
    }

    proptest::proptest! {
        #[test]
        fn whatever_range_is_asked_for_the_answer_lies_in_the_file(
            header in "(bytes=)?[0-9]{0,21}-?[0-9]{0,21}(,[0-9]-)?|\\PC{0,30}",
            size_bytes in proptest::prelude::any::<u64>(),
        ) {
            if let Range::Bytes(start, end) = parse_range(&header, size_bytes) {
                proptest::prop_assert!(start < end && end <= size_bytes);
            }
        }
    }
}
