//! Keeps the latency log of a run: an interval now and then, and the last one at the end.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tracing::warn;

use crate::clock;
use crate::control::Watched;
use crate::metrics::LatencyLog;
use crate::shutdown::Stop;

/// How much one interval covers: a log grows by some 10 MB a day under constant load.
const INTERVAL: Duration = Duration::from_secs(10);

/// Begins a log in the file at `path`, behind what is there.
pub(super) fn open(path: &Path, watched: &Watched) -> io::Result<LatencyLog> {
    LatencyLog::append(path, clock::since_1970(), watched.latencies())
}

/// Appends to `log` until `stop` is requested; the thread ends after the last write.
pub(super) fn keep(mut log: LatencyLog, watched: Arc<Watched>, stop: Stop) -> io::Result<JoinHandle<()>> {
    let work = move || {
        let mut failing = false;
        loop {
            let begun = clock::now();
            while !stop.requested() && clock::now().since(begun) < INTERVAL {
                stop.wait(INTERVAL.saturating_sub(clock::now().since(begun)));
            }
            let last = stop.requested();
            if let Some(facts) = watched.facts() {
                let (latencies, counts) = (watched.latencies(), watched.gauges.counters.counts());
                match log.write(clock::since_1970(), latencies, facts, counts) {
                    Ok(()) => failing = false,
                    // What could not be written is in the next interval.
                    Err(error) if !failing => {
                        failing = true;
                        warn!("write the latency log: {error}; it is tried again");
                    }
                    Err(_) => {}
                }
            }
            if last {
                return;
            }
        }
    };
    thread::Builder::new().name("latency log".to_owned()).spawn(work)
}
