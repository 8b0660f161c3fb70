//! The only room that names `aws_sdk_*`: narrow async functions, SDK types inside, domain types outside.
//!
//! The real cloud and the embedded one differ by an endpoint and nothing else, so nothing above this room can
//! tell which of the two it talks to. Every wait is bounded: connecting, waiting for an answer, retries. The one
//! long wait is an invocation: Lambda answers after up to 15 minutes, and trying it again by itself would run the
//! work twice, so invocations have their own client without retries.

mod authorities;
mod bucket;
mod bucket_policy;
mod called;
mod conditional;
mod error;
mod expiry;
mod function;
mod function_change;
mod iam;
mod identity;
mod invoke;
mod layer;
mod logs;
mod objects;
mod parameter;
mod runtime;
mod simulate;
mod tags;
mod upload;
mod version;
pub mod wait;
mod wrote;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, ConfigLoader};
use aws_credential_types::Credentials;
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};
use aws_smithy_types::checksum_config::{RequestChecksumCalculation, ResponseChecksumValidation};

use crate::names::Region;

pub use bucket::{BucketDescription, BucketLifecycle, BucketPresence};
pub use conditional::Precondition;
use expiry::Expiry;
use wrote::Watch;

pub use error::{CloudError, CloudErrorKind};
pub use function::{FunctionDescription, FunctionPhase, FunctionSettings, LIVE_ALIAS};
pub use function_change::FunctionCode;
pub use iam::RoleDescription;
pub use identity::{AccountSettings, Identity};
pub use invoke::{InvokeEvent, InvokeReply, InvokeStream};
pub use layer::LayerVersion;
pub use logs::{LogEvent, LogGroupDescription};
pub use objects::{Object, ObjectInfo, ObjectReader, PutOptions, PutOutcome};
pub use simulate::{PolicySource, Question, SimulatedAnswer, SimulatedDecision};
pub use version::{FunctionAlias, LiveAlias, PublishedVersion, Retries};
pub use wrote::Wrote;

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// The tag that says which deployment a resource belongs to. Its value is the state's lineage.
pub const STACK_TAG: &str = "rmx:stack";

/// Targets of the SDK's log that write whole requests below `info`, the values of secrets included.
pub const REQUEST_LOG_TARGETS: [&str; 6] = [
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
    "aws_smithy_http_client",
    "aws_runtime",
    "aws_sigv4",
    "aws_sdk_lambda",
];

/// The longest wait for a TCP and TLS connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The longest wait for the answer to an invocation: Lambda's longest timeout (900 s) and a minute for the way.
const INVOKE_READ_TIMEOUT: Duration = Duration::from_secs(960);

/// Attempts of one request, the first included. Only throttling, 5xx and transport errors are tried again.
const ATTEMPTS_MAX: u32 = 4;

/// How to reach a cloud.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The region.
    pub region: Region,
    /// The embedded cloud or another stand-in; `None` is AWS itself.
    pub endpoint_url: Option<String>,
    /// Fixed credentials; `None` is the usual chain (environment, profile, SSO, instance role).
    pub credentials: Option<StaticCredentials>,
    /// How long to wait for answers.
    pub timeouts: Timeouts,
}

/// The longest waits for the first byte of an answer, counted from the first byte of the request. Each try of a call has
/// its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a request of a few kilobytes.
    pub answer: Duration,
    /// For a request that carries an object, a part of one, or a function zip: it has to get there first.
    pub upload: Duration,
}

impl Default for Timeouts {
    /// A minute, as in botocore; and for 50 MB five, which a line of 1.4 Mbit/s needs.
    fn default() -> Self {
        Self {
            answer: Duration::from_secs(60),
            upload: Duration::from_secs(300),
        }
    }
}

/// Credentials given by value.
#[derive(Clone)]
pub struct StaticCredentials {
    /// Access key id.
    pub access_key_id: String,
    /// Secret access key.
    pub secret_access_key: String,
    /// Session token of temporary credentials.
    pub session_token: Option<String>,
}

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

/// A connected cloud. Cheap to clone.
#[derive(Clone)]
pub struct Cloud {
    clients: Arc<Clients>,
}

struct Clients {
    region: Region,
    /// When the credentials in use end, once they have been used.
    expiry: Arc<Expiry>,
    endpoint_url: Option<String>,
    timeouts: Timeouts,
    /// What the clients are made of: credentials and endpoint for what has no client.
    sdk: aws_config::SdkConfig,
    iam: aws_sdk_iam::Client,
    lambda: aws_sdk_lambda::Client,
    logs: aws_sdk_cloudwatchlogs::Client,
    s3: aws_sdk_s3::Client,
    sts: aws_sdk_sts::Client,
    /// Lambda without retries and with a read timeout beyond the longest invocation.
    invoke: aws_sdk_lambda::Client,
}

impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cloud")
            .field("region", &self.clients.region)
            .field("endpoint_url", &self.clients.endpoint_url)
            .finish_non_exhaustive()
    }
}

impl Cloud {
    /// Prepares clients for `connection`. Nothing is sent: bad credentials show at the first call.
    pub async fn connect(connection: &Connection) -> Self {
        let mut loader = loader(connection.timeouts).region(aws_config::Region::new(
            connection.region.as_str().to_owned(),
        ));
        if let Some(url) = &connection.endpoint_url {
            loader = loader.endpoint_url(url);
        }
        if let Some(given) = &connection.credentials {
            loader = loader.credentials_provider(Credentials::new(
                &given.access_key_id,
                &given.secret_access_key,
                given.session_token.clone(),
                None,
                "rmx",
            ));
        }
        let config = loader.load().await;
        Self::of(&config, connection.region.clone(), connection.timeouts)
    }

    /// Connects with what the surroundings offer: a Lambda's own role, region and `AWS_ENDPOINT_URL`.
    ///
    /// # Errors
    /// No region is given and the surroundings name none.
    pub async fn connect_ambient(region: Option<Region>) -> Result<Self, CloudError> {
        let timeouts = Timeouts::default();
        let mut loader = loader(timeouts);
        if let Some(region) = &region {
            loader = loader.region(aws_config::Region::new(region.as_str().to_owned()));
        }
        let config = loader.load().await;
        let region = config
            .region()
            .and_then(|region| region.as_ref().parse().ok())
            .ok_or_else(|| CloudError {
                operation: "connect",
                subject: "the cloud".to_owned(),
                api: None,
                kind: CloudErrorKind::Invalid,
                code: None,
                request_id: None,
                message: "no region is set; set AWS_REGION".to_owned(),
            })?;
        Ok(Self::of(&config, region, timeouts))
    }

    fn of(config: &aws_config::SdkConfig, region: Region, timeouts: Timeouts) -> Self {
        let (config, expiry) = expiry::watched(config);
        let config = &config;
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(config.endpoint_url().is_some())
            .interceptor(Watch)
            .build();
        let iam = aws_sdk_iam::config::Builder::from(config)
            .interceptor(Watch)
            .build();
        let lambda = aws_sdk_lambda::config::Builder::from(config)
            .interceptor(Watch)
            .build();
        let logs = aws_sdk_cloudwatchlogs::config::Builder::from(config)
            .interceptor(Watch)
            .build();
        let invoke = aws_sdk_lambda::config::Builder::from(config)
            .retry_config(RetryConfig::disabled())
            .timeout_config(waits(INVOKE_READ_TIMEOUT))
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .build();
        Self {
            clients: Arc::new(Clients {
                region,
                expiry,
                endpoint_url: config.endpoint_url().map(str::to_owned),
                timeouts,
                sdk: config.clone(),
                iam: aws_sdk_iam::Client::from_conf(iam),
                lambda: aws_sdk_lambda::Client::from_conf(lambda),
                logs: aws_sdk_cloudwatchlogs::Client::from_conf(logs),
                s3: aws_sdk_s3::Client::from_conf(s3),
                sts: aws_sdk_sts::Client::new(config),
                invoke: aws_sdk_lambda::Client::from_conf(invoke),
            }),
        }
    }

    /// When the credentials end that the last call was made with; `None` if never, or if nobody says so.
    pub fn credentials_end(&self) -> Option<SystemTime> {
        self.clients.expiry.end()
    }

    /// The region it is connected to.
    pub fn region(&self) -> &Region {
        &self.clients.region
    }
}

fn tls_provider() -> tls::Provider {
    tls::Provider::Rustls(CryptoMode::Ring)
}

impl Clients {
    /// For one call of S3 whose request carries a file.
    fn s3_upload(&self) -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::config::Builder::new().timeout_config(waits(self.timeouts.upload))
    }

    /// For one call of Lambda whose request carries a zip, or makes Lambda fetch one.
    fn lambda_upload(&self) -> aws_sdk_lambda::config::Builder {
        aws_sdk_lambda::config::Builder::new().timeout_config(waits(self.timeouts.upload))
    }
}

fn waits(answer: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(answer)
        .build()
}

fn loader(timeouts: Timeouts) -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(tls_provider())
        .tls_context(authorities::tls_context())
        .build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
        .timeout_config(waits(timeouts.answer))
        // Bodies are already protected by TLS and signed lengths; checksums cost a second pass over each of them.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
}
