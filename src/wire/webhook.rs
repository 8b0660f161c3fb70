//! What is told of a render's end to whoever the client named: body, headers, signature.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha512};

use super::javascript::stringify;
use super::progress::{ErrorInfo, Progress};
use super::request::Webhook;

/// The longest custom data, as JSON, in characters as JavaScript counts them.
const CUSTOM_DATA_MAX: usize = 1_024;

/// The bytes that SHA-512 takes at a time.
const BLOCK_BYTES: usize = 128;

/// The header that says how the render ended.
pub const STATUS_HEADER: &str = "x-remotion-status";
/// The header with which a receiver makes sure of the sender.
pub const SIGNATURE_HEADER: &str = "x-remotion-signature";
/// The header that tells a test of the receiver from a render's end.
pub const MODE_HEADER: &str = "x-remotion-mode";

/// What is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// `success`, `error` or `timeout`.
    pub status: &'static str,
    /// JSON, as JavaScript would write it.
    pub body: String,
    /// Of the body, with the client's secret.
    pub signature: String,
}

/// Whose end it is.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The render.
    pub render_id: &'a str,
    /// Where it lies.
    pub bucket: &'a str,
    /// Whose function it was.
    pub account: &'a str,
}

impl Webhook {
    /// Whether it can be told anything.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        let url = url::Url::parse(&self.url).map_err(|error| format!("url: {error}"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(format!("url: {} is not http or https", url.scheme()));
        }
        let custom_data = self
            .custom_data
            .as_ref()
            .map_or_else(String::new, stringify);
        match custom_data.encode_utf16().count() {
            length if length > CUSTOM_DATA_MAX => Err(format!(
                "customData: it has {length} characters as JSON, and at most {CUSTOM_DATA_MAX} are taken"
            )),
            _ => Ok(()),
        }
    }

    /// What is told of a render whose document says that it is over.
    pub fn letter(&self, progress: &Progress, subject: Subject<'_>) -> Letter {
        let fatal = |error: &&ErrorInfo| error.is_fatal && !error.will_retry;
        let fatal: Vec<&ErrorInfo> = progress.errors.iter().filter(fatal).collect();
        let (status, own) = match &progress.post_render_data {
            Some(done) => (
                "success",
                json!({
                    "outputUrl": done.output_file,
                    "lambdaErrors": done.errors,
                    "outputFile": done.output_file,
                    "timeToFinish": done.time_to_finish,
                    "costs": done.cost,
                }),
            ),
            None if fatal.iter().any(|error| error.is_timeout()) => ("timeout", json!({})),
            None => {
                let errors = fatal.iter().map(|error| {
                    json!({"message": error.message, "name": error.name, "stack": error.stack})
                });
                ("error", json!({"errors": errors.collect::<Vec<_>>()}))
            }
        };
        let mut body = json!({
            "type": status,
            "renderId": subject.render_id,
            "expectedBucketOwner": subject.account,
            "bucketName": subject.bucket,
            "customData": self.custom_data,
        });
        if let (Value::Object(body), Value::Object(own)) = (&mut body, own) {
            body.extend(own);
        }
        let body = stringify(&body);
        Letter {
            status,
            signature: signature(self.secret.as_deref(), &body),
            body,
        }
    }
}

/// The value of the header with which a receiver makes sure of the sender.
fn signature(secret: Option<&str>, body: &str) -> String {
    let Some(secret) = secret else {
        return "NO_SECRET_PROVIDED".to_owned();
    };
    let code = hmac_sha512(secret.as_bytes(), body.as_bytes());
    code.iter().fold("sha512=".to_owned(), |text, byte| {
        format!("{text}{byte:02x}")
    })
}

/// RFC 2104.
fn hmac_sha512(key: &[u8], message: &[u8]) -> [u8; 64] {
    let mut block = [0_u8; BLOCK_BYTES];
    if key.len() > BLOCK_BYTES {
        block[..64].copy_from_slice(&Sha512::digest(key));
    } else {
        block[..key.len()].copy_from_slice(key);
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Sha512::new_with_prefix(padded(0x36)).chain_update(message);
    let outer = Sha512::new_with_prefix(padded(0x5c)).chain_update(inner.finalize());
    outer.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::status::timeout_error;

    const SUBJECT: Subject<'_> = Subject {
        render_id: "abc",
        bucket: "remotionlambda-useast1-abc",
        account: "123456789012",
    };

    fn webhook(secret: Option<&str>, custom_data: Option<Value>) -> Webhook {
        Webhook {
            url: "https://example.com/".to_owned(),
            secret: secret.map(str::to_owned),
            custom_data,
        }
    }

    /// Body and signature were made by the official function's own lines.
    #[test]
    fn a_timeout_is_told_byte_for_byte_as_the_official_function_tells_it() {
        let mut progress = Progress::begun(false, 0);
        progress.errors.push(timeout_error("no time"));
        let letter = webhook(Some("secret"), None).letter(&progress, SUBJECT);
        assert_eq!(letter.status, "timeout");
        assert_eq!(
            letter.body,
            r#"{"type":"timeout","renderId":"abc","expectedBucketOwner":"123456789012","bucketName":"remotionlambda-useast1-abc","customData":null}"#
        );
        assert_eq!(
            letter.signature,
            "sha512=ae0b365f542acaee43cdf8501b0ab91a6cd98b84383c6db25d9d1574df055f7e9e655b04d63dfcba33a5f9415fa199003db8c55f6d06255cd12f1dfbd3ecc8aa"
        );
        let unsigned = webhook(None, None).letter(&progress, SUBJECT);
        assert_eq!(unsigned.signature, "NO_SECRET_PROVIDED");
    }

    #[test]
    fn an_error_is_told_with_what_ended_the_render_and_the_clients_own_data() {
        let mut progress = Progress::begun(false, 0);
        let error = |message: &str, is_fatal| ErrorInfo {
            name: "Error".to_owned(),
            is_fatal,
            ..timeout_error(message)
        };
        progress.errors = vec![error("passing", false), error("é", true)];
        let data = json!({"b": 5.0, "1": "🎬"});
        let letter = webhook(Some("s"), Some(data)).letter(&progress, SUBJECT);
        assert_eq!(letter.status, "error");
        let (_, rest) = letter.body.split_once(r#""customData":"#).unwrap();
        assert_eq!(
            rest,
            r#"{"1":"🎬","b":5},"errors":[{"message":"é","name":"Error","stack":"TimeoutError: é"}]}"#
        );
    }

    /// RFC 4231, cases 1 and 6.
    #[test]
    fn keys_of_every_length_sign() {
        let begin = |key: &[u8], message: &[u8]| hmac_sha512(key, message)[..4].to_vec();
        assert_eq!(begin(&[0x0b; 20], b"Hi There"), [0x87, 0xaa, 0x7c, 0xde]);
        let long = b"Test Using Larger Than Block-Size Key - Hash Key First";
        assert_eq!(begin(&[0xaa; 131], long), [0x80, 0xb2, 0x42, 0x63]);
    }

    #[test]
    fn what_cannot_be_told_is_refused() {
        let mut ftp = webhook(None, None);
        ftp.url = "ftp://example.com".to_owned();
        assert!(ftp.check().unwrap_err().contains("ftp"));
        let long = webhook(None, Some(Value::from("🎬".repeat(512))));
        assert!(long.check().unwrap_err().contains("1026 characters"));
        assert_eq!(webhook(None, Some(json!({"a": 1}))).check(), Ok(()));
    }
}
