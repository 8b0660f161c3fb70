//! How a function is asked to begin a render, by rmx itself: its own, or Remotion's.

use serde_json::{Value, json};

use super::request::Start;

/// What `renderMediaOnLambda()` sends that [`Start`] has no field for, and what it sends where nothing is said: Remotion's function
/// takes what is absent for a fault of the client (`makeLambdaRenderMediaPayload()` of 4.0.527).
fn said_by_clients() -> Value {
    json!({
        "concurrencyPerLambda": 1,
        "logLevel": "info",
        "forcePathStyle": false,
        "offthreadVideoCacheSizeInBytes": null,
        "offthreadVideoThreads": null,
        "mediaCacheSizeInBytes": null,
        "isProduction": null,
        "imageFormat": "jpeg",
        "sampleRate": 48_000,
        "downloadBehavior": {"type": "play-in-browser"},
        "preferLossless": false,
    })
}

impl Start {
    /// The event for a function of rmx that claims to be of `version`.
    pub fn payload(&self, version: &str) -> Value {
        let mut payload = serde_json::to_value(self).unwrap_or_default();
        payload["type"] = "start".into();
        payload["version"] = version.into();
        payload
    }

    /// The event for Remotion's own function of `version`.
    pub fn payload_for_remotion(&self, version: &str) -> Value {
        let mut payload = self.payload(version);
        let said = said_by_clients();
        for (name, value) in said.as_object().into_iter().flatten() {
            if payload[name].is_null() {
                payload[name] = value.clone();
            }
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_before_what_clients_say_otherwise() {
        let start = json!({
            "serveUrl": "site", "composition": "Intro", "codec": "h264", "imageFormat": "png",
            "inputProps": {"type": "payload", "payload": "{}"},
        });
        let start: Start = serde_json::from_value(start).unwrap();
        let payload = start.payload_for_remotion("4.0.527");
        assert_eq!(payload["type"], "start");
        assert_eq!(payload["version"], "4.0.527");
        assert_eq!(payload["imageFormat"], "png");
        assert_eq!(payload["sampleRate"], 48_000);
        assert_eq!(payload["concurrencyPerLambda"], 1);
        assert_eq!(start.payload("4.0.527")["sampleRate"], Value::Null);
    }
}
