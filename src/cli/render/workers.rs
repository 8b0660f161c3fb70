//! How many workers a render has at the same time, and how its frames are cut for them where nobody says so.

use super::options::Deployed;
use crate::cli::error::CommandError;
use crate::cloud::Cloud;
use crate::config::Target;
use crate::protocol::browsers;
use crate::render::chunks::ChunkLength;

/// The most invocations at the same time, unless the user asks for fewer.
pub(in crate::cli) const CONCURRENCY_DEFAULT_MAX: u32 = 1_000;

impl Deployed {
    /// How many invocations may run at the same time: what the cloud allows, and no more than was asked for. The embedded
    /// cloud would start as many browsers as it is asked to, so there it is as many as have a browser for each processor.
    pub(in crate::cli) async fn concurrency_max(
        &self,
        cloud: &Cloud,
        asked: Option<u32>,
    ) -> Result<u32, CommandError> {
        Ok(match (self.config.target, asked) {
            (Target::Local, asked) => {
                let workers_max = self.local_workers_max();
                asked.unwrap_or(workers_max).clamp(1, workers_max)
            }
            (Target::Aws, Some(asked)) => asked.max(1),
            (Target::Aws, None) => cloud
                .account_settings()
                .await?
                .unreserved_concurrent_executions
                .clamp(1, CONCURRENCY_DEFAULT_MAX),
        })
    }

    /// Workers of the embedded cloud that have a processor of this machine for each of their browsers.
    fn local_workers_max(&self) -> u32 {
        let cores = std::thread::available_parallelism()
            .ok()
            .and_then(|cores| u32::try_from(cores.get()).ok())
            .unwrap_or(1);
        (cores / browsers(self.config.function.memory_mb)).max(1)
    }

    /// How long chunks are where nobody says so.
    pub(in crate::cli) fn chunk_length(&self) -> ChunkLength {
        match self.config.target {
            Target::Local => ChunkLength::ForWorkers(self.local_workers_max()),
            Target::Aws => ChunkLength::Default,
        }
    }
}
