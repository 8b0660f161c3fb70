//! What the Lambda service answers when it refuses: AWS's error types, statuses and JSON shapes.

use std::io;

use http::{Response, StatusCode};
use serde_json::json;

use crate::local::http::{Body, answer};

/// A refusal. The kinds are those of the Lambda API reference; [`Kind::NotImplemented`] is ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceError {
    pub(super) kind: Kind,
    pub(super) message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    AccessDenied,
    CrossAccountRole,
    InvalidParameterValue,
    InvalidRequestContent,
    InvalidRuntime,
    NotImplemented,
    PreconditionFailed,
    RequestTooLarge,
    ResourceConflict,
    ResourceNotFound,
    Service,
    /// Which of the limits was reached, AWS's `Reason`.
    TooManyRequests(&'static str),
    Validation,
}

impl Kind {
    /// Error type on the wire, status, and whether the text's member is `Message` (else `message`).
    fn wire(self) -> (&'static str, StatusCode, bool) {
        use StatusCode as S;
        match self {
            Self::AccessDenied | Self::CrossAccountRole => {
                ("AccessDeniedException", S::FORBIDDEN, true)
            }
            Self::InvalidParameterValue => {
                ("InvalidParameterValueException", S::BAD_REQUEST, false)
            }
            Self::InvalidRequestContent => {
                ("InvalidRequestContentException", S::BAD_REQUEST, false)
            }
            Self::InvalidRuntime => ("InvalidRuntimeException", S::BAD_GATEWAY, true),
            Self::NotImplemented => ("NotImplemented", S::NOT_IMPLEMENTED, true),
            Self::PreconditionFailed => {
                ("PreconditionFailedException", S::PRECONDITION_FAILED, false)
            }
            Self::RequestTooLarge => ("RequestTooLargeException", S::PAYLOAD_TOO_LARGE, false),
            Self::ResourceConflict => ("ResourceConflictException", S::CONFLICT, false),
            Self::ResourceNotFound => ("ResourceNotFoundException", S::NOT_FOUND, true),
            Self::Service => ("ServiceException", S::INTERNAL_SERVER_ERROR, true),
            Self::TooManyRequests(_) => ("TooManyRequestsException", S::TOO_MANY_REQUESTS, false),
            Self::Validation => ("ValidationException", S::BAD_REQUEST, false),
        }
    }
}

impl ServiceError {
    pub(super) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    pub(super) fn parameter(message: impl Into<String>) -> Self {
        Self::new(Kind::InvalidParameterValue, message)
    }

    pub(super) fn not_found(arn: &str) -> Self {
        Self::new(Kind::ResourceNotFound, format!("Function not found: {arn}"))
    }

    /// A value outside the constraint of the API model, in the words AWS uses.
    pub(super) fn constraint(
        value: impl std::fmt::Display,
        member: &str,
        constraint: &str,
    ) -> Self {
        Self::new(
            Kind::Validation,
            format!(
                "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
                 Member must {constraint}"
            ),
        )
    }

    /// Something that AWS has and the embedded cloud has not.
    pub(super) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::parameter(format!("the embedded cloud does not support {what}"))
    }

    pub(super) fn stale_revision() -> Self {
        Self::new(
            Kind::PreconditionFailed,
            "The Revision Id provided does not match the latest Revision Id. \
             Call the GetFunction/GetAlias API to retrieve the latest Revision Id",
        )
    }

    /// The answer a client sees.
    pub(super) fn into_response(self) -> Response<Body> {
        let (name, status, capital) = self.kind.wire();
        let side = if status.is_server_error() {
            "Service"
        } else {
            "User"
        };
        let mut body = json!({ "Type": side });
        body[if capital { "Message" } else { "message" }] = self.message.into();
        if let Kind::TooManyRequests(reason) = self.kind {
            body["Reason"] = reason.into();
        }
        let mut response = answer(status, "application/json", body.to_string());
        response
            .headers_mut()
            .insert("x-amzn-errortype", http::HeaderValue::from_static(name));
        response
    }
}

impl From<io::Error> for ServiceError {
    fn from(error: io::Error) -> Self {
        Self::new(
            Kind::Service,
            format!("the embedded cloud's data folder: {error}"),
        )
    }
}
