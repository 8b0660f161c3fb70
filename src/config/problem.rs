//! What is wrong with a file, where, and what would be right: as text with the source line, and as JSON.

use std::fmt;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde_json::{Value, json};

use super::tree::Span;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// One line: what is wrong.
    pub(super) summary: String,
    /// Where. `None`: with the file as a whole.
    pub(super) span: Option<Span>,
    /// What stands at that place.
    pub(super) label: String,
    /// Another place that belongs to it.
    pub(super) other: Option<(Span, String)>,
    /// What is allowed, or what to do.
    pub(super) help: Option<String>,
}

impl Problem {
    pub(super) fn new(summary: impl Into<String>, span: &Span, label: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            span: Some(span.clone()),
            label: label.into(),
            other: None,
            help: None,
        }
    }

    pub(super) fn whole_file(summary: impl Into<String>) -> Self {
        Self {
            summary: summary.into(),
            span: None,
            label: String::new(),
            other: None,
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    pub(super) fn other(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.other = Some((span.clone(), label.into()));
        self
    }
}

/// Everything that is wrong with one file, in the order of the file. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems {
    /// The file's name as the user wrote it.
    pub(super) file: String,
    /// The file's text.
    pub(super) text: String,
    pub(super) list: Vec<Problem>,
}

impl Problems {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.list.len()
    }

    /// One text a problem: what, where with the source line, what is allowed.
    pub fn render(&self, color: bool) -> Vec<String> {
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        self.list
            .iter()
            .map(|problem| renderer.render(&[self.group(problem)]))
            .collect()
    }

    fn group<'a>(&'a self, problem: &'a Problem) -> Group<'a> {
        let title = Level::ERROR.primary_title(&problem.summary);
        let mut group = Group::with_title(title);
        if let Some(span) = &problem.span {
            let mut snippet = Snippet::source(&self.text).path(&self.file).annotation(
                AnnotationKind::Primary
                    .span(span.clone())
                    .label(&problem.label),
            );
            if let Some((span, label)) = &problem.other {
                snippet =
                    snippet.annotation(AnnotationKind::Context.span(span.clone()).label(label));
            }
            group = group.element(snippet);
        } else {
            group = group.element(Origin::path(&self.file));
        }
        match &problem.help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }

    /// One object a problem, of the shape of Terraform's `validate -json`.
    pub fn diagnostics(&self) -> Vec<Value> {
        self.list
            .iter()
            .map(|problem| {
                let mut diagnostic = json!({
                    "severity": "error",
                    "summary": problem.summary,
                    "detail": problem.label,
                    "help": problem.help,
                    "range": {"filename": self.file},
                });
                if let Some(span) = &problem.span {
                    diagnostic["range"]["start"] = self.position(span.start);
                    diagnostic["range"]["end"] = self.position(span.end);
                    let (line, _) = self.line_and_column(span.start);
                    diagnostic["snippet"] = json!({
                        "code": self.text.lines().nth(line - 1).unwrap_or_default(),
                        "start_line": line,
                    });
                }
                diagnostic
            })
            .collect()
    }

    fn position(&self, byte: usize) -> Value {
        let (line, column) = self.line_and_column(byte);
        json!({"line": line, "column": column, "byte": byte})
    }

    /// Both from 1; columns are characters.
    fn line_and_column(&self, byte: usize) -> (usize, usize) {
        line_and_column(&self.text, byte)
    }
}

pub(super) fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte.min(text.len())).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false).join("\n\n"))
    }
}
