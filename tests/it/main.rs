//! Integration tests: one crate, so that they link once. Each runs the real `rmx` in a folder of its own.

#![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

mod apply;
mod architecture;
mod bad_input;
mod bench;
mod calls;
mod cli;
mod cloud;
mod config;
mod documents;
mod faults;
mod formats;
mod functions;
mod gates;
mod import;
mod interrupts;
mod intruder;
mod isolation;
mod layers;
mod local_lambda;
mod local_s3;
mod local_serve;
mod local_services;
mod node_functions;
mod package;
mod permissions;
mod plan;
mod policies;
mod preflight;
mod protection;
mod quotas;
mod recovery;
mod remote_state;
mod remotion;
mod render;
mod renders;
mod reproducible;
mod retention;
mod roles;
mod rollback;
mod saved_plan;
mod secrets;
mod semantics;
mod sequences;
mod sessions;
mod smoke;
mod state_verbs;
#[allow(dead_code, reason = "helpers for tests that land one by one")]
mod support;
