//! Runs the target side, on standard input and output.

use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::fail;
use crate::exit::Exit;
use crate::receiver::{self, Config, Error};

/// A source that lives says something every 15 s; after this long in milliseconds it is gone,
/// even if the network never said so.
const SILENCE_MAX_MS: u16 = 60_000;

/// Room in the pipe from `sshd`, so that it can deliver while a file is being written.
const PIPE_BYTES: i32 = 1 << 20;

pub(super) fn receive(root: &Path) -> Exit {
    let (input, output) = (io::stdin(), io::stdout());
    // A smaller pipe is only slower, and a socket has no such setting.
    let _unchanged = nix::fcntl::fcntl(input.as_fd(), nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    let reader = Patient { input: input.as_fd() };
    match receiver::serve(Config { root, lock_in: true }, reader, output) {
        Ok(()) => Exit::Success,
        Err(Error::Open(error)) => fail(Exit::Failure, &error, Some(&error.remedy)),
        Err(error @ (Error::Frame(_) | Error::Protocol(_))) => {
            let remedy = "this command is started by `ksyncd run` over SSH, and speaks only with it";
            fail(Exit::Protocol, &error, Some(remedy))
        }
        Err(error) => fail(Exit::Failure, &error, None),
    }
}

/// Standard input, which fails when nothing comes for long.
struct Patient<'a> {
    input: BorrowedFd<'a>,
}

impl Read for Patient<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut ready = [PollFd::new(self.input, PollFlags::POLLIN)];
        loop {
            match poll(&mut ready, PollTimeout::from(SILENCE_MAX_MS)) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::TimedOut,
                        "the source was silent for a minute",
                    ));
                }
                Ok(_) => return Ok(nix::unistd::read(self.input, buffer)?),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
