//! A network with nothing but loopback, and listeners of it that are handed out.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg,
    socket_with,
};

/// Listeners that are handed over at most.
const LISTENERS_MAX: usize = 8;

/// Longest reason that is told.
const REASON_BYTES_MAX: usize = 1024;

/// The number of the loopback interface: the first one of every network.
const LOOPBACK: i32 = 1;

/// Turns loopback on: in a new network it is off. The request is netlink's `RTM_NEWLINK` with the flag `IFF_UP` (rtnetlink(7)).
pub(super) fn bring_up_loopback() -> io::Result<()> {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_WITH_ANSWER: u16 = 1 | 4;
    const UP: u32 = 1;
    let mut request = Vec::with_capacity(32);
    // Length, kind, flags, sequence, sender; family, hardware, interface, flags, which flags.
    request.extend(32u32.to_ne_bytes());
    request.extend(RTM_NEWLINK.to_ne_bytes());
    request.extend(REQUEST_WITH_ANSWER.to_ne_bytes());
    request.extend([0; 8]);
    request.extend([0; 4]);
    request.extend(LOOPBACK.to_ne_bytes());
    request.extend(UP.to_ne_bytes());
    request.extend(UP.to_ne_bytes());
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        // `NETLINK_ROUTE` is protocol 0.
        None,
    )?;
    send(&socket, &request, SendFlags::empty())?;
    let mut answer = [0; 256];
    let (length, _) = recv(&socket, &mut answer, RecvFlags::empty())?;
    // A header of 16 bytes, then the error as a negative number; 0 is success.
    let error = answer[..length].get(16..20).map(|bytes| {
        let mut number = [0; 4];
        number.copy_from_slice(bytes);
        i32::from_ne_bytes(number)
    });
    match error {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("the kernel's answer is too short")),
    }
}

/// Listens on all of them.
pub(super) fn listen(addresses: &[SocketAddr]) -> io::Result<Vec<TcpListener>> {
    addresses.iter().map(TcpListener::bind).collect()
}

/// Sends listeners to whoever holds the other end of `socket`.
pub(super) fn hand_over(socket: impl AsFd, listeners: &[TcpListener]) -> io::Result<()> {
    let listeners: Vec<BorrowedFd<'_>> = listeners.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !control.push(SendAncillaryMessage::ScmRights(&listeners)) {
        return Err(io::Error::other("too many listeners"));
    }
    // An empty text: nothing went wrong. One byte has to go with it.
    let nothing = [IoSlice::new(&[0])];
    sendmsg(socket, &nothing, &mut control, SendFlags::empty())?;
    Ok(())
}

/// Sends the reason why there are none.
pub(super) fn tell(socket: impl AsFd, reason: &str) -> io::Result<()> {
    let end = reason.floor_char_boundary(REASON_BYTES_MAX);
    send(socket, &reason.as_bytes()[..end], SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives what [`hand_over`] or [`tell`] sent. Blocks until then, or until the other end is closed.
pub(super) fn receive(socket: impl AsFd) -> io::Result<Vec<TcpListener>> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(LISTENERS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; REASON_BYTES_MAX];
    let mut slices = [IoSliceMut::new(&mut text)];
    let received = recvmsg(socket, &mut slices, &mut control, RecvFlags::CMSG_CLOEXEC)?;
    let mut listeners = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            listeners.extend(sent.map(|fd: OwnedFd| TcpListener::from(fd)));
        }
    }
    match (received.bytes, listeners.is_empty()) {
        (_, false) => Ok(listeners),
        (0, true) => Err(io::Error::other(
            "the process ended before it had a root of its own; its log says more",
        )),
        (length, true) => {
            let reason = String::from_utf8_lossy(&text[..length]).into_owned();
            Err(io::Error::other(reason))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn listeners_arrive_and_so_do_reasons() {
        let (one, other) = UnixStream::pair().unwrap();
        let listeners = listen(&["127.0.0.1:0".parse().unwrap()]).unwrap();
        let address = listeners[0].local_addr().unwrap();
        hand_over(&one, &listeners).unwrap();
        drop(listeners);
        let received = receive(&other).unwrap();
        assert_eq!(received[0].local_addr().unwrap(), address);
        drop(std::net::TcpStream::connect(address).unwrap());

        tell(&one, "no room").unwrap();
        assert_eq!(receive(&other).unwrap_err().to_string(), "no room");
        drop(one);
        let ended = receive(&other).unwrap_err().to_string();
        assert!(ended.contains("ended before"), "{ended}");
    }
}
