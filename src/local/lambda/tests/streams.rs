//! Streamed answers, frame by frame.

use bytes::Bytes;

use super::harness::{Cloud, LIMIT};
use super::*;

/// Reads event stream frames from a body as they arrive.
struct Events {
    body: Body,
    bytes: bytes::BytesMut,
}

impl Events {
    /// The next event: its type and payload.
    async fn next(&mut self) -> Option<(String, Bytes)> {
        use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
        let mut decoder = MessageFrameDecoder::new();
        loop {
            if let DecodedFrame::Complete(message) = decoder.decode_frame(&mut self.bytes).unwrap()
            {
                let kind = message
                    .headers()
                    .iter()
                    .find(|header| header.name().as_str() == ":event-type");
                let kind = kind
                    .unwrap()
                    .value()
                    .as_string()
                    .unwrap()
                    .as_str()
                    .to_owned();
                return Some((kind, message.payload().clone()));
            }
            let frame = tokio::time::timeout(LIMIT, self.body.frame())
                .await
                .unwrap()?
                .unwrap();
            self.bytes.extend_from_slice(&frame.into_data().unwrap());
        }
    }

    async fn end(&mut self) -> Value {
        loop {
            let (kind, payload) = self.next().await.unwrap();
            if kind == "InvokeComplete" {
                assert!(self.next().await.is_none());
                return serde_json::from_slice(&payload).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_stream_arrives_as_it_is_written() {
    let cloud = Cloud::with(json!({ "Timeout": 2 })).await;
    let stream = async |event: Value| {
        let path = "/2021-11-15/functions/f/response-streaming-invocations";
        let response = cloud.send(path, "RequestResponse", event.to_string()).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/vnd.amazon.eventstream"
        );
        Events {
            body: response.into_body(),
            bytes: bytes::BytesMut::new(),
        }
    };
    // The function goes on only after its first chunk has been seen here.
    let gate = cloud.path("gate");
    let mut events = stream(json!({ "stream": ["one", "two"], "gate": gate })).await;
    let chunk = |text: &'static str| {
        Some((
            "PayloadChunk".to_owned(),
            Bytes::from_static(text.as_bytes()),
        ))
    };
    assert_eq!(events.next().await, chunk("one"));
    std::fs::write(&gate, "").unwrap();
    assert_eq!(events.next().await, chunk("two"));
    let end = events.end().await;
    assert_eq!(end.get("ErrorCode"), None);
    assert!(end.get("LogResult").is_some());

    for (event, code) in [
        (
            json!({ "stream": ["part"], "die": true }),
            "Runtime.ExitError",
        ),
        (
            json!({ "stream": ["part"], "trailer": "Mid.Stream" }),
            "Mid.Stream",
        ),
        (json!({ "error": "before any answer" }), "Unhandled"),
        (
            json!({ "stream": ["part"], "gate": cloud.path("never") }),
            "Sandbox.Timedout",
        ),
    ] {
        let end = stream(event).await.end().await;
        assert_eq!(end["ErrorCode"], code, "{end}");
        assert!(
            end["ErrorDetails"].as_str().unwrap().contains("errorType"),
            "{end}"
        );
    }
}
