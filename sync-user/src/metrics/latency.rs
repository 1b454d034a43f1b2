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

    /// What it begins and ends with, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Capture => "seen by the kernel to read from it",
            Self::Queue => "read from the kernel to taken by the batcher",
            Self::Batch => "taken by the batcher to the end of its batch",
            Self::Ship => "the end of the batch to acknowledged by the target, less what it took to apply it",
            Self::Apply => "what the target took",
            Self::EndToEnd => "seen by the kernel to acknowledged by the target",
        }
    }

    /// Whether each target has latencies of its own there; before, they share them.
    pub fn is_of_target(self) -> bool {
        matches!(self, Self::Batch | Self::Ship | Self::Apply | Self::EndToEnd)
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

    /// One of many: it takes memory only for what was recorded.
    pub fn small() -> Self {
        let new = || Histogram::new(3).expect("three digits can be had");
        Self { stages: std::array::from_fn(|_| Mutex::new(new())) }
    }

    pub fn record(&self, stage: Stage, took: Duration) {
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).clamp(1, LONGEST_NS);
        let mut histogram = self.stages[stage as usize].lock().unwrap_or_else(PoisonError::into_inner);
        // Either kind has room for the longest, or makes it.
        let _fits = histogram.record(nanoseconds);
    }

    pub fn snapshot(&self) -> Snapshot {
        let copy =
            |stage: &Mutex<Histogram<u64>>| stage.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Snapshot { stages: self.stages.iter().map(copy).collect() }
    }
}

/// The latencies of all targets together, and of each.
#[derive(Debug, Clone, Default)]
pub struct Latencies {
    pub all: Snapshot,
    /// With the target's name. The stages before it are those of [`all`](Self::all).
    pub by_target: Vec<(String, Snapshot)>,
}

impl Latencies {
    /// Those of the target `name`, with the stages that all targets share.
    pub fn of_target(&self, name: &str) -> Option<Snapshot> {
        // Of one target all are its own.
        if let [(only, _)] = self.by_target.as_slice() {
            return (only == name).then(|| self.all.clone());
        }
        let (_, own) = self.by_target.iter().find(|(target, _)| target == name)?;
        Some(own.map(|stage, own| if stage.is_of_target() { own } else { self.all.of(stage) }.clone()))
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

    /// What it has more than `before`. Within a run values never become fewer; those of another run are
    /// not subtracted.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        self.map(|stage, now| {
            let mut difference = now.clone();
            match difference.subtract(before.of(stage)) {
                Ok(()) => difference,
                Err(_) => now.clone(),
            }
        })
    }

    /// With nothing but this stage.
    #[must_use]
    pub fn only(&self, wanted: Stage) -> Self {
        let mut only = Self::default();
        only.add(wanted, self.of(wanted));
        only
    }

    /// With each histogram made into another one.
    pub(super) fn map(&self, make: impl Fn(Stage, &Histogram<u64>) -> Histogram<u64>) -> Self {
        Self { stages: Stage::ALL.iter().map(|stage| make(*stage, self.of(*stage))).collect() }
    }

    pub fn of(&self, stage: Stage) -> &Histogram<u64> {
        &self.stages[stage as usize]
    }
}
