//! Answers those who ask at the control socket.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde::Serialize;

use super::connections::{Connections, read_until};
use super::deletes::deletes;
use super::explain::{Explained, explain};
use super::place::Socket;
use super::protocol::{ANSWER_MAX, REQUEST_MAX, Reply, Request};
use super::reload::Reload;
use super::status::Status;
use super::verify;
use super::wait::{self, Waited};
use super::watched::Watched;
use super::why;
use crate::clock;
use crate::shutdown::Stop;

/// Connections at a time: some operators, some monitoring, some who wait.
const CONNECTIONS_MAX: usize = 32;

/// How long a client may take for a request, and to read an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Serves the socket in a thread of its own, until `stop` is requested. The thread removes it.
pub fn serve(
    socket: Socket,
    watched: Arc<Watched>,
    reload: Reload,
    stop: Stop,
) -> io::Result<JoinHandle<()>> {
    let work = move || {
        let ends = stop.clone();
        let answering = Arc::new(move |stream| {
            // The client is told as far as it can be; what it does then is its own affair.
            let _gone = answer_all(stream, &watched, &reload, &ends);
        });
        let accept = || {
            let (stream, _) = socket.listener.accept()?;
            stream.set_nonblocking(false)?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        Connections::at_most(CONNECTIONS_MAX).accept("control", &socket.listener, accept, &answering, &stop);
    };
    thread::Builder::new().name("control".to_owned()).spawn(work)
}

fn answer_all(mut stream: UnixStream, watched: &Watched, reload: &Reload, stop: &Stop) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let deadline = clock::now().plus(PATIENCE);
        let timeout = |stream: &UnixStream, left| stream.set_read_timeout(Some(left));
        let line = match read_until(&mut stream, &mut buffer, b"\n", REQUEST_MAX, deadline, timeout) {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(()),
            Err(error) => return refuse(&stream, &format!("read the request: {error}")),
        };
        match serde_json::from_slice::<Request>(&line) {
            Ok(Request::Status {}) => reply(&stream, &Reply::Answer(Status::of(watched)))?,
            Ok(Request::Latency { target }) => match watched.report(target.as_deref()) {
                Ok(report) => reply(&stream, &Reply::Answer(report))?,
                Err(why) => return refuse(&stream, &why),
            },
            Ok(Request::Wait { path, timeout_seconds }) => {
                match wait(watched, path.as_deref(), timeout_seconds, &stream, stop) {
                    Ok(Some(waited)) => reply(&stream, &Reply::Answer(waited))?,
                    Ok(None) => return refuse(&stream, "it is ending"),
                    Err(why) => return refuse(&stream, &why),
                }
            }
            Ok(Request::ExplainExclude { path }) => match explained(watched, &path) {
                Ok(explained) => reply(&stream, &Reply::Answer(explained))?,
                Err(why) => return refuse(&stream, &why),
            },
            Ok(Request::Why { path }) => match why::why(watched, &path) {
                Ok(why) => reply(&stream, &Reply::Answer(why))?,
                Err(error) => return refuse(&stream, &error),
            },
            Ok(Request::Verify { path, repair }) => {
                match verify::verify(watched, path.as_deref(), repair, &stream, stop) {
                    Ok(verified) => reply(&stream, &Reply::Answer(verified))?,
                    Err(why) => return refuse(&stream, &why),
                }
            }
            Ok(Request::Deletes { work, target }) => match deletes(watched, work, target.as_deref()) {
                Ok(held) => reply(&stream, &Reply::Answer(held))?,
                Err(why) => return refuse(&stream, &why),
            },
            Ok(Request::Reload {}) => match reload() {
                Ok(reloaded) => reply(&stream, &Reply::Answer(reloaded))?,
                Err(why) => return refuse(&stream, &why),
            },
            Err(error) => return refuse(&stream, &format!("understand the request: {error}")),
        }
    }
}

fn wait(
    watched: &Watched,
    path: Option<&str>,
    timeout_seconds: Option<f64>,
    stream: &UnixStream,
    stop: &Stop,
) -> Result<Option<Waited>, String> {
    let path = path.map(|path| wait::below(Path::new(&watched.source), path)).transpose()?;
    let timeout = timeout_seconds
        .map(|seconds| Duration::try_from_secs_f64(seconds).map_err(|error| format!("the timeout: {error}")))
        .transpose()?;
    Ok(wait::wait(watched, path.as_ref(), timeout, stream, stop))
}

fn explained(watched: &Watched, path: &str) -> Result<Explained, String> {
    let source = Path::new(&watched.source);
    let below = wait::below(source, path)?;
    Ok(explain(source, &watched.excludes, &below, path.ends_with('/')))
}

fn refuse(stream: &UnixStream, why: &str) -> io::Result<()> {
    reply(stream, &Reply::<()>::Error(why.to_owned()))
}

pub(super) fn reply<T: Serialize>(mut stream: &UnixStream, reply: &Reply<T>) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    if line.len() > ANSWER_MAX {
        return refuse(stream, "the answer is too long");
    }
    stream.write_all(&line)
}
