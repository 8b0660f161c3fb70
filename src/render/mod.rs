//! Request → chunk plan → scheduler → segments → stitched output.

pub mod chunks;
pub mod scheduler;
pub mod stitch;
