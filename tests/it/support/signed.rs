//! Services that speak `awsJson1.1`, and for which rmx has no client.

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use rmx::local::Running;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Calls an operation, as `X-Amz-Target` names it, as any AWS client does; status and answer.
pub(crate) async fn call(
    running: &Running,
    service: &str,
    target: &str,
    input: &Value,
) -> (u16, Value) {
    let credentials = running.credentials();
    let identity = Identity::from(aws_credential_types::Credentials::new(
        &credentials.access_key_id,
        &credentials.secret_access_key,
        None,
        None,
        "test",
    ));
    let settings = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name(service)
        .time(rmx::env::now().into())
        .settings(SigningSettings::default())
        .build()
        .unwrap()
        .into();
    let body = input.to_string();
    let url = format!("{}/", running.endpoint_url());
    let headers = [
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", target),
    ];
    let signable = SignableBody::Bytes(body.as_bytes());
    let signable = SignableRequest::new("POST", &url, headers.into_iter(), signable).unwrap();
    let (instructions, _) = sign(signable, &settings).unwrap().into_parts();
    let host = url.trim_start_matches("http://").trim_end_matches('/');
    let mut request = format!("POST / HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers.into_iter().chain(instructions.headers()) {
        request += &format!("{name}: {value}\r\n");
    }
    request += &format!("content-length: {}\r\n\r\n{body}", body.len());
    let mut stream = tokio::net::TcpStream::connect(host).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap())
}
