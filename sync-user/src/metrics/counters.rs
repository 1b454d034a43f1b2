//! Counts what happens, since the start of the run.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Changes that capture delivered and no exclude rule left out.
    pub changes_captured: Counter,
    /// Changes that a target has acknowledged; with two targets one change counts twice.
    pub changes_shipped: Counter,
    /// Content that was sent, in bytes before encryption.
    pub bytes_shipped: Counter,
    /// Renames that a target repeated, so that no content was sent.
    pub renames_repeated: Counter,
    /// Events that were lost and counted, by the kernel or in our own queue.
    pub lost_events: Counter,
    /// Places in which something may have gone unseen, and which are rescanned for each target; with
    /// two targets one place counts twice.
    pub gaps: Counter,
    /// Of these, those whose target has answered all that came of the rescan.
    pub gaps_healed: Counter,
    /// Comparisons of the whole tree with a target's listing: one for each connection.
    pub rescans: Counter,
    /// Paths that failed, and succeeded later.
    pub retried: Counter,
    /// Failures of single paths.
    pub problems: Counter,
    /// Connections that were lost or could not be made.
    pub reconnects: Counter,
}
