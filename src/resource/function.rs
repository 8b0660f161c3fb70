//! What a function of each kind of worker runs on, and what of it Lambda starts.

use super::FunctionSpec;

/// Lambda's runtime for programs that bring their own: rmx's worker is one.
pub const RUNTIME: &str = "provided.al2023";

/// The program within the zip of rmx's worker that Lambda starts.
pub const HANDLER: &str = "bootstrap";

/// The runtime of Remotion's own function (`@remotion/lambda` 4.0.527).
pub const REMOTION_RUNTIME: &str = "nodejs24.x";

/// What Lambda starts of it.
pub const REMOTION_HANDLER: &str = "index.handler";

/// What Lambda calls a function that is invoked by its name alone, as Remotion's invokes itself.
pub const LATEST: &str = "$LATEST";

/// Whether a function with that runtime invokes itself by its name alone, whatever version it is: Remotion's does, which has one of
/// Node.js, and rmx's does not.
pub fn invokes_latest(runtime: &str) -> bool {
    runtime.starts_with("nodejs")
}

impl FunctionSpec {
    /// Whether it invokes itself by its name alone, whatever version it is.
    pub fn invokes_latest(&self) -> bool {
        invokes_latest(&self.runtime)
    }
}

/// What was applied before the runtime was recorded.
pub(super) fn own_runtime() -> String {
    RUNTIME.to_owned()
}

/// The same of the handler.
pub(super) fn own_handler() -> String {
    HANDLER.to_owned()
}
