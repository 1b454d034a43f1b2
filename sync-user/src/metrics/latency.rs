//! Measures how long changes take, stage by stage: one value a change.
//!
//! Of merged changes the oldest time counts, and waiting for a lost connection counts too: a
//! latency that leaves out the slow cases would only please.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Parts of a change's way from the kernel to the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// From the kernel's stamp until capture has read the event.
    Capture,
    /// From there until the batcher takes it.
    Queue,
    /// From there until its batch is closed.
    Batch,
    /// From there until the acknowledgement is back, without [`Stage::Apply`].
    Ship,
    /// What the target took to apply it, on the target's own clock.
    Apply,
    /// From the kernel's stamp until the acknowledgement is back: an upper bound for the moment
    /// at which the change was readable at the target, on one clock.
    EndToEnd,
}

impl Stage {
    pub const ALL: [Self; 6] =
        [Self::Capture, Self::Queue, Self::Batch, Self::Ship, Self::Apply, Self::EndToEnd];

    pub fn name(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Queue => "queue",
            Self::Batch => "batch",
            Self::Ship => "ship",
            Self::Apply => "apply",
            Self::EndToEnd => "end to end",
        }
    }

    /// Its name where there may be no spaces: in labels, tags and keys.
    pub fn tag(self) -> &'static str {
        match self {
            Self::EndToEnd => "end_to_end",
            other => other.name(),
        }
    }

    pub fn of_tag(tag: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.tag() == tag)
    }
}

/// An hour: whatever took longer counts as an hour.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// One histogram a stage, in nanoseconds with three significant digits.
#[derive(Debug)]
pub struct Latency {
    stages: [Mutex<Histogram<u64>>; 6],
}

/// The histograms as they were at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    stages: Vec<Histogram<u64>>,
}

impl Default for Latency {
    fn default() -> Self {
        let new = || Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("the bounds are constants that fit");
        Self { stages: std::array::from_fn(|_| Mutex::new(new())) }
    }
}

impl Latency {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn record(&self, stage: Stage, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let mut histogram = self.stages[stage as usize].lock().unwrap_or_else(PoisonError::into_inner);
        histogram.saturating_record(nanoseconds);
    }

    pub fn snapshot(&self) -> Snapshot {
        let copy =
            |stage: &Mutex<Histogram<u64>>| stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot { stages: self.stages.iter().map(copy).collect() }
    }
}

impl Default for Snapshot {
    /// Nothing measured.
    fn default() -> Self {
        Latency::new().snapshot()
    }
}

impl Snapshot {
    /// From one histogram for each of [`Stage::ALL`].
    pub(super) fn new(stages: Vec<Histogram<u64>>) -> Option<Self> {
        (stages.len() == Stage::ALL.len()).then_some(Self { stages })
    }

    /// Adds what another one has measured.
    pub fn add(&mut self, stage: Stage, histogram: &Histogram<u64>) {
        // Both have the same bounds, unless it was written by another program: then as much as fits.
        if self.stages[stage as usize].add(histogram).is_err() {
            for value in histogram.iter_recorded() {
                self.stages[stage as usize]
                    .saturating_record_n(value.value_iterated_to(), value.count_at_value());
            }
        }
    }

    pub fn of(&self, stage: Stage) -> &Histogram<u64> {
        &self.stages[stage as usize]
    }
}
