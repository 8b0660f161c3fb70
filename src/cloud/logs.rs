//! CloudWatch log groups.

use super::error::cloud_error;
use super::iam::gone_is_fine;
use super::{Cloud, CloudError, Tags};
use crate::names::LogGroupName;

/// A log group as CloudWatch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroupDescription {
    /// ARN, without a trailing `:*`.
    pub arn: String,
    /// Days until events expire; `None`: never.
    pub retention_days: Option<u32>,
    /// Tags.
    pub tags: Tags,
}

/// What a log group holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogGroupContent {
    /// Log streams, as many as one answer lists.
    pub streams: u64,
    /// Whether those are all.
    pub complete: bool,
    /// `storedBytes`, which CloudWatch brings up to date with some delay.
    pub size_bytes: u64,
}

/// A line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// The stream that it is in.
    pub stream: String,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// The line.
    pub message: String,
}

/// Pages that are read of one question at most: CloudWatch answers with empty ones while it searches.
const PAGES_MAX: u32 = 1_000;

impl Cloud {
    /// The lines of all streams of a log group that hold `phrase`, oldest first, and whether those are all.
    pub async fn search_log_group(
        &self,
        name: &LogGroupName,
        phrase: &str,
    ) -> Result<(Vec<LogEvent>, bool), CloudError> {
        let pattern = format!("\"{}\"", phrase.replace(['\\', '"'], ""));
        let mut found = Vec::new();
        let mut token = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .clients
                .logs
                .filter_log_events()
                .log_group_name(name.as_str())
                .filter_pattern(&pattern)
                .set_next_token(token)
                .send()
                .await
                .map_err(|error| cloud_error("search the log group", name, &error))?;
            let events = page.events.unwrap_or_default().into_iter();
            found.extend(events.map(|event| LogEvent {
                stream: event.log_stream_name.unwrap_or_default(),
                time_ms: time_ms(event.timestamp),
                message: event.message.unwrap_or_default(),
            }));
            token = page.next_token;
            if token.is_none() {
                found.sort_by_key(|event| event.time_ms);
                return Ok((found, true));
            }
        }
        Ok((found, false))
    }

    /// The lines of a log stream from a time on, oldest first, for as long as `wanted` says so.
    pub async fn read_log_stream(
        &self,
        name: &LogGroupName,
        stream: &str,
        from_ms: u64,
        mut wanted: impl FnMut(&str) -> bool,
    ) -> Result<Vec<LogEvent>, CloudError> {
        let mut read = Vec::new();
        let mut token: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let page = self
                .clients
                .logs
                .get_log_events()
                .log_group_name(name.as_str())
                .log_stream_name(stream)
                .start_time(i64::try_from(from_ms).unwrap_or(i64::MAX))
                .start_from_head(true)
                .set_next_token(token.clone())
                .send()
                .await
                .map_err(|error| cloud_error("read the log stream", stream, &error))?;
            for event in page.events.unwrap_or_default() {
                let message = event.message.unwrap_or_default();
                if !wanted(&message) {
                    return Ok(read);
                }
                read.push(LogEvent {
                    stream: stream.to_owned(),
                    time_ms: time_ms(event.timestamp),
                    message,
                });
            }
            // The token that leads nowhere is the one that was given.
            if page.next_forward_token == token {
                break;
            }
            token = page.next_forward_token;
        }
        Ok(read)
    }

    /// What the log group holds; nothing if there is none.
    pub async fn log_group_content(
        &self,
        name: &LogGroupName,
    ) -> Result<LogGroupContent, CloudError> {
        let logs = &self.clients.logs;
        let (groups, streams) = tokio::join!(
            logs.describe_log_groups()
                .log_group_name_prefix(name.as_str())
                .send(),
            logs.describe_log_streams()
                .log_group_name(name.as_str())
                .send(),
        );
        let groups = groups.map_err(|error| cloud_error("read the log group", name, &error))?;
        let found = groups.log_groups.unwrap_or_default().into_iter();
        let size_bytes = found
            .filter(|group| group.log_group_name.as_deref() == Some(name.as_str()))
            .find_map(|group| u64::try_from(group.stored_bytes?).ok());
        let streams = streams.map_err(|error| cloud_error("list the streams of", name, &error));
        let (streams, complete) = match streams {
            Ok(page) => (
                page.log_streams.unwrap_or_default().len() as u64,
                page.next_token.is_none(),
            ),
            Err(error) if error.is_not_found() => (0, true),
            Err(error) => return Err(error),
        };
        Ok(LogGroupContent {
            streams,
            complete,
            size_bytes: size_bytes.unwrap_or(0),
        })
    }

    /// The log group of that name; `None` if there is none.
    pub async fn log_group(
        &self,
        name: &LogGroupName,
    ) -> Result<Option<LogGroupDescription>, CloudError> {
        let operation = "read the log group";
        // Of all names with this prefix the name itself sorts first, so the first page has it.
        let page = self
            .clients
            .logs
            .describe_log_groups()
            .log_group_name_prefix(name.as_str())
            .send()
            .await
            .map_err(|error| cloud_error(operation, name, &error))?;
        let Some(group) = page
            .log_groups
            .unwrap_or_default()
            .into_iter()
            .find(|group| group.log_group_name.as_deref() == Some(name.as_str()))
        else {
            return Ok(None);
        };
        let arn = group.arn.unwrap_or_default();
        let arn = arn.strip_suffix(":*").unwrap_or(&arn).to_owned();
        let tags = self
            .clients
            .logs
            .list_tags_for_resource()
            .resource_arn(&arn)
            .send()
            .await
            .map_err(|error| cloud_error("read the tags of log group", name, &error));
        let tags = match tags {
            Ok(answer) => answer.tags.unwrap_or_default(),
            // Deleted in between.
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(LogGroupDescription {
            arn,
            retention_days: group
                .retention_in_days
                .and_then(|days| u32::try_from(days).ok()),
            tags: tags.into_iter().collect(),
        }))
    }

    /// Creates a log group that keeps its events for ever.
    ///
    /// # Errors
    /// `AlreadyExists`, besides what CloudWatch refuses.
    pub async fn create_log_group(
        &self,
        name: &LogGroupName,
        tags: &Tags,
    ) -> Result<(), CloudError> {
        self.clients
            .logs
            .create_log_group()
            .log_group_name(name.as_str())
            .set_tags(Some(tags.clone().into_iter().collect()))
            .send()
            .await
            .map_err(|error| cloud_error("create the log group", name, &error))?;
        Ok(())
    }

    /// Sets how long events are kept; `None`: for ever.
    pub async fn set_retention(
        &self,
        name: &LogGroupName,
        retention_days: Option<u32>,
    ) -> Result<(), CloudError> {
        let operation = "set the retention of log group";
        let logs = &self.clients.logs;
        match retention_days {
            Some(days) => logs
                .put_retention_policy()
                .log_group_name(name.as_str())
                .retention_in_days(i32::try_from(days).unwrap_or(i32::MAX))
                .send()
                .await
                .map(|_| ())
                .map_err(|error| cloud_error(operation, name, &error)),
            None => logs
                .delete_retention_policy()
                .log_group_name(name.as_str())
                .send()
                .await
                .map(|_| ())
                .map_err(|error| cloud_error(operation, name, &error)),
        }
    }

    /// Deletes a log group with its events. Success if there is none.
    pub async fn delete_log_group(&self, name: &LogGroupName) -> Result<(), CloudError> {
        let deleted = self
            .clients
            .logs
            .delete_log_group()
            .log_group_name(name.as_str())
            .send()
            .await;
        gone_is_fine(
            deleted
                .map(|_| ())
                .map_err(|error| cloud_error("delete the log group", name, &error)),
        )
    }
}

fn time_ms(timestamp: Option<i64>) -> u64 {
    let time_ms = timestamp.and_then(|timestamp| u64::try_from(timestamp).ok());
    time_ms.unwrap_or(0)
}
