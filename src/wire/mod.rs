//! What Remotion Lambda's clients say to a function, and what they want to hear: payloads, replies, the progress document,
//! keys, prices. Pure: documents in, documents out.
//!
//! The facts are those of version 4.0.527. What is written here is public there: clients in five languages read it. What a
//! function says to itself (`launch`) is ours. `docs/WIRE.md` says what differs.

mod asking;
pub mod cost;
mod javascript;
pub mod output;
pub mod progress;
pub mod request;
pub mod status;
pub mod stream;
pub mod webhook;

use serde::Serialize;

/// How a routine fails: HTTP status 200 and this. Clients throw an error with the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErrorReply {
    #[serde(rename = "type")]
    kind: &'static str,
    message: String,
    stack: String,
}

impl ErrorReply {
    /// Of a failure that has no stack but its message.
    pub fn new(message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind: "error",
            stack: format!("Error: {message}"),
            message,
        }
    }
}

/// The answer to `info`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InfoReply {
    version: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl InfoReply {
    /// Of a function that claims this version.
    pub fn new(version: &str) -> Self {
        Self {
            version: version.to_owned(),
            kind: "success",
        }
    }
}

/// The answer to `start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StartReply {
    #[serde(rename = "type")]
    kind: &'static str,
    bucket_name: String,
    render_id: String,
}

impl StartReply {
    /// The render that was begun, and the bucket in which it lies.
    pub fn new(bucket_name: &str, render_id: &str) -> Self {
        Self {
            kind: "success",
            bucket_name: bucket_name.to_owned(),
            render_id: render_id.to_owned(),
        }
    }
}

/// The answer to `compositions`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CompositionsReply {
    compositions: Vec<VideoConfig>,
    #[serde(rename = "type")]
    kind: &'static str,
}

impl CompositionsReply {
    /// These compositions.
    pub fn new(compositions: Vec<VideoConfig>) -> Self {
        Self {
            compositions,
            kind: "success",
        }
    }
}

/// A composition as clients know it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of Remotion's VideoConfig")]
pub struct VideoConfig {
    pub id: String,
    pub width: u32,
    pub height: u32,
    pub fps: f64,
    pub duration_in_frames: u32,
    pub default_props: serde_json::Value,
    pub props: serde_json::Value,
    pub default_codec: Option<String>,
    pub default_out_name: Option<String>,
    pub default_video_image_format: Option<String>,
    pub default_pixel_format: Option<String>,
    pub default_pro_res_profile: Option<String>,
    pub default_sample_rate: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(value: impl Serialize) -> String {
        serde_json::to_string(&value).unwrap()
    }

    #[test]
    fn replies_are_byte_for_byte_those_of_the_official_function() {
        assert_eq!(
            json(InfoReply::new("4.0.527")),
            r#"{"version":"4.0.527","type":"success"}"#
        );
        assert_eq!(
            json(StartReply::new("bucket", "abc")),
            r#"{"type":"success","bucketName":"bucket","renderId":"abc"}"#
        );
        assert_eq!(
            json(ErrorReply::new("No")),
            r#"{"type":"error","message":"No","stack":"Error: No"}"#
        );
    }
}
