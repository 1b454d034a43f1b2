//! Prints the latency table of a running daemon.

use std::io::Write as _;

use super::flags::Run;
use crate::clock;
use crate::daemon::{Gauges, Started};
use crate::metrics::{Facts, render};

/// Prints to standard output; the log has standard error.
pub(super) fn print_table(flags: &Run, started: &Started, gauges: &Gauges) {
    let facts = Facts {
        source: flags.source.display().to_string(),
        targets: flags.targets.iter().map(ToString::to_string).collect(),
        backend: started.backend,
        stamps_in_kernel: started.stamps_in_kernel,
        batch_delay: flags.batch_delay,
        batch_max_delay: flags.batch_max_delay,
        batch_max_changes: flags.batch_max_changes,
        running: clock::now().since(started.at),
    };
    let table = render(&gauges.latency.snapshot(), &gauges.counters, &facts);
    // Nobody reads it when standard output is closed.
    let _closed = write!(std::io::stdout().lock(), "\n{table}");
}
