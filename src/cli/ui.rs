//! What the user sees: data on standard output, everything else on standard error, colours only where wanted.
//!
//! Texts must be understandable without colour. The `--json` output of a verb is data and goes to standard output.

use std::ffi::OsString;
use std::fmt::Display;
use std::io::{self, BufRead as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde_json::Value;

use crate::env::Env;

use super::error::{CommandError, CommandErrorKind};

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How a piece of text stands out on a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// Bold.
    Bold,
    /// Red: destroyed, wrong.
    Red,
    /// Green: created, fine.
    Green,
    /// Yellow: changed, a warning.
    Yellow,
    /// Cyan: a hint.
    Cyan,
    /// Dim: of less interest.
    Dim,
}

impl Style {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Red => "1;31",
            Self::Green => "1;32",
            Self::Yellow => "1;33",
            Self::Cyan => "1;36",
            Self::Dim => "2",
        }
    }
}

/// The user's eyes and ears.
#[derive(Debug, Clone)]
pub(crate) struct Ui {
    json: bool,
    color_stdout: bool,
    color_stderr: bool,
    stdin_is_terminal: bool,
    stderr_is_terminal: bool,
    stream: Arc<Stream>,
}

/// What tells the lines of one run's event stream apart from those of another, and from each other.
#[derive(Debug)]
struct Stream {
    run_id: String,
    lines: AtomicU64,
}

impl Stream {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            run_id: uuid::Uuid::new_v4().to_string(),
            lines: AtomicU64::new(0),
        })
    }
}

impl Ui {
    /// Decides from the surroundings and from the raw arguments, before they are parsed.
    pub(super) fn new(env: &Env, arguments: &[OsString]) -> Self {
        let (json, choice) = scan(arguments);
        let wanted = |is_terminal: bool| match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                is_terminal
                    && env.variable("NO_COLOR").is_none()
                    && env.variable("TERM") != Some("dumb")
            }
        };
        Self {
            json,
            color_stdout: wanted(env.stdout_is_terminal),
            color_stderr: wanted(env.stderr_is_terminal),
            stdin_is_terminal: env.stdin_is_terminal,
            stderr_is_terminal: env.stderr_is_terminal,
            stream: Stream::new(),
        }
    }

    /// No colours, no questions.
    pub(super) fn plain() -> Self {
        Self {
            json: false,
            color_stdout: false,
            color_stderr: false,
            stdin_is_terminal: false,
            stderr_is_terminal: false,
            stream: Stream::new(),
        }
    }

    pub(super) fn with_json(self, json: bool) -> Self {
        Self { json, ..self }
    }

    /// Whether `--json` was given.
    pub(crate) fn json(&self) -> bool {
        self.json
    }

    /// Whether text on standard output is coloured.
    pub(crate) fn colors_stdout(&self) -> bool {
        self.color_stdout
    }

    /// Whether text on standard error is coloured.
    pub(crate) fn colors_stderr(&self) -> bool {
        self.color_stderr
    }

    /// Whether progress bars make sense; plain lines otherwise.
    pub(crate) fn shows_progress_bars(&self) -> bool {
        self.stderr_is_terminal && !self.json
    }

    /// `text` styled for standard output.
    pub(crate) fn paint(&self, style: Style, text: impl Display) -> String {
        paint(self.color_stdout, style, text)
    }

    /// `text` styled for standard error.
    pub(crate) fn paint_stderr(&self, style: Style, text: impl Display) -> String {
        paint(self.color_stderr, style, text)
    }

    /// Data: a line on standard output.
    ///
    /// # Errors
    /// Standard output is closed (which ends rmx quietly) or cannot be written to.
    pub(crate) fn print(&self, text: impl Display) -> Result<(), CommandError> {
        self.print_raw(&format!("{text}\n"))
    }

    /// Data: one JSON document on one line of standard output.
    ///
    /// # Errors
    /// As for [`Ui::print`].
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<(), CommandError> {
        let text = serde_json::to_string(value).map_err(|error| {
            CommandError::new(CommandErrorKind::Internal, "Cannot write JSON").cause(error)
        })?;
        self.print(text)
    }

    /// One line of an event stream on standard output, with the run's id and its own number in the run.
    ///
    /// # Errors
    /// As for [`Ui::print`].
    pub(crate) fn print_event(&self, mut event: Value) -> Result<(), CommandError> {
        // The number is taken while nobody else can print, so that lines come in its order.
        let _stdout = io::stdout().lock();
        event["run_id"] = self.stream.run_id.as_str().into();
        event["seq"] = self.stream.lines.fetch_add(1, Ordering::Relaxed).into();
        self.print_json(&event)
    }

    /// Data as it is, without a line break at its end.
    ///
    /// # Errors
    /// As for [`Ui::print`].
    pub(crate) fn print_raw(&self, text: &str) -> Result<(), CommandError> {
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .map_err(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => {
                    CommandError::new(CommandErrorKind::BrokenPipe, "Standard output is closed")
                }
                _ => CommandError::error("Cannot write to standard output").cause(error),
            })
    }

    /// Anything that is not data: a line on standard error. Nobody listening is no error.
    pub(crate) fn say(&self, text: impl Display) {
        drop(writeln!(io::stderr().lock(), "{text}"));
    }

    /// A warning on standard error.
    pub(crate) fn warn(&self, text: impl Display) {
        self.say(format_args!(
            "{} {text}",
            self.paint_stderr(Style::Yellow, "Warning:")
        ));
    }

    /// Asks a question; only `yes` is a yes. `flag` is what to pass instead where nobody can be asked.
    ///
    /// # Errors
    /// Standard input is no terminal, or cannot be read.
    pub(crate) async fn confirm(&self, question: &str, flag: &str) -> Result<bool, CommandError> {
        if !self.stdin_is_terminal || self.json {
            return Err(
                CommandError::usage("Nobody can be asked for a confirmation")
                    .detail(format!(
                        "The question is: {question} Standard input is not a terminal, or --json was given."
                    ))
                    .hint(format!("pass {flag} to go on without a question")),
            );
        }
        drop(write!(
            io::stderr().lock(),
            "{}\n  Only `yes` is taken as a yes.\n\n  > ",
            self.paint_stderr(Style::Bold, question)
        ));
        // Not on this thread: Ctrl-C has to end the waiting.
        let read = tokio::task::spawn_blocking(|| {
            let mut answer = String::new();
            io::stdin().lock().read_line(&mut answer).map(|_| answer)
        });
        let answer = read
            .await
            .map_err(io::Error::from)
            .and_then(|answer| answer)
            .map_err(|error| CommandError::error("Cannot read the answer").cause(error))?;
        Ok(answer.trim() == "yes")
    }
}

fn paint(color: bool, style: Style, text: impl Display) -> String {
    if color {
        format!("\u{1b}[{}m{text}\u{1b}[0m", style.code())
    } else {
        text.to_string()
    }
}

/// `--json` and `--color` as far as they can be told without parsing; clap reports what is wrong with them.
fn scan(arguments: &[OsString]) -> (bool, ColorChoice) {
    let mut json = false;
    let mut choice = ColorChoice::Auto;
    let mut words = arguments
        .iter()
        .skip(1)
        .map(|word| word.to_str().unwrap_or_default())
        .take_while(|word| *word != "--");
    while let Some(word) = words.next() {
        let color = match word {
            "--json" => {
                json = true;
                None
            }
            "--color" => words.next(),
            _ => word.strip_prefix("--color="),
        };
        match color {
            Some("always") => choice = ColorChoice::Always,
            Some("never") => choice = ColorChoice::Never,
            _ => {}
        }
    }
    (json, choice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(words: &[&str]) -> (bool, ColorChoice) {
        scan(&words.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn json_and_colour_are_known_before_parsing() {
        assert_eq!(scanned(&["rmx", "plan"]), (false, ColorChoice::Auto));
        assert_eq!(
            scanned(&["rmx", "--color", "never", "plan", "--json"]),
            (true, ColorChoice::Never)
        );
        assert_eq!(
            scanned(&["rmx", "--color=always"]),
            (false, ColorChoice::Always)
        );
        assert_eq!(
            scanned(&["rmx", "x", "--", "--json"]),
            (false, ColorChoice::Auto)
        );
    }

    #[tokio::test]
    async fn nobody_is_asked_without_a_terminal() {
        let error = Ui::plain()
            .confirm("Apply?", "--auto-approve")
            .await
            .unwrap_err();
        assert!(
            error
                .render(&Ui::plain())
                .contains("hint: pass --auto-approve")
        );
    }
}
