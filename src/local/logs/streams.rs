//! Log streams: create, describe, delete.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::env;
use crate::local::http::Request;

use super::LogsService;
use super::error::{Kind, ServiceError};
use super::file::{self, Header, StreamFile, Times};
use super::input::{
    check_stream_text, group_name, group_reference, limit, parse, parse_token, stream_name, token,
};
use super::model::{Group, group_arn};

/// Streams of one page: AWS's default and most.
const PAGE_STREAMS_MAX: usize = 50;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct OneStream {
    log_group_name: Option<String>,
    log_stream_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct DescribeLogStreams {
    log_group_name: Option<String>,
    log_group_identifier: Option<String>,
    log_stream_name_prefix: Option<String>,
    order_by: Option<String>,
    descending: Option<bool>,
    next_token: Option<String>,
    limit: Option<i64>,
}

impl LogsService {
    pub(super) fn create_log_stream(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: OneStream = parse(request)?;
        let group = group_name(input.log_group_name)?;
        let stream = stream_name(input.log_stream_name)?;
        let group = self.group(&request.region, &group)?;
        self.drop_expired(&group)?;
        let folder = self.folder(&group.id);
        if StreamFile::new(&folder, &stream).create(&stream, env::now_ms())? {
            Ok(json!({}))
        } else if folder.is_dir() {
            Err(ServiceError::new(
                Kind::ResourceAlreadyExists,
                "The specified log stream already exists",
            ))
        } else {
            Err(ServiceError::no_group())
        }
    }

    pub(super) fn delete_log_stream(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: OneStream = parse(request)?;
        let group = group_name(input.log_group_name)?;
        let stream = stream_name(input.log_stream_name)?;
        let group = self.group(&request.region, &group)?;
        if StreamFile::new(&self.folder(&group.id), &stream).delete()? {
            Ok(json!({}))
        } else {
            Err(ServiceError::no_stream())
        }
    }

    pub(super) fn describe_log_streams(&self, request: &Request) -> Result<Value, ServiceError> {
        let input: DescribeLogStreams = parse(request)?;
        let name = group_reference(request, input.log_group_name, input.log_group_identifier)?;
        let size = limit(input.limit, PAGE_STREAMS_MAX, PAGE_STREAMS_MAX)?;
        let by_time = match input.order_by.as_deref() {
            None | Some("LogStreamName") => false,
            Some("LastEventTime") => true,
            Some(other) => {
                return Err(ServiceError::constraint(
                    other,
                    "orderBy",
                    "satisfy enum value set: [LogStreamName, LastEventTime]",
                ));
            }
        };
        if let Some(prefix) = &input.log_stream_name_prefix {
            check_stream_text(prefix, "logStreamNamePrefix")?;
            if by_time {
                return Err(ServiceError::parameter(
                    "Cannot order by LastEventTime with a logStreamNamePrefix.",
                ));
            }
        }
        let prefix = input.log_stream_name_prefix.unwrap_or_default();
        let descending = input.descending.unwrap_or(false);
        let after: Option<(u64, String)> = parse_token(input.next_token)?;
        let group = self.group(&request.region, &name)?;

        let mut streams = Vec::new();
        for file in file::streams(&self.folder(&group.id))? {
            // Deleted since the folder was listed.
            let Some((header, times)) = file.times()? else {
                continue;
            };
            let time = if by_time {
                times.map_or(header.created_ms, |times| times.last_event_ms)
            } else {
                0
            };
            let key = (time, header.name.clone());
            let beyond = after.as_ref().is_none_or(|after| {
                if descending {
                    key < *after
                } else {
                    key > *after
                }
            });
            if beyond && header.name.starts_with(&prefix) {
                streams.push((key, header, times));
            }
        }
        streams.sort_by(|(a, ..), (b, ..)| if descending { b.cmp(a) } else { a.cmp(b) });
        let more = streams.len() > size;
        streams.truncate(size);
        let group_arn = group_arn(&request.region, &request.account, &name);
        let mut body = json!({
            "logStreams": streams
                .iter()
                .map(|(_, header, times)| describe(&group_arn, header, *times))
                .collect::<Vec<_>>(),
        });
        if more {
            body["nextToken"] = token(&streams.last().map(|(key, ..)| key)).into();
        }
        Ok(body)
    }

    /// Deletes the streams whose every event has expired, so that a group with a retention stays bounded.
    fn drop_expired(&self, group: &Group) -> Result<(), ServiceError> {
        let oldest_kept_ms = group.oldest_kept_ms(env::now_ms());
        if oldest_kept_ms > 0 {
            for stream in file::streams(&self.folder(&group.id))? {
                if stream
                    .written_ms()
                    .is_ok_and(|written| written < oldest_kept_ms)
                {
                    stream.delete()?;
                }
            }
        }
        Ok(())
    }
}

/// `storedBytes` of a stream is always zero since 2019-06 (API reference, `LogStream`).
fn describe(group_arn: &str, header: &Header, times: Option<Times>) -> Value {
    let mut described = json!({
        "arn": format!("{group_arn}:log-stream:{}", header.name),
        "creationTime": header.created_ms,
        "logStreamName": header.name,
        "storedBytes": 0,
    });
    if let Some(times) = times {
        described["firstEventTimestamp"] = times.first_event_ms.into();
        described["lastEventTimestamp"] = times.last_event_ms.into();
        described["lastIngestionTime"] = times.last_ingested_ms.into();
    }
    described
}
