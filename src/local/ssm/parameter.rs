//! Parameters as they are kept and shown, and what their names may be.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::error::ServiceError;
use crate::digest::Digest;
use crate::local::http::Request;

/// The longest name (Parameter Store, `PutParameter`: 1011 characters of one's own).
const NAME_LENGTH_MAX: usize = 1_011;

/// How many parts a name may have.
const HIERARCHY_LEVELS_MAX: usize = 15;

/// A region's parameters by name.
pub(super) type Parameters = BTreeMap<String, Parameter>;

/// One parameter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Parameter {
    pub(super) kind: Kind,
    pub(super) description: Option<String>,
    pub(super) tags: BTreeMap<String, String>,
    /// The first one is version 1.
    pub(super) versions: Vec<Version>,
}

/// One of its values.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) value: String,
    pub(super) modified_ms: u64,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    String,
    StringList,
    SecureString,
}

impl Kind {
    pub(super) fn parse(text: &str) -> Result<Self, ServiceError> {
        match text {
            "String" => Ok(Self::String),
            "StringList" => Ok(Self::StringList),
            "SecureString" => Ok(Self::SecureString),
            other => Err(ServiceError::constraint(
                other,
                "type",
                "satisfy enum value set: [SecureString, StringList, String]",
            )),
        }
    }
}

/// `NAME` or `NAME:VERSION`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Selector<'a> {
    pub(super) name: &'a str,
    pub(super) version: Option<usize>,
}

impl<'a> Selector<'a> {
    pub(super) fn parse(text: &'a str) -> Result<Self, ServiceError> {
        let Some((name, selector)) = text.rsplit_once(':') else {
            return Ok(Self {
                name: text,
                version: None,
            });
        };
        let version = selector.parse().map_err(|_| {
            ServiceError::validation(
                "the embedded cloud knows no labels of parameters, only versions",
            )
        })?;
        Ok(Self {
            name,
            version: Some(version),
        })
    }
}

impl Parameter {
    /// As `GetParameter` shows it; `None` if there is no such version.
    pub(super) fn show(
        &self,
        request: &Request,
        selector: &Selector<'_>,
        decrypted: bool,
    ) -> Option<Value> {
        let number = selector.version.unwrap_or(self.versions.len());
        let version = self.versions.get(number.checked_sub(1)?)?;
        let value = match (self.kind, decrypted) {
            (Kind::SecureString, false) => concealed(&version.value),
            _ => version.value.clone(),
        };
        let slash = if selector.name.starts_with('/') {
            ""
        } else {
            "/"
        };
        let mut shown = json!({
            "Name": selector.name,
            "Type": self.kind,
            "Value": value,
            "Version": number,
            "LastModifiedDate": version.modified_ms / 1_000,
            "ARN": format!(
                "arn:aws:ssm:{}:{}:parameter{slash}{}",
                request.region, request.account, selector.name
            ),
            "DataType": "text",
        });
        if selector.version.is_some() {
            shown["Selector"] = format!(":{number}").into();
        }
        Some(shown)
    }
}

/// What stands in for the ciphertext: it tells that a value changed, and not what it is.
fn concealed(value: &str) -> String {
    STANDARD.encode(format!("encrypted:{}", Digest::of(value)))
}

/// Parameter Store's rules for names.
pub(super) fn check_name(name: &str) -> Result<(), ServiceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/".contains(c);
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.chars().all(allowed) {
        return Err(ServiceError::validation(
            "Parameter name: can't be prefixed with \"ssm\" (case-insensitive). If formed as a path, it can consist of \
             sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, numbers and the following \
             3 symbols .-_",
        ));
    }
    if name.contains('/') && !name.starts_with('/') {
        return Err(ServiceError::validation(
            "Parameter name must be a fully qualified name.",
        ));
    }
    let first = name.trim_start_matches('/').to_ascii_lowercase();
    if first.starts_with("aws") || first.starts_with("ssm") {
        return Err(ServiceError::validation(
            "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive).",
        ));
    }
    let parts = name.trim_start_matches('/').split('/');
    if parts.clone().any(str::is_empty) || parts.count() > HIERARCHY_LEVELS_MAX {
        return Err(ServiceError::validation(
            "A hierarchy can have a maximum of 15 levels, none of them empty.",
        ));
    }
    Ok(())
}
