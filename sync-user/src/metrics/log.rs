//! Keeps latencies in a file that grows by one interval after the other.
//!
//! The file is an interval log of `HdrHistogram`, to which several runs may append. Comments,
//! which other readers skip, tell what else the table shows.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::counters::Counts;
use super::intervals::{hlog, is_head};
use super::latency::{Latencies, Snapshot};
use super::table::Facts;

/// What comments of ours begin with.
pub(super) const OURS: &str = "#ksyncd ";

/// A log that is written.
#[derive(Debug)]
pub struct LatencyLog {
    file: File,
    /// What was written already.
    before: Latencies,
    /// Until when, since 1970.
    until: Duration,
    has_head: bool,
}

/// What stands behind the intervals of one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Comment {
    pub(super) facts: Facts,
    /// Since the start of the run.
    pub(super) counts: Counts,
    /// Until when the intervals before it go, since 1970.
    #[serde(default)]
    pub(super) until: Duration,
}

impl LatencyLog {
    /// Appends to the file at `path`, from the time `now` (since 1970) on.
    pub fn append(path: &Path, now: Duration, start: Latencies) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file, before: start, until: now, has_head: false })
    }

    /// Writes what was measured since the last time, as one interval up to `now`.
    pub fn write(
        &mut self,
        now: Duration,
        latencies: Latencies,
        facts: Facts,
        counts: Counts,
    ) -> io::Result<()> {
        let (from, took) = (self.until, now.saturating_sub(self.until));
        let text = hlog(&since(&latencies, &self.before), from, took)?;
        // The head is wanted once, and each interval is one write: a reader sees whole lines.
        let mut out: String = text
            .lines()
            .filter(|line| !self.has_head || !is_head(line))
            .fold(String::new(), |out, line| out + line + "\n");
        out += OURS;
        out += &serde_json::to_string(&Comment { facts, counts, until: now })?;
        out.push('\n');
        self.file.write_all(out.as_bytes())?;
        (self.before, self.until, self.has_head) = (latencies, now, true);
        Ok(())
    }
}

/// What `now` has more than `before`. Values never become fewer within a run.
fn since(now: &Latencies, before: &Latencies) -> Latencies {
    let none = Snapshot::default();
    let own = |(name, now): &(String, Snapshot)| {
        let before = before.by_target.iter().find(|(target, _)| target == name);
        (name.clone(), now.since(before.map_or(&none, |(_, before)| before)))
    };
    Latencies { all: now.all.since(&before.all), by_target: now.by_target.iter().map(own).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Counters, Latency, LogError, Stage, Wanted, read_log};

    const ALL: Wanted<'_> = Wanted { since: None, target: None };

    fn latencies(all: &Latency, by_target: &[(&str, &Latency)]) -> Latencies {
        let by_target = by_target.iter().map(|(name, latency)| ((*name).to_owned(), latency.snapshot()));
        Latencies { all: all.snapshot(), by_target: by_target.collect() }
    }

    #[test]
    fn intervals_of_several_runs_are_read_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latency.hlog");
        let mut all = Latency::new().snapshot();
        for run in 1..3_u64 {
            let (latency, counters) = (Latency::new(), Counters::default());
            let now = Duration::from_secs(1_700_000_000 + run * 1_000);
            let mut log = LatencyLog::append(&path, now, latencies(&latency, &[])).unwrap();
            for interval in 1..4 {
                latency.record(Stage::EndToEnd, Duration::from_millis(run * 10 + interval));
                counters.changes_captured.add(1);
                let now = now + Duration::from_secs(interval * 10);
                log.write(now, latencies(&latency, &[]), Facts::sample(interval * 10), counters.counts())
                    .unwrap();
            }
            all.add(Stage::EndToEnd, latency.snapshot().of(Stage::EndToEnd));
        }
        let report = read_log(&path, &ALL).unwrap();
        let read = report.snapshot().unwrap();
        assert_eq!(read.of(Stage::EndToEnd), all.of(Stage::EndToEnd));
        assert_eq!((report.counts.changes_captured, report.facts.running.as_secs()), (6, 60));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("Tag=end_to_end,").count(), 6, "{text}");
        assert_eq!(text.matches("#[Histogram log format version 1.3]").count(), 2, "{text}");
    }

    #[test]
    fn a_log_of_an_idle_run_without_times_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latency.hlog");
        let comment = Comment { facts: Facts::sample(10), counts: Counts::default(), until: Duration::ZERO };
        let mut comment = serde_json::to_value(comment).unwrap();
        comment.as_object_mut().unwrap().remove("until");
        std::fs::write(&path, format!("{OURS}{comment}\n")).unwrap();
        for since in [None, Some(Duration::from_mins(1))] {
            let report = read_log(&path, &Wanted { since, target: None }).unwrap();
            assert_eq!(report.facts.running, Duration::from_secs(10));
        }
    }

    #[test]
    fn what_is_no_log_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(read_log(&path, &ALL).unwrap_err().to_string(), "line 1 is not of an interval log");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(read_log(&path, &ALL), Err(LogError::Foreign)));
    }

    #[test]
    fn a_part_of_a_log_is_read_by_time_and_by_target() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latency.hlog");
        let names = ["web2:/srv, old", "web3:/srv%"];
        let facts = |seconds| Facts { targets: names.map(str::to_owned).to_vec(), ..Facts::sample(seconds) };
        for run in 0..2_u64 {
            let start = Duration::from_secs(1_700_000_000 + run * 1_000);
            let (all, one, other) = (Latency::new(), Latency::small(), Latency::small());
            let counters = Counters::default();
            let now = || latencies(&all, &[(names[0], &one), (names[1], &other)]);
            let mut log = LatencyLog::append(&path, start, now()).unwrap();
            for interval in 1..=3 {
                let took = Duration::from_millis(100 * run + 10 * interval);
                for latency in [&all, &one] {
                    latency.record(Stage::Ship, took);
                }
                for latency in [&all, &other] {
                    latency.record(Stage::Ship, took * 2);
                }
                all.record(Stage::Queue, took);
                counters.changes_captured.add(1);
                let seconds = 10 * interval;
                log.write(start + Duration::from_secs(seconds), now(), facts(seconds), counters.counts())
                    .unwrap();
            }
        }
        let read = |since: Option<u64>, target| {
            let report = read_log(&path, &Wanted { since: since.map(Duration::from_secs), target }).unwrap();
            let snapshot = report.snapshot().unwrap();
            let mean = |stage| (snapshot.of(stage).mean() / 1e6).round() as u64;
            let of = |stage| (snapshot.of(stage).len(), mean(stage));
            (
                of(Stage::Ship),
                of(Stage::Queue),
                report.counts.changes_captured,
                report.facts.running.as_secs(),
            )
        };
        assert_eq!(read(None, None), ((12, 105), (6, 70), 6, 60));
        assert_eq!(read(None, Some("web2")), ((6, 70), (6, 70), 6, 60));
        assert_eq!(read(None, Some("web3:/srv%")), ((6, 140), (6, 70), 6, 60));
        assert_eq!(read(Some(20), None), ((4, 188), (2, 125), 2, 20), "the last two intervals");
        assert_eq!(
            read(Some(11), Some("web3")),
            ((2, 250), (2, 125), 2, 20),
            "what is in it in part is in it"
        );
        assert_eq!(read(Some(30), Some("web2")), ((3, 120), (3, 120), 3, 30), "the last run");
        assert_eq!(read(Some(1_001), None).0.0, 8, "and the end of the one before");
        assert_eq!(read(Some(1_000_000), None), read(None, None));

        let report = read_log(&path, &ALL).unwrap();
        assert_eq!(report.slowest.unwrap().target, names[1]);
        let refused = read_log(&path, &Wanted { since: None, target: Some("web4") }).unwrap_err();
        assert_eq!(refused.to_string(), "no target is called \"web4\": there are web2:/srv, old, web3:/srv%");
    }
}
