//! Constraints that several operations share: names, paths, tags, pages.

use std::collections::BTreeMap;

use crate::local::query::{Input, QueryError, Xml, member};

/// Tags that one role may have.
const TAGS_MAX: usize = 50;

/// Rows of a page where the request names no `MaxItems`, and the most it may name. IAM may answer with fewer than its 100, and
/// here it does: who takes the first page for everything is to notice.
const PAGE_ROWS_DEFAULT: u32 = 2;
const PAGE_ROWS_MAX: u32 = 1000;

/// Takes the name of a role (1 to 64 characters) or of a policy (1 to 128).
pub(super) fn name(input: &mut Input, parameter: &str) -> Result<String, QueryError> {
    let text = input.required(parameter)?;
    let length_max = if parameter == "RoleName" { 64 } else { 128 };
    check_length(&text, parameter, 1, length_max)?;
    if !text
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c))
    {
        return Err(QueryError::new(
            400,
            "ValidationError",
            format!(
                "The specified value for {} is invalid. It must contain only alphanumeric characters and/or \
                 the following: +=,.@_-",
                member(parameter)
            ),
        ));
    }
    Ok(text)
}

/// Takes a path: `/`, or texts between slashes.
pub(super) fn path(input: &mut Input) -> Result<String, QueryError> {
    let path = input.take("Path").unwrap_or_else(|| "/".to_owned());
    check_length(&path, "Path", 1, 512)?;
    let inner = path.bytes().all(|byte| (0x21..=0x7e).contains(&byte));
    if !(path == "/" || inner && path.len() > 2 && path.starts_with('/') && path.ends_with('/')) {
        return Err(QueryError::new(
            400,
            "ValidationError",
            "The specified value for path is invalid. It must begin and end with / and contain only \
             alphanumeric characters and/or / characters.",
        ));
    }
    Ok(path)
}

/// Takes a description.
pub(super) fn description(input: &mut Input) -> Result<Option<String>, QueryError> {
    let Some(text) = input.take("Description") else {
        return Ok(None);
    };
    check_length(&text, "Description", 0, 1000)?;
    let allowed =
        |c: char| matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{7e}' | '\u{a1}'..='\u{ff}');
    if !text.chars().all(allowed) {
        return Err(QueryError::constraint(
            &text,
            "description",
            "satisfy regular expression pattern: [\\u0009\\u000A\\u000D\\u0020-\\u007E\\u00A1-\\u00FF]*",
        ));
    }
    Ok(Some(text))
}

/// Takes tags and adds them to `tags`, within AWS's limits.
pub(super) fn merge_tags(
    tags: &mut BTreeMap<String, String>,
    added: &[(String, String)],
) -> Result<(), QueryError> {
    let mut seen = Vec::new();
    for (key, value) in added {
        check_length(key, "Tags.member.Key", 1, 128)?;
        check_length(value, "Tags.member.Value", 0, 256)?;
        let allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-@".contains(c);
        if let Some(text) = [key, value]
            .into_iter()
            .find(|text| !text.chars().all(allowed))
        {
            return Err(QueryError::constraint(
                text,
                "tags",
                "satisfy regular expression pattern: [\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]+",
            ));
        }
        let lower = key.to_lowercase();
        if lower.starts_with("aws:") {
            return Err(QueryError::new(
                400,
                "InvalidInput",
                format!("Tag key {key} begins with the reserved prefix aws:."),
            ));
        }
        if seen.contains(&lower) {
            return Err(QueryError::new(
                400,
                "InvalidInput",
                "Duplicate tag keys found. Please note that Tag keys are case insensitive.",
            ));
        }
        seen.push(lower);
    }
    let mut merged = tags.clone();
    for (key, value) in added {
        // Keys keep the case they are written in, but ignore it when they are compared.
        merged.retain(|old, _| old.to_lowercase() != key.to_lowercase());
        merged.insert(key.clone(), value.clone());
    }
    if merged.len() > TAGS_MAX {
        return Err(QueryError::new(
            409,
            "LimitExceeded",
            format!("The number of tags has reached the maximum limit of {TAGS_MAX}."),
        ));
    }
    *tags = merged;
    Ok(())
}

/// Which rows of a list are wanted.
#[derive(Debug)]
pub(super) struct Page {
    size: usize,
    /// The last row of the page before.
    after: Option<String>,
}

impl Page {
    /// Takes `MaxItems` and `Marker`.
    pub(super) fn take(input: &mut Input) -> Result<Self, QueryError> {
        let size = input.number("MaxItems")?.unwrap_or(PAGE_ROWS_DEFAULT);
        if !(1..=PAGE_ROWS_MAX).contains(&size) {
            let bound = if size == 0 {
                "have value greater than or equal to 1"
            } else {
                "have value less than or equal to 1000"
            };
            return Err(QueryError::constraint(size, "maxItems", bound));
        }
        Ok(Self {
            size: usize::try_from(size).unwrap_or(usize::MAX),
            after: input.take("Marker"),
        })
    }

    /// The page of `rows`, which are in the order of their names, as list `name`.
    pub(super) fn of<'a, T>(
        &self,
        name: &str,
        rows: impl Iterator<Item = (&'a String, T)>,
        mut content: impl FnMut(&mut Xml, &'a String, T),
    ) -> Xml {
        let mut rows = rows.filter(|(key, _)| self.after.as_ref().is_none_or(|after| *key > after));
        let page: Vec<_> = rows.by_ref().take(self.size).collect();
        let more = rows.next().is_some();
        let last = page.last().map(|(key, _)| (*key).clone());
        let mut xml = Xml::default();
        xml.list(name, page, |xml, (key, row)| content(xml, key, row))
            .text("IsTruncated", more);
        if let (true, Some(last)) = (more, last) {
            xml.text("Marker", last);
        }
        xml
    }
}

/// A text's length within its bounds.
pub(super) fn check_length(
    text: &str,
    parameter: &str,
    min: usize,
    max: usize,
) -> Result<(), QueryError> {
    let length = text.chars().count();
    let bound = if length < min {
        format!("have length greater than or equal to {min}")
    } else if length > max {
        format!("have length less than or equal to {max}")
    } else {
        return Ok(());
    };
    Err(QueryError::constraint(text, &member(parameter), &bound))
}
