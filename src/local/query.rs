//! The `awsQuery` protocol, which IAM and STS speak: a form in, XML out.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};
use std::io;

use http::{Response, StatusCode};

use super::http::{Body, Request, answer};

/// Members of a list that are read at most. Longer lists are refused by their operations' own limits.
const MEMBERS_MAX: usize = 1000;

/// A refusal, in the protocol's shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueryError {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
}

impl QueryError {
    pub(super) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::from_u16(status).expect("statuses are written here as literals"),
            code,
            message: message.into(),
        }
    }

    /// A value outside the constraint of the API model, in the words AWS uses.
    pub(super) fn constraint(value: impl Display, member: &str, constraint: &str) -> Self {
        Self::new(
            400,
            "ValidationError",
            format!(
                "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
                 Member must {constraint}"
            ),
        )
    }

    /// An operation that AWS has and the embedded cloud has not.
    pub(super) fn not_implemented(service: &str, operation: &str) -> Self {
        if operation.is_empty() {
            return Self::new(400, "MissingAction", "The request names no operation.");
        }
        Self::new(
            501,
            "NotImplemented",
            format!("the embedded cloud does not implement {service} {operation}"),
        )
    }
}

impl From<io::Error> for QueryError {
    fn from(error: io::Error) -> Self {
        Self::new(
            500,
            "ServiceFailure",
            format!("the embedded cloud's data folder: {error}"),
        )
    }
}

/// The parameters of a request. What an operation does not take is refused by name, never ignored.
#[derive(Debug)]
pub(super) struct Input {
    /// What the client wants.
    pub(super) operation: String,
    parameters: BTreeMap<String, String>,
}

impl Input {
    /// The request's form; a client may also put it in the query.
    pub(super) fn of(request: &Request) -> Self {
        let mut parameters = request.form();
        parameters.extend(request.query.iter().cloned());
        parameters.remove("Version");
        Self {
            operation: parameters.remove("Action").unwrap_or_default(),
            parameters,
        }
    }

    /// Takes an optional parameter.
    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        self.parameters.remove(name)
    }

    /// Takes a parameter that AWS requires.
    pub(super) fn required(&mut self, name: &str) -> Result<String, QueryError> {
        self.take(name).ok_or_else(|| {
            QueryError::new(
                400,
                "ValidationError",
                format!(
                    "1 validation error detected: Value null at '{}' failed to satisfy constraint: \
                     Member must not be null",
                    member(name)
                ),
            )
        })
    }

    /// Takes an optional number.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u32>, QueryError> {
        self.take(name)
            .map(|text| {
                text.parse().map_err(|_| {
                    QueryError::new(
                        400,
                        "MalformedInput",
                        format!("'{text}' at '{}' is not a number", member(name)),
                    )
                })
            })
            .transpose()
    }

    /// Takes a list of texts: `NAME.member.1`, `NAME.member.2`, ...
    pub(super) fn list(&mut self, name: &str) -> Vec<String> {
        // An empty list is the bare name.
        self.take(name);
        (1..=MEMBERS_MAX)
            .map_while(|index| self.take(&format!("{name}.member.{index}")))
            .collect()
    }

    /// Takes a list of tags: `Tags.member.1.Key`, `Tags.member.1.Value`, ...
    pub(super) fn tags(&mut self) -> Vec<(String, String)> {
        self.take("Tags");
        (1..=MEMBERS_MAX)
            .map_while(|index| {
                let key = self.take(&format!("Tags.member.{index}.Key"))?;
                let value = self.take(&format!("Tags.member.{index}.Value"));
                Some((key, value.unwrap_or_default()))
            })
            .collect()
    }

    /// Every parameter has been taken.
    pub(super) fn finish(self) -> Result<(), QueryError> {
        match self.parameters.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(QueryError::new(
                400,
                "ValidationError",
                format!(
                    "the embedded cloud does not support the parameter {name} of {}",
                    self.operation
                ),
            )),
        }
    }
}

/// A member's name as messages have it: `RoleName` is `roleName`.
pub(super) fn member(name: &str) -> String {
    let mut characters = name.chars();
    characters
        .next()
        .map(|first| first.to_ascii_lowercase())
        .into_iter()
        .chain(characters)
        .collect()
}

/// A result document under construction.
#[derive(Debug, Default)]
pub(super) struct Xml(String);

impl Xml {
    /// Adds `<NAME>text</NAME>`.
    pub(super) fn text(&mut self, name: &str, text: impl Display) -> &mut Self {
        let escaped = escape(&text.to_string());
        write!(self.0, "<{name}>{escaped}</{name}>").expect("writing to a String cannot fail");
        self
    }

    /// Adds an element with what `content` adds.
    pub(super) fn element(&mut self, name: &str, content: impl FnOnce(&mut Self)) -> &mut Self {
        write!(self.0, "<{name}>").expect("writing to a String cannot fail");
        content(self);
        write!(self.0, "</{name}>").expect("writing to a String cannot fail");
        self
    }

    /// Adds a list: `<NAME><member>...</member>...</NAME>`.
    pub(super) fn list<T>(
        &mut self,
        name: &str,
        rows: impl IntoIterator<Item = T>,
        mut content: impl FnMut(&mut Self, T),
    ) -> &mut Self {
        self.element(name, |xml| {
            for row in rows {
                xml.element("member", |xml| content(xml, row));
            }
        })
    }

    /// Adds `text` to the element that is open.
    pub(super) fn bare(&mut self, text: impl Display) {
        self.0.push_str(&escape(&text.to_string()));
    }
}

/// The answer to a request: the operation's result, or a refusal.
pub(super) fn respond(
    namespace: &str,
    operation: &str,
    request_id: &str,
    result: Result<Option<Xml>, QueryError>,
) -> Response<Body> {
    let metadata = format!(
        "<ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>",
        escape(request_id)
    );
    match result {
        Ok(result) => {
            let result = result.map_or_else(String::new, |xml| {
                format!("<{operation}Result>{}</{operation}Result>", xml.0)
            });
            let body = format!(
                "<{operation}Response xmlns=\"{namespace}\">{result}{metadata}</{operation}Response>"
            );
            answer(StatusCode::OK, "text/xml", body)
        }
        Err(error) => {
            let side = if error.status.is_server_error() {
                "Receiver"
            } else {
                "Sender"
            };
            let body = format!(
                "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{side}</Type><Code>{}</Code>\
                 <Message>{}</Message></Error><RequestId>{}</RequestId></ErrorResponse>",
                error.code,
                escape(&error.message),
                escape(request_id)
            );
            answer(error.status, "text/xml", body)
        }
    }
}

/// `text` as XML 1.0 can hold it: markup escaped, and characters that XML cannot express replaced. Line breaks are
/// escaped too, since a parser would make every one of them a line feed.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\r' => escaped.push_str("&#xD;"),
            '\t' | '\n' => escaped.push(character),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_cannot_break_out_of_its_element() {
        let mut xml = Xml::default();
        xml.element("Role", |xml| {
            xml.text("Description", "<a> & \"b\"\u{1}\r\n");
        });
        assert_eq!(
            xml.0,
            "<Role><Description>&lt;a&gt; &amp; &quot;b&quot;\u{fffd}&#xD;\n</Description></Role>"
        );
    }
}
