//! Runs the target side, on standard input and output.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::fail;
use crate::exit::Exit;
use crate::receiver::{self, Config, Error, Patient};

/// Room in the pipe from `sshd`, so that it can deliver while a file is being written.
const PIPE_BYTES: i32 = 1 << 20;

pub(super) fn receive(root: &Path) -> Exit {
    let (input, output) = (io::stdin(), io::stdout());
    // A smaller pipe is only slower, and a socket has no such setting.
    let _unchanged = nix::fcntl::fcntl(input.as_fd(), nix::fcntl::FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
    let reader = Patient::new(input.as_fd());
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
