//! Keeps the exit statuses in one table. They follow `sysexits.h` where it has a word for it.

use std::process::ExitCode;

/// How the program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    Success = 0,
    Failure = 1,
    /// clap ends with this one too.
    Usage = 2,
    Incomplete = 3,
    Different = 4,
    /// `EX_NOINPUT`
    NoSource = 66,
    /// `EX_UNAVAILABLE`
    NoTarget = 69,
    /// `EX_OSERR`
    NoCapture = 71,
    /// `EX_TEMPFAIL`
    NoDaemon = 75,
    /// `EX_PROTOCOL`
    Protocol = 76,
    /// `EX_CONFIG`
    Config = 78,
}

impl Exit {
    pub const ALL: [Self; 11] = [
        Self::Success,
        Self::Failure,
        Self::Usage,
        Self::Incomplete,
        Self::Different,
        Self::NoSource,
        Self::NoTarget,
        Self::NoCapture,
        Self::NoDaemon,
        Self::Protocol,
        Self::Config,
    ];

    /// What it says to whoever reads it, such as a service manager.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Success => "it ended in order, and everything is done",
            Self::Failure => "something failed that has no status of its own",
            Self::Usage => "a flag, an argument or a variable of the environment is wrong",
            Self::Incomplete => {
                "not everything is done: a run or a wait ended before all targets had everything, a comparison could not be finished, a target is not connected, or an import needs a hand"
            }
            Self::Different => "a comparison of source and targets found that they differ",
            Self::NoSource => "a source, or a file to read, is missing or cannot be read",
            Self::NoTarget => "no target can be reached, or none lets us in",
            Self::NoCapture => "the kernel offers neither eBPF nor fanotify to us",
            Self::NoDaemon => "no daemon is running that could be asked",
            Self::Protocol => "the peer of a receiver does not keep to the protocol",
            Self::Config => "the configuration file is missing or wrong",
        }
    }
}

/// All of them, a line each.
pub fn table() -> String {
    let line = |exit: &Exit| format!("{:>3}  {}", *exit as u8, exit.meaning());
    Exit::ALL.iter().map(line).collect::<Vec<_>>().join("\n")
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
