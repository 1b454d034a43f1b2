//! Shows a running daemon to browsers and to Prometheus, over HTTP.
//!
//! `/` is a page for people, `/metrics` is for Prometheus; nothing can be changed. Both are made
//! from the same status and the same latencies that `ksyncd status` and `ksyncd latency` show.

mod charts;
mod page;
mod picture;
mod prometheus;
mod trend;

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::clock;
use crate::control::{Connections, Roster, Status, Watched, read_until};
use crate::metrics::Snapshot;
use crate::shutdown::Stop;

use page::Shown;
use trend::Trend;

/// Connections at a time; each is closed after its answer.
const CONNECTIONS_MAX: usize = 16;

/// Bytes of a request with its headers, which are not read.
const REQUEST_MAX: usize = 8 << 10;

/// How long a client may take to ask, and to read the answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves HTTP at `address` in threads of its own, until `stop` is requested. Says the address,
/// which is another one where the port was 0.
pub fn serve(address: SocketAddr, roster: Roster, stop: Stop) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let trend = Trend::default();
    look(trend.clone(), roster.clone(), stop.clone())?;
    let work = move || {
        let answering = Arc::new(move |stream| {
            // Whoever went away needs no answer.
            let _gone = answer(stream, &roster, &trend);
        });
        let accept = || {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(false)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        Connections::at_most(CONNECTIONS_MAX).accept("http", &listener, accept, &answering, &stop);
    };
    thread::Builder::new().name("http".to_owned()).spawn(work)?;
    Ok(address)
}

/// Looks now and then how it goes, for the pictures of what was lately.
fn look(trend: Trend, roster: Roster, stop: Stop) -> io::Result<()> {
    let work = move || {
        while !stop.requested() {
            trend.look(&roster.all(), clock::now());
            stop.wait(trend::EVERY);
        }
    };
    thread::Builder::new().name("trend".to_owned()).spawn(work)?;
    Ok(())
}

fn answer(mut stream: TcpStream, roster: &Roster, trend: &Trend) -> io::Result<()> {
    let timeout = |stream: &TcpStream, left| stream.set_read_timeout(Some(left));
    let deadline = clock::now().plus(PATIENCE);
    let head = read_until(&mut stream, &mut Vec::new(), b"\r\n\r\n", REQUEST_MAX, deadline, timeout);
    let response = match head {
        Ok(Some(head)) => respond(&head, roster, trend),
        Ok(None) => return Ok(()),
        Err(_) => Response::plain("400 Bad Request", "that is no request\n"),
    };
    stream.write_all(&response.to_bytes())
}

fn respond(head: &[u8], roster: &Roster, trend: &Trend) -> Response {
    let first = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = first.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version)) = (words.next(), words.next(), words.next()) else {
        return Response::plain("400 Bad Request", "that is no request\n");
    };
    if !version.starts_with(b"HTTP/1.") {
        return Response::plain("505 HTTP Version Not Supported", "speak HTTP/1.1\n");
    }
    if method != b"GET" && method != b"HEAD" {
        return Response::plain("405 Method Not Allowed", "there is nothing to change here\n");
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let (media, body): (&str, String) = match path {
        b"/metrics" => {
            let metrics = prometheus::text(&shown(roster), !roster.reload_failed());
            ("text/plain; version=0.0.4; charset=utf-8", metrics)
        }
        b"/" => ("text/html; charset=utf-8", page::html(&with_trend(shown(roster), trend))),
        _ => return Response::plain("404 Not Found", "there are / and /metrics\n"),
    };
    Response { status: "200 OK", media, body, only_head: method == b"HEAD" }
}

/// Each sync as it is now.
fn shown(roster: &Roster) -> Vec<(Status, Snapshot)> {
    let shown = |watched: &Arc<Watched>| (Status::of(watched), watched.gauges.latency.snapshot());
    roster.all().iter().map(shown).collect()
}

/// And how it went with each of its targets.
fn with_trend(syncs: Vec<(Status, Snapshot)>, trend: &Trend) -> Vec<Shown> {
    let now = clock::now();
    let with_trend = |(status, latency): (Status, Snapshot)| {
        let lately = status.targets.iter().map(|target| trend.of(&status.name, &target.name, now)).collect();
        Shown { status, latency, lately }
    };
    syncs.into_iter().map(with_trend).collect()
}

/// As HTML has it, in text and in attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// What is sent back, once.
#[derive(Debug)]
struct Response {
    status: &'static str,
    media: &'static str,
    body: String,
    only_head: bool,
}

impl Response {
    fn plain(status: &'static str, text: &str) -> Self {
        Self { status, media: "text/plain; charset=utf-8", body: text.to_owned(), only_head: false }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let Self { status, media, body, only_head } = self;
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {media}\r\nContent-Length: {}\r\nConnection: close\r\n\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n\
             Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; img-src data:\r\n\r\n",
            body.len()
        );
        let body = if *only_head { "" } else { body };
        [head.as_bytes(), body.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(escape("<b>\"&\""), "&lt;b&gt;&quot;&amp;&quot;");
    }
}
