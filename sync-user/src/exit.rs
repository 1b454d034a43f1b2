//! Keeps the exit statuses in one table. They follow `sysexits.h` where it has a word for it.

use std::process::ExitCode;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    /// Something failed that has no status of its own.
    Failure = 1,
    /// A flag or argument is wrong; clap ends with this one too.
    Usage = 2,
    /// Not everything reached every target: a run ended in order before, a wait timed out, or a
    /// target is not connected.
    Incomplete = 3,
    /// `EX_NOINPUT`: the source is missing, or cannot be read.
    NoSource = 66,
    /// `EX_UNAVAILABLE`: no target can be reached, or none lets us in.
    NoTarget = 69,
    /// `EX_OSERR`: the kernel offers neither eBPF nor fanotify to us.
    NoCapture = 71,
    /// `EX_TEMPFAIL`: no daemon is running that could be asked.
    NoDaemon = 75,
    /// `EX_PROTOCOL`: the peer of a receiver does not keep to the protocol.
    Protocol = 76,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
