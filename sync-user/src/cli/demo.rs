//! Reads the flags of `ksyncd demo`.

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::Args;

use crate::demo;
use crate::settings::CaptureFlag;

/// Flags of `ksyncd demo`.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// How to see changes
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = CaptureFlag::Auto)]
    capture: CaptureFlag,

    /// How long four writers change the same files at random, to try this machine harder
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = humantime::parse_duration)]
    writers: Duration,
}

impl From<Demo> for demo::Options {
    fn from(flags: Demo) -> Self {
        Self {
            capture: match flags.capture {
                CaptureFlag::Auto => "auto",
                CaptureFlag::Ebpf => "ebpf",
                CaptureFlag::Fanotify => "fanotify",
            },
            writers: flags.writers,
            interactive: std::io::stdin().is_terminal(),
        }
    }
}
