//! The ways a client may name a function: name, partial ARN, full ARN, each with or without a qualifier.

use crate::names::{AccountId, FunctionName, Region};

use super::error::ServiceError;

/// A function and which of its versions is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: FunctionName,
    /// A version number, an alias or `$LATEST`; `None` where the client named none.
    pub(super) qualifier: Option<String>,
}

/// Where functions live: what stands in their ARNs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) region: Region,
    pub(crate) account: AccountId,
}

impl Place {
    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`.
    pub(super) fn function_arn(&self, name: &FunctionName) -> String {
        format!(
            "arn:aws:lambda:{}:{}:function:{name}",
            self.region, self.account
        )
    }

    /// The ARN with its qualifier, if there is one.
    pub(super) fn arn(&self, reference: &Reference) -> String {
        let arn = self.function_arn(&reference.name);
        match &reference.qualifier {
            Some(qualifier) => format!("{arn}:{qualifier}"),
            None => arn,
        }
    }

    /// Reads what a client wrote in the path (`text`) and in the query (`qualifier`).
    pub(super) fn resolve(
        &self,
        text: &str,
        qualifier: Option<&str>,
    ) -> Result<Reference, ServiceError> {
        let invalid = || {
            ServiceError::constraint(
                text,
                "functionName",
                "satisfy regular expression pattern: \
                 (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\\d{1}:)?(\\d{12}:)?\
                 (function:)?([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
            )
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (owner, name, inner) = match parts.as_slice() {
            [
                "arn",
                _,
                "lambda",
                region,
                account,
                "function",
                name,
                inner @ ..,
            ] => {
                if *region != self.region.as_str() {
                    return Err(ServiceError::parameter(format!(
                        "Functions from '{region}' are not reachable in this region ('{}')",
                        self.region
                    )));
                }
                (Some(*account), *name, inner)
            }
            [account, "function", name, inner @ ..] => (Some(*account), *name, inner),
            ["function", name, inner @ ..] | [name, inner @ ..] => (None, *name, inner),
            [] => return Err(invalid()),
        };
        let inner = match inner {
            [] => None,
            [one] => Some(*one),
            _ => return Err(invalid()),
        };
        let name: FunctionName = name.parse().map_err(|_| invalid())?;
        let qualifier = match (inner, qualifier) {
            (Some(inner), Some(outer)) if inner != outer => {
                return Err(ServiceError::parameter(
                    "The derived qualifier from the function name does not match the specified qualifier.",
                ));
            }
            (inner, outer) => inner.or(outer).map(str::to_owned),
        };
        if let Some(qualifier) = &qualifier
            && qualifier != "$LATEST"
            && (qualifier.is_empty()
                || qualifier.len() > 128
                || !qualifier
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'))
        {
            return Err(ServiceError::constraint(
                qualifier,
                "qualifier",
                "satisfy regular expression pattern: (|[a-zA-Z0-9$_-]+)",
            ));
        }
        let reference = Reference { name, qualifier };
        match owner {
            Some(account) if account != self.account.as_str() => Err(ServiceError::not_found(text)),
            _ => Ok(reference),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_to_name_a_function() {
        let place = Place {
            region: "eu-central-1".parse().unwrap(),
            account: "123456789012".parse().unwrap(),
        };
        let full = "arn:aws:lambda:eu-central-1:123456789012:function:f";
        for text in [full, "123456789012:function:f", "function:f", "f"] {
            let plain = place.resolve(text, None).unwrap();
            assert_eq!(
                (plain.name.as_str(), &plain.qualifier),
                ("f", &None),
                "{text}"
            );
            let live = place
                .resolve(&format!("{text}:live"), Some("live"))
                .unwrap();
            assert_eq!(place.arn(&live), format!("{full}:live"));
        }
        assert!(place.resolve("f:1", Some("2")).is_err());
        assert!(place.resolve("a b", None).is_err());
        assert!(place.resolve("f", Some("a/b")).is_err());
        assert!(
            place
                .resolve("arn:aws:lambda:eu-west-1:123456789012:function:f", None)
                .is_err()
        );
    }
}
