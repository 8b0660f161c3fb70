//! Lambda invocations: with an answer at the end, or with one that streams.
//!
//! No invocation is tried again here. Who invokes knows whether the work may be done twice.

use aws_sdk_lambda::primitives::{Blob, event_stream::EventReceiver};
use aws_sdk_lambda::types::error::InvokeWithResponseStreamResponseEventError as SdkEventError;
use aws_sdk_lambda::types::{InvocationType, InvokeWithResponseStreamResponseEvent as SdkEvent};
use bytes::Bytes;

use super::error::cloud_error;
use super::{Cloud, CloudError};
use crate::names::FunctionName;

/// The answer to an invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvokeReply {
    /// What the function returned, or its error as JSON.
    pub payload: Bytes,
    /// `Handled` or `Unhandled` if the function failed.
    pub function_error: Option<String>,
}

/// A piece of a streamed answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvokeEvent {
    /// Bytes the function wrote. Where they are cut means nothing.
    Payload(Bytes),
    /// The end.
    Complete {
        /// Lambda's error code if the function failed: `Unhandled`, `Sandbox.Timedout`, ...
        error_code: Option<String>,
        /// What is known about the failure, often JSON.
        error_details: Option<String>,
    },
}

/// A streamed answer as it arrives.
#[derive(Debug)]
pub struct InvokeStream {
    function: String,
    events: EventReceiver<SdkEvent, SdkEventError>,
}

const OPERATION: &str = "invoke the function";

impl Cloud {
    /// Invokes `function` and returns as soon as its answer begins.
    ///
    /// # Errors
    /// Lambda refused: `Throttled` (429) above all. What the function itself does wrong comes as
    /// [`InvokeEvent::Complete`].
    pub async fn invoke_stream(
        &self,
        function: &FunctionName,
        qualifier: &str,
        payload: Vec<u8>,
    ) -> Result<InvokeStream, CloudError> {
        let subject = format!("{function}:{qualifier}");
        let answer = self
            .clients
            .invoke
            .invoke_with_response_stream()
            .function_name(function.as_str())
            .qualifier(qualifier)
            .payload(Blob::new(payload))
            .send()
            .await
            .map_err(|error| cloud_error(OPERATION, &subject, &error))?;
        Ok(InvokeStream {
            function: subject,
            events: answer.event_stream,
        })
    }

    /// Has `function` invoked, and does not wait for it. Lambda queues the event, and repeats it twice if the function fails.
    ///
    /// # Errors
    /// Lambda did not take the event: above a megabyte it is `Invalid`.
    pub async fn invoke_event(
        &self,
        function: &FunctionName,
        qualifier: &str,
        payload: Vec<u8>,
    ) -> Result<(), CloudError> {
        let answer = self
            .clients
            .invoke
            .invoke()
            .function_name(function.as_str())
            .qualifier(qualifier)
            .invocation_type(InvocationType::Event)
            .payload(Blob::new(payload))
            .send()
            .await;
        answer
            .map(drop)
            .map_err(|error| cloud_error(OPERATION, format!("{function}:{qualifier}"), &error))
    }

    /// Invokes `function` and waits for its answer.
    pub async fn invoke(
        &self,
        function: &FunctionName,
        qualifier: &str,
        payload: Vec<u8>,
    ) -> Result<InvokeReply, CloudError> {
        let answer = self
            .clients
            .invoke
            .invoke()
            .function_name(function.as_str())
            .qualifier(qualifier)
            .payload(Blob::new(payload))
            .send()
            .await
            .map_err(|error| cloud_error(OPERATION, format!("{function}:{qualifier}"), &error))?;
        Ok(InvokeReply {
            payload: answer
                .payload
                .map(Blob::into_inner)
                .unwrap_or_default()
                .into(),
            function_error: answer.function_error,
        })
    }
}

impl InvokeStream {
    /// The next piece; `None` after the end. A stream that breaks off without [`InvokeEvent::Complete`] ends with
    /// `None` as well: whoever reads it must not take that for success.
    pub async fn next(&mut self) -> Result<Option<InvokeEvent>, CloudError> {
        loop {
            let event = self.events.recv().await.map_err(|error| {
                cloud_error("read the function's answer", &self.function, &error)
            })?;
            match event {
                None => return Ok(None),
                Some(SdkEvent::PayloadChunk(chunk)) => {
                    let bytes = chunk.payload.map(Blob::into_inner).unwrap_or_default();
                    return Ok(Some(InvokeEvent::Payload(bytes.into())));
                }
                Some(SdkEvent::InvokeComplete(end)) => {
                    return Ok(Some(InvokeEvent::Complete {
                        error_code: end.error_code.filter(|code| !code.is_empty()),
                        error_details: end.error_details.filter(|details| !details.is_empty()),
                    }));
                }
                // Events that Lambda may add later.
                Some(_) => {}
            }
        }
    }
}
