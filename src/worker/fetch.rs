//! Files from `http(s)` addresses: whole onto the disk, or a range of their bytes.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::io::AsyncWriteExt as _;
use tokio::time::{sleep, timeout};
use url::Url;

/// Redirects that are followed; browsers follow 20.
const REDIRECTS_MAX: usize = 20;
/// Tries at an address that cannot be reached, breaks off, or says that it is busy.
const TRIES_MAX: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// The longest silence of a server.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// Fetches files. Connections are shared.
#[derive(Debug, Clone)]
pub(super) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
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

/// Why a file could not be fetched.
#[derive(Debug)]
struct FetchError {
    reason: String,
    /// Whether another try may help.
    passing: bool,
}

impl Fetcher {
    /// # Errors
    /// The machine's certificates cannot be read.
    pub(super) fn new() -> std::io::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            .https_or_http()
            .enable_http1()
            .build();
        Ok(Self {
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    /// Writes what is at `address` into a new file.
    ///
    /// # Errors
    /// A sentence that says why.
    pub(super) async fn fetch(&self, address: &str, file: &Path) -> Result<(), String> {
        tried(address, || self.try_fetch(address, file)).await
    }

    /// The bytes `range` of what is at `address`, or fewer where it ends before; nothing if the server knows no ranges.
    ///
    /// # Errors
    /// A sentence that says why.
    pub(super) async fn part(
        &self,
        address: &str,
        range: Range<u64>,
    ) -> Result<Option<Part>, String> {
        tried(address, || self.try_part(address, &range)).await
    }

    async fn try_fetch(&self, address: &str, file: &Path) -> Result<(), FetchError> {
        let mut body = self.open(address, None).await?.into_body();
        let disk = |error: std::io::Error| lasting(format!("it cannot be kept: {error}"));
        let mut file = tokio::fs::File::create(file).await.map_err(disk)?;
        loop {
            let frame = timeout(SILENCE_MAX, body.frame()).await;
            match frame.map_err(|_| silent())? {
                None => break,
                Some(Err(error)) => return Err(passing(format!("it broke off: {error}"))),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        file.write_all(data).await.map_err(disk)?;
                    }
                }
            }
        }
        file.flush().await.map_err(disk)
    }

    async fn try_part(
        &self,
        address: &str,
        range: &Range<u64>,
    ) -> Result<Option<Part>, FetchError> {
        let response = self.open(address, Some(range)).await?;
        if response.status() != StatusCode::PARTIAL_CONTENT {
            return Ok(None);
        }
        let (first, size_bytes) = content_range(response.headers())
            .ok_or_else(|| lasting("the server sent a range without saying which".to_owned()))?;
        let length = range.end.min(size_bytes).saturating_sub(range.start);
        if first != range.start || length == 0 {
            return Err(lasting("the server sent another range".to_owned()));
        }
        let version = [header::ETAG, header::LAST_MODIFIED]
            .into_iter()
            .find_map(|name| response.headers().get(name)?.to_str().ok())
            .map(str::to_owned);
        let mut body = response.into_body();
        let mut bytes = BytesMut::new();
        while (bytes.len() as u64) < length {
            let frame = timeout(SILENCE_MAX, body.frame()).await;
            match frame.map_err(|_| silent())? {
                None => return Err(passing("it broke off".to_owned())),
                Some(Err(error)) => return Err(passing(format!("it broke off: {error}"))),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        bytes.extend_from_slice(data);
                    }
                }
            }
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
    ) -> Result<Response<Incoming>, FetchError> {
        let mut url = Url::parse(address).map_err(|error| lasting(error.to_string()))?;
        for _ in 0..=REDIRECTS_MAX {
            let uri: Uri = url
                .as_str()
                .parse()
                .map_err(|_| lasting(format!("{url} is no address")))?;
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
                .map_err(|error| lasting(error.to_string()))?;
            let response = timeout(SILENCE_MAX, self.client.request(request))
                .await
                .map_err(|_| silent())?
                .map_err(|error| passing(format!("it cannot be reached: {error}")))?;
            let status = response.status();
            let location = response.headers().get(header::LOCATION);
            match location.and_then(|location| location.to_str().ok()) {
                Some(location) if status.is_redirection() => {
                    url = url
                        .join(location)
                        .map_err(|error| lasting(format!("a redirect to {location}: {error}")))?;
                }
                _ if status.is_success() => return Ok(response),
                _ => {
                    let reason = format!("the server answered {status}");
                    let busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
                    return Err(if busy {
                        passing(reason)
                    } else {
                        lasting(reason)
                    });
                }
            }
        }
        Err(lasting(format!("more than {REDIRECTS_MAX} redirects")))
    }
}

/// Tries again what may pass.
async fn tried<T, F>(address: &str, mut fetch: impl FnMut() -> F) -> Result<T, String>
where
    F: Future<Output = Result<T, FetchError>>,
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
            Err(error) => return Err(error.reason),
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

fn passing(reason: String) -> FetchError {
    FetchError {
        reason,
        passing: true,
    }
}

fn lasting(reason: String) -> FetchError {
    FetchError {
        reason,
        passing: false,
    }
}

fn silent() -> FetchError {
    passing(format!(
        "the server was silent for {} s",
        SILENCE_MAX.as_secs()
    ))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What is fetched from a server that answers its connections with these texts, one after another.
    async fn fetched(answers: &[&str]) -> Result<String, String> {
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
        let fetcher = Fetcher::new().unwrap();
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
        assert_eq!(found.await.as_deref(), Ok("sound"));
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
            found.await.unwrap_err(),
            "the server answered 404 Not Found"
        );
    }
}
