//! Events: put, get, filter.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::env;
use crate::local::http::Request;

use super::LogsService;
use super::error::ServiceError;
use super::file::{self, Event, Placed, Position, StreamFile};
use super::filter::Filter;
use super::input::{
    check_stream_text, group_name, group_reference, limit, parse, parse_token, required,
    stream_name, token,
};

/// Limits of one `PutLogEvents` (API reference): events, bytes, and what an event counts for beside its text.
const BATCH_EVENTS_MAX: usize = 10_000;
const BATCH_BYTES_MAX: usize = 1_048_576;
const EVENT_OVERHEAD_BYTES: usize = 26;

const HOUR_MS: u64 = 60 * 60 * 1000;
/// No event may be older than this, or further in the future than that; nor may one batch span more than a day.
const EVENT_AGE_MAX_MS: u64 = 14 * 24 * HOUR_MS;
const EVENT_FUTURE_MAX_MS: u64 = 2 * HOUR_MS;
const BATCH_SPAN_MAX_MS: u64 = 24 * HOUR_MS;

/// Limits of a page of events.
const PAGE_EVENTS_MAX: usize = 10_000;
const PAGE_BYTES_MAX: usize = 1_048_576;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct PutLogEvents {
    log_group_name: Option<String>,
    log_stream_name: Option<String>,
    log_events: Option<Vec<InputEvent>>,
    /// Accepted and ignored, as AWS does since 2023.
    #[serde(rename = "sequenceToken")]
    _sequence_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct InputEvent {
    timestamp: Option<u64>,
    message: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct GetLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name: Option<String>,
    start_time: Option<u64>,
    end_time: Option<u64>,
    next_token: Option<String>,
    limit: Option<i64>,
    start_from_head: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FilterLogEvents {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_names: Option<Vec<String>>,
    log_stream_name_prefix: Option<String>,
    start_time: Option<u64>,
    end_time: Option<u64>,
    filter_pattern: Option<String>,
    next_token: Option<String>,
    limit: Option<i64>,
    /// Results are always interleaved, as AWS's are since 2019.
    #[serde(rename = "interleaved")]
    _interleaved: Option<bool>,
}

/// Where a page of `FilterLogEvents` ends: by time, stream, and position within it.
type FoundKey = (u64, String, u64, usize);

impl LogsService {
    pub(super) fn put_log_events(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: PutLogEvents = parse(request)?;
        let name = group_name(input.log_group_name)?;
        let stream = stream_name(input.log_stream_name)?;
        let events = batch(required(input.log_events, "logEvents")?)?;
        let group = self.group(&request.region, &name)?;
        let now_ms = env::now_ms();

        let too_old =
            events.partition_point(|(time, _)| *time < now_ms.saturating_sub(EVENT_AGE_MAX_MS));
        let expired = events.partition_point(|(time, _)| *time < group.oldest_kept_ms(now_ms));
        let too_new = events.partition_point(|(time, _)| *time <= now_ms + EVENT_FUTURE_MAX_MS);
        let file = StreamFile::new(&self.folder(&group.id), &stream);
        let kept = events
            .get(too_old.max(expired)..too_new)
            .unwrap_or_default();
        let Placed::Written { end } = file.append(kept, now_ms)? else {
            return Err(ServiceError::no_stream());
        };

        let mut body = json!({ "nextSequenceToken": format!("{end:056}") });
        let mut rejected = json!({});
        if too_new < events.len() {
            rejected["tooNewLogEventStartIndex"] = too_new.into();
        }
        if too_old > 0 {
            rejected["tooOldLogEventEndIndex"] = too_old.into();
        }
        if expired > 0 {
            rejected["expiredLogEventEndIndex"] = expired.into();
        }
        if rejected != json!({}) {
            body["rejectedLogEventsInfo"] = rejected;
        }
        Ok(body)
    }

    /// A page that begins where a token says. The tokens lead on in both directions, and the one that leads
    /// nowhere any more is the one that was given.
    pub(super) fn get_log_events(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: GetLogEvents = parse(request)?;
        let name = group_reference(request, input.log_group_name, input.log_group_identifier)?;
        let stream = stream_name(input.log_stream_name)?;
        let size = limit(input.limit, PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?;
        let token = input.next_token.as_deref().map(Token::parse).transpose()?;
        let group = self.group(&request.region, &name)?;
        let file = StreamFile::new(&self.folder(&group.id), &stream);
        let (_, mut events) = file.read()?.ok_or_else(ServiceError::no_stream)?;
        let start_ms = input
            .start_time
            .unwrap_or(0)
            .max(group.oldest_kept_ms(env::now_ms()));
        events.retain(|event| {
            let time = event.position.timestamp_ms;
            time >= start_ms && input.end_time.is_none_or(|end| time < end)
        });

        let forward = match token {
            Some(Token::Forward(_)) => true,
            Some(Token::Backward(_)) => false,
            None => input.start_from_head.unwrap_or(false),
        };
        let page = match token {
            Some(Token::Forward(seen)) => {
                &events[events.partition_point(|event| event.position < seen)..]
            }
            Some(Token::Backward(seen)) => {
                &events[..events.partition_point(|event| event.position < seen)]
            }
            None => &events[..],
        };
        let page = if forward {
            &page[..fitting(page.iter(), size)]
        } else {
            &page[page.len() - fitting(page.iter().rev(), size)..]
        };

        // A forward token is the first position behind the page, a backward token the page's first.
        let (before, behind) = match (page.first(), page.last(), token) {
            (Some(first), Some(last), _) => (first.position, last.position.next()),
            (_, _, Some(Token::Forward(seen) | Token::Backward(seen))) => (seen, seen),
            (_, _, None) => (Position::START, Position::START),
        };
        Ok(json!({
            "events": page
                .iter()
                .map(|event| json!({
                    "timestamp": event.position.timestamp_ms,
                    "message": event.message,
                    "ingestionTime": event.ingested_ms,
                }))
                .collect::<Vec<_>>(),
            "nextForwardToken": Token::Forward(behind).text(),
            "nextBackwardToken": Token::Backward(before).text(),
        }))
    }

    pub(super) fn filter_log_events(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: FilterLogEvents = parse(request)?;
        let name = group_reference(request, input.log_group_name, input.log_group_identifier)?;
        let size = limit(input.limit, PAGE_EVENTS_MAX, PAGE_EVENTS_MAX)?;
        let filter = Filter::parse(input.filter_pattern.as_deref().unwrap_or_default())?;
        let after: Option<FoundKey> = parse_token(input.next_token)?;
        let prefix = input.log_stream_name_prefix.as_deref();
        if let Some(prefix) = prefix {
            check_stream_text(prefix, "logStreamNamePrefix")?;
            if input.log_stream_names.is_some() {
                return Err(ServiceError::parameter(
                    "logStreamNamePrefix and logStreamNames are mutually exclusive parameters.",
                ));
            }
        }
        let group = self.group(&request.region, &name)?;
        let folder = self.folder(&group.id);
        let files = match &input.log_stream_names {
            None => file::streams(&folder)?,
            Some(names) if (1..=100).contains(&names.len()) => names
                .iter()
                .map(|name| StreamFile::new(&folder, name))
                .collect(),
            Some(names) => {
                return Err(ServiceError::constraint(
                    names.len(),
                    "logStreamNames",
                    "have length between 1 and 100",
                ));
            }
        };
        let start_ms = input
            .start_time
            .unwrap_or(0)
            .max(group.oldest_kept_ms(env::now_ms()));

        let mut found: Vec<(FoundKey, Event)> = Vec::new();
        for file in files {
            // Events come at most two hours before their time, so an older file has none of this range. The file
            // may also be gone since the folder was listed.
            match file.written_ms() {
                Ok(written) if written + EVENT_FUTURE_MAX_MS < start_ms => continue,
                Err(_) if input.log_stream_names.is_none() => continue,
                _ => {}
            }
            let (header, events) = match file.read()? {
                Some(read) => read,
                None if input.log_stream_names.is_some() => return Err(ServiceError::no_stream()),
                None => continue,
            };
            if prefix.is_some_and(|prefix| !header.name.starts_with(prefix)) {
                continue;
            }
            for event in events {
                let Position {
                    timestamp_ms,
                    offset,
                    index,
                } = event.position;
                let key = (timestamp_ms, header.name.clone(), offset, index);
                if timestamp_ms >= start_ms
                    && input.end_time.is_none_or(|end| timestamp_ms <= end)
                    && after.as_ref().is_none_or(|after| key > *after)
                    && filter.matches(&event.message)
                {
                    found.push((key, event));
                }
            }
            // Only the first page of what has been found is ever wanted.
            found.sort_by(|(a, _), (b, _)| a.cmp(b));
            found.truncate(size + 1);
        }
        let count = fitting(found.iter().map(|(_, event)| event), size);
        let mut body = json!({
            "events": found[..count]
                .iter()
                .map(|((_, stream, ..), event)| json!({
                    "logStreamName": stream,
                    "timestamp": event.position.timestamp_ms,
                    "message": event.message,
                    "ingestionTime": event.ingested_ms,
                    "eventId": event.position.text(),
                }))
                .collect::<Vec<_>>(),
            "searchedLogStreams": [],
        });
        if count < found.len()
            && let Some((key, _)) = found[..count].last()
        {
            body["nextToken"] = token(key).into();
        }
        Ok(body)
    }
}

/// A batch within AWS's limits.
fn batch(events: Vec<InputEvent>) -> Result<Vec<(u64, String)>, ServiceError> {
    if !(1..=BATCH_EVENTS_MAX).contains(&events.len()) {
        return Err(ServiceError::constraint(
            format!("{} events", events.len()),
            "logEvents",
            if events.is_empty() {
                "have length greater than or equal to 1"
            } else {
                "have length less than or equal to 10000"
            },
        ));
    }
    let mut size_bytes = 0;
    let mut batch: Vec<(u64, String)> = Vec::with_capacity(events.len());
    for (index, event) in events.into_iter().enumerate() {
        let member = |name: &str| format!("logEvents.{}.member.{name}", index + 1);
        let timestamp = required(event.timestamp, &member("timestamp"))?;
        let message = required(event.message, &member("message"))?;
        if message.is_empty() {
            return Err(ServiceError::constraint(
                "",
                &member("message"),
                "have length greater than or equal to 1",
            ));
        }
        size_bytes += message.len() + EVENT_OVERHEAD_BYTES;
        if batch.last().is_some_and(|(last, _)| timestamp < *last) {
            return Err(ServiceError::parameter(
                "Log events in a single PutLogEvents request must be in chronological order.",
            ));
        }
        batch.push((timestamp, message));
    }
    if size_bytes > BATCH_BYTES_MAX {
        return Err(ServiceError::parameter(format!(
            "Upload too large: {size_bytes} bytes exceeds limit of {BATCH_BYTES_MAX}"
        )));
    }
    if let (Some((first, _)), Some((last, _))) = (batch.first(), batch.last())
        && last - first > BATCH_SPAN_MAX_MS
    {
        return Err(ServiceError::parameter(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
        ));
    }
    Ok(batch)
}

/// How many of `events` fit into a page. At least one does, so that paging always comes to an end.
fn fitting<'a>(events: impl Iterator<Item = &'a Event>, size: usize) -> usize {
    let mut size_bytes = 0;
    events
        .take(size)
        .take_while(|event| {
            let fits = size_bytes == 0
                || size_bytes + event.message.len() + EVENT_OVERHEAD_BYTES <= PAGE_BYTES_MAX;
            size_bytes += event.message.len() + EVENT_OVERHEAD_BYTES;
            fits
        })
        .count()
}

/// Where `GetLogEvents` goes on.
#[derive(Debug, Clone, Copy)]
enum Token {
    /// With the event at this position and those behind it.
    Forward(Position),
    /// With the events before this position.
    Backward(Position),
}

impl Token {
    fn text(self) -> String {
        match self {
            Self::Forward(position) => format!("f/{}/s", position.text()),
            Self::Backward(position) => format!("b/{}/s", position.text()),
        }
    }

    fn parse(text: &str) -> Result<Self, ServiceError> {
        let position = |rest: &str| Position::parse(rest.strip_suffix("/s")?);
        let token = match text.split_at_checked(2) {
            Some(("f/", rest)) => position(rest).map(Self::Forward),
            Some(("b/", rest)) => position(rest).map(Self::Backward),
            _ => None,
        };
        token.ok_or_else(|| ServiceError::parameter("The specified nextToken is invalid."))
    }
}
