//! End to end: real Chromium and ffmpeg, beside Remotion's own renderer.
//!
//! Tests live in modules called `media`: nextest runs those one at a time.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the environment as a user's shell gives it"
)]

mod compare;
mod failures;
mod farm;
mod peer;
