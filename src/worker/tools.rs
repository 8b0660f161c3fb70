//! The programs a worker needs: where they are, and what to do where they are not.

use std::path::PathBuf;

use super::blocks::Blocks;
use super::failure::{TaskResult, permanent};
use crate::env::{Env, Tool};
use crate::protocol::{FailureKind, PROCESSOR_MEMORY_MB, browsers};

/// Blocks of films that are kept: 256 MiB, half of what a function's disk has by default.
const BLOCKS_MAX: usize = 256;

/// The programs and folders of this worker.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) chromium: PathBuf,
    pub(super) ffmpeg: PathBuf,
    /// For everything temporary: `TMPDIR`, else `/tmp`.
    pub(super) scratch: PathBuf,
    /// Threads for the encoder: the cores this function has. Their number shows in the bits of the video, so it must
    /// be one for all chunks of a render: they all run on one version of a function, with one memory size.
    pub(super) cores: u32,
    /// Browsers that draw at the same time: one for each whole processor.
    pub(super) browsers: u32,
    /// What was read of other servers' films, kept for all pages of this worker.
    pub(super) blocks: Blocks,
}

impl Tools {
    /// Finds everything, or says what is missing and how to get it.
    pub(super) fn find(env: &Env) -> TaskResult<Self> {
        let chromium = env.find_tool(Tool::Chromium).ok_or_else(|| {
            let message = format!(
                "starting the browser: {}. Install Debian's `chromium-headless-shell`, or set RMX_CHROMIUM to the \
                 path of a headless shell",
                missing(env, Tool::Chromium, "no headless Chromium was found")
            );
            permanent(FailureKind::Browser, message)
        })?;
        let ffmpeg = env.find_tool(Tool::Ffmpeg).ok_or_else(|| {
            let message = format!(
                "starting the encoder: {}. Install the package `ffmpeg`, or set RMX_FFMPEG to its path",
                missing(env, Tool::Ffmpeg, "ffmpeg was not found")
            );
            permanent(FailureKind::Encoder, message)
        })?;
        let memory_mb = env.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE");
        let memory_mb = memory_mb.and_then(|memory| memory.parse().ok());
        let scratch = PathBuf::from(env.variable("TMPDIR").unwrap_or("/tmp"));
        Ok(Self {
            chromium,
            ffmpeg,
            blocks: Blocks::new(&scratch, BLOCKS_MAX),
            scratch,
            cores: cores(memory_mb),
            browsers: memory_mb.map_or(u32::MAX, browsers).min(cores(None)),
        })
    }
}

fn missing(env: &Env, tool: Tool, otherwise: &str) -> String {
    match env.variable(tool.variable()) {
        Some(given) => format!("{} is {given}, which is no program", tool.variable()),
        None => otherwise.to_owned(),
    }
}

/// Processors of a function with so much memory, a part of one counted whole. Everywhere else: what the machine has.
fn cores(memory_mb: Option<u32>) -> u32 {
    let machine =
        std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    match memory_mb {
        Some(memory_mb) => memory_mb.div_ceil(PROCESSOR_MEMORY_MB).clamp(1, machine),
        None => machine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_follow_the_memory_of_the_function() {
        let machine = cores(None);
        assert_eq!(cores(Some(512)), 1);
        assert_eq!(cores(Some(1769)), 1);
        assert_eq!(cores(Some(2048)), 2.min(machine));
        assert_eq!(cores(Some(10240)), 6.min(machine));
        assert_eq!(
            [512, 2048, 3537, 3538, 10240].map(browsers),
            [1, 1, 1, 2, 5]
        );
    }
}
