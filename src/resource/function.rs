//! What is the same for every worker function, and therefore in no spec.

/// Lambda's runtime for programs that bring their own: the worker is one.
pub const RUNTIME: &str = "provided.al2023";

/// The program within the zip that Lambda starts.
pub const HANDLER: &str = "bootstrap";
