//! Files from `http(s)` addresses: whole onto the disk, or a range of their bytes.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use url::Url;

use super::connect::{Connect, Forbidden, Guard};
use super::failure::Cause;

/// Redirects that are followed; browsers follow 20.
const REDIRECTS_MAX: usize = 20;
/// Tries at an address that cannot be reached, breaks off, or says that it is busy.
const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// The longest silence of a server before it answers; and the longest it may take for each [`PACE_BYTES`] of its answer.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// What comes slower than this is no file that a video can wait for: a server that trickles, or a broadcast.
const PACE_BYTES: usize = 1 << 20;
/// The largest file: it must fit on the largest disk of a function. What never ends is longer.
const FILE_BYTES_MAX: u64 = 10 << 30;

/// Fetches files. Connections are shared.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<Connect>, Empty<Bytes>>,
    silence_max: Duration,
    file_bytes_max: u64,
}

/// Some bytes of a file, and what the server says of the whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) bytes: Bytes,
    /// Size of the whole file.
    pub(super) size_bytes: u64,
    /// `ETag`, else `Last-Modified`: another one means another file.
    pub(super) version: Option<String>,
}

impl Fetcher {
    /// # Errors
    /// The machine's certificates cannot be read.
    pub(super) fn new(guard: Guard) -> std::io::Result<Self> {
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector(guard)?),
            silence_max: SILENCE_MAX,
            file_bytes_max: FILE_BYTES_MAX,
        })
    }

    /// Writes what is at `address` into a new file.
    ///
    /// # Errors
    /// It cannot be had, by now after several tries if it may pass, or not be kept.
    pub(super) async fn fetch(&self, address: &str, file: &Path) -> Result<(), Cause> {
        tried(address, || self.try_fetch(address, file)).await
    }

    /// The bytes `range` of what is at `address`, or fewer where it ends before; nothing if the server knows no ranges.
    ///
    /// # Errors
    /// As for [`Fetcher::fetch`].
    pub(super) async fn part(
        &self,
        address: &str,
        range: Range<u64>,
    ) -> Result<Option<Part>, Cause> {
        tried(address, || self.try_part(address, &range)).await
    }

    async fn try_fetch(&self, address: &str, file: &Path) -> Result<(), Cause> {
        let mut body = Content::of(self.open(address, None).await?, self.silence_max);
        let disk = |error: std::io::Error| Cause::lasting(format!("it cannot be kept: {error}"));
        let mut file = tokio::fs::File::create(file).await.map_err(disk)?;
        let mut left_bytes = self.file_bytes_max;
        while let Some(data) = body.next().await? {
            left_bytes = left_bytes
                .checked_sub(data.len() as u64)
                .ok_or_else(|| too_large(self.file_bytes_max))?;
            file.write_all(&data).await.map_err(disk)?;
        }
        file.flush().await.map_err(disk)
    }

    async fn try_part(&self, address: &str, range: &Range<u64>) -> Result<Option<Part>, Cause> {
        let response = self.open(address, Some(range)).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(None);
        }
        let (first, size_bytes) = content_range(response.headers())
            .ok_or_else(|| Cause::lasting("the server sent a range without saying which"))?;
        let length = range.end.min(size_bytes).saturating_sub(range.start);
        if first != range.start || length == 0 {
            return Err(Cause::lasting("the server sent another range"));
        }
        let version = [header::ETAG, header::LAST_MODIFIED]
            .into_iter()
            .find_map(|name| response.headers().get(name)?.to_str().ok())
            .map(str::to_owned);
        let mut body = Content::of(response, self.silence_max);
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < length {
            let data = body.next().await?;
            bytes.extend_from_slice(&data.ok_or_else(|| Cause::passing("it broke off"))?);
        }
        bytes.truncate(usize::try_from(length).unwrap_or(usize::MAX));
        Ok(Some(Part {
            bytes: bytes.freeze(),
            size_bytes,
            version,
        }))
    }

    /// The answer, behind all redirects.
    async fn open(
        &self,
        address: &str,
        range: Option<&Range<u64>>,
    ) -> Result<Response<Incoming>, Cause> {
        let mut url = Url::parse(address).map_err(|error| Cause::lasting(error.to_string()))?;
        for _ in 0..=REDIRECTS_MAX {
            let uri: Uri = url
                .as_str()
                .parse()
                .map_err(|_| Cause::lasting(format!("{url} is no address")))?;
            let mut request = Request::get(uri)
                .header(
                    header::USER_AGENT,
                    concat!("rmx/", env!("CARGO_PKG_VERSION")),
                )
                .header(header::ACCEPT, "*/*");
            if let Some(Range { start, end }) = range {
                let last = end.saturating_sub(1);
                request = request.header(header::RANGE, format!("bytes={start}-{last}"));
            }
            let request = request
                .body(Empty::new())
                .map_err(|error| Cause::lasting(error.to_string()))?;
            let response = timeout(self.silence_max, self.client.request(request))
                .await
                .map_err(|_| {
                    let silence_s = self.silence_max.as_secs();
                    Cause::passing(format!("the server was silent for {silence_s} s"))
                })?
                .map_err(|error| unreachable_for(&error))?;
            let status = response.status();
            let location = response.headers().get(header::LOCATION);
            match location.and_then(|location| location.to_str().ok()) {
                Some(location) if status.is_redirection() => {
                    url = url.join(location).map_err(|error| {
                        Cause::lasting(format!("a redirect to {location}: {error}"))
                    })?;
                }
                _ if status.is_success() => return Ok(response),
                _ => {
                    let reason = format!("the server answered {status}");
                    let busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    return Err(Cause {
                        reason,
                        passing: busy,
                    });
                }
            }
        }
        Err(Cause::lasting(format!(
            "more than {REDIRECTS_MAX} redirects"
        )))
    }
}

/// Connections to servers that `guard` lets be reached, with the machine's certificates.
///
/// # Errors
/// They cannot be read.
pub(super) fn connector(guard: Guard) -> std::io::Result<HttpsConnector<Connect>> {
    let builder = HttpsConnectorBuilder::new()
        .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
        .https_or_http()
        .enable_http1();
    Ok(builder.wrap_connector(Connect(guard)))
}

/// Tries again what may pass.
async fn tried<T, F>(address: &str, mut fetch: impl FnMut() -> F) -> Result<T, Cause>
where
    F: Future<Output = Result<T, Cause>>,
{
    let mut tries = 1;
    loop {
        match fetch().await {
            Ok(found) => return Ok(found),
            Err(error) if error.passing && tries < TRIES_MAX => {
                tracing::debug!("{address}, try {tries}: {}", error.reason);
                sleep(PAUSE * tries).await;
                tries += 1;
            }
            Err(error) => return Err(error),
        }
    }
}

/// First byte and size of the whole file, of a `Content-Range` header.
fn content_range(headers: &HeaderMap) -> Option<(u64, u64)> {
    let header = headers.get(header::CONTENT_RANGE)?.to_str().ok()?;
    let (range, size_bytes) = header.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last, size_bytes) = (
        first.trim().parse().ok()?,
        last.trim().parse::<u64>().ok()?,
        size_bytes.trim().parse().ok()?,
    );
    (first <= last && last < size_bytes).then_some((first, size_bytes))
}

/// Why there is no answer: the innermost reason says most.
fn unreachable_for(error: &legacy::Error) -> Cause {
    let mut reason: &dyn std::error::Error = error;
    loop {
        if reason.is::<Forbidden>() {
            return Cause::lasting(reason.to_string());
        }
        match reason.source() {
            Some(source) => reason = source,
            None => return Cause::passing(format!("it cannot be reached: {reason}")),
        }
    }
}

fn too_large(bytes_max: u64) -> Cause {
    Cause::lasting(format!("it has more than {bytes_max} bytes, or never ends"))
}

/// What a server sends behind its headers, as fast as it must come.
struct Content {
    body: Incoming,
    silence_max: Duration,
    /// Bytes since `slow_at` was set.
    bytes: usize,
    /// When the server is too slow.
    slow_at: Instant,
}

impl Content {
    fn of(response: Response<Incoming>, silence_max: Duration) -> Self {
        Self {
            body: response.into_body(),
            silence_max,
            bytes: 0,
            slow_at: Instant::now() + silence_max,
        }
    }

    /// The next bytes; nothing at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            let frame = timeout_at(self.slow_at, self.body.frame()).await;
            let frame = frame.map_err(|_| {
                let (bytes, silence_s) = (self.bytes, self.silence_max.as_secs());
                Cause::passing(format!("the server sent {bytes} bytes in {silence_s} s"))
            })?;
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|error| Cause::passing(format!("it broke off: {error}")))?;
            let Ok(data) = frame.into_data() else {
                continue;
            };
            self.bytes += data.len();
            if self.bytes >= PACE_BYTES {
                self.bytes = 0;
                self.slow_at = Instant::now() + self.silence_max;
            }
            return Ok(Some(data));
        }
    }
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// Which part of a file a server says that it sends.
    pub(crate) fn answered_ranges(case: crate::fuzzing::Case<'_>) {
        let header = http::HeaderValue::from_bytes(case.0);
        let headers = header.map(|value| (header::CONTENT_RANGE, value));
        if let Some((first, size_bytes)) = content_range(&HeaderMap::from_iter(headers.ok())) {
            assert!(first < size_bytes, "{first} of {size_bytes}");
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is fetched from a server that answers its connections with these texts, one after another.
    async fn fetched(answers: &[&str]) -> Result<String, Cause> {
        fetched_by(&Fetcher::new(Guard::default()).unwrap(), answers).await
    }

    async fn fetched_by(fetcher: &Fetcher, answers: &[&str]) -> Result<String, Cause> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/a/b", listener.local_addr().unwrap());
        let serve = async {
            for answer in answers {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await.unwrap();
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        let (found, ()) = tokio::join!(fetcher.fetch(&address, &file), serve);
        found?;
        Ok(std::fs::read_to_string(file).unwrap())
    }

    #[tokio::test]
    async fn redirects_are_followed_and_passing_failures_tried_again() {
        let found = fetched(&[
            "HTTP/1.1 302 Found\r\nlocation: /elsewhere\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 10\r\n\r\ncut",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\nsound",
        ]);
        assert_eq!(found.await, Ok("sound".to_owned()));
    }

    #[test]
    fn ranges_of_answers_are_read_as_http_defines_them() {
        for (header, expected) in [
            ("bytes 0-0/1", Some((0, 1))),
            ("bytes 5-9/10", Some((5, 10))),
            ("bytes 5-10/10", None),
            ("bytes 9-5/10", None),
            ("bytes */10", None),
            ("bytes 0-9/*", None),
            ("frames 0-9/10", None),
            ("", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_RANGE, header.parse().unwrap());
            assert_eq!(content_range(&headers), expected, "{header}");
        }
    }

    #[tokio::test]
    async fn what_is_not_there_is_not_tried_again() {
        let found =
            fetched(&["HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"]);
        assert_eq!(
            found.await,
            Err(Cause::lasting("the server answered 404 Not Found"))
        );
    }

    #[tokio::test]
    async fn what_only_the_worker_may_reach_is_not_fetched_by_any_way() {
        let runtime_api = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = runtime_api.local_addr().unwrap().port();
        let fetcher = Fetcher::new(Guard::new(Some(&format!("127.0.0.1:{port}")))).unwrap();
        let moved = |to: &str| {
            format!(
                "HTTP/1.1 302 Found\r\nlocation: {to}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            )
        };
        let next = format!("http://localhost:{port}/2018-06-01/runtime/invocation/next");
        let metadata =
            "http://169.254.169.254/latest/meta-data/iam/security-credentials/".to_owned();
        for address in [next, metadata] {
            let folder = tempfile::tempdir().unwrap();
            let forbidden = |cause: Cause| {
                assert!(
                    !cause.passing && cause.reason.ends_with("not for pages"),
                    "{cause:?}"
                );
            };
            let file = folder.path().join("file");
            forbidden(fetcher.fetch(&address, &file).await.unwrap_err());
            forbidden(fetched_by(&fetcher, &[&moved(&address)]).await.unwrap_err());
        }
        let contacted = timeout(Duration::from_millis(10), runtime_api.accept()).await;
        assert!(contacted.is_err(), "nobody knocked");
    }

    #[tokio::test]
    async fn a_server_that_stays_busy_may_be_so_no_more_later() {
        let busy = "HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let found = fetched(&[busy; TRIES_MAX as usize]).await;
        let reason = "the server answered 503 Service Unavailable";
        assert_eq!(found, Err(Cause::passing(reason)));
    }

    /// A server that sends a piece of this size again and again, with a pause before each, and never ends.
    async fn endless(fetcher: &Fetcher, piece: &[u8], pause: Duration) -> Result<(), Cause> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}/", listener.local_addr().unwrap());
        let serve = async {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await.unwrap();
                let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
                stream.write_all(head).await.unwrap();
                // Until the client hangs up.
                while stream.write_all(piece).await.is_ok() {
                    sleep(pause).await;
                }
            }
        };
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        tokio::select! {
            found = fetcher.fetch(&address, &file) => found,
            () = serve => unreachable!("it serves for ever"),
        }
    }

    #[tokio::test]
    async fn what_trickles_is_given_up_in_time() {
        let mut fetcher = Fetcher::new(Guard::default()).unwrap();
        fetcher.silence_max = Duration::from_secs(1);
        let found = endless(&fetcher, b"a", Duration::from_millis(10)).await;
        let cause = found.unwrap_err();
        assert!(cause.passing, "{cause:?}");
        assert!(cause.reason.ends_with(" bytes in 1 s"), "{cause:?}");
    }

    #[tokio::test]
    async fn what_never_ends_is_given_up_before_it_fills_the_disk() {
        let mut fetcher = Fetcher::new(Guard::default()).unwrap();
        fetcher.file_bytes_max = 3 << 20;
        let found = endless(&fetcher, &[0; 1 << 16], Duration::ZERO).await;
        assert_eq!(found, Err(too_large(3 << 20)));
    }
}
