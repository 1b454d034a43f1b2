//! Finds running daemons, and asks them.

use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::connections::read_until;
use super::deletes::{Deletes, HeldTarget};
use super::explain::Explained;
use super::place::Place;
use super::protocol::{ANSWER_MAX, Reply, Request};
use super::reload::Reloaded;
use super::status::Status;
use super::verify::Verifying;
use super::wait::Waited;
use super::why::Why;
use crate::clock;
use crate::daemon::{News, Verified};
use crate::metrics::Report;

/// How long an answer may take that nobody has to wait for.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long a reload may take: syncs that are replaced send what is open first.
const RELOAD_PATIENCE: Duration = Duration::from_mins(2);

/// How long it may take to tell of a path: each target's replica may be busy for some seconds.
const WHY_PATIENCE: Duration = Duration::from_mins(2);

/// How long it may take to tell of held removals: as above.
const DELETES_PATIENCE: Duration = WHY_PATIENCE;

/// How long a verification may have nothing to tell: its progress comes every second, but while it is
/// waited for a reader of its news.
const VERIFYING_PATIENCE: Duration = Duration::from_mins(2);

/// The longest that a read waits at a time: what the kernel counts in is bounded.
const HOUR: Duration = Duration::from_hours(1);

/// Why nobody could be asked, or gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    pub what: String,
    /// What to do about it, where that can be known.
    pub remedy: Option<String>,
}

/// A sync of a daemon that answers.
#[derive(Debug)]
pub struct Daemon {
    stream: UnixStream,
    buffer: Vec<u8>,
    socket: PathBuf,
}

/// Every daemon that runs by a socket in one of `places`. A socket that this user may not use is
/// an error: there is a daemon behind it.
pub fn daemons(places: &[Place]) -> Result<Vec<Daemon>, Error> {
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    let forbidden = |what: &str, path: &Path, error: io::Error| Error {
        what: format!("{what} {}: {error}", path.display()),
        remedy: "run this as the user that runs the daemon, or as root".to_owned().into(),
    };
    let mut daemons = Vec::new();
    for place in places {
        let sockets = match place.sockets() {
            Err(error) if refused(&error) => {
                return Err(forbidden("look for daemons in", place.path(), error));
            }
            sockets => sockets.unwrap_or_default(),
        };
        for socket in sockets {
            match UnixStream::connect(&socket) {
                Ok(stream) => daemons.push(Daemon { stream, buffer: Vec::new(), socket }),
                Err(error) if refused(&error) => return Err(forbidden("connect to", &socket, error)),
                // Its daemon was killed.
                Err(_) => {}
            }
        }
    }
    Ok(daemons)
}

impl Daemon {
    pub fn status(&mut self) -> Result<Status, Error> {
        self.ask(&Request::Status {}, PATIENCE)
    }

    /// How long changes take, to all targets or to one.
    pub fn latency(&mut self, target: Option<&str>) -> Result<Report, Error> {
        self.ask(&Request::Latency { target: target.map(str::to_owned) }, PATIENCE)
    }

    /// Waits until all targets have acknowledged what was captured by now, with `path` what
    /// concerns this path, or until `timeout` has passed.
    pub fn wait(&mut self, path: Option<&str>, timeout: Option<Duration>) -> Result<Waited, Error> {
        let request = Request::Wait {
            path: path.map(str::to_owned),
            timeout_seconds: timeout.map(|timeout| timeout.as_secs_f64()),
        };
        self.ask(&request, timeout.map_or(Duration::MAX, |timeout| timeout.saturating_add(PATIENCE)))
    }

    pub fn explain_exclude(&mut self, path: &str) -> Result<Explained, Error> {
        self.ask(&Request::ExplainExclude { path: path.to_owned() }, PATIENCE)
    }

    /// Has the whole process read its settings again.
    pub fn reload(&mut self) -> Result<Reloaded, Error> {
        self.ask(&Request::Reload {}, RELOAD_PATIENCE)
    }

    /// What happened to a path, and how it is at each target.
    pub fn why(&mut self, path: &str) -> Result<Why, Error> {
        self.ask(&Request::Why { path: path.to_owned() }, WHY_PATIENCE)
    }

    /// Which removals are held, at all targets or at one, and has done what was decided about them.
    pub fn deletes(&mut self, work: Deletes, target: Option<&str>) -> Result<Vec<HeldTarget>, Error> {
        self.ask(&Request::Deletes { work, target: target.map(str::to_owned) }, DELETES_PATIENCE)
    }

    /// Has source and targets compared, with `path` from there on, and what differs sent again if
    /// `repair` says so. `each` is told what is found meanwhile.
    pub fn verify(
        &mut self,
        path: Option<&str>,
        repair: bool,
        mut each: impl FnMut(&News),
    ) -> Result<Verified, Error> {
        self.send(&Request::Verify { path: path.map(str::to_owned), repair })?;
        loop {
            match self.receive(VERIFYING_PATIENCE)? {
                Verifying::News(news) => each(&news),
                Verifying::Verified(verified) => return Ok(verified),
            }
        }
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Request, patience: Duration) -> Result<T, Error> {
        self.send(request)?;
        self.receive(patience)
    }

    fn failed(&self, cause: &dyn std::fmt::Display) -> Error {
        Error {
            what: format!("ask the daemon at {}: {cause}", self.socket.display()),
            remedy: "check its log; it may have ended, or be of another version".to_owned().into(),
        }
    }

    fn send(&self, request: &Request) -> Result<(), Error> {
        let mut line = serde_json::to_vec(request).map_err(|error| self.failed(&error))?;
        line.push(b'\n');
        (&self.stream).write_all(&line).map_err(|error| self.failed(&error))
    }

    fn receive<T: DeserializeOwned>(&mut self, patience: Duration) -> Result<T, Error> {
        let deadline = clock::now().plus(patience);
        let timeout = |stream: &&UnixStream, left: Duration| stream.set_read_timeout(Some(left.min(HOUR)));
        let answer = read_until(&mut &self.stream, &mut self.buffer, b"\n", ANSWER_MAX, deadline, timeout)
            .map_err(|error| self.failed(&error))?
            .ok_or_else(|| self.failed(&"it has closed the connection"))?;
        match serde_json::from_slice(&answer).map_err(|error| self.failed(&error))? {
            Reply::Answer(answer) => Ok(answer),
            Reply::Error(what) => Err(Error { what, remedy: None }),
        }
    }
}
