//! rmx: plan, apply and render a serverless video render farm.
//!
//! ```text
//! plan, apply   remotion.toml ─config→ Desired ┐
//!               bundles/     ─bundle→ digests ─┴─plan::make→ Plan ─apply→ State (serial + 1)
//!               cloud        ─observe→ Observed ┘
//!
//! render        RenderRequest → Composition → ChunkPlan → scheduler ⇄ workers → segments → stitcher → output
//! ```
//!
//! The rooms and who may import whom are described in `docs/ARCHITECTURE.md`; a test holds the table.

pub mod apply;
pub mod bundle;
pub mod cli;
pub mod cloud;
pub mod config;
pub mod digest;
pub mod env;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod local;
pub mod media;
pub mod names;
pub mod plan;
pub mod protocol;
pub mod render;
pub mod resource;
pub mod state;
pub mod wire;
pub mod worker;
