//! End to end: real Chromium and ffmpeg, beside Remotion's own renderer.
//!
//! nextest runs these one at a time: browsers and encoders fill both cores of a small machine.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests read the environment as a user's shell gives it"
)]

mod artifacts;
mod asked;
mod clients;
mod compare;
mod failures;
mod farm;
mod formats;
mod hard;
mod lanes;
mod limits;
mod official;
mod options;
mod orchestrator;
mod package;
mod peer;
mod reach;
mod redelivery;
mod roles;
mod smoke;
mod sound;
mod web;
