//! The browser's way to other servers: a SOCKS5 server (RFC 1928) of the worker's own, which connects to what a page may
//! reach and to nothing else ([`Guard`]). Scripts, frames, workers, sockets and redirects of a page all go through it, and
//! names are looked up here: what is checked is what is connected to.
//!
//! The page's own server is not on this way, so frames take no longer.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, copy_bidirectional_with_sizes,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::connect::Guard;
use super::failure::{TaskResult, internal};

/// The host of the page's own server: the only one that the browser connects to by itself.
const OWN_HOST: &str = "localhost";
/// Connections at the same time. A browser makes 32 at most.
const CONNECTIONS_MAX: usize = 128;
/// How long the browser may take to say where it wants to go, and how long the way there.
const GREETING_MAX: Duration = Duration::from_secs(10);
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// What is read before it is passed on, each way.
const BUFFER_BYTES: usize = 64 * 1024;
/// Refusals that are kept between two looks.
const REFUSALS_MAX: usize = 50;
/// Pause after a connection that could not be accepted.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Numbers of RFC 1928.
const VERSION: u8 = 5;
const NO_AUTHENTICATION: u8 = 0;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;
const SUCCEEDED: u8 = 0;
const GENERAL_FAILURE: u8 = 1;

/// A proxy that ends with this value, and with it every connection through it.
#[derive(Debug)]
pub(super) struct Proxy {
    port: u16,
    guard: Guard,
    refusals: Arc<Mutex<Vec<String>>>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    pub(super) async fn start(guard: Guard) -> TaskResult<Self> {
        let opening = |error| internal("opening the browser's way to other servers", error);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(opening)?;
        let port = listener.local_addr().map_err(opening)?.port();
        let refusals = Arc::default();
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, guard, Arc::clone(&refusals)));
        Ok(Self {
            port,
            guard,
            refusals,
            _accepting: accepting,
        })
    }

    /// What a browser is told so that it takes this way. Without `<-loopback>` it would take none to this machine and to
    /// link-local addresses.
    pub(super) fn flags(&self) -> Vec<String> {
        let forbidden = self.guard.port_here();
        let forbidden =
            forbidden.map(|port| format!("--host-resolver-rules=MAP {OWN_HOST}:{port} ~NOTFOUND"));
        let mut flags = vec![
            format!("--proxy-server=socks5://127.0.0.1:{}", self.port),
            format!("--proxy-bypass-list=<-loopback>;{OWN_HOST}"),
        ];
        flags.extend(forbidden);
        flags
    }

    /// Why connections were refused since the last call. The browser itself does not tell.
    pub(super) fn take_refusals(&self) -> Vec<String> {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *refusals)
    }
}

async fn accept(listener: TcpListener, guard: Guard, refusals: Arc<Mutex<Vec<String>>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                };
                let refusals = Arc::clone(&refusals);
                connections.spawn(async move {
                    let Err(error) = serve(stream, guard).await else { return };
                    let mut refusals = refusals.lock().unwrap_or_else(PoisonError::into_inner);
                    if refusals.len() < REFUSALS_MAX {
                        refusals.push(error);
                    }
                });
            }
        }
    }
}

/// One connection from its greeting to its end.
///
/// # Errors
/// Where it should have led and why it does not.
async fn serve(mut browser: TcpStream, guard: Guard) -> Result<(), String> {
    let _ = browser.set_nodelay(true);
    // Who does not speak the protocol, or hangs up, gets no answer.
    let Ok(Ok((host, port))) = timeout(GREETING_MAX, wanted(&mut browser)).await else {
        return Ok(());
    };
    let connected = match timeout(CONNECT_MAX, guard.connect(&host, port)).await {
        Ok(connected) => connected.map_err(|error| error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_MAX.as_secs())),
    };
    // The address behind it is that of our end, which nobody looks at.
    let answer = |status| [VERSION, status, 0, IPV4, 0, 0, 0, 0, 0, 0];
    match connected {
        Ok(mut server) => {
            // However it ends: both sides see it.
            if browser.write_all(&answer(SUCCEEDED)).await.is_ok() {
                let (a, b) = (BUFFER_BYTES, BUFFER_BYTES);
                let _ = copy_bidirectional_with_sizes(&mut browser, &mut server, a, b).await;
            }
            Ok(())
        }
        Err(error) => {
            let _ = browser.write_all(&answer(GENERAL_FAILURE)).await;
            Err(format!("connecting to {host}:{port} for the page: {error}"))
        }
    }
}

/// Where the browser wants to go: the greeting and the request of RFC 1928, sections 3 and 4.
async fn wanted(browser: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<(String, u16)> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let [version, methods] = array(browser).await?;
    if version != VERSION {
        return Err(invalid());
    }
    let mut offered = vec![0; methods.into()];
    browser.read_exact(&mut offered).await?;
    if !offered.contains(&NO_AUTHENTICATION) {
        return Err(invalid());
    }
    browser.write_all(&[VERSION, NO_AUTHENTICATION]).await?;
    let [version, command, _, kind] = array(browser).await?;
    if (version, command) != (VERSION, CONNECT) {
        return Err(invalid());
    }
    let host = match kind {
        IPV4 => std::net::Ipv4Addr::from(array::<4>(browser).await?).to_string(),
        IPV6 => std::net::Ipv6Addr::from(array::<16>(browser).await?).to_string(),
        NAME => {
            let [length] = array(browser).await?;
            let mut name = vec![0; length.into()];
            browser.read_exact(&mut name).await?;
            String::from_utf8(name).map_err(|_| invalid())?
        }
        _ => return Err(invalid()),
    };
    let port = u16::from_be_bytes(array(browser).await?);
    Ok((host, port))
}

async fn array<const LENGTH: usize>(
    browser: &mut (impl AsyncRead + Unpin),
) -> io::Result<[u8; LENGTH]> {
    let mut bytes = [0; LENGTH];
    browser.read_exact(&mut bytes).await?;
    Ok(bytes)
}

#[cfg(any(test, fuzzing))]
impl crate::fuzzing::Parsers {
    /// What a browser asks its proxy for.
    pub(crate) fn connections(case: crate::fuzzing::Case<'_>) {
        let mut answered = Vec::new();
        let mut browser = tokio::io::join(case.0, &mut answered);
        let host = futures::executor::block_on(wanted(&mut browser));
        assert!(answered.is_empty() || answered == [VERSION, NO_AUTHENTICATION]);
        assert!(host.is_err() || !answered.is_empty(), "it was greeted");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client gets through a proxy with this guard: the status of RFC 1928, and what the server says behind it.
    async fn through(proxy: &Proxy, request: &[u8]) -> (Option<u8>, Vec<u8>) {
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port)).await.unwrap();
        client.write_all(&[5, 1, 0]).await.unwrap();
        client.write_all(request).await.unwrap();
        let mut said = Vec::new();
        // Who was not listened to is cut off.
        let _ = client.read_to_end(&mut said).await;
        let status = said.get(3).copied();
        (status, said.split_off(said.len().min(12)))
    }

    fn by_name(host: &str, port: u16) -> Vec<u8> {
        let length = u8::try_from(host.len()).unwrap();
        [&[5, 1, 0, 3, length], host.as_bytes(), &port.to_be_bytes()].concat()
    }

    /// A server that greets whoever comes, and its port.
    async fn greeting() -> (u16, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(b"welcome").await;
            }
        });
        (port, serving)
    }

    #[tokio::test]
    async fn servers_are_reached_by_name_and_by_address() {
        let (port, _serving) = greeting().await;
        let proxy = Proxy::start(Guard::default()).await.unwrap();
        let by_address = [&[5, 1, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat();
        for request in [by_name("localhost", port), by_address] {
            assert_eq!(
                through(&proxy, &request).await,
                (Some(0), b"welcome".to_vec())
            );
        }
        assert_eq!(proxy.take_refusals(), [] as [&str; 0]);
    }

    #[tokio::test]
    async fn what_only_the_worker_may_reach_is_refused_and_told() {
        let (port, _serving) = greeting().await;
        let api = format!("127.0.0.1:{port}");
        let proxy = Proxy::start(Guard::new(Some(&api))).await.unwrap();
        assert!(
            proxy
                .flags()
                .iter()
                .any(|flag| flag.contains(&format!("localhost:{port} ")))
        );
        let by_address = [&[5, 1, 0, 4][..], &[0; 15], &[1], &port.to_be_bytes()].concat();
        for request in [
            by_name("127.0.0.1", port),
            by_name("localhost", port),
            by_name("169.254.169.254", 80),
            by_address,
        ] {
            assert_eq!(through(&proxy, &request).await, (Some(1), Vec::new()));
            let refusals = proxy.take_refusals();
            assert!(refusals[0].ends_with("not for pages"), "{refusals:?}");
        }
    }

    #[tokio::test]
    async fn who_speaks_another_protocol_gets_no_answer() {
        let proxy = Proxy::start(Guard::default()).await.unwrap();
        for request in [
            &b"GET / HTTP/1.1\r\n"[..],
            &[4, 1, 0, 1],
            &[5, 2, 0, 1],
            &[5, 1, 0, 9],
        ] {
            let (status, _) = through(&proxy, request).await;
            assert_eq!(status, None, "{request:?}");
        }
    }
}
