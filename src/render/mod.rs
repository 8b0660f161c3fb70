//! Request → chunk plan → scheduler → segments → stitched output.
