//! A server of another origin, which allows nobody to read what it has.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};

/// Serves one picture until the test's process ends: as `/picture`, by a redirect as `/moved`, and never as `/loop`.
/// Returns its address.
pub(crate) fn serve(picture: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who hangs up has had enough.
            let _ = answer(stream, &picture);
        }
    });
    address
}

fn answer(mut stream: TcpStream, picture: &[u8]) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let (status, more, body) = match request.split(' ').nth(1) {
        Some("/picture") => ("200 OK", "content-type: image/jpeg", picture),
        Some("/moved") => ("302 Found", "location: /picture", &[][..]),
        Some("/loop") => ("302 Found", "location: /loop", &[][..]),
        _ => ("404 Not Found", "content-type: text/plain", &[][..]),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\n{more}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )?;
    stream.write_all(body)
}
