//! Payloads: a Lambda event is one flat object whose `type` names the routine. Absent and `null` mean the default, as clients
//! of different ages and languages leave different fields out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::media::FrameSelection;

/// What a function is asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Which version are you?
    Info,
    /// Begin a render and name it.
    Start(Box<Start>),
    /// The render itself: what `start` sends to its own function.
    Launch(Box<Launch>),
    /// How far is it?
    Status(Status),
    /// Which compositions does a site have?
    Compositions(Box<Compositions>),
    /// Render one frame.
    Still(Box<Still>),
}

/// Not a payload that can be answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// No such routine. Clients know the beginning of this text.
    #[error("Command not found: {0}")]
    Unknown(String),
    /// A field is missing or of another kind.
    #[error("the payload of `{routine}` cannot be read: {reason}")]
    Malformed {
        /// The routine.
        routine: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The client is of another version.
    #[error(
        "Version mismatch: the function is of version {own} and the client of version {}; they must be the same. Set \
         `[function] remotion_version` to the client's version and run `rmx apply`, or install the client in version {own}",
        sent.as_deref().unwrap_or("unknown (it sends none)")
    )]
    Version {
        /// What the function claims.
        own: String,
        /// What the client sent.
        sent: Option<String>,
    },
}

impl Request {
    /// Reads the payload of the routine `kind`, for a function of the version `own`.
    ///
    /// # Errors
    /// See [`RequestError`].
    pub fn parse(kind: &str, payload: Value, own: &str) -> Result<Self, RequestError> {
        fn read<T: serde::de::DeserializeOwned>(
            kind: &str,
            payload: Value,
        ) -> Result<T, RequestError> {
            serde_json::from_value(payload).map_err(|error| RequestError::Malformed {
                routine: kind.to_owned(),
                reason: error.to_string(),
            })
        }
        let version = payload.get("version").and_then(Value::as_str);
        if matches!(kind, "start" | "status" | "compositions" | "still") && version != Some(own) {
            return Err(RequestError::Version {
                own: own.to_owned(),
                sent: version.map(str::to_owned),
            });
        }
        match kind {
            "info" => Ok(Self::Info),
            "start" => read(kind, payload).map(Self::Start),
            "launch" => read(kind, payload).map(Self::Launch),
            "status" => read(kind, payload).map(Self::Status),
            "compositions" => read(kind, payload).map(Self::Compositions),
            "still" => read(kind, payload).map(Self::Still),
            other => Err(RequestError::Unknown(other.to_owned())),
        }
    }
}

/// `start`. Names, meanings and defaults are those of `renderMediaOnLambda()`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of renderMediaOnLambda()")]
pub struct Start {
    pub enable_cancellation: Option<bool>,
    pub renderer_function_name: Option<String>,
    pub serve_url: String,
    pub composition: String,
    pub frames_per_lambda: Option<u32>,
    pub concurrency: Option<u32>,
    pub input_props: InputProps,
    pub codec: String,
    pub audio_codec: Option<String>,
    pub image_format: Option<String>,
    pub jpeg_quality: Option<u8>,
    pub crf: Option<u8>,
    pub pixel_format: Option<String>,
    pub pro_res_profile: Option<String>,
    pub x264_preset: Option<String>,
    pub gop_size: Option<u32>,
    pub env_variables: Option<BTreeMap<String, String>>,
    pub max_retries: Option<u32>,
    pub privacy: Option<Privacy>,
    pub frame_range: Option<FrameRange>,
    pub out_name: Option<OutName>,
    pub timeout_in_milliseconds: Option<u32>,
    pub chromium_options: Option<ChromiumOptions>,
    pub scale: Option<f64>,
    pub every_nth_frame: Option<u32>,
    pub number_of_gif_loops: Option<u32>,
    pub download_behavior: Option<DownloadBehavior>,
    pub muted: Option<bool>,
    pub overwrite: Option<bool>,
    #[serde(default, deserialize_with = "rate::read")]
    pub audio_bitrate: Option<String>,
    #[serde(default, deserialize_with = "rate::read")]
    pub video_bitrate: Option<String>,
    #[serde(default, deserialize_with = "rate::read")]
    pub encoding_max_rate: Option<String>,
    #[serde(default, deserialize_with = "rate::read")]
    pub encoding_buffer_size: Option<String>,
    pub webhook: Option<Webhook>,
    pub force_height: Option<u32>,
    pub force_width: Option<u32>,
    pub force_fps: Option<f64>,
    pub force_duration_in_frames: Option<u32>,
    pub bucket_name: Option<String>,
    pub delete_after: Option<String>,
    pub color_space: Option<String>,
    pub prefer_lossless: Option<bool>,
    pub metadata: Option<BTreeMap<String, String>>,
    pub license_key: Option<String>,
    pub storage_class: Option<String>,
    pub sample_rate: Option<u32>,
}

/// `launch`: a render that has its id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// The render.
    pub render_id: String,
    /// Where it lies.
    pub bucket_name: String,
    /// The function that was asked.
    pub function_name: String,
    /// Its version: all of a render is rendered by one.
    pub function_version: String,
    /// What was asked for. Names of sites have become addresses.
    pub request: Start,
}

impl Launch {
    /// The event.
    pub fn payload(&self) -> Value {
        let mut payload = serde_json::to_value(self).unwrap_or_default();
        payload["type"] = "launch".into();
        payload
    }

    /// The same without what may be secret, as it is kept in the bucket: [`Launch::withheld`] names what is not in it.
    #[must_use]
    pub fn without_secrets(mut self) -> Self {
        for value in self.request.env_variables.iter_mut().flatten() {
            value.1.clear();
        }
        if let Some(secret) = self.secret() {
            secret.clear();
        }
        self
    }

    /// The names of the page's environment variables, whose values were withheld.
    pub fn withheld(&self) -> impl Iterator<Item = &String> {
        self.request
            .env_variables
            .iter()
            .flatten()
            .map(|(name, _)| name)
    }

    /// What the webhook's body is signed with, if it is signed.
    pub fn secret(&mut self) -> Option<&mut String> {
        self.request.webhook.as_mut()?.secret.as_mut()
    }
}

/// `status`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Where the render lies.
    pub bucket_name: String,
    /// The render.
    pub render_id: String,
}

/// `compositions`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the names are those of getCompositionsOnLambda()"
)]
pub struct Compositions {
    pub serve_url: String,
    pub input_props: InputProps,
    pub env_variables: Option<BTreeMap<String, String>>,
    pub timeout_in_milliseconds: Option<u32>,
    pub chromium_options: Option<ChromiumOptions>,
    pub bucket_name: Option<String>,
}

/// `still`. Names, meanings and defaults are those of `renderStillOnLambda()`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the names are those of renderStillOnLambda()")]
pub struct Still {
    pub serve_url: String,
    pub composition: String,
    pub input_props: InputProps,
    pub image_format: Option<String>,
    pub env_variables: Option<BTreeMap<String, String>>,
    pub max_retries: Option<u32>,
    /// Negative numbers count from the end.
    pub frame: Option<i64>,
    pub jpeg_quality: Option<u8>,
    pub privacy: Option<Privacy>,
    pub out_name: Option<OutName>,
    pub timeout_in_milliseconds: Option<u32>,
    pub chromium_options: Option<ChromiumOptions>,
    pub scale: Option<f64>,
    pub download_behavior: Option<DownloadBehavior>,
    pub force_height: Option<u32>,
    pub force_width: Option<u32>,
    pub force_fps: Option<f64>,
    pub force_duration_in_frames: Option<u32>,
    pub bucket_name: Option<String>,
    pub delete_after: Option<String>,
    pub storage_class: Option<String>,
}

/// Props, or where they lie: clients leave them in the bucket where they are too large for an event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum InputProps {
    /// Here.
    Payload {
        /// A JSON object as text.
        payload: String,
    },
    /// At `input-props/HASH.json`.
    #[serde(rename_all = "camelCase")]
    BucketUrl {
        /// The name within the folder.
        hash: String,
        /// Where the client has put them.
        bucket_name: String,
    },
}

/// What the browser is started with, as far as it can be chosen here.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the names are those of Remotion's ChromiumOptions"
)]
pub struct ChromiumOptions {
    pub user_agent: Option<String>,
    pub dark_mode: Option<bool>,
    pub ignore_certificate_errors: Option<bool>,
    pub disable_web_security: Option<bool>,
}

/// Who may read the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Privacy {
    /// Everybody.
    Public,
    /// Who may read the bucket.
    Private,
    /// As the bucket has it.
    NoAcl,
}

/// A frame, or a range with both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FrameRange {
    /// One frame.
    One(u32),
    /// From the first to the last, or to the end.
    Range(u32, Option<u32>),
}

impl FrameRange {
    /// What `selection` was, or would be.
    pub fn of(selection: FrameSelection) -> Self {
        let (first, last) = selection.ends();
        Self::Range(first, last)
    }

    /// # Errors
    /// The last frame comes before the first.
    pub fn selection(self) -> Result<FrameSelection, String> {
        match self {
            Self::One(frame) => frame.to_string(),
            Self::Range(first, None) => format!("{first}-"),
            Self::Range(first, Some(last)) => format!("{first}-{last}"),
        }
        .parse()
    }
}

/// Where the output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum OutName {
    /// `renders/ID/NAME`.
    Name(String),
    /// Any key of any bucket.
    #[serde(rename_all = "camelCase")]
    Place {
        /// The bucket.
        bucket_name: String,
        /// The key.
        key: String,
        /// Another provider of object storage.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        s3_output_provider: Option<Value>,
    },
}

/// What browsers do with the output's address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum DownloadBehavior {
    /// Show it.
    PlayInBrowser,
    /// Save it.
    #[serde(rename_all = "camelCase")]
    Download {
        /// Under this name.
        file_name: Option<String>,
    },
}

/// Who is told of the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// Where.
    pub url: String,
    /// What the body is signed with.
    pub secret: Option<String>,
    /// Handed through.
    pub custom_data: Option<Value>,
}

/// Bit rates as ffmpeg writes them. The Python client has them as numbers of bits a second, all others as texts such as `512K`.
mod rate {
    use serde::{Deserialize, Deserializer, de};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Rate {
        Text(String),
        Number(u64),
    }

    pub(super) fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
        match Option::<Rate>::deserialize(from)? {
            None => Ok(None),
            Some(Rate::Text(text)) => Ok(Some(text)),
            Some(Rate::Number(number)) if number > 0 && number.is_multiple_of(1_000) => {
                Ok(Some(format!("{}K", number / 1_000)))
            }
            Some(Rate::Number(number)) => Err(de::Error::custom(format!(
                "a bit rate of {number}: as a number it is in bits a second, whole thousands of them"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn start() -> Value {
        json!({
            "type": "start", "version": "4.0.527", "serveUrl": "site", "composition": "a", "codec": "h264",
            "inputProps": {"type": "payload", "payload": "{}"}, "frameRange": [3, null], "outName": "a.mp4",
            "downloadBehavior": {"type": "download", "fileName": null}, "privacy": "no-acl", "x264Preset": "fast",
        })
    }

    #[test]
    fn what_is_left_out_is_the_default_and_a_launch_comes_through() {
        let Ok(Request::Start(request)) = Request::parse("start", start(), "4.0.527") else {
            panic!("not a start");
        };
        assert_eq!(request.muted, None);
        assert_eq!(request.frame_range, Some(FrameRange::Range(3, None)));
        assert_eq!(request.privacy, Some(Privacy::NoAcl));
        assert_eq!(request.x264_preset.as_deref(), Some("fast"));
        assert_eq!(request.out_name, Some(OutName::Name("a.mp4".to_owned())));
        let launch = Launch {
            render_id: "abc".to_owned(),
            bucket_name: "bucket".to_owned(),
            function_name: "function".to_owned(),
            function_version: "3".to_owned(),
            request: *request,
        };
        let payload = launch.payload();
        assert_eq!(
            Request::parse("launch", payload, "any"),
            Ok(Request::Launch(Box::new(launch)))
        );
    }

    #[test]
    fn another_version_is_refused_before_anything_else_is_read() {
        for (sent, shown) in [(json!("4.0.1"), "4.0.1"), (json!(null), "unknown")] {
            let mut payload = start();
            payload["version"] = sent;
            payload["codec"] = json!(7);
            let error = Request::parse("start", payload, "4.0.527").unwrap_err();
            let text = error.to_string();
            assert!(text.starts_with("Version mismatch: "), "{text}");
            assert!(text.contains("4.0.527") && text.contains(shown), "{text}");
        }
        assert_eq!(
            Request::parse("info", json!({"type": "info"}), "4.0.527"),
            Ok(Request::Info)
        );
    }

    #[test]
    fn bit_rates_are_texts_or_numbers() {
        let rates = |payload: Value| match Request::parse("start", payload, "4.0.527") {
            Ok(Request::Start(start)) => Ok((start.audio_bitrate, start.encoding_max_rate)),
            Ok(_) => panic!("not a start"),
            Err(error) => Err(error.to_string()),
        };
        let mut payload = start();
        assert_eq!(rates(payload.clone()), Ok((None, None)));
        payload["audioBitrate"] = json!(128_000);
        payload["encodingMaxRate"] = json!("5M");
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(rates(payload.clone()), Ok((text("128K"), text("5M"))));
        payload["audioBitrate"] = json!(128);
        let error = rates(payload).unwrap_err();
        assert!(error.contains("bits a second"), "{error}");
    }

    #[test]
    fn what_cannot_be_answered_is_named() {
        let unknown = Request::parse("merge", json!({}), "4.0.527").unwrap_err();
        assert!(unknown.to_string().starts_with("Command not found"));
        let mut payload = start();
        payload["codec"] = json!(7);
        let malformed = Request::parse("start", payload, "4.0.527").unwrap_err();
        assert!(malformed.to_string().contains("`start`"), "{malformed}");
    }
}
