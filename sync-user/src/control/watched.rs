//! Holds what a running daemon shows of itself.

use std::sync::OnceLock;
use std::time::Duration;

use crate::clock;
use crate::daemon::{Gauges, Started};
use crate::metrics::{Facts, Report, render};
use crate::tree::Excludes;

/// A run, as those see it who ask.
#[derive(Debug)]
pub struct Watched {
    /// What it is called: the source, unless it was given a name.
    pub name: String,
    pub source: String,
    pub targets: Vec<String>,
    pub batch_delay: Duration,
    pub batch_max_delay: Duration,
    pub batch_max_changes: usize,
    pub excludes: Excludes,
    pub gauges: Gauges,
    /// Set once capture is attached.
    pub started: OnceLock<Started>,
    /// Why it has ended, set when it has done so by itself and others go on.
    pub ended: OnceLock<String>,
}

impl Watched {
    /// What the latency table says besides latencies; `None` before capture is attached.
    pub fn facts(&self) -> Option<Facts> {
        let started = self.started.get()?;
        Some(Facts {
            source: self.source.clone(),
            targets: self.targets.clone(),
            backend: started.backend.to_owned(),
            stamps_in_kernel: started.stamps_in_kernel,
            batch_delay: self.batch_delay,
            batch_max_delay: self.batch_max_delay,
            batch_max_changes: self.batch_max_changes,
            running: clock::now().since(started.at),
        })
    }

    /// All that the latency table is made of.
    pub fn report(&self) -> Result<Report, String> {
        let facts = self.facts().ok_or("it is starting")?;
        let counts = self.gauges.counters.counts();
        Report::new(facts, counts, &self.gauges.latency.snapshot()).map_err(|error| error.to_string())
    }

    /// The latency table; `None` before capture is attached.
    pub fn table(&self) -> Option<String> {
        Some(render(&self.gauges.latency.snapshot(), &self.gauges.counters.counts(), &self.facts()?))
    }
}
