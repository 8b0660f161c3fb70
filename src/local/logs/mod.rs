//! The embedded cloud's CloudWatch Logs.
//!
//! ```text
//! logs-REGION.json              every log group and its settings
//! logs/GROUP-ID/STREAM-HASH     one file a log stream: a header line, then one line a batch of events
//! ```
//!
//! Events are only ever appended, under a kernel lock on the stream's file, so several processes may write to one
//! stream. A group's folder is named by an id that is never used again: whoever still appends to a group that has
//! been deleted finds no folder and is told so, and cannot write into a new group of the same name.

mod error;
mod events;
mod file;
#[cfg(test)]
mod file_tests;
mod filter;
mod groups;
mod input;
mod model;
mod permissions;
mod streams;
#[cfg(test)]
mod tests;

use std::io;

use http::{Response, StatusCode};
use serde_json::Value;

use crate::env;
use crate::local::http::{Body, Request, answer};
use crate::local::store::Store;
use crate::names::{LogGroupName, Region};

use error::{CONTENT_TYPE, Kind, ServiceError};
use file::{Placed, StreamFile};
pub(crate) use permissions::permissions;

/// What `X-Amz-Target` begins with.
pub(crate) const TARGET_PREFIX: &str = "Logs_20140328.";

/// How often a group may vanish before an append to it is given up.
const APPEND_ATTEMPTS_MAX: usize = 4;

/// The service.
#[derive(Debug, Clone)]
pub(crate) struct LogsService {
    store: Store,
}

impl LogsService {
    /// A service over the data in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self { store }
    }

    /// Answers one request.
    pub(crate) async fn handle(&self, request: Request) -> Response<Body> {
        let service = self.clone();
        // Searching events reads files, which may take a while.
        let answered = tokio::task::spawn_blocking(move || service.dispatch(&request)).await;
        match answered {
            Ok(Ok(body)) => answer(StatusCode::OK, CONTENT_TYPE, body.to_string()),
            Ok(Err(error)) => error.into_response(),
            Err(error) => ServiceError::new(Kind::Service, error.to_string()).into_response(),
        }
    }

    fn dispatch(&self, request: &Request) -> Result<Value, ServiceError> {
        let target = request
            .headers
            .get("x-amz-target")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let Some(operation) = target.strip_prefix(TARGET_PREFIX) else {
            return Err(ServiceError::new(
                Kind::UnknownOperation,
                format!("The target '{target}' is not one of CloudWatch Logs."),
            ));
        };
        match operation {
            "CreateLogGroup" => self.create_log_group(request),
            "DeleteLogGroup" => self.delete_log_group(request),
            "DescribeLogGroups" => self.describe_log_groups(request),
            "PutRetentionPolicy" => self.put_retention_policy(request),
            "DeleteRetentionPolicy" => self.delete_retention_policy(request),
            "TagResource" => self.tag_resource(request),
            "UntagResource" => self.untag_resource(request),
            "ListTagsForResource" => self.list_tags_for_resource(request),
            "TagLogGroup" => self.tag_log_group(request),
            "UntagLogGroup" => self.untag_log_group(request),
            "ListTagsLogGroup" => self.list_tags_log_group(request),
            "CreateLogStream" => self.create_log_stream(request),
            "DescribeLogStreams" => self.describe_log_streams(request),
            "DeleteLogStream" => self.delete_log_stream(request),
            "PutLogEvents" => self.put_log_events(request),
            "GetLogEvents" => self.get_log_events(request),
            "FilterLogEvents" => self.filter_log_events(request),
            other => Err(ServiceError::new(
                Kind::NotImplemented,
                format!("the embedded cloud does not implement logs {other}"),
            )),
        }
    }
}

/// The way into the logs for the embedded cloud's own services, past the wire and its limits on age and size.
#[derive(Debug, Clone)]
pub(crate) struct LogsHandle {
    service: LogsService,
}

impl LogsHandle {
    /// A handle on the data in `store`.
    pub(crate) fn new(store: Store) -> Self {
        Self {
            service: LogsService::new(store),
        }
    }

    /// Appends `events` (milliseconds since the epoch, text), making the group and the stream as needed. Blocks.
    ///
    /// # Errors
    /// The group's name is not one, or the data folder cannot be written to.
    pub(crate) fn append(
        &self,
        region: &Region,
        group: &str,
        stream: &str,
        events: Vec<(u64, String)>,
    ) -> io::Result<()> {
        let group: LogGroupName = group
            .parse()
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
        let now_ms = env::now_ms();
        // At first there is no stream; and a group may be deleted between finding it and appending to it.
        for _ in 0..APPEND_ATTEMPTS_MAX {
            let id = self.service.ensure_group(region, &group, now_ms)?;
            let file = StreamFile::new(&self.service.folder(&id), stream);
            match file.append(&events, now_ms)? {
                Placed::Written { .. } => return Ok(()),
                Placed::NoStream => file.create(stream, now_ms)?,
            };
        }
        Err(io::Error::other(format!(
            "log group {group} is being deleted again and again"
        )))
    }
}
