//! What a page may not reach: the worker's own surroundings. Lambda's runtime API tells whoever asks the props of the next
//! render, and takes answers from anybody.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use crate::failures::{nasty, numbers};
use crate::farm::Farm;

/// A server that anybody may read: `/api` answers what comes out of `answers`, and everything else is there.
fn serve(answers: mpsc::Receiver<String>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Who hangs up has had enough.
            let _ = answer(stream, &answers);
        }
    });
    port
}

fn answer(mut stream: TcpStream, answers: &mpsc::Receiver<String>) -> std::io::Result<()> {
    let mut lines = BufReader::new(&stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = match path.split_once("/to/") {
        Some((_, elsewhere)) => (
            format!("302 Found\r\nlocation: http://{elsewhere}"),
            String::new(),
        ),
        None if path == "/api" => {
            let body = answers
                .recv_timeout(Duration::from_secs(60))
                .unwrap_or_default();
            ("200 OK".to_owned(), body)
        }
        None => ("200 OK".to_owned(), "here".to_owned()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\naccess-control-allow-origin: *\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The address of the runtime API of the farm's worker, once there is one.
fn runtime_api(farm: &Farm) -> String {
    let mut found = None;
    farm.wait_until("a worker runs", |farm| {
        found = farm.processes("bootstrap").into_iter().find_map(|id| {
            let environ = std::fs::read(format!("/proc/{id}/environ")).ok()?;
            let environ = String::from_utf8_lossy(&environ).into_owned();
            let mut variables = environ.split('\0');
            variables.find_map(|variable| {
                variable
                    .strip_prefix("AWS_LAMBDA_RUNTIME_API=")
                    .map(str::to_owned)
            })
        });
        found.is_some()
    });
    found.unwrap()
}

#[test]
fn a_page_reaches_other_servers_and_not_what_is_the_workers_own() {
    let site = nasty();
    let farm = Farm::of(site.path());
    let (tell, answers) = mpsc::channel();
    let port = serve(answers);
    let props = format!("--props={{\"port\": {port}}}");
    let (output, api) = std::thread::scope(|scope| {
        let rendering = scope.spawn(|| farm.rmx(&["render", "Reaches", "reached.mp4", &props]));
        let api = runtime_api(&farm);
        // For the page of the lookup, of the frames, and for whoever else asks.
        for _ in 0..8 {
            tell.send(api.clone()).unwrap();
        }
        (rendering.join().unwrap(), api)
    });
    // The bits of what was reached: the server by each of its names, and nothing else.
    assert_eq!(numbers(&farm.path("reached.mp4")), [0b0000_0011; 2]);
    let said = String::from_utf8_lossy(&output.stderr);
    for forbidden in [&api, "169.254.169.254:80"] {
        let expected = format!("connecting to {forbidden} for the page: ");
        assert!(said.contains(&expected), "no {expected:?} in\n{said}");
    }
    farm.assert_quiet();
}

#[test]
fn what_a_page_embeds_finds_nothing_of_the_renderers_own() {
    let site = nasty();
    let farm = Farm::of(site.path());
    farm.rmx(&["render", "Framed", "framed.mp4"]);
    assert_eq!(numbers(&farm.path("framed.mp4")), [0, 0]);
    farm.assert_quiet();
}
