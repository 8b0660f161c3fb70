//! A connection that acknowledges what it has read at once.
//!
//! Runtimes write small pieces (`lambda_runtime` leaves Nagle's algorithm on), so the kernel on their side
//! keeps a piece back until the one before it is acknowledged; ours delays that by 40 ms when there is nothing
//! to send. Without this, the first and often the last piece of every streamed answer would be late by that.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(super) struct Prompt(TcpStream);

impl Prompt {
    pub(super) fn new(stream: TcpStream) -> Self {
        // Answers are small and awaited. Both options only make things quicker, so failures do not matter.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_quickack(true);
        Self(stream)
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.0).poll_read(context, buffer));
        // The kernel falls back to delaying on its own, so it is told again.
        let _ = self.0.set_quickack(true);
        Poll::Ready(result)
    }
}

impl AsyncWrite for Prompt {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
