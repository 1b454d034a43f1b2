//! Hears a source: by the connection that its steps take, and by lanes.

use std::io::{self, Read};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A source that lives says something every 15 s; after this long in milliseconds it is gone,
/// even if the network never said so.
const SILENCE_MAX_MS: u16 = 60_000;

/// The connection that a source's steps take. It is waited for before it is read.
pub trait Input: Read {
    /// Sleeps until something can be read in one of `lanes`, or here, if that is wanted; says
    /// whether it is here.
    ///
    /// # Errors
    ///
    /// When nothing comes for so long that the source must be gone.
    fn wait(&mut self, is_wanted: bool, lanes: &[BorrowedFd<'_>]) -> io::Result<bool>;

    /// Whether something can be read within so many milliseconds.
    ///
    /// # Errors
    ///
    /// When that cannot be known.
    fn comes_within(&mut self, milliseconds: u8) -> io::Result<bool>;
}

/// A descriptor that is read as a source's: it fails when nothing comes for long.
#[derive(Debug)]
pub struct Patient<'a> {
    descriptor: BorrowedFd<'a>,
}

impl<'a> Patient<'a> {
    pub fn new(descriptor: BorrowedFd<'a>) -> Self {
        Self { descriptor }
    }
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(nix::unistd::read(self.descriptor, buffer)?)
    }
}

impl Input for Patient<'_> {
    fn wait(&mut self, is_wanted: bool, lanes: &[BorrowedFd<'_>]) -> io::Result<bool> {
        // One that is not wanted must not wake us, and whether it ended shows when it is read.
        let here = if is_wanted { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut ready = vec![PollFd::new(self.descriptor, here)];
        ready.extend(lanes.iter().map(|lane| PollFd::new(*lane, PollFlags::POLLIN)));
        let polled = if is_wanted { &mut ready[..] } else { &mut ready[1..] };
        loop {
            match poll(polled, PollTimeout::from(SILENCE_MAX_MS)) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the source was silent for a minute",
                    ));
                }
                Ok(_) => return Ok(is_wanted && polled[0].any() == Some(true)),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn comes_within(&mut self, milliseconds: u8) -> io::Result<bool> {
        match poll(&mut [PollFd::new(self.descriptor, PollFlags::POLLIN)], PollTimeout::from(milliseconds)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

/// All that a source ever says, at once.
impl Input for &[u8] {
    fn comes_within(&mut self, _milliseconds: u8) -> io::Result<bool> {
        Ok(true)
    }

    fn wait(&mut self, is_wanted: bool, _lanes: &[BorrowedFd<'_>]) -> io::Result<bool> {
        Ok(is_wanted)
    }
}
