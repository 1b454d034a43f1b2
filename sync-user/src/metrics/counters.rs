//! Counts what happens, since the start of the run.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::pulse::Pulse;
use crate::model::Reason;

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

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

impl Gauge {
    pub fn set(&self, value: usize) {
        self.0.store(value as u64, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that is counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Of the batching thread, through which every change has to pass.
    pub batching: Pulse,
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
    /// Changes that wait between capture and the batcher.
    pub queue_length: Gauge,
    /// Gaps, and events lost in them, by what caused them.
    by_reason: Mutex<BTreeMap<Reason, (u64, u64)>>,
}

/// What the latency table counts besides latencies, at one moment: see [`Counters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    pub changes_captured: u64,
    pub bytes_shipped: u64,
    pub renames_repeated: u64,
    pub lost_events: u64,
    pub gaps: u64,
    pub gaps_healed: u64,
    pub retried: u64,
}

impl Counts {
    /// Those of two runs together.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.with(other, |one, other| one + other)
    }

    /// Those since `before`.
    #[must_use]
    pub fn minus(&self, before: &Self) -> Self {
        self.with(before, u64::saturating_sub)
    }

    fn with(&self, other: &Self, make: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            changes_captured: make(self.changes_captured, other.changes_captured),
            bytes_shipped: make(self.bytes_shipped, other.bytes_shipped),
            renames_repeated: make(self.renames_repeated, other.renames_repeated),
            lost_events: make(self.lost_events, other.lost_events),
            gaps: make(self.gaps, other.gaps),
            gaps_healed: make(self.gaps_healed, other.gaps_healed),
            retried: make(self.retried, other.retried),
        }
    }
}

impl Counters {
    pub fn counts(&self) -> Counts {
        Counts {
            changes_captured: self.changes_captured.get(),
            bytes_shipped: self.bytes_shipped.get(),
            renames_repeated: self.renames_repeated.get(),
            lost_events: self.lost_events.get(),
            gaps: self.gaps.get(),
            gaps_healed: self.gaps_healed.get(),
            retried: self.retried.get(),
        }
    }

    /// Counts a gap that has to be rescanned for so many `targets`, and the events that were lost
    /// in it.
    pub fn gap(&self, reason: Reason, lost: u64, targets: u64) {
        self.gaps.add(targets);
        self.lost_events.add(lost);
        let mut by_reason = self.by_reason.lock().unwrap_or_else(PoisonError::into_inner);
        let (gaps, events) = by_reason.entry(reason).or_default();
        *gaps += 1;
        *events += lost;
    }

    /// How many gaps there were for each reason, and how many events were lost in them.
    pub fn gaps_by_reason(&self) -> BTreeMap<Reason, (u64, u64)> {
        self.by_reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
