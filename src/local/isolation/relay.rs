//! What a function connects to in its own network is served from here.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::network;

/// Connections of one environment at the same time; more wait.
const CONNECTIONS_MAX: usize = 256;

/// How long a process may take to make its root. On a busy machine it is a second.
const ROOT_MADE_MAX: Duration = Duration::from_secs(30);

/// Passes connections on until it is dropped.
#[derive(Debug)]
pub(in crate::local) struct Relay {
    _serving: JoinSet<()>,
}

impl Relay {
    /// Waits for the listeners of a process and serves each with what is at the same address here.
    pub(in crate::local) async fn start(
        socket: UnixStream,
        addresses: &[SocketAddr],
    ) -> io::Result<Self> {
        socket.set_read_timeout(Some(ROOT_MADE_MAX))?;
        let received = tokio::task::spawn_blocking(move || network::receive(&socket)).await;
        let listeners = received.map_err(io::Error::other)??;
        let mut serving = JoinSet::new();
        for (listener, address) in listeners.into_iter().zip(addresses) {
            serving.spawn(serve(listen(listener)?, *address));
        }
        Ok(Self { _serving: serving })
    }
}

fn listen(listener: TcpListener) -> io::Result<tokio::net::TcpListener> {
    listener.set_nonblocking(true)?;
    tokio::net::TcpListener::from_std(listener)
}

async fn serve(listener: tokio::net::TcpListener, address: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(pass_on(stream, address));
                }
                // The process may have too many files open; it has fewer later.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

/// A connection that breaks breaks on both sides; whoever uses it notices.
async fn pass_on(mut inside: TcpStream, address: SocketAddr) {
    if let Ok(mut outside) = TcpStream::connect(address).await {
        let _ = (inside.set_nodelay(true), outside.set_nodelay(true));
        let _ = tokio::io::copy_bidirectional(&mut inside, &mut outside).await;
    }
}
