//! Holds what a running daemon shows of itself.

use std::sync::OnceLock;
use std::time::Duration;

use crate::clock;
use crate::daemon::{Gauges, Started};
use crate::metrics::{Facts, render};

/// A run, as those see it who ask.
#[derive(Debug)]
pub struct Watched {
    pub source: String,
    pub targets: Vec<String>,
    pub batch_delay: Duration,
    pub batch_max_delay: Duration,
    pub batch_max_changes: usize,
    pub gauges: Gauges,
    /// Set once capture is attached.
    pub started: OnceLock<Started>,
}

impl Watched {
    /// What the latency table says besides latencies; `None` before capture is attached.
    pub fn facts(&self) -> Option<Facts> {
        let started = self.started.get()?;
        Some(Facts {
            source: self.source.clone(),
            targets: self.targets.clone(),
            backend: started.backend,
            stamps_in_kernel: started.stamps_in_kernel,
            batch_delay: self.batch_delay,
            batch_max_delay: self.batch_max_delay,
            batch_max_changes: self.batch_max_changes,
            running: clock::now().since(started.at),
        })
    }

    /// The latency table; `None` before capture is attached.
    pub fn table(&self) -> Option<String> {
        Some(render(&self.gauges.latency.snapshot(), &self.gauges.counters, &self.facts()?))
    }
}
