//! Long texts of a task lie in the bucket: an invocation has room for six megabytes, and props may be longer.
//!
//! In the JSON of a task, where such a text would stand, stands a [`StoredText`].

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::names::BucketName;

/// Where a task may have long texts, as JSON pointers: the input props, and the props they resolve to.
pub const LONG_TEXTS: [&str; 2] = ["/input_props", "/composition/resolved_props"];

/// A text that is longer goes through the bucket.
pub const TEXT_BYTES_MAX: usize = 256 * 1024;

/// A text that lies in the bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoredText {
    /// The bucket.
    pub bucket: BucketName,
    /// Key of the object.
    pub key: String,
    /// Its content must have this digest.
    pub digest: Digest,
}
