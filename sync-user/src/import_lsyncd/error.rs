//! Says why a file could not be imported at all.

use std::io;
use std::time::Duration;

/// Nothing comes of the file. The messages follow its name, and a line where there is one.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("read it: {0}")]
    Read(#[source] io::Error),
    /// A mistake that Lua has found, on a line (0 if it cannot be told).
    #[error("{what}")]
    Lua { line: usize, what: String },
    #[error("it takes more than {} MiB of memory: is there a loop that does not end?", .0 >> 20)]
    Memory(usize),
    #[error("it takes more than {0} instructions: is there a loop that does not end?")]
    Instructions(u32),
    #[error("it takes longer than {} s: is there a loop that does not end?", .0.as_secs())]
    Time(Duration),
    #[error("there is no sync{{}} in it")]
    NoSync,
    #[error("start a thread for it: {0}")]
    Thread(#[source] io::Error),
}

impl ImportError {
    /// The line that it is about, counted from 1.
    pub fn line(&self) -> Option<usize> {
        match self {
            Self::Lua { line, .. } if *line > 0 => Some(*line),
            _ => None,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Read(_) => {
                "give the file that lsyncd was started with, such as /etc/lsyncd/lsyncd.conf.lua"
            }
            Self::NoSync => "give the file that lsyncd was started with, and not one that it includes",
            Self::Lua { .. } => "mend it, if lsyncd refuses it too; else change it in a copy of the file",
            Self::Memory(_) | Self::Instructions(_) | Self::Time(_) => {
                "import a copy of the file without that loop, and with the sync{} that it makes"
            }
            Self::Thread(_) => "try again when the machine has room for one",
        }
    }
}
