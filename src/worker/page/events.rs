//! What a page says unasked: signals of the driver, exceptions, lines of its console, its end.

use serde::Deserialize;
use serde_json::Value;

#[cfg(any(test, fuzzing))]
use crate::protocol::{MediaSource, SoundLine};
use crate::protocol::{Playback, SoundSamples};
use crate::worker::artifacts::Artifact;
use crate::worker::cdp::Event;
#[cfg(any(test, fuzzing))]
use crate::worker::sound::{FrameSound, Heard, Report};

/// Console lines that are kept between two looks.
const LOGS_MAX: usize = 200;

/// What the driver says.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Signal {
    pub(super) request: u64,
    #[serde(flatten)]
    pub(super) state: State,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(super) enum State {
    Armed,
    Ready {
        #[serde(default)]
        assets: Vec<Asset>,
        /// Addresses that no earlier frame has named; assets name them by their number.
        #[serde(default)]
        sources: Vec<String>,
    },
    Waiting {
        holds: Vec<String>,
        fonts: bool,
    },
    Cancelled {
        error: String,
    },
    Threw {
        error: String,
    },
    /// What the page asks for beside its picture makes no sense.
    Broken {
        error: String,
    },
}

/// What a frame asks for beside its picture.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Asset {
    /// A file that is heard.
    Media {
        id: String,
        /// Its address, by number.
        source: usize,
        volume: f64,
        media_frame: f64,
        playback: Playback,
    },
    /// Samples that the page made itself.
    Samples(SoundSamples),
    /// A file beside the picture.
    Artifact(Artifact),
    /// Anything else.
    Other { kind: String, name: String },
}

/// Events of one page, filed where they are looked for.
#[derive(Debug, Default)]
pub(super) struct Events {
    signals: Vec<Signal>,
    /// The addresses of media files, in the order in which the page named them.
    pub(super) sources: Vec<String>,
    /// Console lines: level and text.
    pub(super) logs: Vec<(String, String)>,
    /// The first exception the page threw and nobody took yet, with its stack in terms of the page.
    pub(super) exception: Option<String>,
    /// The page's process ended.
    pub(super) crashed: bool,
}

impl Events {
    /// Files an event.
    pub(super) fn take(&mut self, event: Event) {
        match event.method.as_str() {
            "Runtime.bindingCalled" if event.params["name"] == "__rmxSignal" => {
                let payload = event.params["payload"].as_str().unwrap_or_default();
                match serde_json::from_str::<Signal>(payload) {
                    Ok(mut signal) => {
                        if let State::Ready { sources, .. } = &mut signal.state {
                            self.sources.append(sources);
                        }
                        self.signals.push(signal);
                    }
                    // Without its signal the frame would never be done.
                    Err(error) => {
                        let text =
                            format!("what the page says cannot be read: {error}: {payload:.300}");
                        let request = serde_json::from_str::<Value>(payload);
                        match request.ok().and_then(|signal| signal["request"].as_u64()) {
                            Some(request) => self.signals.push(Signal {
                                request,
                                state: State::Broken { error: text },
                            }),
                            None => {
                                self.exception.get_or_insert(text);
                            }
                        }
                    }
                }
            }
            "Runtime.exceptionThrown" => {
                let details = &event.params["exceptionDetails"];
                self.exception
                    .get_or_insert_with(|| exception_text(details));
            }
            "Inspector.targetCrashed" => self.crashed = true,
            "Log.entryAdded" if self.logs.len() < LOGS_MAX => {
                let entry = &event.params["entry"];
                let text = entry["text"].as_str().unwrap_or_default();
                let text = match entry["url"].as_str() {
                    Some(url) => format!("{text} ({url})"),
                    None => text.to_owned(),
                };
                let level = entry["level"].as_str().unwrap_or("info").to_owned();
                self.logs.push((level, text.chars().take(1000).collect()));
            }
            "Runtime.consoleAPICalled" if self.logs.len() < LOGS_MAX => {
                let words: Vec<&str> = event.params["args"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(|word| word["value"].as_str().or(word["description"].as_str()))
                    .collect();
                let text = words.join(" ").chars().take(1000).collect();
                let level = event.params["type"].as_str().unwrap_or("log").to_owned();
                self.logs.push((level, text));
            }
            _ => {}
        }
    }

    /// Takes the earliest signal of `request` that `wanted` accepts; signals of earlier requests are forgotten.
    pub(super) fn signal(
        &mut self,
        request: u64,
        wanted: impl Fn(&State) -> bool,
    ) -> Option<State> {
        self.signals.retain(|signal| signal.request >= request);
        let found = self
            .signals
            .iter()
            .position(|signal| signal.request == request && wanted(&signal.state))?;
        Some(self.signals.remove(found).state)
    }
}

/// Message and stack. A script that cannot be parsed has no stack; then the place is told apart from it.
fn exception_text(details: &Value) -> String {
    let text = details["exception"]["description"]
        .as_str()
        .or(details["text"].as_str())
        .unwrap_or("an exception without a message");
    let place = (
        details["url"].as_str(),
        details["lineNumber"].as_u64(),
        details["columnNumber"].as_u64(),
    );
    match place {
        (Some(url), Some(line), Some(column)) if !text.contains("\n    at ") => {
            let (line, column) = (line.saturating_add(1), column.saturating_add(1));
            format!("{text}\n    at {url}:{line}:{column}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// Lines that are signals of a page, or events of its browser as `["METHOD", PARAMETERS]`. What the page wants heard is
    /// written down, and read as the report that it becomes.
    pub(crate) fn pages(case: crate::fuzzing::Case<'_>) {
        let mut events = Events::default();
        for line in case.0.split(|byte| *byte == b'\n') {
            let event = serde_json::from_slice::<(String, Value)>(line).ok();
            let is_signal = event.is_none();
            let (method, params) = event.unwrap_or_else(|| {
                let payload = String::from_utf8_lossy(line);
                let params = serde_json::json!({"name": "__rmxSignal", "payload": payload});
                ("Runtime.bindingCalled".to_owned(), params)
            });
            let before = events.signals.len();
            events.take(Event { method, params });
            let is_told = events.signals.len() > before || events.exception.is_some();
            assert!(is_told || !is_signal, "a signal is taken or told");
        }
        assert!(events.logs.len() <= LOGS_MAX);
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut report = Report::new(&folder.path().join("report"));
        for (frame, signal) in (0..).zip(events.signals) {
            let mut sound = FrameSound::default();
            let assets = match signal.state {
                State::Ready { assets, .. } => assets,
                _ => Vec::new(),
            };
            for asset in assets {
                match asset {
                    Asset::Samples(samples) => sound.samples.push(samples),
                    Asset::Media {
                        id,
                        source,
                        volume,
                        media_frame,
                        playback,
                    } => sound.heard.push(Heard {
                        id,
                        source: MediaSource::Url(source.to_string()),
                        volume,
                        media_frame,
                        playback,
                    }),
                    Asset::Artifact(artifact) => artifact.check(),
                    Asset::Other { .. } => {}
                }
            }
            report.add(frame, sound).expect("it can be kept");
        }
        if let Some(report) = report.finish().expect("it can be kept") {
            let lines = std::fs::read(report).expect("it was written");
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                let read = serde_json::from_slice::<SoundLine>(line);
                assert!(read.is_ok(), "{read:?}: {}", String::from_utf8_lossy(line));
            }
            Self::reports(crate::fuzzing::Case(&lines));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn signal(request: u64, state: &str) -> Event {
        let payload = json!({"request": request, "state": state}).to_string();
        Event {
            method: "Runtime.bindingCalled".to_owned(),
            params: json!({"name": "__rmxSignal", "payload": payload}),
        }
    }

    #[test]
    fn signals_of_later_requests_are_kept_and_of_earlier_ones_forgotten() {
        let mut events = Events::default();
        for event in [signal(1, "ready"), signal(2, "armed"), signal(3, "armed")] {
            events.take(event);
        }
        assert!(matches!(events.signal(2, |_| true), Some(State::Armed)));
        assert!(events.signal(1, |_| true).is_none(), "it was forgotten");
        assert!(events.signal(3, |_| true).is_some(), "it was kept");
    }

    #[test]
    fn the_first_exception_is_the_one_that_is_told() {
        let mut events = Events::default();
        for text in ["first", "second"] {
            events.take(Event {
                method: "Runtime.exceptionThrown".to_owned(),
                params: json!({"exceptionDetails": {"exception": {"description": text}}}),
            });
        }
        assert_eq!(events.exception.as_deref(), Some("first"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_a_page_signals_it_is_taken_or_told(payload in "\\PC{0,60}|\\{\"request\":[0-9]{1,25},\"state\":\"(armed|ready|waiting)\"(,\"(assets|sources|holds)\":(null|[0-9e.+-]{1,9}|\\[(\\{\"(media|samples|artifact)\":\\{\\}\\}|\"\")\\]))?\\}") {
            let mut events = Events::default();
            events.take(Event {
                method: "Runtime.bindingCalled".to_owned(),
                params: json!({"name": "__rmxSignal", "payload": payload}),
            });
            proptest::prop_assert!(events.signals.len() == 1 || events.exception.is_some());
        }
    }

    #[test]
    fn a_script_that_cannot_be_parsed_is_told_with_its_place() {
        let details = json!({
            "exception": {"description": "SyntaxError: Unexpected token"},
            "url": "http://localhost/page.js", "lineNumber": 4, "columnNumber": 9,
        });
        assert_eq!(
            exception_text(&details),
            "SyntaxError: Unexpected token\n    at http://localhost/page.js:5:10"
        );
    }
}
