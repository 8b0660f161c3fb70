//! What programs say of themselves, and how they end.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::failure::Cause;

/// All that is said into `stderr`, `bytes_max` bytes at most. To be read while the program works, or it waits for a reader.
pub(super) async fn words_of(stderr: impl AsyncRead + Unpin, bytes_max: u64) -> String {
    let mut text = Vec::new();
    // What was read before an error is all there is to tell.
    let _ = stderr.take(bytes_max).read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}

/// Whether ffmpeg ended well; `words` is what it said until then. One that was killed (of all processes of a machine without
/// memory left it is the one, most likely) says nothing of what it worked on.
pub(super) fn ended(status: ExitStatus, words: &str) -> Result<(), Cause> {
    if status.success() {
        return Ok(());
    }
    Err(Cause {
        reason: format!("ffmpeg ended with {status}\n{}", words.trim())
            .trim_end()
            .to_owned(),
        passing: status.signal().is_some(),
    })
}
