//! What programs say of themselves.

use tokio::io::{AsyncRead, AsyncReadExt as _};

/// All that is said into `stderr`, `bytes_max` bytes at most. To be read while the program works, or it waits for a reader.
pub(super) async fn words_of(stderr: impl AsyncRead + Unpin, bytes_max: u64) -> String {
    let mut text = Vec::new();
    // What was read before an error is all there is to tell.
    let _ = stderr.take(bytes_max).read_to_end(&mut text).await;
    String::from_utf8_lossy(&text).into_owned()
}
