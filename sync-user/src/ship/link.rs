//! Says what shipping needs of a connection: two byte streams that never block.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::bell::patience;

/// No sleep is longer.
const SLEEP_MAX: Duration = Duration::from_mins(1);

/// A byte stream to one receiver and back, used by one thread.
///
/// After an error the link is dead; dropping it closes the connection without waiting.
pub trait Link: Send {
    /// Writes what fits now and says how much that was; 0 when nothing fits.
    ///
    /// What was offered and not taken must be offered again unchanged, with more behind it if
    /// need be: SSH may have encrypted it already.
    fn write(&mut self, bytes: &[u8]) -> Result<usize, LinkError>;

    /// Reads what is there.
    fn read(&mut self, buffer: &mut [u8]) -> Result<Received, LinkError>;

    /// Sleeps until the link can be read (or written, if `writing`), one of `bells` becomes
    /// readable, or `timeout` has passed. May return early.
    fn wait(
        &mut self,
        writing: bool,
        bells: &[BorrowedFd<'_>],
        timeout: Option<Duration>,
    ) -> Result<(), LinkError>;

    /// What the far end has written to its standard error so far, for error messages.
    fn complaints(&mut self) -> String;
}

/// Sleeps as [`Link::wait`] does, by a descriptor that is read and, if `writing`, written.
pub(super) fn sleep(
    descriptor: BorrowedFd<'_>,
    writing: bool,
    bells: &[BorrowedFd<'_>],
    timeout: Option<Duration>,
) -> Result<(), LinkError> {
    let interest = if writing { PollFlags::POLLIN | PollFlags::POLLOUT } else { PollFlags::POLLIN };
    let mut descriptors = vec![PollFd::new(descriptor, interest)];
    descriptors.extend(bells.iter().map(|bell| PollFd::new(*bell, PollFlags::POLLIN)));
    let timeout = timeout.map_or(PollTimeout::NONE, |timeout| patience(timeout.min(SLEEP_MAX)));
    match poll(&mut descriptors, timeout) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(LinkError(format!("poll: {error}"))),
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Bytes(usize),
    /// Nothing is there now.
    Nothing,
    /// The far end has closed its side.
    Ended,
}

/// The connection is lost; a new one may work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("connection lost: {0}")]
pub struct LinkError(pub String);
