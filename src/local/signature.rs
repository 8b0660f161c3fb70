//! Signature Version 4 of the services that `s3s` does not answer for.
//!
//! As AWS documents it ("Create a signed AWS API request", IAM user guide): the path is encoded once more, the
//! query is sorted, the body's hash is of what arrived.

use std::time::SystemTime;

use aws_sigv4::sign::v4::{calculate_signature, generate_signing_key};
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use time::PrimitiveDateTime;
use time::macros::format_description;

use super::credentials::Credentials;
use crate::digest::Digest;
use crate::env::now;

/// AWS refuses requests that are signed for another time than now, give or take this.
const CLOCK_SKEW_MAX: time::Duration = time::Duration::minutes(15);
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// Who a request says it is from, and for which service: `AKID/20261123/us-east-1/lambda/aws4_request`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) access_key_id: String,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
}

/// Why a signature is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request carries none, or one that cannot be read.
    Missing,
    /// The access key is not ours.
    UnknownKey,
    /// Signed for another time.
    Expired,
    /// Computed with another secret, or over something else.
    Mismatch,
}

/// The scope of a request: from its `Authorization` header, or from the query of a presigned URL.
pub(super) fn scope(parts: &Parts) -> Option<Scope> {
    let header = parts
        .headers
        .get(http::header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let credential = match header {
        Some(header) => field(header, "Credential")?.to_owned(),
        None => form_urlencoded::parse(parts.uri.query()?.as_bytes())
            .find(|(name, _)| name == "X-Amz-Credential")?
            .1
            .into_owned(),
    };
    let mut words = credential.split('/');
    let scope = Scope {
        access_key_id: words.next()?.to_owned(),
        date: words.next()?.to_owned(),
        region: words.next()?.to_owned(),
        service: words.next()?.to_owned(),
    };
    (words.next() == Some("aws4_request") && words.next().is_none()).then_some(scope)
}

/// The token that a request of a session has beside its signature: in a header, or in the query of a presigned URL.
pub(super) fn security_token(parts: &Parts) -> Option<String> {
    if let Some(token) = parts.headers.get("x-amz-security-token") {
        return token.to_str().ok().map(str::to_owned);
    }
    form_urlencoded::parse(parts.uri.query()?.as_bytes())
        .find(|(name, _)| name == "X-Amz-Security-Token")
        .map(|(_, token)| token.into_owned())
}

/// The access key of a request that is signed in its header.
pub(super) fn access_key_id(headers: &http::HeaderMap) -> Option<&str> {
    let header = headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    field(header, "Credential")?.split('/').next()
}

/// `name=value` of an `Authorization` header.
fn field<'a>(header: &'a str, name: &str) -> Option<&'a str> {
    header
        .strip_prefix("AWS4-HMAC-SHA256")?
        .split(',')
        .filter_map(|field| field.trim().split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value)
}

/// Checks the signature of a request whose body has been read.
pub(super) fn verify(
    parts: &Parts,
    body: &[u8],
    scope: &Scope,
    credentials: &Credentials,
) -> Result<(), Refusal> {
    let text = |name: &str| {
        parts
            .headers
            .get(name)
            .and_then(|value| value.to_str().ok())
    };
    let authorization = text("authorization").ok_or(Refusal::Missing)?;
    let signed_headers = field(authorization, "SignedHeaders").ok_or(Refusal::Missing)?;
    let signature = field(authorization, "Signature").ok_or(Refusal::Missing)?;
    if scope.access_key_id != credentials.access_key_id {
        return Err(Refusal::UnknownKey);
    }
    let stamp = text("x-amz-date").ok_or(Refusal::Missing)?;
    let format = format_description!("[year][month][day]T[hour][minute][second]Z");
    let time = PrimitiveDateTime::parse(stamp, format)
        .map_err(|_| Refusal::Missing)?
        .assume_utc();
    if (now() - time).abs() > CLOCK_SKEW_MAX || !stamp.starts_with(&scope.date) {
        return Err(Refusal::Expired);
    }
    let mut headers = String::new();
    for name in signed_headers.split(';') {
        let values: Vec<String> = parts
            .headers
            .get_all(name)
            .iter()
            .map(|value| {
                let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                value.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        headers.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let canonical = format!(
        "{}\n{}\n{}\n{headers}\n{signed_headers}\n{}",
        parts.method,
        canonical_path(parts.uri.path()),
        canonical_query(parts.uri.query().unwrap_or_default()),
        Digest::of(body),
    );
    let Scope {
        date,
        region,
        service,
        ..
    } = scope;
    let string_to_sign = format!(
        "AWS4-HMAC-SHA256\n{stamp}\n{date}/{region}/{service}/aws4_request\n{}",
        Digest::of(&canonical)
    );
    let key = generate_signing_key(
        &credentials.secret_access_key,
        SystemTime::from(time),
        region,
        service,
    );
    let expected = calculate_signature(key, string_to_sign.as_bytes());
    if equal_in_constant_time(expected.as_bytes(), signature.as_bytes()) {
        Ok(())
    } else {
        Err(Refusal::Mismatch)
    }
}

fn canonical_path(path: &str) -> String {
    path.split('/')
        .map(|segment| utf8_percent_encode(segment, UNRESERVED).to_string())
        .collect::<Vec<_>>()
        .join("/")
}

fn canonical_query(query: &str) -> String {
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let encode = |text: &str| utf8_percent_encode(text, UNRESERVED).to_string();
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encode(&decode(name)), encode(&decode(value)))
        })
        .collect();
    pairs.sort();
    pairs
        .into_iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect::<Vec<_>>()
        .join("&")
}

fn equal_in_constant_time(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}
