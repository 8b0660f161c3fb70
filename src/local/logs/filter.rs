//! Filter patterns: the part for unstructured events ("Filter pattern syntax" of the CloudWatch Logs user guide).
//!
//! All plain terms must occur; of terms with `?` one must; a term with `-` must not. A term is a word, or a phrase in
//! double quotes. Case matters. Patterns for JSON and for space-delimited events, regular expressions, and `?` beside
//! other terms (of which AWS says that it is ignored) are refused.

use super::error::ServiceError;

/// The longest pattern AWS takes.
const PATTERN_CHARACTERS_MAX: usize = 1024;

/// A parsed pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Filter {
    all: Vec<String>,
    any: Vec<String>,
    none: Vec<String>,
}

impl Filter {
    /// Reads a pattern; an empty one matches every event.
    pub(super) fn parse(pattern: &str) -> Result<Self, ServiceError> {
        if pattern.chars().count() > PATTERN_CHARACTERS_MAX {
            return Err(ServiceError::constraint(
                pattern,
                "filterPattern",
                "have length less than or equal to 1024",
            ));
        }
        let mut filter = Self::default();
        let mut rest = pattern.trim();
        match rest.chars().next() {
            Some('{') => {
                return Err(ServiceError::unsupported(
                    "filter patterns for JSON (`{ ... }`)",
                ));
            }
            Some('[') => {
                return Err(ServiceError::unsupported(
                    "filter patterns for space-delimited events (`[ ... ]`)",
                ));
            }
            _ => {}
        }
        while !rest.is_empty() {
            let (terms, text) = match rest.chars().next() {
                Some('?') => (&mut filter.any, &rest[1..]),
                Some('-') => (&mut filter.none, &rest[1..]),
                _ => (&mut filter.all, rest),
            };
            let (term, behind) = term(text).ok_or_else(|| invalid(pattern))?;
            terms.push(term);
            rest = behind.trim_start();
        }
        if !filter.any.is_empty() && (!filter.all.is_empty() || !filter.none.is_empty()) {
            return Err(ServiceError::unsupported(
                "filter patterns with `?` terms beside other terms",
            ));
        }
        Ok(filter)
    }

    /// Whether an event is wanted.
    pub(super) fn matches(&self, message: &str) -> bool {
        let has = |term: &String| occurs(message, term);
        self.all.iter().all(has)
            && (self.any.is_empty() || self.any.iter().any(has))
            && !self.none.iter().any(has)
    }
}

/// The first term of `text`, and what is behind it.
fn term(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let mut term = String::new();
        let mut characters = quoted.char_indices();
        while let Some((index, character)) = characters.next() {
            match character {
                '"' => return (!term.is_empty()).then(|| (term, &quoted[index + 1..])),
                '\\' => term.push(characters.next()?.1),
                other => term.push(other),
            }
        }
        return None;
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (word, behind) = text.split_at(end);
    // Anything but letters, digits and `_` has to be quoted.
    let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || c == '_');
    plain.then(|| (word.to_owned(), behind))
}

/// Whether `term` occurs in `message` as whole words: `ERROR` does not occur in `ERRORS`.
fn occurs(message: &str, term: &str) -> bool {
    let joins = |a: Option<char>, b: Option<char>| {
        let word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        word(a) && word(b)
    };
    message.match_indices(term).any(|(start, found)| {
        let before = message[..start].chars().next_back();
        let behind = message[start + found.len()..].chars().next();
        !joins(before, term.chars().next()) && !joins(term.chars().next_back(), behind)
    })
}

fn invalid(pattern: &str) -> ServiceError {
    if pattern.contains('%') && !pattern.contains('"') {
        return ServiceError::unsupported("filter patterns with regular expressions (`%...%`)");
    }
    ServiceError::parameter(format!(
        "Invalid filter pattern '{pattern}': put terms with characters other than letters and digits in double quotes"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_phrases_alternatives_and_exclusions() {
        for (pattern, message, wanted) in [
            ("", "anything", true),
            ("ERROR", "[ERROR 400] BAD REQUEST", true),
            ("ERROR", "[error 400]", false),
            ("ERROR", "ERRORS", false),
            ("ERROR REQUEST", "[ERROR 401] UNAUTHORIZED REQUEST", true),
            ("ERROR REQUEST", "[ERROR 401]", false),
            ("\"BAD REQUEST\"", "[ERROR 400] BAD REQUEST", true),
            ("\"REQUEST BAD\"", "[ERROR 400] BAD REQUEST", false),
            ("\"a \\\"b\\\"\"", "a \"b\" c", true),
            ("?ERROR ?WARN", "a WARN", true),
            ("?ERROR ?WARN", "an INFO", false),
            ("ERROR -\"exit code\"", "ERROR: exit code 1", false),
            ("ERROR -\"exit code\"", "ERROR: killed", true),
            ("-ERROR", "fine", true),
        ] {
            let filter = Filter::parse(pattern).unwrap();
            assert_eq!(filter.matches(message), wanted, "{pattern} {message}");
        }
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for (pattern, says) in [
            ("{ $.level = \"error\" }", "for JSON"),
            ("[ip, user]", "space-delimited"),
            ("%ERR.R%", "regular expressions"),
            ("?ERROR INFO", "`?` terms beside other"),
            ("a:b", "double quotes"),
            ("\"open", "double quotes"),
            ("\"\"", "double quotes"),
            ("-", "double quotes"),
        ] {
            let refused = Filter::parse(pattern).unwrap_err();
            assert!(
                refused.message.contains(says),
                "{pattern}: {}",
                refused.message
            );
        }
    }
}
