//! Serves a bounded number of connections, each by a thread of its own.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::clock;
use crate::model::Stamp;
use crate::shutdown::Stop;

/// How long it rests when no connection can be had, which is when descriptors run out.
const REST: Duration = Duration::from_millis(100);

/// How many connections are served at a time; more are closed at once.
#[derive(Debug, Clone)]
pub struct Connections {
    open: Arc<AtomicUsize>,
    max: usize,
}

impl Connections {
    pub fn at_most(max: usize) -> Self {
        Self { open: Arc::default(), max }
    }

    /// Accepts from `listener`, which must not block, until `stop` is requested, and has each
    /// connection served by `serve` in a thread called `name`.
    pub fn accept<S: Send + 'static>(
        &self,
        name: &str,
        listener: &impl AsFd,
        accept: impl Fn() -> io::Result<S>,
        serve: &Arc<impl Fn(S) + Send + Sync + 'static>,
        stop: &Stop,
    ) {
        while !stop.requested() {
            let mut ready = [
                PollFd::new(listener.as_fd(), PollFlags::POLLIN),
                PollFd::new(stop.as_fd(), PollFlags::POLLIN),
            ];
            if poll(&mut ready, PollTimeout::NONE).is_err_and(|error| error != Errno::EINTR) {
                thread::sleep(REST);
            }
            match accept() {
                Ok(stream) => self.serve(name, stream, Arc::clone(serve)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => thread::sleep(REST),
            }
        }
    }

    fn serve<S: Send + 'static>(
        &self,
        name: &str,
        stream: S,
        serve: Arc<impl Fn(S) + Send + Sync + 'static>,
    ) {
        let Some(served) = self.enter() else { return };
        let work = move || {
            serve(stream);
            drop(served);
        };
        // Without a thread the connection is closed, like one too many.
        let _too_many = thread::Builder::new().name(name.to_owned()).spawn(work);
    }

    fn enter(&self) -> Option<Served> {
        let before = self.open.fetch_add(1, Ordering::AcqRel);
        let served = Served(Arc::clone(&self.open));
        (before < self.max).then_some(served)
    }
}

/// A connection that counts, until it is dropped.
struct Served(Arc<AtomicUsize>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Reads up to the end of `end`, and not more than `max` bytes, before `deadline`. `set_timeout`
/// bounds the next read of the stream. What was read beyond stays in `buffer`; `None` when the
/// stream ends before.
pub fn read_until<S: Read>(
    stream: &mut S,
    buffer: &mut Vec<u8>,
    end: &[u8],
    max: usize,
    deadline: Stamp,
    set_timeout: impl Fn(&S, Duration) -> io::Result<()>,
) -> io::Result<Option<Vec<u8>>> {
    let mut searched = 0;
    loop {
        if let Some(at) = buffer[searched..].windows(end.len()).position(|window| window == end) {
            let rest = buffer.split_off(searched + at + end.len());
            return Ok(Some(std::mem::replace(buffer, rest)));
        }
        searched = (buffer.len() + 1).saturating_sub(end.len());
        if buffer.len() >= max {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {max} bytes")));
        }
        let left = deadline.since(clock::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        set_timeout(stream, left)?;
        let mut chunk = [0; 4096];
        let room = chunk.len().min(max - buffer.len());
        match stream.read(&mut chunk[..room]) {
            Ok(0) => return Ok(None),
            Ok(count) => buffer.extend_from_slice(&chunk[..count]),
            // When its time is over is for the deadline to say.
            Err(error) if error.kind() == io::ErrorKind::Interrupted || timed_out(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

fn timed_out(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], max: usize) -> (io::Result<Option<Vec<u8>>>, Vec<u8>) {
        let (mut stream, mut buffer) = (text, Vec::new());
        let deadline = clock::now().plus(Duration::from_mins(1));
        (read_until(&mut stream, &mut buffer, b"\n", max, deadline, |_, _| Ok(())), buffer)
    }

    #[test]
    fn a_line_is_read_up_to_its_end_and_its_bound() {
        let (line, rest) = read(b"one\ntwo", 10);
        assert_eq!((line.unwrap().unwrap(), rest), (b"one\n".to_vec(), b"two".to_vec()));
        assert_eq!(read(b"half", 10).0.unwrap(), None);
        assert_eq!(read(b"far too long\n", 10).0.unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn one_connection_too_many_is_not_served() {
        let connections = Connections::at_most(2);
        let (one, _other) = (connections.enter(), connections.enter());
        assert!(one.is_some() && connections.enter().is_none());
        drop(one);
        assert!(connections.enter().is_some());
    }
}
