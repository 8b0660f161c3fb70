//! How many workers a render has at the same time, and how its frames are cut for them where nobody says so.

use super::deployed::Deployed;
use crate::cli::error::CommandError;
use crate::cli::farm::local_workers_max;
use crate::cloud::Cloud;
use crate::config::Target;
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
                let workers_max = local_workers_max(self.config.function.memory_mb);
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

    /// How long chunks are where nobody says so.
    pub(in crate::cli) fn chunk_length(&self) -> ChunkLength {
        match self.config.target {
            Target::Local => {
                ChunkLength::ForWorkers(local_workers_max(self.config.function.memory_mb))
            }
            Target::Aws => ChunkLength::Default,
        }
    }
}
