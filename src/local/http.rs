//! What the services of the embedded cloud see of a request and answer with.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};

use crate::names::{AccountId, Region};

/// A signed request whose body has been read whole.
#[derive(Debug)]
pub(crate) struct Request {
    /// HTTP method.
    pub(crate) method: Method,
    /// Path as sent, still percent-encoded, for example `/2015-03-31/functions/my-function`.
    pub(crate) path: String,
    /// Query parameters, decoded, in order.
    pub(crate) query: Vec<(String, String)>,
    /// Headers.
    pub(crate) headers: HeaderMap,
    /// Body.
    pub(crate) body: Bytes,
    /// Region of the credential scope.
    pub(crate) region: Region,
    /// The account the data belongs to.
    pub(crate) account: AccountId,
    /// Goes into the answer's request id header and error documents.
    pub(crate) request_id: String,
}

impl Request {
    /// First value of query parameter `name`.
    pub(crate) fn query_value(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// The body as a form (the `awsQuery` protocol of IAM and STS).
    #[allow(dead_code, reason = "IAM and STS, which read forms, land later")]
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(&self.body).into_owned().collect()
    }
}

/// An answer's body: whole, or streamed as it is produced.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// A body that is known whole.
pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed()
}

/// An answer of `status` with a body of `content_type`.
pub(crate) fn answer(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Body> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(content_type),
    );
    response
}
