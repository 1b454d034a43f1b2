//! Is the session's end of a conversation by SFTP: a stream inside this process, with the protocol of a
//! receiver on it.

use std::io::{self, Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::super::link::{Link, LinkError, Received, sleep};
use crate::clock;

/// How long the end of a conversation is waited for, and a part of it.
const PARTING_MAX: Duration = Duration::from_secs(2);
const NAP: Duration = Duration::from_millis(100);

/// Why a conversation has ended, told by the thread that led it.
#[derive(Debug, Clone, Default)]
pub(super) struct Complaint(Arc<Mutex<String>>);

impl Complaint {
    pub(super) fn set(&self, what: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    fn get(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
pub(super) struct LocalLink {
    socket: UnixStream,
    complaint: Complaint,
}

impl LocalLink {
    /// Gives this end, and the one that the conversation has.
    pub(super) fn pair(complaint: Complaint) -> io::Result<(Self, UnixStream)> {
        let (socket, other) = UnixStream::pair()?;
        socket.set_nonblocking(true)?;
        other.set_nonblocking(true)?;
        Ok((Self { socket, complaint }, other))
    }

    fn lost(&self, error: &io::Error) -> LinkError {
        let complaint = self.complaint.get();
        LinkError(if complaint.is_empty() { error.to_string() } else { complaint })
    }
}

/// Waits until the conversation has ended, for a moment: after a goodbye it takes its stage away, and the
/// process may end behind this.
impl Drop for LocalLink {
    fn drop(&mut self) {
        let socket = &mut self.socket;
        let prepared = socket
            .shutdown(Shutdown::Write)
            .and_then(|()| socket.set_nonblocking(false))
            .and_then(|()| socket.set_read_timeout(Some(NAP)));
        let (end, mut buffer) = (clock::now().plus(PARTING_MAX), [0; 4096]);
        while prepared.is_ok() && clock::now() < end {
            match socket.read(&mut buffer) {
                Ok(1..) => {}
                Err(error) if is_passing(&error) => {}
                Ok(0) | Err(_) => break,
            }
        }
    }
}

impl Link for LocalLink {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError> {
        match self.socket.write(bytes) {
            Ok(count) => Ok(count),
            Err(error) if is_passing(&error) => Ok(0),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Received, LinkError> {
        match self.socket.read(buffer) {
            Ok(0) => Ok(Received::Ended),
            Ok(count) => Ok(Received::Bytes(count)),
            Err(error) if is_passing(&error) => Ok(Received::Nothing),
            Err(error) => Err(self.lost(&error)),
        }
    }

    fn wait(
        &mut self,
        writing: bool,
        bells: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<(), LinkError> {
        sleep(self.socket.as_fd(), writing, bells, timeout)
    }

    fn complaints(&mut self) -> String {
        self.complaint.get()
    }
}

/// Whether nothing more than another attempt is needed.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
