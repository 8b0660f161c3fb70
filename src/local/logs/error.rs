//! What CloudWatch Logs answers when it refuses: AWS's exception names in the `awsJson1.1` shape.

use std::io;

use http::{Response, StatusCode};
use serde_json::json;

use crate::local::http::{Body, answer};

/// The media type of every answer.
pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceError {
    pub(super) kind: Kind,
    pub(super) message: String,
}

/// The exceptions of the API reference; [`Kind::NotImplemented`] is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    InvalidParameter,
    NotImplemented,
    ResourceAlreadyExists,
    ResourceNotFound,
    Serialization,
    Service,
    TooManyTags,
    UnknownOperation,
}

impl Kind {
    fn wire(self) -> (&'static str, StatusCode) {
        use StatusCode as S;
        match self {
            Self::InvalidParameter => ("InvalidParameterException", S::BAD_REQUEST),
            Self::NotImplemented => ("NotImplemented", S::NOT_IMPLEMENTED),
            Self::ResourceAlreadyExists => ("ResourceAlreadyExistsException", S::BAD_REQUEST),
            Self::ResourceNotFound => ("ResourceNotFoundException", S::BAD_REQUEST),
            Self::Serialization => ("SerializationException", S::BAD_REQUEST),
            Self::Service => ("ServiceUnavailableException", S::INTERNAL_SERVER_ERROR),
            Self::TooManyTags => ("TooManyTagsException", S::BAD_REQUEST),
            Self::UnknownOperation => ("UnknownOperationException", S::BAD_REQUEST),
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
        Self::new(Kind::InvalidParameter, message)
    }

    /// A value outside the constraint of the API model, in the words AWS uses.
    pub(super) fn constraint(
        value: impl std::fmt::Display,
        member: &str,
        constraint: &str,
    ) -> Self {
        Self::parameter(format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
             Member must {constraint}"
        ))
    }

    /// Something that AWS has and the embedded cloud has not.
    pub(super) fn unsupported(what: impl std::fmt::Display) -> Self {
        Self::parameter(format!("the embedded cloud does not support {what}"))
    }

    pub(super) fn no_group() -> Self {
        Self::new(
            Kind::ResourceNotFound,
            "The specified log group does not exist.",
        )
    }

    pub(super) fn no_stream() -> Self {
        Self::new(
            Kind::ResourceNotFound,
            "The specified log stream does not exist.",
        )
    }

    /// The answer a client sees.
    pub(super) fn into_response(self) -> Response<Body> {
        let (name, status) = self.kind.wire();
        let body = json!({ "__type": name, "message": self.message });
        answer(status, CONTENT_TYPE, body.to_string())
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
