//! Remembers what a daemon told of itself the last times, and what has changed between.

use std::collections::VecDeque;
use std::time::Duration;

use crate::control::{Status, TargetStatus};
use crate::metrics::{Report, Snapshot, Stage};
use crate::model::Stamp;

/// Rates that are remembered: as many as the widest terminal has columns.
const RATES_MAX: usize = 500;

/// Over how long latencies are taken.
const RECENT: Duration = Duration::from_secs(10);

/// What is known of one sync.
#[derive(Debug, Default)]
pub(super) struct Looks {
    before: Option<(Status, Stamp)>,
    now: Option<(Status, Stamp)>,
    snapshots: VecDeque<(Snapshot, Stamp)>,
    /// Changes seen a second, the last one last.
    rates: VecDeque<u64>,
    latencies: Option<Latencies>,
    diagnosis: Option<String>,
}

/// How long changes took.
#[derive(Debug)]
pub(super) struct Latencies {
    pub(super) snapshot: Snapshot,
    /// Those of the last seconds, and not of the whole run.
    pub(super) is_recent: bool,
}

impl Looks {
    pub(super) fn is_of(&self, status: &Status) -> bool {
        self.status().is_some_and(|now| (now.process, &now.name) == (status.process, &status.name))
    }

    /// With one more answer.
    pub(super) fn then(mut self, status: Status, report: Option<Report>, at: Stamp) -> Self {
        self.before = self.now.replace((status, at));
        if let Some(seen) = self.per_second(|status| status.changes_captured) {
            self.rates.push_back(seen.round() as u64);
            self.rates.drain(..self.rates.len().saturating_sub(RATES_MAX));
        }
        self.diagnosis = report.as_ref().and_then(|report| report.diagnosis().ok());
        if let Some(snapshot) = report.and_then(|report| report.snapshot().ok()) {
            self.snapshots.push_back((snapshot, at));
            while self.snapshots.get(1).is_some_and(|(_, next)| at.since(*next) >= RECENT) {
                self.snapshots.pop_front();
            }
            self.latencies = self.measured();
        }
        self
    }

    fn measured(&self) -> Option<Latencies> {
        let ((before, _), (now, _)) = (self.snapshots.front()?, self.snapshots.back()?);
        let recent = now.since(before);
        Some(if self.snapshots.len() < 2 || recent.of(Stage::EndToEnd).is_empty() {
            Latencies { snapshot: now.clone(), is_recent: false }
        } else {
            Latencies { snapshot: recent, is_recent: true }
        })
    }

    pub(super) fn status(&self) -> Option<&Status> {
        self.now.as_ref().map(|(status, _)| status)
    }

    /// By how much a number of the daemon grows a second; `None` at the first look.
    pub(super) fn per_second(&self, number: impl Fn(&Status) -> u64) -> Option<f64> {
        let ((before, since), (now, at)) = (self.before.as_ref()?, self.now.as_ref()?);
        let span = at.since(*since).as_secs_f64();
        (span > 0.0).then(|| number(now).saturating_sub(number(before)) as f64 / span)
    }

    /// The same of one target.
    pub(super) fn of_target(&self, at: usize, number: impl Fn(&TargetStatus) -> u64) -> Option<f64> {
        self.per_second(|status| status.targets.get(at).map_or(0, &number))
    }

    pub(super) fn rates(&self) -> impl DoubleEndedIterator<Item = u64> {
        self.rates.iter().copied()
    }

    /// The latencies of the last seconds, or, while nothing happens and at the first look, of the whole run.
    pub(super) fn latencies(&self) -> Option<&Latencies> {
        self.latencies.as_ref()
    }

    /// Where the time goes, and which flag to try.
    pub(super) fn diagnosis(&self) -> Option<&str> {
        self.diagnosis.as_deref()
    }
}
