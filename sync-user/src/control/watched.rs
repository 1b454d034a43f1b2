//! Holds what a running daemon shows of itself.

use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use crate::clock;
use crate::daemon::{Gauges, Started};
use crate::metrics::{Facts, Latencies, Report, Target, meant};
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
    /// Where latencies are kept, if they are.
    pub latency_log: Option<PathBuf>,
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

    /// How long changes take, of all targets and of each.
    pub fn latencies(&self) -> Latencies {
        let own = |target: &Target| (target.name().to_owned(), target.latency.snapshot());
        Latencies {
            all: self.gauges.latency.snapshot(),
            by_target: self.gauges.targets.iter().map(own).collect(),
        }
    }

    /// All that the latency table is made of: of all targets, or of the one that is called `target`.
    pub fn report(&self, target: Option<&str>) -> Result<Report, String> {
        let facts = self.facts().ok_or("it is starting")?;
        let target = target.map(|target| meant(&facts.targets, target)).transpose()?;
        let counts = self.gauges.counters.counts();
        let report = Report::new(&facts, counts, &self.latencies(), target, clock::since_1970());
        let mut report = report.map_err(|error| error.to_string())?;
        report.log.clone_from(&self.latency_log);
        Ok(report)
    }

    /// The latency table; `None` before capture is attached.
    pub fn table(&self) -> Option<String> {
        self.report(None).ok()?.table(None).ok()
    }
}
