//! One error for all of AWS: what was done, to what, and which kind of failure it was.
//!
//! Callers branch on [`CloudErrorKind`] and never on text. AWS's codes and status are turned into kinds here, in
//! one table.

use std::error::Error;
use std::fmt;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::authorities;

/// A call to the cloud failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct CloudError {
    /// What was being done, as `verb a noun`: `create the role`.
    pub operation: &'static str,
    /// Name, key or ARN it was done to.
    pub subject: String,
    /// The call that failed, as AWS writes it: `iam:CreateRole`. `None` where nothing was called.
    pub api: Option<Box<str>>,
    /// What callers branch on.
    pub kind: CloudErrorKind,
    /// AWS's error code.
    pub code: Option<Box<str>>,
    /// AWS's request id, for support cases.
    pub request_id: Option<Box<str>>,
    /// AWS's words, or ours where nothing answered.
    pub message: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CloudErrorKind {
    /// There is no such thing.
    NotFound,
    /// There is one already.
    AlreadyExists,
    /// The caller may not do that.
    AccessDenied,
    /// Too many requests.
    Throttled,
    /// It is in a state that does not allow this now: being updated, not empty, still referred to.
    Conflict,
    /// It changed since it was read, or a conditional write lost.
    PreconditionFailed,
    /// The request itself was refused.
    Invalid,
    /// A role that was just created or changed is not usable everywhere yet.
    RoleNotReady,
    /// There are no credentials, or they are wrong or expired.
    Credentials,
    /// Nothing answered, or the service failed.
    Unavailable,
    /// Anything else.
    Other,
}

impl fmt::Display for CloudError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not {} `{}`", self.operation, self.subject)?;
        match &self.code {
            Some(code) => write!(f, ": {code}: {}", self.message)?,
            None => write!(f, ": {}", self.message)?,
        }
        match (&self.api, &self.request_id) {
            (Some(api), Some(id)) => write!(f, " ({api}, request {id})"),
            (Some(api), None) => write!(f, " ({api})"),
            (None, Some(id)) => write!(f, " (request {id})"),
            (None, None) => Ok(()),
        }
    }
}

impl CloudError {
    /// An error of this room's own finding, in its own words.
    pub(crate) fn own(
        operation: &'static str,
        subject: impl fmt::Display,
        kind: CloudErrorKind,
        message: impl Into<String>,
    ) -> Self {
        Self {
            operation,
            subject: subject.to_string(),
            api: None,
            kind,
            code: None,
            request_id: None,
            message: message.into(),
        }
    }

    /// Whether the thing is not there.
    pub fn is_not_found(&self) -> bool {
        self.kind == CloudErrorKind::NotFound
    }
}

/// What is needed of a raw answer: its status and request id.
pub(super) trait RawAnswer {
    fn status(&self) -> Option<u16>;
    fn request_id(&self) -> Option<&str>;
}

impl RawAnswer for HttpResponse {
    fn status(&self) -> Option<u16> {
        Some(HttpResponse::status(self).as_u16())
    }

    fn request_id(&self) -> Option<&str> {
        let headers = self.headers();
        headers
            .get("x-amzn-requestid")
            .or_else(|| headers.get("x-amz-request-id"))
    }
}

impl RawAnswer for aws_smithy_types::event_stream::RawMessage {
    fn status(&self) -> Option<u16> {
        None
    }

    fn request_id(&self) -> Option<&str> {
        None
    }
}

/// Turns an SDK error into ours.
pub(super) fn cloud_error<E, R>(
    operation: &'static str,
    subject: impl fmt::Display,
    error: &SdkError<E, R>,
) -> CloudError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: RawAnswer + fmt::Debug + 'static,
{
    let raw = error.raw_response();
    let status = raw.and_then(RawAnswer::status);
    let request_id = raw.and_then(RawAnswer::request_id).map(Box::from);
    let (kind, code, message) = match error {
        SdkError::ServiceError(service) => {
            let meta = service.err().meta();
            let message = meta.message().unwrap_or_default();
            (
                kind_of(meta.code(), status, message),
                // An answer to HEAD has no body, hence no code and no message.
                meta.code().map(Box::from),
                if message.is_empty() {
                    match status {
                        Some(status @ 300..) => format!("HTTP status {status}"),
                        _ => chain(service.err()),
                    }
                } else {
                    message.to_owned()
                },
            )
        }
        SdkError::TimeoutError(_) => (
            CloudErrorKind::Unavailable,
            None,
            "no answer in time".to_owned(),
        ),
        SdkError::DispatchFailure(failure) => {
            let kind = if is_credentials_failure(error) {
                CloudErrorKind::Credentials
            } else {
                CloudErrorKind::Unavailable
            };
            let message = match failure.as_connector_error() {
                _ if failure.is_timeout() => "no answer in time".to_owned(),
                Some(connector) => authorities::explained(chain(connector)),
                None => chain(error),
            };
            (kind, None, message)
        }
        SdkError::ResponseError(_) => (CloudErrorKind::Unavailable, None, chain(error)),
        SdkError::ConstructionFailure(_) => {
            let kind = if is_credentials_failure(error) {
                CloudErrorKind::Credentials
            } else {
                CloudErrorKind::Invalid
            };
            (kind, None, chain(error))
        }
        _ => (CloudErrorKind::Other, None, chain(error)),
    };
    CloudError {
        operation,
        subject: subject.to_string(),
        api: api_of::<E>(),
        kind,
        code,
        request_id,
        message,
    }
}

/// The call that an SDK error type stands for: each operation has a type of its own, which is named after it
/// (`aws_sdk_iam::operation::create_role::CreateRoleError`). For people alone: nothing is decided by it.
fn api_of<E>() -> Option<Box<str>> {
    let name = std::any::type_name::<E>();
    let service = name.strip_prefix("aws_sdk_")?.split("::").next()?;
    let service = match service {
        "cloudwatchlogs" => "logs",
        other => other,
    };
    let operation = name.rsplit("::").next()?.strip_suffix("Error")?;
    Some(format!("{service}:{operation}").into())
}

/// The table from AWS's codes to kinds. The code decides; the status speaks where there is none.
///
/// Codes are those of the API references of S3, IAM, STS, Lambda, CloudWatch Logs and Systems Manager.
pub(super) fn kind_of(code: Option<&str>, status: Option<u16>, message: &str) -> CloudErrorKind {
    match code.unwrap_or_default() {
        "EntityAlreadyExists"
        | "BucketAlreadyExists"
        | "BucketAlreadyOwnedByYou"
        | "ResourceAlreadyExistsException" => CloudErrorKind::AlreadyExists,
        "AccessDenied"
        | "AccessDeniedException"
        | "AllAccessDisabled"
        | "UnauthorizedOperation" => CloudErrorKind::AccessDenied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "RequestTimeTooSkewed"
        | "SignatureDoesNotMatch"
        | "TokenRefreshRequired"
        | "UnrecognizedClientException" => CloudErrorKind::Credentials,
        "EC2ThrottledException"
        | "RequestLimitExceeded"
        | "SlowDown"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequestsException" => CloudErrorKind::Throttled,
        "PreconditionFailed" | "PreconditionFailedException" => CloudErrorKind::PreconditionFailed,
        // Lambda says this with a code that stands for many things; the sentence is the only difference.
        "InvalidParameterValueException" if message.contains("cannot be assumed") => {
            CloudErrorKind::RoleNotReady
        }
        "InvalidParameterValueException"
            if message.contains("execution role does not have permissions") =>
        {
            CloudErrorKind::RoleNotReady
        }
        "BucketNotEmpty" | "DeleteConflict" | "OperationAborted" => CloudErrorKind::Conflict,
        _ => match status {
            Some(404) => CloudErrorKind::NotFound,
            Some(403) => CloudErrorKind::AccessDenied,
            Some(401) => CloudErrorKind::Credentials,
            Some(409) => CloudErrorKind::Conflict,
            Some(412) => CloudErrorKind::PreconditionFailed,
            Some(429) => CloudErrorKind::Throttled,
            Some(501) => CloudErrorKind::Other,
            Some(400..=499) => match code.unwrap_or_default() {
                // The JSON protocols answer 400 to everything the client caused.
                "ResourceNotFoundException" | "NoSuchEntity" | "ParameterNotFound" => {
                    CloudErrorKind::NotFound
                }
                "OperationAbortedException"
                | "ResourceConflictException"
                | "ResourceInUseException" => CloudErrorKind::Conflict,
                _ => CloudErrorKind::Invalid,
            },
            Some(500..=599) => CloudErrorKind::Unavailable,
            _ => CloudErrorKind::Other,
        },
    }
}

fn is_credentials_failure(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause
            .downcast_ref::<aws_credential_types::provider::error::CredentialsError>()
            .is_some()
    })
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The messages of an error and its causes, each once, on one line.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in causes(error) {
        let text = cause.to_string().replace('\n', " ");
        // The SDK prints the whole request as Rust sees it.
        let text = match text.split_once(" to request `Request {") {
            Some((before, _)) => before.to_owned(),
            None => text,
        };
        if !text.is_empty() && parts.last() != Some(&text) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_decide_and_the_status_fills_in() {
        use CloudErrorKind as Kind;
        for (code, status, message, kind) in [
            (Some("NoSuchEntity"), 404, "", Kind::NotFound),
            (Some("ResourceNotFoundException"), 400, "", Kind::NotFound),
            (None, 404, "", Kind::NotFound),
            (
                Some("BucketAlreadyOwnedByYou"),
                409,
                "",
                Kind::AlreadyExists,
            ),
            (Some("ResourceConflictException"), 409, "", Kind::Conflict),
            (Some("ConditionalRequestConflict"), 409, "", Kind::Conflict),
            (
                Some("PreconditionFailed"),
                412,
                "",
                Kind::PreconditionFailed,
            ),
            (Some("TooManyRequestsException"), 429, "", Kind::Throttled),
            (Some("SlowDown"), 503, "", Kind::Throttled),
            (Some("ExpiredToken"), 400, "", Kind::Credentials),
            (Some("SignatureDoesNotMatch"), 403, "", Kind::Credentials),
            (Some("Something"), 403, "", Kind::AccessDenied),
            (Some("ValidationError"), 400, "", Kind::Invalid),
            (Some("InternalError"), 500, "", Kind::Unavailable),
            (Some("NotImplemented"), 501, "", Kind::Other),
            (
                Some("InvalidParameterValueException"),
                400,
                "The role defined for the function cannot be assumed by Lambda.",
                Kind::RoleNotReady,
            ),
        ] {
            assert_eq!(kind_of(code, Some(status), message), kind, "{code:?}");
        }
    }

    #[test]
    fn says_what_to_whom_and_why() {
        let error = CloudError {
            operation: "create the role",
            subject: "rmx-demo".to_owned(),
            api: api_of::<aws_sdk_iam::operation::create_role::CreateRoleError>(),
            kind: CloudErrorKind::AccessDenied,
            code: Some("AccessDenied".into()),
            request_id: Some("abc".into()),
            message: "no".to_owned(),
        };
        assert_eq!(
            error.to_string(),
            "could not create the role `rmx-demo`: AccessDenied: no (iam:CreateRole, request abc)"
        );
        use aws_sdk_cloudwatchlogs::operation::create_log_group::CreateLogGroupError;
        let api = api_of::<CreateLogGroupError>();
        assert_eq!(api.as_deref(), Some("logs:CreateLogGroup"));
        assert_eq!(api_of::<std::io::Error>(), None);
    }
}
