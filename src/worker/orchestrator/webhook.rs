//! Tells of a render's end whoever its client named.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::time::{sleep, timeout};
use url::Url;

use super::Farm;
use crate::env::{Env, now_ms};
use crate::wire::webhook::{Letter, MODE_HEADER, SIGNATURE_HEADER, STATUS_HEADER};
use crate::worker::connect::Guard;
use crate::worker::fetch::connector;

/// Tries at a receiver that is silent, or does not say that it has understood.
const TRIES_MAX: u32 = 3;

/// Before the second try; before the third it is twice as long.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a receiver may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Redirects that are followed, as browsers do.
const REDIRECTS_MAX: usize = 20;

/// The invocation ends so long before Lambda would end it, even if the receiver hangs.
const MARGIN_MS: u64 = 1_000;

/// Sends `letter` to `url`. What has been sent may have arrived even if this fails.
///
/// # Errors
/// Why nobody has said that it arrived.
pub(super) async fn send(farm: &Farm, env: &Env, url: &str, letter: &Letter) -> Result<(), String> {
    let guard = Guard::new(env.variable("AWS_LAMBDA_RUNTIME_API"));
    let connector = connector(guard).map_err(|error| error.to_string())?;
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let post = async |url: &Url| {
        let request = Request::post(url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .header(MODE_HEADER, "production")
            .header(STATUS_HEADER, letter.status)
            .header(SIGNATURE_HEADER, &letter.signature)
            .body(Full::new(Bytes::from(letter.body.clone())))
            .map_err(|error| error.to_string())?;
        let answer = timeout(ANSWER_MAX, client.request(request)).await;
        let answer = answer.map_err(|_| format!("no answer within {} s", ANSWER_MAX.as_secs()))?;
        answer.map_err(|error| format!("it cannot be reached: {}", innermost(&error)))
    };
    let once = async || {
        let mut url = Url::parse(url).map_err(|error| error.to_string())?;
        for _ in 0..=REDIRECTS_MAX {
            let answer = post(&url).await?;
            let location = answer.headers().get(header::LOCATION);
            match location.and_then(|location| location.to_str().ok()) {
                // With the same body each time: without it nothing would be told.
                Some(location) if answer.status().is_redirection() => {
                    url = url.join(location).map_err(|error| error.to_string())?;
                }
                _ if answer.status().is_success() => return Ok(()),
                _ => return Err(format!("it answered {}", answer.status())),
            }
        }
        Err(format!("more than {REDIRECTS_MAX} redirects"))
    };
    let several = async {
        let mut tries = 1;
        loop {
            match once().await {
                Err(reason) if tries < TRIES_MAX => {
                    tracing::warn!("webhook, try {tries}: {reason}");
                    sleep(PAUSE * tries).await;
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    };
    let left_ms = farm.deadline_ms.saturating_sub(now_ms());
    let left = Duration::from_millis(left_ms.saturating_sub(MARGIN_MS));
    let sent = timeout(left, several).await;
    sent.unwrap_or_else(|_| Err("the function had no time left".to_owned()))
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut reason = error;
    while let Some(source) = reason.source() {
        reason = source;
    }
    reason.to_string()
}
