//! What a render leaves in the bucket for others to know that it may be running, and on which versions of the functions.
//!
//! It is a part of the render's document, which is gone once the render has ended well.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything of a render lies below `renders/ID/`.
pub const PREFIX: &str = "renders/";

/// The document's name below that.
pub const DOCUMENT: &str = "render.json";

/// The key of the document of the render to which the object `key` belongs.
pub fn document_of(key: &str) -> Option<String> {
    let (id, _) = key.strip_prefix(PREFIX)?.split_once('/')?;
    Some(format!("{PREFIX}{id}/{DOCUMENT}"))
}

/// On which versions a render runs, and for how long at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningRender {
    /// Version by the function's name.
    pub functions: BTreeMap<String, String>,
    /// No worker is invoked for it after that, in milliseconds since 1970: its own deadline.
    pub may_run_until_ms: u64,
}

#[derive(Deserialize)]
struct Document {
    running: RunningRender,
}

impl RunningRender {
    /// The part of a render's document; `None` if it tells nothing about it.
    pub fn parse(document: &[u8]) -> Option<Self> {
        let document: Document = serde_json::from_slice(document).ok()?;
        Some(document.running)
    }
}
