//! Defines every setting: once, with its documentation, its default and what values it takes.
//!
//! The field's flag is also its key in the configuration file and its variable in the
//! environment; see [`Key`](super::key::Key).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use clap::{Args, ValueEnum};
use tracing::Level;

use super::bandwidth::{Bandwidth, bandwidth};
use super::preserve::preserve;
use crate::capture::{Backend, RING_BYTES};
use crate::model::{Compression, Durability, Preserve};
use crate::ship::{CONNECTIONS_MAX, TargetAddress, Transport};
use crate::tree::{Excludes, Rules, Verdict};

/// Settings of the whole daemon.
#[derive(Debug, Clone, Args)]
pub struct DaemonSettings {
    /// Where ksyncd keeps what outlives a run [default: `$STATE_DIRECTORY`, `/var/lib/ksyncd`, or
    /// `~/.local/state/ksyncd`]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// Serve metrics for Prometheus at /metrics, and a page for people at /, by HTTP at this address
    /// [default: no]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub metrics_listen: Option<SocketAddr>,

    /// Write what `ksyncd status` says to this file, every 5 s, for monitors that read files [default: no]
    #[arg(long, value_name = "FILE")]
    pub status_file: Option<PathBuf>,

    /// What to log: error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log_level: Level,
}

/// Settings of one source and its targets.
#[derive(Debug, Clone, Args)]
pub struct SyncSettings {
    /// The directory to replicate
    #[arg(long, value_name = "DIR")]
    pub source: PathBuf,

    /// Where to: [USER@]HOST:DIR or ssh://[USER@]HOST[:PORT]/DIR; may be given several times
    #[arg(long = "target", value_name = "TARGET", required = true)]
    pub targets: Vec<TargetAddress>,

    /// What status, metrics and log call it [default: the source]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// The SSH port of targets that do not name one [default: as OpenSSH's configuration says, or 22]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,

    /// The configuration of OpenSSH's client: aliases, users, keys, jump hosts; `none` for no file
    /// [default: `~/.ssh/config` and `/etc/ssh/ssh_config`]
    #[arg(long, value_name = "FILE")]
    pub ssh_config: Option<PathBuf>,

    /// The private key to log in with [default: the SSH agent, then the files that OpenSSH would try]
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,

    /// The file of known host keys [default: `~/.ssh/known_hosts` and
    /// `/etc/ssh/ssh_known_hosts`]
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,

    /// How to replicate to targets: by a receiver that is brought along, or by nothing but their SFTP
    /// server, which keeps less (docs/security.md)
    #[arg(long, value_name = "WAY", value_enum, default_value_t = TransportFlag::Auto)]
    pub transport: TransportFlag,

    /// How to see changes
    #[arg(long, value_name = "BACKEND", value_enum, default_value_t = CaptureFlag::Auto)]
    pub capture: CaptureFlag,

    /// How much room records of changes have on their way from the kernel (eBPF only)
    #[arg(long, value_name = "SIZE", default_value_t = ByteSize(RING_BYTES), value_parser = ring_size)]
    pub ring_size: ByteSize,

    /// How long a change waits for company while its target is idle; 0 sends it at once
    #[arg(long, value_name = "TIME", default_value = "0ms", value_parser = humantime::parse_duration)]
    pub batch_delay: Duration,

    /// How long changes gather at most while earlier ones are on their way: a part of it for few of them
    #[arg(long, value_name = "TIME", default_value = "50ms", value_parser = humantime::parse_duration)]
    pub batch_max_delay: Duration,

    /// How many paths close a batch before its time
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = positive)]
    pub batch_max_changes: usize,

    /// How much content closes a batch before its time
    #[arg(long, value_name = "SIZE", default_value = "64MiB")]
    pub batch_max_bytes: ByteSize,

    /// How often a file is sent that stays open for writing; a closed file is sent at once
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = open_file_interval)]
    pub open_file_interval: Duration,

    /// What to keep though a later rule leaves it out; may be given several times. Of all rules,
    /// in the order in which they stand, the first that matches decides
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub include: Vec<String>,

    /// What to leave out, as rsync reads it: `*.tmp`, `/cache/`; may be given several times. What
    /// begins with `+ ` is kept instead. Nothing is removed at a target because of a rule
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub exclude: Vec<String>,

    /// A file with a rule in each line, as rsync reads it; may be given several times
    #[arg(long, value_name = "FILE")]
    pub exclude_from: Vec<PathBuf>,

    /// What to keep of each file besides content, mode and times: any of owner, group, xattrs,
    /// acls, links and directory-times, or none
    #[arg(long, value_name = "LIST", default_value = "owner,group,xattrs,acls,links,directory-times",
        value_parser = preserve)]
    pub preserve: Preserve,

    /// Keep owners and groups by their numbers, not by their names
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    pub numeric_ids: bool,

    /// What is on the target's disk before a change counts as replicated
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = DurabilityFlag::Batch)]
    pub durability: DurabilityFlag,

    /// What becomes visible at once: each change by itself, or all of a batch, once its content is at the
    /// target and checked
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = PublishFlag::Each)]
    pub publish: PublishFlag,

    /// What of a batch becomes visible last, as pages do that name the rest: `*.html`; may be given several
    /// times (with --publish batch)
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    pub publish_last: Vec<String>,

    /// Replicate also into a directory that is the replica of another source; once is enough
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    pub shared_target: bool,

    /// Replicate in both directions, with a daemon on each side that is given this too: of two versions
    /// that both are new the later one stays, and the other is kept (`ksyncd conflicts`)
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    pub two_way: bool,

    /// Remove what only the target has when the trees are compared at the start; excluded paths stay
    #[arg(long, value_name = "YES", num_args = 0..=1, require_equals = true, default_value_t = false,
        default_missing_value = "true", action = clap::ArgAction::Set)]
    pub delete_extraneous: bool,

    /// How much of what a target holds may be removed there at once, in per cent. More is held, and the
    /// rest goes on, until `ksyncd deletes` approves or rejects it; 100 holds nothing. Fewer than 100
    /// paths never count. Of what --delete-extraneous finds, all stays if it is more
    #[arg(long, value_name = "PERCENT", default_value_t = 25, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub max_delete: u8,

    /// Keep what is removed at a target for so long, in `.ksyncd/trash` there, for `ksyncd undo`; at
    /// least 1s [default: no]
    #[arg(long, value_name = "TIME", value_parser = trash)]
    pub trash: Option<Duration>,

    /// What to compress on its way; what does not shrink is sent as it is in any case
    #[arg(long, value_name = "WHEN", value_enum, default_value_t = CompressFlag::Auto)]
    pub compress: CompressFlag,

    /// How much to send to each target in a second, as rsync reads it: KiB, or with a suffix (`10m`, `1.5MB`);
    /// 0 for no limit
    #[arg(long, value_name = "RATE", default_value = "0", value_parser = bandwidth)]
    pub bwlimit: Bandwidth,

    /// How many SSH connections to a target there may be: beyond the first, which small changes have for
    /// themselves then, they carry large files, and are opened when there are some. With --bwlimit there
    /// is one
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=CONNECTIONS_MAX))]
    pub lanes: u8,

    /// Append the latencies of each 10 s to this file, as an interval log of `HdrHistogram`
    #[arg(long, value_name = "FILE")]
    pub latency_log: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TransportFlag {
    /// By a receiver where that can run, else by SFTP
    Auto,
    /// By a receiver, which the source brings along
    Agent,
    /// By the target's SFTP server: nothing of ours runs there
    Sftp,
}

impl From<TransportFlag> for Transport {
    fn from(flag: TransportFlag) -> Self {
        match flag {
            TransportFlag::Auto => Self::Auto,
            TransportFlag::Agent => Self::Agent,
            TransportFlag::Sftp => Self::Sftp,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CaptureFlag {
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
pub enum DurabilityFlag {
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
pub enum PublishFlag {
    /// Each change as soon as it is there
    Each,
    /// All of a batch together: nobody sees a page without what it needs
    Batch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompressFlag {
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
pub fn ring_size(text: &str) -> Result<ByteSize, String> {
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

/// Times of removals are kept in seconds.
fn trash(text: &str) -> Result<Duration, String> {
    let limit = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if limit < Duration::from_secs(1) { Err("at least 1s is needed".to_owned()) } else { Ok(limit) }
}

/// A rule that can be read, as it is written.
fn pattern(text: &str) -> Result<String, String> {
    let mut rules = Rules::default();
    rules.add(text.as_bytes(), Verdict::Exclude, String::new());
    match Excludes::new(rules) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(error.what),
    }
}
