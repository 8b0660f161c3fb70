//! Connections to other servers, on behalf of a page: not to what only the worker itself may talk to. A page names the
//! addresses of its media files, and its props may come from anybody.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use http::uri::Scheme;
use hyper_util::rt::TokioIo;
use lambda_runtime::Service;
use tokio::net::{TcpStream, lookup_host};

/// What may not be reached: the addresses at which clouds tell a machine its credentials, and Lambda's runtime API.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Guard {
    runtime_api: Option<SocketAddr>,
}

/// An address that may not be reached.
#[derive(Debug)]
pub(super) struct Forbidden(SocketAddr);

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is the worker's own surroundings and not for pages",
            self.0
        )
    }
}

impl Error for Forbidden {}

impl Guard {
    /// That of a worker whose `AWS_LAMBDA_RUNTIME_API` is this.
    pub(super) fn new(runtime_api: Option<&str>) -> Self {
        let named = |address: &str| {
            let (_, port) = address.rsplit_once(':')?;
            Some(SocketAddr::new(
                Ipv4Addr::LOCALHOST.into(),
                port.parse().ok()?,
            ))
        };
        let parsed = |address: &str| address.parse().ok().or_else(|| named(address));
        Self {
            runtime_api: runtime_api.and_then(parsed),
        }
    }

    /// The port of a runtime API on this very machine.
    pub(super) fn port_here(self) -> Option<u16> {
        let here = self.runtime_api.filter(|api| is_here(plain(api.ip())));
        here.map(|api| api.port())
    }

    /// A connection to a server. Names are looked up here, so that what is checked is what is connected to.
    ///
    /// # Errors
    /// It may not be reached ([`Forbidden`]), or cannot.
    pub(super) async fn connect(
        self,
        host: &str,
        port: u16,
    ) -> Result<TcpStream, Box<dyn Error + Send + Sync>> {
        let found = lookup_host((host, port)).await?;
        let addresses: Result<Vec<_>, _> = found.map(|address| self.check(address)).collect();
        let stream = TcpStream::connect(&addresses?[..]).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn check(self, address: SocketAddr) -> Result<SocketAddr, Forbidden> {
        let is_runtime_api = self.runtime_api.is_some_and(|api| {
            let (host, api_host) = (plain(address.ip()), plain(api.ip()));
            address.port() == api.port() && (host == api_host || is_here(host) && is_here(api_host))
        });
        if is_runtime_api || tells_secrets(plain(address.ip())) {
            return Err(Forbidden(address));
        }
        Ok(address)
    }
}

fn is_here(ip: IpAddr) -> bool {
    ip.is_loopback() || ip.is_unspecified()
}

/// An IPv4 address that is written as one of IPv6 (RFC 4291, 2.5.5.2; RFC 6052, 2.1) is itself.
fn plain(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V6(six) => match six.segments() {
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)).into()
            }
            _ => six.to_canonical(),
        },
        IpAddr::V4(_) => ip,
    }
}

/// Link-local addresses (RFC 3927, RFC 4291), among them 169.254.169.254; and that service's address in IPv6.
fn tells_secrets(ip: IpAddr) -> bool {
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    match ip {
        IpAddr::V4(four) => four.is_link_local(),
        IpAddr::V6(six) => six.is_unicast_link_local() || six == METADATA,
    }
}

/// Makes connections, as [`Guard::connect`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Connect(pub(super) Guard);

type Connecting =
    Pin<Box<dyn Future<Output = Result<TokioIo<TcpStream>, Box<dyn Error + Send + Sync>>> + Send>>;

impl Service<Uri> for Connect {
    type Response = TokioIo<TcpStream>;
    type Error = Box<dyn Error + Send + Sync>;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let guard = self.0;
        Box::pin(async move {
            let host = uri.host().unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']');
            let usual = if uri.scheme() == Some(&Scheme::HTTPS) {
                443
            } else {
                80
            };
            let stream = guard.connect(host, uri.port_u16().unwrap_or(usual)).await?;
            Ok(TokioIo::new(stream))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_the_worker_may_talk_to_is_not_for_pages() {
        let api = Guard::new(Some("127.0.0.1:9001"));
        let far = Guard::new(Some("169.254.100.1:9001"));
        let named = Guard::new(Some("localhost:9001"));
        for (guard, address, allowed) in [
            (api, "127.0.0.1:9001", false),
            (api, "127.0.0.2:9001", false),
            (api, "0.0.0.0:9001", false),
            (api, "[::1]:9001", false),
            (api, "[::ffff:127.0.0.1]:9001", false),
            (api, "127.0.0.1:9002", true),
            (api, "192.0.2.1:9001", true),
            (named, "127.0.0.1:9001", false),
            (far, "169.254.100.1:9001", false),
            (Guard::default(), "127.0.0.1:9001", true),
            (Guard::default(), "169.254.169.254:80", false),
            (Guard::default(), "[::ffff:169.254.169.254]:80", false),
            (Guard::default(), "[64:ff9b::a9fe:a9fe]:80", false),
            (Guard::default(), "[fe80::1]:80", false),
            (Guard::default(), "[fd00:ec2::254]:80", false),
            (Guard::default(), "[fd00:ec3::254]:80", true),
            (Guard::default(), "169.253.1.1:80", true),
        ] {
            let checked = guard.check(address.parse().unwrap());
            assert_eq!(checked.is_ok(), allowed, "{address}");
        }
    }
}
