//! Reading what requests have in common: JSON objects, their members, functions without a qualifier.

use serde_json::{Value, json};

use crate::local::http::Request;
use crate::names::FunctionName;

use super::error::{Kind, ServiceError};
use super::reference::Place;

/// The request's body as a JSON object.
pub(super) fn object(request: &Request) -> Result<serde_json::Map<String, Value>, ServiceError> {
    if request.body.is_empty() {
        return Ok(serde_json::Map::new());
    }
    match serde_json::from_slice(&request.body) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(ServiceError::new(
            Kind::InvalidRequestContent,
            "the request body is not a JSON object",
        )),
        Err(error) => Err(ServiceError::new(
            Kind::InvalidRequestContent,
            format!("Could not parse request body into json: {error}"),
        )),
    }
}

/// Takes member `name` out of `body`; `null` counts as missing.
pub(super) fn take<T: serde::de::DeserializeOwned>(
    body: &mut serde_json::Map<String, Value>,
    name: &str,
) -> Result<Option<T>, ServiceError> {
    match body.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => serde_json::from_value(value).map(Some).map_err(|error| {
            ServiceError::parameter(format!("Could not parse request body: {name}: {error}"))
        }),
    }
}

/// A function named without a qualifier, or with `$LATEST`.
pub(super) fn unqualified(place: &Place, text: &str) -> Result<FunctionName, ServiceError> {
    let reference = place.resolve(text, None)?;
    match reference.qualifier.as_deref() {
        None | Some("$LATEST") => Ok(reference.name),
        Some(_) => Err(ServiceError::parameter(
            "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. \
             Please specify either a function name or an unqualified function ARN.",
        )),
    }
}

/// The one architecture of a list, if one is given.
pub(super) fn architecture(given: Option<Vec<String>>) -> Result<Option<String>, ServiceError> {
    match given.as_deref() {
        None => Ok(None),
        Some([one]) if one == "x86_64" || one == "arm64" => Ok(Some(one.clone())),
        Some(other) => Err(ServiceError::constraint(
            json!(other),
            "architectures",
            "satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64]]",
        )),
    }
}
