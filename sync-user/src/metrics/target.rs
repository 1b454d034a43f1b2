//! Keeps how it goes with one target: whether it is connected, how far behind it is, and what
//! went wrong last.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::counters::{Counter, Gauge};
use super::latency::Latency;
use crate::model::{Stamp, TreePath};

/// Problems that are remembered for one target; beyond, they are only counted (I6).
const PROBLEMS_MAX: usize = 100;

/// What the connection to a target is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Connection {
    /// No connection was ever made, and the first is on its way.
    Connecting,
    /// Connected, and the trees are being compared.
    Comparing,
    /// Connected, and changes are sent as they come.
    Up,
    /// Lost, or never made; it is tried again.
    Down,
    /// It cannot be reached until a person has done something, and is not tried again.
    GivenUp,
}

/// What went wrong, and when it did so first and last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    pub what: String,
    /// Since when it goes wrong in this way.
    pub since: Stamp,
    pub last: Stamp,
}

/// Changes on their way, and the time at which the oldest of them was seen.
#[derive(Debug, Default)]
pub struct Backlog {
    changes: AtomicU64,
    /// 0 when there are none.
    oldest: AtomicU64,
}

impl Backlog {
    pub fn set(&self, changes: usize, oldest: Option<Stamp>) {
        self.changes.store(changes as u64, Ordering::Relaxed);
        self.oldest.store(oldest.map_or(0, |stamp| stamp.0), Ordering::Relaxed);
    }

    fn get(&self) -> (u64, Option<Stamp>) {
        let oldest = self.oldest.load(Ordering::Relaxed);
        (self.changes.load(Ordering::Relaxed), (oldest > 0).then_some(Stamp(oldest)))
    }
}

/// An amount of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    pub steps: u64,
    /// Content of the files that these steps put, in bytes.
    pub bytes: u64,
}

impl Progress {
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { steps: self.steps + other.steps, bytes: self.bytes + other.bytes }
    }
}

/// One target, as those see it who watch the run.
#[derive(Debug)]
pub struct Target {
    name: String,
    /// Changes that it has acknowledged.
    pub changes_shipped: Counter,
    /// Content that was sent to it, in bytes before encryption; what it had already does not count.
    pub bytes_shipped: Counter,
    /// SSH connections to it: that of its steps, and lanes.
    pub connections: Gauge,
    /// All that was written to its connections, in bytes before encryption.
    pub bytes_written: Counter,
    /// Comparisons of the whole tree with its listing.
    pub rescans: Counter,
    /// Failures of single paths, each attempt counted.
    pub problems: Counter,
    /// Connections that were lost or could not be made.
    pub connections_failed: Counter,
    /// Steps that replaced what somebody else had changed at the target.
    pub unexpected_replaced: Counter,
    /// Removals that were left out, since somebody else had changed at the target what they were to
    /// remove.
    pub unexpected_kept: Counter,
    /// Versions of this end that made way for the target's, since both had changed (two-way).
    pub conflicts_yielded: Counter,
    /// What waits in its batcher.
    pub gathering: Backlog,
    /// What its replica has taken, and the target has not acknowledged.
    pub shipping: Backlog,
    /// Paths that failed, or changed while they were read, and wait to be looked at again.
    pub put_off: Backlog,
    /// What is done of what the last comparison found, and of how much.
    catching_up: Mutex<Option<(Progress, Progress)>>,
    /// Removals that wait for a person.
    pub held_removals: Backlog,
    /// How long its changes take, from where each target has stages of its own.
    pub latency: Latency,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    since: Stamp,
    error: Option<Trouble>,
    problems: BTreeMap<TreePath, Trouble>,
}

/// How it goes with a target, at one moment.
#[derive(Debug, Clone)]
pub struct TargetSnapshot {
    pub name: String,
    pub connection: Connection,
    pub since: Stamp,
    /// The last failure of a connection, even if it was overcome.
    pub error: Option<Trouble>,
    /// Paths that cannot be replicated until something changes, by name.
    pub problems: Vec<(TreePath, Trouble)>,
    /// How long the oldest change on its way has waited. Paths that were put off do not count.
    pub lag: Duration,
    /// Changes on their way, in the batcher and to the target.
    pub lag_changes: u64,
    pub put_off: u64,
    /// What is done of what the last comparison found, and of how much; `None` when all is.
    pub catching_up: Option<(Progress, Progress)>,
    /// Removals that wait for a person, and since when any do.
    pub held_removals: (u64, Option<Stamp>),
    pub changes_shipped: u64,
    pub bytes_shipped: u64,
    pub connections: u64,
    pub bytes_written: u64,
    pub rescans: u64,
    pub problems_total: u64,
    pub connections_failed: u64,
    pub unexpected_replaced: u64,
    pub unexpected_kept: u64,
    pub conflicts_yielded: u64,
}

impl Target {
    pub fn new(name: String, now: Stamp) -> Self {
        let state =
            State { connection: Connection::Connecting, since: now, error: None, problems: BTreeMap::new() };
        Self {
            name,
            changes_shipped: Counter::default(),
            bytes_shipped: Counter::default(),
            connections: Gauge::default(),
            bytes_written: Counter::default(),
            rescans: Counter::default(),
            problems: Counter::default(),
            connections_failed: Counter::default(),
            unexpected_replaced: Counter::default(),
            unexpected_kept: Counter::default(),
            conflicts_yielded: Counter::default(),
            gathering: Backlog::default(),
            shipping: Backlog::default(),
            put_off: Backlog::default(),
            catching_up: Mutex::default(),
            held_removals: Backlog::default(),
            latency: Latency::small(),
            state: Mutex::new(state),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn connection(&self, connection: Connection, now: Stamp) {
        let mut state = self.state();
        if state.connection != connection {
            state.connection = connection;
            state.since = now;
        }
    }

    /// Notes why a connection was lost or could not be made.
    pub fn failed(&self, connection: Connection, what: &str, now: Stamp) {
        self.connections_failed.add(1);
        self.connection(connection, now);
        let mut state = self.state();
        match &mut state.error {
            Some(error) if error.what == what => error.last = now,
            error => *error = Some(Trouble { what: what.to_owned(), since: now, last: now }),
        }
    }

    /// Notes that a path cannot be replicated.
    pub fn problem(&self, path: &TreePath, what: &str, now: Stamp) {
        self.problems.add(1);
        let mut state = self.state();
        if let Some(problem) = state.problems.get_mut(path) {
            what.clone_into(&mut problem.what);
            problem.last = now;
        } else if state.problems.len() < PROBLEMS_MAX {
            let problem = Trouble { what: what.to_owned(), since: now, last: now };
            state.problems.insert(path.clone(), problem);
        }
    }

    /// Forgets the problems that are none any more.
    pub fn keep_problems(&self, is_one: impl Fn(&TreePath) -> bool) {
        self.state().problems.retain(|path, _| is_one(path));
    }

    pub fn catches_up(&self, progress: Option<(Progress, Progress)>) {
        *self.catching_up.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    /// What is done of what the last comparison found, and of how much; `None` when all is.
    pub fn catching_up(&self) -> Option<(Progress, Progress)> {
        *self.catching_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn snapshot(&self, now: Stamp) -> TargetSnapshot {
        let (gathering, first) = self.gathering.get();
        let (shipping, second) = self.shipping.get();
        let oldest = first.into_iter().chain(second).min();
        let state = self.state();
        TargetSnapshot {
            name: self.name.clone(),
            connection: state.connection,
            since: state.since,
            error: state.error.clone(),
            problems: state.problems.iter().map(|(path, trouble)| (path.clone(), trouble.clone())).collect(),
            lag: oldest.map_or(Duration::ZERO, |oldest| now.since(oldest)),
            lag_changes: gathering + shipping,
            put_off: self.put_off.get().0,
            catching_up: self.catching_up(),
            held_removals: self.held_removals.get(),
            changes_shipped: self.changes_shipped.get(),
            bytes_shipped: self.bytes_shipped.get(),
            connections: self.connections.get(),
            bytes_written: self.bytes_written.get(),
            rescans: self.rescans.get(),
            problems_total: self.problems.get(),
            connections_failed: self.connections_failed.get(),
            unexpected_replaced: self.unexpected_replaced.get(),
            unexpected_kept: self.unexpected_kept.get(),
            conflicts_yielded: self.conflicts_yielded.get(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_of_two_backlogs_is_the_lag() {
        let target = Target::new("web2:/srv".to_owned(), Stamp(1));
        target.gathering.set(3, Some(Stamp(7_000_000_000)));
        target.shipping.set(2, Some(Stamp(4_000_000_000)));
        let seen = target.snapshot(Stamp(9_000_000_000));
        assert_eq!((seen.lag, seen.lag_changes), (Duration::from_secs(5), 5));
        target.shipping.set(0, None);
        assert_eq!(target.snapshot(Stamp(9_000_000_000)).lag, Duration::from_secs(2));
    }

    #[test]
    fn an_error_that_comes_again_is_one_since_it_came_first() {
        let target = Target::new(String::new(), Stamp(1));
        target.failed(Connection::Down, "refused", Stamp(2));
        target.failed(Connection::Down, "refused", Stamp(5));
        let seen = target.snapshot(Stamp(9));
        assert_eq!((seen.connection, seen.since), (Connection::Down, Stamp(2)));
        let expected = Trouble { what: "refused".to_owned(), since: Stamp(2), last: Stamp(5) };
        assert_eq!(seen.error, Some(expected));
    }
}
