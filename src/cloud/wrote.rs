//! Whether some work has changed anything in the cloud: every call that is made in it is looked at as it ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::FinalizerInterceptorContextRef;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

/// How calls that change nothing begin. An invocation changes no resource.
const READING: [&str; 7] = [
    "Assume", "Describe", "Get", "Head", "Invoke", "List", "Simulate",
];

tokio::task_local! {
    static WROTE: Wrote;
}

/// Whether anything was changed, or may have been: a call whose answer did not come counts, one that was refused does not.
#[derive(Debug, Clone, Default)]
pub struct Wrote(Arc<AtomicBool>);

impl Wrote {
    /// Does `work`, looking at the calls it makes. Those of tasks that it spawns are not seen.
    pub async fn watch<T>(&self, work: impl Future<Output = T>) -> T {
        WROTE.scope(self.clone(), work).await
    }

    /// Whether any of them has changed something.
    pub fn anything(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Looks at the calls of a client.
#[derive(Debug)]
pub(super) struct Watch;

impl Intercept for Watch {
    fn name(&self) -> &'static str {
        "Watch"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let name = config.load::<Metadata>().map(Metadata::name);
        let reads = name.is_some_and(|name| READING.iter().any(|verb| name.starts_with(verb)));
        let refused = context
            .response()
            .is_some_and(|response| response.status().is_client_error());
        if !reads && !refused {
            // Outside of any work that is watched, nobody wants to know.
            let _ = WROTE.try_with(|wrote| wrote.0.store(true, Ordering::Relaxed));
        }
        Ok(())
    }
}
