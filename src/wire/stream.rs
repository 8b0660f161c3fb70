//! How a streamed reply is cut into messages: `remotion_buffer:TYPE:LENGTH:0:PAYLOAD`, one behind the other, nothing in between.
//! Readers search for the first word, so what comes before the first message does not matter.

use serde::Serialize;

use super::cost::Cost;
use super::progress::{Artifact, ErrorInfo};

/// What is said while a still is rendered. One that says how it ended is the last.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum StillMessage {
    /// The render has an id now.
    #[serde(rename_all = "camelCase")]
    Begun {
        /// It.
        render_id: String,
    },
    /// The image is in the bucket.
    Rendered(Box<StillReply>),
    /// There will be none.
    Failed(Box<StillFailure>),
}

/// A still that is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those that clients know")]
pub struct StillReply {
    #[serde(rename = "type")]
    pub kind: Success,
    pub output: String,
    pub out_key: String,
    pub size: u64,
    pub size_in_bytes: u64,
    pub bucket_name: String,
    pub estimated_price: Cost,
    pub render_id: String,
    pub received_artifacts: Vec<Artifact>,
}

/// The word `success`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Success {
    /// It.
    Success,
}

/// A still that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StillFailure {
    /// The stack, which clients show as the message of their error.
    pub error: String,
    /// Whether the client should ask again. Clients of this version do not look at it.
    pub should_retry: bool,
    /// The error with all its parts.
    pub error_info: ErrorInfo,
}

impl StillMessage {
    /// Its bytes.
    ///
    /// # Errors
    /// It cannot be written as JSON.
    pub fn bytes(&self) -> serde_json::Result<Vec<u8>> {
        let kind: u8 = match self {
            Self::Failed(_) => 2,
            Self::Begun { .. } => 3,
            Self::Rendered(_) => 6,
        };
        let payload = serde_json::to_vec(self)?;
        let mut bytes = format!("remotion_buffer:{kind}:{}:0:", payload.len()).into_bytes();
        bytes.extend(payload);
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::status::timeout_error;

    fn text(message: &StillMessage) -> String {
        String::from_utf8(message.bytes().unwrap()).unwrap()
    }

    #[test]
    fn messages_are_byte_for_byte_those_of_the_official_function() {
        let begun = StillMessage::Begun {
            render_id: "abc".to_owned(),
        };
        assert_eq!(text(&begun), r#"remotion_buffer:3:18:0:{"renderId":"abc"}"#);
        let rendered = StillMessage::Rendered(Box::new(StillReply {
            kind: Success::Success,
            output: "https://x/y.png".to_owned(),
            out_key: "y.png".to_owned(),
            size: 7,
            size_in_bytes: 7,
            bucket_name: "b".to_owned(),
            estimated_price: Cost {
                accrued_so_far: 0.5,
                display_cost: "$0.500".to_owned(),
                currency: "USD".to_owned(),
                disclaimer: "no".to_owned(),
            },
            render_id: "abc".to_owned(),
            received_artifacts: Vec::new(),
        }));
        let payload = concat!(
            r#"{"type":"success","output":"https://x/y.png","outKey":"y.png","size":7,"sizeInBytes":7,"bucketName":"b","#,
            r#""estimatedPrice":{"accruedSoFar":0.5,"displayCost":"$0.500","currency":"USD","disclaimer":"no"},"#,
            r#""renderId":"abc","receivedArtifacts":[]}"#,
        );
        let expected = format!("remotion_buffer:6:{}:0:{payload}", payload.len());
        assert_eq!(text(&rendered), expected);
    }

    /// JavaScript's length of a text is another one.
    #[test]
    fn lengths_are_those_of_bytes() {
        let failed = StillMessage::Failed(Box::new(StillFailure {
            error: "Error: é🎬".to_owned(),
            should_retry: false,
            error_info: timeout_error("é🎬"),
        }));
        let text = text(&failed);
        let (head, payload) = text.split_at(text.find('{').unwrap());
        assert_eq!(head, format!("remotion_buffer:2:{}:0:", payload.len()));
        assert!(payload.starts_with(
            r#"{"error":"Error: é🎬","shouldRetry":false,"errorInfo":{"type":"stitcher","#
        ));
    }
}
