//! Reading requests: JSON documents whose members are known, required where AWS requires them, and within the
//! constraints of AWS's API model. A member that is not known is refused by name, never ignored.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::local::http::Request;
use crate::names::LogGroupName;

use super::error::{Kind, ServiceError};
use super::model::group_of_arn;

/// Tags that one log group may have.
const TAGS_MAX: usize = 50;

/// The request's document.
pub(super) fn parse<T: DeserializeOwned>(request: &Request) -> Result<T, ServiceError> {
    let body: &[u8] = if request.body.is_empty() {
        b"{}"
    } else {
        &request.body
    };
    // serde would read an array as a struct's members in order.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(ServiceError::new(
            Kind::Serialization,
            "the request is not a JSON object",
        ));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        if text.starts_with("unknown field") {
            ServiceError::unsupported(text.replacen("unknown field", "the member", 1))
        } else {
            ServiceError::new(Kind::Serialization, text)
        }
    })
}

/// `value`, which AWS requires.
pub(super) fn required<T>(value: Option<T>, member: &str) -> Result<T, ServiceError> {
    value.ok_or_else(|| {
        ServiceError::parameter(format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: \
             Member must not be null"
        ))
    })
}

/// A log group's name, required.
pub(super) fn group_name(value: Option<String>) -> Result<LogGroupName, ServiceError> {
    let text = required(value, "logGroupName")?;
    let length = text.chars().count();
    if !(1..=512).contains(&length) {
        return Err(length_constraint(&text, "logGroupName", 1, 512));
    }
    text.parse().map_err(|_| {
        ServiceError::constraint(
            &text,
            "logGroupName",
            "satisfy regular expression pattern: [\\.\\-_/#A-Za-z0-9]+",
        )
    })
}

/// A log group by its name or by `logGroupIdentifier`: exactly one of them.
pub(super) fn group_reference(
    request: &Request,
    name: Option<String>,
    identifier: Option<String>,
) -> Result<LogGroupName, ServiceError> {
    match (name, identifier) {
        (Some(_), Some(_)) => Err(ServiceError::parameter(
            "LogGroup name and LogGroup identifier are mutually exclusive parameters.",
        )),
        (None, Some(identifier)) if identifier.starts_with("arn:") => {
            group_of_arn(&request.region, &request.account, &identifier)
                .ok_or_else(ServiceError::no_group)
        }
        (name, identifier) => group_name(name.or(identifier)),
    }
}

/// The log group an ARN names.
pub(super) fn resource_arn(
    request: &Request,
    arn: Option<String>,
) -> Result<LogGroupName, ServiceError> {
    let arn = required(arn, "resourceArn")?;
    if !arn.starts_with("arn:") {
        return Err(ServiceError::parameter(format!(
            "The ARN '{arn}' is not valid."
        )));
    }
    group_of_arn(&request.region, &request.account, &arn).ok_or_else(ServiceError::no_group)
}

/// A log stream's name, required.
pub(super) fn stream_name(value: Option<String>) -> Result<String, ServiceError> {
    let text = required(value, "logStreamName")?;
    check_stream_text(&text, "logStreamName")?;
    Ok(text)
}

/// Constraints of a log stream's name or of the beginning of one.
pub(super) fn check_stream_text(text: &str, member: &str) -> Result<(), ServiceError> {
    if !(1..=512).contains(&text.chars().count()) {
        return Err(length_constraint(text, member, 1, 512));
    }
    if text.contains([':', '*']) {
        return Err(ServiceError::constraint(
            text,
            member,
            "satisfy regular expression pattern: [^:*]*",
        ));
    }
    Ok(())
}

/// A page's size: `default` where the request names none.
pub(super) fn limit(value: Option<i64>, default: usize, max: usize) -> Result<usize, ServiceError> {
    let Some(value) = value else {
        return Ok(default);
    };
    let bound = if value < 1 {
        "have value greater than or equal to 1".to_owned()
    } else {
        format!("have value less than or equal to {max}")
    };
    usize::try_from(value)
        .ok()
        .filter(|value| (1..=max).contains(value))
        .ok_or_else(|| ServiceError::constraint(value, "limit", &bound))
}

/// Tags within AWS's limits, and what the group has together with them.
pub(super) fn merge_tags(
    tags: &mut BTreeMap<String, String>,
    added: BTreeMap<String, String>,
) -> Result<(), ServiceError> {
    for (key, value) in &added {
        if !(1..=128).contains(&key.chars().count()) {
            return Err(length_constraint(key, "tags", 1, 128));
        }
        if value.chars().count() > 256 {
            return Err(length_constraint(value, "tags", 0, 256));
        }
        if key.to_ascii_lowercase().starts_with("aws:") {
            return Err(ServiceError::parameter(format!(
                "The tag key '{key}' is reserved: 'aws:' is for AWS's use."
            )));
        }
        let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
        if let Some(text) = [key, value]
            .into_iter()
            .find(|text| !text.chars().all(allowed))
        {
            return Err(ServiceError::constraint(
                text,
                "tags",
                "satisfy regular expression pattern: ^([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+)$",
            ));
        }
    }
    let mut merged = tags.clone();
    merged.extend(added);
    if merged.len() > TAGS_MAX {
        return Err(ServiceError::new(
            Kind::TooManyTags,
            format!("A log group can have no more than {TAGS_MAX} tags."),
        ));
    }
    *tags = merged;
    Ok(())
}

/// Where a page begins: what [`token`] was given.
pub(super) fn parse_token<T: DeserializeOwned>(
    text: Option<String>,
) -> Result<Option<T>, ServiceError> {
    text.map(|text| {
        URL_SAFE_NO_PAD
            .decode(&text)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| ServiceError::parameter("The specified nextToken is invalid."))
    })
    .transpose()
}

/// A `nextToken` that says where the next page begins.
pub(super) fn token(position: &impl Serialize) -> String {
    let json = serde_json::to_vec(position).expect("positions are strings and numbers");
    URL_SAFE_NO_PAD.encode(json)
}

fn length_constraint(value: &str, member: &str, min: usize, max: usize) -> ServiceError {
    let bound = if value.chars().count() < min {
        format!("have length greater than or equal to {min}")
    } else {
        format!("have length less than or equal to {max}")
    };
    ServiceError::constraint(value, member, &bound)
}
