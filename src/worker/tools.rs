//! The programs a worker needs: where they are, and what to do where they are not.

use std::path::{Path, PathBuf};

use super::failure::{TaskResult, permanent};
use crate::env::Env;
use crate::protocol::FailureKind;

/// Names of the headless shell, in the order in which they are looked for. The full browser is not among them: it
/// lacks the frame control that the capture loop draws with.
const CHROMIUM_NAMES: &[&str] = &["chromium-headless-shell", "chrome-headless-shell", "headless_shell"];
/// Places beside `PATH`: next to the worker in its package, and where Remotion's Lambda layers put it.
const CHROMIUM_PATHS: &[&str] = &["/opt/bin/chromium", "/opt/chromium/headless_shell"];

/// The programs and folders of this worker.
#[derive(Debug, Clone)]
pub(super) struct Tools {
    pub(super) chromium: PathBuf,
    pub(super) ffmpeg: PathBuf,
    /// For everything temporary: `TMPDIR`, else `/tmp`.
    pub(super) scratch: PathBuf,
    /// Threads for the encoder: the cores this function has.
    pub(super) cores: u32,
}

impl Tools {
    /// Finds everything, or says what is missing and how to get it.
    pub(super) fn find(env: &Env) -> TaskResult<Self> {
        let chromium = find(env, "RMX_CHROMIUM", CHROMIUM_NAMES, CHROMIUM_PATHS).ok_or_else(|| {
            permanent(
                FailureKind::Browser,
                "starting the browser: no headless Chromium was found. Install Debian's \
                 `chromium-headless-shell`, or set RMX_CHROMIUM to the path of a headless shell",
            )
        })?;
        let ffmpeg = find(env, "RMX_FFMPEG", &["ffmpeg"], &["/opt/bin/ffmpeg"]).ok_or_else(|| {
            permanent(
                FailureKind::Encoder,
                "starting the encoder: ffmpeg was not found. Install the package `ffmpeg`, or set RMX_FFMPEG \
                 to its path",
            )
        })?;
        Ok(Self {
            chromium,
            ffmpeg,
            scratch: PathBuf::from(env.variable("TMPDIR").unwrap_or("/tmp")),
            cores: cores(env.variable("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")),
        })
    }
}

/// Lambda gives one vCPU for each 1769 MB of memory (Lambda developer guide, "Configure function memory").
/// Everywhere else: what the machine has.
fn cores(memory_mb: Option<&str>) -> u32 {
    let machine = std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(1));
    match memory_mb.and_then(|memory| memory.parse::<u32>().ok()) {
        Some(memory_mb) => memory_mb.div_ceil(1769).clamp(1, machine.max(1)),
        None => machine,
    }
}

fn find(env: &Env, variable: &str, names: &[&str], places: &[&str]) -> Option<PathBuf> {
    if let Some(path) = env.variable(variable) {
        return is_file(Path::new(path)).then(|| PathBuf::from(path));
    }
    let beside = env.executable.parent().into_iter().map(Path::to_owned);
    let path = env.variable("PATH").unwrap_or("/usr/local/bin:/usr/bin:/bin");
    beside
        .chain(path.split(':').map(PathBuf::from))
        .flat_map(|folder| names.iter().map(move |name| folder.join(name)))
        .chain(places.iter().map(PathBuf::from))
        .find(|candidate| is_file(candidate))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_follow_the_memory_of_the_function() {
        let machine = cores(None);
        assert_eq!(cores(Some("512")), 1);
        assert_eq!(cores(Some("1769")), 1);
        assert_eq!(cores(Some("2048")), 2.min(machine));
        assert_eq!(cores(Some("10240")), 6.min(machine));
    }
}
