//! Defines the flags of `ksyncd run`: each once, with its documentation and its default.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use tracing::Level;

use super::bandwidth::{Bandwidth, bandwidth};
use super::preserve::preserve;
use crate::capture::{Backend, RING_BYTES};
use crate::demo;
use crate::model::{Compression, Durability, Preserve};
use crate::ship::TargetAddress;

/// What was typed, as it was typed.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The directory to replicate
    #[arg(long, value_name = "DIR")]
    pub(super) source: PathBuf,

    /// Where to: [USER@]HOST:DIR or ssh://[USER@]HOST[:PORT]/DIR; may be given several times
    #[arg(long = "target", value_name = "TARGET", required = true)]
    pub(super) targets: Vec<TargetAddress>,

    /// The SSH port of targets that do not name one
    #[arg(long, value_name = "PORT", default_value_t = 22)]
    pub(super) port: u16,

    /// The private key to log in with [default: the SSH agent, then the usual files in ~/.ssh]
    #[arg(long, value_name = "FILE")]
    pub(super) identity: Option<PathBuf>,

    /// The file of known host keys [default: ~/.`ssh/known_hosts` and /`etc/ssh/ssh_known_hosts`]
    #[arg(long, value_name = "FILE")]
    pub(super) known_hosts: Option<PathBuf>,

    /// Where ksyncd keeps what outlives a run [default: $`STATE_DIRECTORY`, /var/lib/ksyncd, or
    /// ~/.local/state/ksyncd]
    #[arg(long, value_name = "DIR")]
    pub(super) state_dir: Option<PathBuf>,

    /// How to see changes
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = CaptureFlag::Auto)]
    pub(super) capture: CaptureFlag,

    /// How much room records of changes have on their way from the kernel (eBPF only)
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(RING_BYTES), value_parser = ring_size)]
    pub(super) ring_size: ByteSize,

    /// How long a change waits for company while its target is idle; 0 sends it at once
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = humantime::parse_duration)]
    pub(super) batch_delay: Duration,

    /// How long changes gather while earlier ones are on their way
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = humantime::parse_duration)]
    pub(super) batch_max_delay: Duration,

    /// How many paths close a batch before its time
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive)]
    pub(super) batch_max_changes: usize,

    /// How much content closes a batch before its time
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub(super) batch_max_bytes: ByteSize,

    /// How often a file is sent that stays open for writing; a closed file is sent at once
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = open_file_interval)]
    pub(super) open_file_interval: Duration,

    /// What to leave out, as rsync reads it (`*.tmp`, `/cache/`); may be given several times
    #[arg(long = "exclude", value_name = "PATTERN")]
    pub(super) excludes: Vec<String>,

    /// What to keep of each file besides content, mode and times: any of owner, group, xattrs,
    /// acls and links, or none
    #[arg(long, value_name = "LIST", default_value = "owner,group,xattrs,acls,links", value_parser = preserve)]
    pub(super) preserve: Preserve,

    /// Keep owners and groups by their numbers, not by their names
    #[arg(long)]
    pub(super) numeric_ids: bool,

    /// What is on the target's disk before a change counts as replicated
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = DurabilityFlag::Batch)]
    pub(super) durability: DurabilityFlag,

    /// Replicate also into a directory that is the replica of another source; once is enough
    #[arg(long)]
    pub(super) shared_target: bool,

    /// What to compress on its way; what does not shrink is sent as it is in any case
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = CompressFlag::Auto)]
    pub(super) compress: CompressFlag,

    /// How much to send to each target in a second, as rsync reads it: KiB, or with a suffix (`10m`, `1.5MB`);
    /// 0 for no limit
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = bandwidth)]
    pub(super) bwlimit: Bandwidth,

    /// Serve metrics for Prometheus at /metrics, and a page for people at /, by HTTP at this address
    /// [default: no]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(super) metrics_listen: Option<SocketAddr>,

    /// Append the latencies of each 10 s to this file, as an interval log of `HdrHistogram`
    #[arg(long, value_name = "FILE")]
    pub(super) latency_log: Option<PathBuf>,

    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub(super) log_level: Level,
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CaptureFlag {
    /// eBPF where the kernel allows it, else fanotify
    Auto,
    /// eBPF programs on the kernel's notification functions
    Ebpf,
    /// One fanotify mark on the whole file system
    Fanotify,
}

impl From<CaptureFlag> for Backend {
    fn from(flag: CaptureFlag) -> Self {
        match flag {
            CaptureFlag::Auto => Self::Auto,
            CaptureFlag::Ebpf => Self::Ebpf,
            CaptureFlag::Fanotify => Self::Fanotify,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum DurabilityFlag {
    /// Nothing: fastest, and a crash of the target costs a listing
    None,
    /// All changes that are acknowledged together
    Batch,
    /// Each file before it takes its name, and then as for batch
    File,
}

impl From<DurabilityFlag> for Durability {
    fn from(flag: DurabilityFlag) -> Self {
        match flag {
            DurabilityFlag::None => Self::None,
            DurabilityFlag::Batch => Self::Batch,
            DurabilityFlag::File => Self::File,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum CompressFlag {
    /// What a short trial says will shrink
    Auto,
    /// Nothing
    Never,
    /// Everything that gets shorter at all
    Always,
}

impl From<CompressFlag> for Compression {
    fn from(flag: CompressFlag) -> Self {
        match flag {
            CompressFlag::Auto => Self::Auto,
            CompressFlag::Never => Self::Never,
            CompressFlag::Always => Self::Always,
        }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".to_owned()),
        Ok(number) => Ok(number),
        Err(error) => Err(format!("{error}")),
    }
}

/// What the kernel can give.
pub(super) fn ring_size(text: &str) -> Result<ByteSize, String> {
    let size: ByteSize = text.parse()?;
    if (4096..=1 << 30).contains(&size.0) { Ok(size) } else { Err("4KiB to 1GiB can be had".to_owned()) }
}

/// Writes to one open file are reported four times a second, so more often makes no sense.
fn open_file_interval(text: &str) -> Result<Duration, String> {
    let interval = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if interval < Duration::from_millis(250) {
        return Err(
            "at least 250ms is needed: writes to an open file are reported four times a second".to_owned()
        );
    }
    Ok(interval)
}
