//! What Systems Manager answers when it refuses: AWS's exception names in the `awsJson1.1` shape.

use std::io;

use http::{Response, StatusCode};
use serde_json::json;

use crate::local::http::{Body, answer};

/// The media type of every answer.
pub(super) const CONTENT_TYPE: &str = "application/x-amz-json-1.1";

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServiceError {
    kind: Kind,
    message: String,
}

/// The exceptions of the API reference; [`Kind::NotImplemented`] is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    InternalServer,
    InvalidResourceId,
    InvalidResourceType,
    NotImplemented,
    ParameterAlreadyExists,
    ParameterNotFound,
    ParameterVersionNotFound,
    Serialization,
    UnknownOperation,
    Validation,
}

impl Kind {
    fn wire(self) -> (&'static str, StatusCode) {
        use StatusCode as S;
        match self {
            Self::InternalServer => ("InternalServerError", S::INTERNAL_SERVER_ERROR),
            Self::InvalidResourceId => ("InvalidResourceId", S::BAD_REQUEST),
            Self::InvalidResourceType => ("InvalidResourceType", S::BAD_REQUEST),
            Self::NotImplemented => ("NotImplemented", S::NOT_IMPLEMENTED),
            Self::ParameterAlreadyExists => ("ParameterAlreadyExists", S::BAD_REQUEST),
            Self::ParameterNotFound => ("ParameterNotFound", S::BAD_REQUEST),
            Self::ParameterVersionNotFound => ("ParameterVersionNotFound", S::BAD_REQUEST),
            Self::Serialization => ("SerializationException", S::BAD_REQUEST),
            Self::UnknownOperation => ("UnknownOperationException", S::BAD_REQUEST),
            Self::Validation => ("ValidationException", S::BAD_REQUEST),
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

    pub(super) fn validation(message: impl Into<String>) -> Self {
        Self::new(Kind::Validation, message)
    }

    /// A value outside the constraint of the API model, in the words AWS uses.
    pub(super) fn constraint(
        value: impl std::fmt::Display,
        member: &str,
        constraint: &str,
    ) -> Self {
        Self::validation(format!(
            "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
             Member must {constraint}"
        ))
    }

    /// AWS has no words for it either.
    pub(super) fn no_parameter() -> Self {
        Self::new(Kind::ParameterNotFound, "")
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
        let message = format!("the embedded cloud's data folder: {error}");
        Self::new(Kind::InternalServer, message)
    }
}
