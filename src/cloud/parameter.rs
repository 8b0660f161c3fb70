//! Parameters of Systems Manager, decrypted: where the values of secrets come from.
//!
//! One operation of one service, called by hand: signed as every SDK client signs, with the credentials, the region and the
//! endpoint of all the others. Decision 22 says why.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use aws_credential_types::provider::ProvideCredentials as _;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::HttpConnector as _;
use aws_smithy_runtime_api::client::identity::Identity;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::byte_stream::ByteStream;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::kind_of;
use super::{
    ATTEMPTS_MAX, CONNECT_TIMEOUT, Cloud, CloudError, CloudErrorKind, authorities, tls_provider,
};
use crate::env;

/// What is being done, in errors.
const OPERATION: &str = "read the parameters";

/// Names in one request (`GetParameters`, Systems Manager API reference).
const NAMES_MAX: usize = 10;

/// The longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause before the second try; each further one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A parameter as it is answered. No `Debug`: it is a secret.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    name: String,
    /// `:3` where a version was asked for.
    #[serde(default)]
    selector: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    parameters: Vec<Parameter>,
}

impl Cloud {
    /// The values of parameters, decrypted, by the names they were asked for with. Those that are not there are left out.
    ///
    /// # Errors
    /// They cannot be read: no permission for `ssm:GetParameters` or for the key, or no answer.
    pub async fn parameters(
        &self,
        names: &[String],
    ) -> Result<BTreeMap<String, String>, CloudError> {
        let mut found = BTreeMap::new();
        for names in names.chunks(NAMES_MAX) {
            let request = json!({ "Names": names, "WithDecryption": true });
            let answer = self.ssm(&names.join(", "), &request).await?;
            let answered = answer.parameters.into_iter();
            found.extend(answered.map(|one| (format!("{}{}", one.name, one.selector), one.value)));
        }
        Ok(found)
    }

    /// `GetParameters`, tried again where that may help.
    async fn ssm(&self, subject: &str, request: &Value) -> Result<Answer, CloudError> {
        let body = request.to_string();
        let mut pause = RETRY_PAUSE;
        let mut attempts_left = ATTEMPTS_MAX;
        loop {
            attempts_left -= 1;
            let error = match self.try_ssm(subject, &body).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let may_help = matches!(
                error.kind,
                CloudErrorKind::Throttled | CloudErrorKind::Unavailable
            );
            if !may_help || attempts_left == 0 {
                return Err(error);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    async fn try_ssm(&self, subject: &str, body: &str) -> Result<Answer, CloudError> {
        let failed = |kind, message: String| CloudError {
            api: Some("ssm:GetParameters".into()),
            ..CloudError::own(OPERATION, subject, kind, message)
        };
        let request = self
            .signed(body)
            .await
            .map_err(|(kind, message)| failed(kind, message))?;
        let connector = Connector::builder()
            .tls_provider(tls_provider())
            .tls_context(authorities::tls_context())
            .build();
        let call = async {
            let response = connector.call(request).await;
            let response =
                response.map_err(|error| authorities::explained(super::error::chain(&error)))?;
            let status = response.status().as_u16();
            let request_id = response
                .headers()
                .get("x-amzn-requestid")
                .map(str::to_owned);
            let body = ByteStream::new(response.into_body()).collect().await;
            let body = body.map_err(|error| super::error::chain(&error))?;
            Ok((status, request_id, body.into_bytes()))
        };
        let answered = tokio::time::timeout(CONNECT_TIMEOUT + ANSWER_TIMEOUT, call).await;
        let unavailable = |message| failed(CloudErrorKind::Unavailable, message);
        let (status, request_id, bytes) = answered
            .map_err(|_| unavailable("no answer in time".to_owned()))?
            .map_err(unavailable)?;
        if status == 200 {
            // What is wrong with it is not told with it: it may hold values.
            return serde_json::from_slice(&bytes)
                .map_err(|_| unavailable("the answer cannot be understood".to_owned()));
        }
        let refusal: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let word = |name: &str| refusal.get(name).and_then(Value::as_str);
        // The type may have its namespace before it.
        let code = word("__type").and_then(|code| code.rsplit('#').next());
        let message = word("message")
            .or_else(|| word("Message"))
            .unwrap_or_default();
        Err(CloudError {
            code: code.map(Box::from),
            request_id: request_id.map(Box::from),
            ..failed(
                kind_of(code, Some(status), message),
                match message {
                    "" => format!("HTTP status {status}"),
                    message => message.to_owned(),
                },
            )
        })
    }

    /// The request with its signature.
    async fn signed(&self, body: &str) -> Result<HttpRequest, (CloudErrorKind, String)> {
        let config = &self.clients.sdk;
        let region = self.clients.region.as_str();
        let provider = config.credentials_provider().ok_or_else(|| {
            (
                CloudErrorKind::Credentials,
                "no credentials are configured".to_owned(),
            )
        })?;
        let credentials = provider.provide_credentials().await;
        let credentials = credentials
            .map_err(|error| (CloudErrorKind::Credentials, super::error::chain(&error)))?;
        let identity = Identity::from(credentials);
        let invalid = |error: &(dyn std::error::Error + 'static)| {
            (CloudErrorKind::Invalid, super::error::chain(error))
        };
        let settings = v4::SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name("ssm")
            .time(SystemTime::from(env::now()))
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| invalid(&error))?
            .into();
        let url = match config.endpoint_url() {
            Some(url) => format!("{}/", url.trim_end_matches('/')),
            None => format!("https://ssm.{region}.{}/", domain(region)),
        };
        let headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amz-target", "AmazonSSM.GetParameters"),
        ];
        let signable = SignableBody::Bytes(body.as_bytes());
        let signable = SignableRequest::new("POST", &url, headers.into_iter(), signable)
            .map_err(|error| invalid(&error))?;
        let (instructions, _) = sign(signable, &settings)
            .map_err(|error| invalid(&error))?
            .into_parts();
        let mut request = http::Request::post(&url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request
            .body(SdkBody::from(body))
            .map_err(|error| invalid(&error))?;
        instructions.apply_to_request_http1x(&mut request);
        HttpRequest::try_from(request).map_err(|error| invalid(&error))
    }
}

/// The domain of AWS's endpoints in a region.
fn domain(region: &str) -> &'static str {
    match region.starts_with("cn-") {
        true => "amazonaws.com.cn",
        false => "amazonaws.com",
    }
}
