//! Says how a run goes, as data: what `ksyncd status --json` prints.
//!
//! Times are spans up to the moment of asking, so that no clock of the reader matters.

use serde::{Deserialize, Serialize};

use super::watched::Watched;
use crate::clock;
use crate::metrics::{Connection, TargetSnapshot, Trouble};
use crate::model::Stamp;

/// Directories that are told of.
const BUSIEST_MAX: usize = 10;

/// A running daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    pub process: u32,
    /// What it is called: the source, unless it was given a name.
    pub name: String,
    pub source: String,
    /// Why it has ended by itself, while others of the process go on.
    pub ended: Option<String>,
    /// `None` before capture is attached.
    pub capture: Option<Capture>,
    /// Changes seen below the root that no exclude rule left out.
    pub changes_captured: u64,
    /// Changes that wait between capture and the batcher.
    pub queue_length: u64,
    /// Events that were lost, each healed by rescanning a place that contains it.
    pub lost_events: u64,
    /// Places in which something may have gone unseen, for each target that has to be made equal.
    pub gaps: u64,
    /// Of these, those that were rescanned, and all that came of it acknowledged.
    pub gaps_healed: u64,
    pub gaps_by_reason: Vec<GapStatus>,
    /// Comparisons of the whole tree, of all targets.
    pub rescans: u64,
    /// Where most changes happened within the last half minute: at most 10.
    #[serde(default)]
    pub busiest: Vec<BusyDirectory>,
    pub targets: Vec<TargetStatus>,
}

/// How changes are seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Capture {
    /// `ebpf` or `fanotify`.
    pub backend: String,
    /// Why this one, for people.
    pub reason: String,
    /// Since when, in seconds.
    pub running_seconds: f64,
}

/// Gaps of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GapStatus {
    pub reason: String,
    pub gaps: u64,
    pub lost_events: u64,
}

/// A directory in which things change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BusyDirectory {
    /// Below the root, which is `.` itself. Bytes that are not UTF-8 are replaced.
    pub path: String,
    /// Changes of the names right in it, at least so many.
    pub changes_per_second: f64,
}

/// How it goes with one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TargetStatus {
    pub name: String,
    /// `connecting`, `comparing`, `up`, `down` or `given up`.
    pub state: String,
    /// For how long it has been so.
    pub state_seconds: f64,
    /// SSH connections: one, and lanes that carry large files.
    #[serde(default)]
    pub connections: u64,
    /// How long the oldest change on its way has waited; 0 when all is acknowledged. Paths that
    /// were put off do not count.
    pub lag_seconds: f64,
    /// How many changes are on their way.
    pub lag_changes: u64,
    /// Paths that failed, or changed while they were read, and are looked at again later.
    pub put_off: u64,
    /// What the last comparison found to do, while some of it is left.
    #[serde(default)]
    pub catching_up: Option<CatchingUp>,
    /// Removals that wait for a person: `ksyncd deletes`.
    #[serde(default)]
    pub held_removals: u64,
    /// For how long any do.
    #[serde(default)]
    pub held_seconds: f64,
    pub changes_shipped: u64,
    /// Content that was sent, in bytes; what the target could take from its own files does not count.
    pub bytes_shipped: u64,
    /// All that was written to the connections, in bytes before encryption.
    pub bytes_written: u64,
    /// Comparisons of the whole tree: one for each connection.
    pub rescans: u64,
    /// Why a connection failed last, also if it was overcome.
    pub error: Option<Occurrence>,
    /// Failures of single paths, each attempt counted.
    pub problems_total: u64,
    /// Steps that replaced what somebody else had changed at the target.
    #[serde(default)]
    pub unexpected_replaced: u64,
    /// Removals left out, since somebody else had changed at the target what they were to remove.
    #[serde(default)]
    pub unexpected_kept: u64,
    /// Versions of the source that made way for the target's, as both had changed (two-way).
    #[serde(default)]
    pub conflicts_yielded: u64,
    /// Paths that cannot be replicated until something changes: at most 100 of them.
    pub problems: Vec<PathProblem>,
}

/// How far a target is with what a comparison found to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CatchingUp {
    pub steps_done: u64,
    pub steps: u64,
    /// Of the content of the files among them.
    pub bytes_done: u64,
    pub bytes: u64,
}

/// Something that went wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Occurrence {
    pub what: String,
    /// How long ago it began to go wrong in this way.
    pub since_seconds: f64,
    /// How long ago it did so last.
    pub last_seconds: f64,
}

/// A path that cannot be replicated.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PathProblem {
    /// Below the root; bytes that are not UTF-8 are replaced.
    pub path: String,
    #[serde(flatten)]
    pub problem: Occurrence,
}

impl Status {
    pub fn of(watched: &Watched) -> Self {
        let now = clock::now();
        let counters = &watched.gauges.counters;
        let capture = watched.started.get().map(|started| Capture {
            backend: started.backend.to_owned(),
            reason: started.reason.clone(),
            running_seconds: seconds(started.at, now),
        });
        let gap = |(reason, (gaps, lost_events)): (crate::model::Reason, (u64, u64))| GapStatus {
            reason: reason.to_string(),
            gaps,
            lost_events,
        };
        let busiest = watched.gauges.busiest.rates(BUSIEST_MAX, now).into_iter();
        let busiest = busiest
            .map(|(path, changes_per_second)| BusyDirectory { path: path.to_string(), changes_per_second });
        let targets = watched.gauges.targets.iter().map(|target| TargetStatus::of(target.snapshot(now), now));
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            name: watched.name.clone(),
            source: watched.source.clone(),
            ended: watched.ended.get().cloned(),
            capture,
            changes_captured: counters.changes_captured.get(),
            queue_length: counters.queue_length.get(),
            lost_events: counters.lost_events.get(),
            gaps: counters.gaps.get(),
            gaps_healed: counters.gaps_healed.get(),
            gaps_by_reason: counters.gaps_by_reason().into_iter().map(gap).collect(),
            rescans: counters.rescans.get(),
            busiest: busiest.collect(),
            targets: targets.collect(),
        }
    }
}

impl Status {
    /// Whether it runs, and all its targets are connected.
    pub fn is_up(&self) -> bool {
        self.ended.is_none() && self.targets.iter().all(TargetStatus::is_up)
    }
}

impl TargetStatus {
    fn of(seen: TargetSnapshot, now: Stamp) -> Self {
        let problem = |(path, trouble): (crate::model::TreePath, Trouble)| PathProblem {
            path: path.to_string(),
            problem: Occurrence::of(trouble, now),
        };
        Self {
            name: seen.name,
            state: name(seen.connection).to_owned(),
            state_seconds: seconds(seen.since, now),
            connections: seen.connections,
            lag_seconds: seen.lag.as_secs_f64(),
            lag_changes: seen.lag_changes,
            put_off: seen.put_off,
            catching_up: seen.catching_up.map(|(done, of)| CatchingUp {
                steps_done: done.steps,
                steps: of.steps,
                bytes_done: done.bytes,
                bytes: of.bytes,
            }),
            held_removals: seen.held_removals.0,
            held_seconds: seen.held_removals.1.map_or(0.0, |since| seconds(since, now)),
            changes_shipped: seen.changes_shipped,
            bytes_shipped: seen.bytes_shipped,
            bytes_written: seen.bytes_written,
            rescans: seen.rescans,
            error: seen.error.map(|trouble| Occurrence::of(trouble, now)),
            problems_total: seen.problems_total,
            unexpected_replaced: seen.unexpected_replaced,
            unexpected_kept: seen.unexpected_kept,
            conflicts_yielded: seen.conflicts_yielded,
            problems: seen.problems.into_iter().map(problem).collect(),
        }
    }

    /// Whether it is connected.
    pub fn is_up(&self) -> bool {
        [Connection::Up, Connection::Comparing].map(name).contains(&self.state.as_str())
    }
}

impl Occurrence {
    fn of(trouble: Trouble, now: Stamp) -> Self {
        Self {
            what: trouble.what,
            since_seconds: seconds(trouble.since, now),
            last_seconds: seconds(trouble.last, now),
        }
    }
}

fn name(connection: Connection) -> &'static str {
    match connection {
        Connection::Connecting => "connecting",
        Connection::Comparing => "comparing",
        Connection::Up => "up",
        Connection::Down => "down",
        Connection::GivenUp => "given up",
    }
}

fn seconds(from: Stamp, now: Stamp) -> f64 {
    now.since(from).as_secs_f64()
}
