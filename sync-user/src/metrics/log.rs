//! Keeps latencies in a file that grows by one interval after the other, and reads it back.
//!
//! The file is an interval log of `HdrHistogram` (format 1.3, V2 histograms, one tag a stage), in
//! nanoseconds, with absolute times, so that several runs may append to one file. Comments,
//! which other readers skip, tell what else the table shows.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;
use std::time::{Duration, SystemTime};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogIterator, IntervalLogWriterBuilder, LogEntry, Tag,
};
use serde::{Deserialize, Serialize};

use super::counters::Counts;
use super::latency::{Snapshot, Stage};
use super::portable::{CodecError, Report, decode};
use super::table::Facts;

/// What comments of ours begin with.
const OURS: &str = "#ksyncd ";

/// The longest file that is read, in bytes: ten seconds an interval for some months.
const READ_MAX: u64 = 1 << 30;

/// A log that is written.
#[derive(Debug)]
pub struct LatencyLog {
    file: File,
    /// What was written already.
    before: Snapshot,
    /// Until when, as `SystemTime` since 1970.
    until: Duration,
    has_head: bool,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("line {line} is not of an interval log")]
    Line { line: usize },
    #[error("line {line}: {cause}")]
    Histogram { line: usize, cause: CodecError },
    #[error("ksyncd did not write it: there is no comment of ours")]
    Foreign,
}

#[derive(Debug, Serialize, Deserialize)]
struct Comment {
    facts: Facts,
    counts: Counts,
}

impl LatencyLog {
    /// Appends to the file at `path`, from the time `now` (since 1970) on.
    pub fn append(path: &Path, now: Duration, start: Snapshot) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        Ok(Self { file, before: start, until: now, has_head: false })
    }

    /// Writes what was measured since the last time, as one interval up to `now`.
    pub fn write(
        &mut self,
        now: Duration,
        snapshot: Snapshot,
        facts: Facts,
        counts: Counts,
    ) -> io::Result<()> {
        let mut text = Vec::new();
        let (from, took) = (self.until, now.saturating_sub(self.until));
        let failed = |what: &dyn std::fmt::Display| io::Error::other(what.to_string());
        {
            let mut serializer = V2DeflateSerializer::new();
            let mut builder = IntervalLogWriterBuilder::new();
            builder.add_comment("[Histogram log format version 1.3]");
            builder.with_start_time(SystemTime::UNIX_EPOCH + from).with_max_value_divisor(1e6);
            let mut writer =
                builder.begin_log_with(&mut text, &mut serializer).map_err(|error| failed(&error))?;
            for stage in Stage::ALL {
                let interval = since(snapshot.of(stage), self.before.of(stage));
                if !interval.is_empty() {
                    writer
                        .write_histogram(&interval, from, took, Tag::new(stage.tag()))
                        .map_err(|error| failed(&format!("{error:?}")))?;
                }
            }
        }
        let text = String::from_utf8(text).map_err(|error| failed(&error))?;
        // The head is wanted once, and each interval is one write: a reader sees whole lines.
        let mut out: String = text
            .lines()
            .filter(|line| !self.has_head || !is_head(line))
            .fold(String::new(), |out, line| out + line + "\n");
        out += OURS;
        out += &serde_json::to_string(&Comment { facts, counts })?;
        out.push('\n');
        self.file.write_all(out.as_bytes())?;
        (self.before, self.until, self.has_head) = (snapshot, now, true);
        Ok(())
    }
}

fn is_head(line: &str) -> bool {
    line.starts_with('#') || line.starts_with('"')
}

/// What `now` has more than `before`. Values never become fewer within a run.
fn since(now: &Histogram<u64>, before: &Histogram<u64>) -> Histogram<u64> {
    let mut difference = now.clone();
    match difference.subtract(before) {
        Ok(()) => difference,
        Err(_) => now.clone(),
    }
}

/// Reads a whole log as one report: all of its intervals together.
pub fn read(path: &Path) -> Result<Report, LogError> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path)?, READ_MAX), &mut text)?;
    let mut stages = Snapshot::default();
    let mut last: Option<Comment> = None;
    let (mut counts, mut running) = (Counts::default(), Duration::ZERO);
    for (number, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line)) {
        if let Some(comment) = line.strip_prefix(OURS) {
            let comment: Comment =
                serde_json::from_str(comment).map_err(|_not_ours| LogError::Line { line: number })?;
            // Counts are those since the start of a run; another run starts again from 0.
            if let Some(before) = last.take().filter(|last| last.facts.running > comment.facts.running) {
                counts = counts.plus(&before.counts);
                running += before.facts.running;
            }
            last = Some(comment);
            continue;
        }
        let with_end = format!("{line}\n");
        for entry in IntervalLogIterator::new(with_end.as_bytes()) {
            let Ok(LogEntry::Interval(interval)) = entry else {
                if entry.is_err() {
                    return Err(LogError::Line { line: number });
                }
                continue;
            };
            let Some(stage) = interval.tag().and_then(|tag| Stage::of_tag(tag.as_str())) else { continue };
            let histogram = decode(interval.encoded_histogram())
                .map_err(|cause| LogError::Histogram { line: number, cause })?;
            stages.add(stage, &histogram);
        }
    }
    let Comment { mut facts, counts: of_last } = last.ok_or(LogError::Foreign)?;
    facts.running += running;
    Report::new(facts, counts.plus(&of_last), &stages).map_err(|cause| LogError::Histogram { line: 0, cause })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Counters, Latency};

    #[test]
    fn intervals_of_several_runs_are_read_as_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("latency.hlog");
        let mut all = Latency::new().snapshot();
        for run in 1..3_u64 {
            let (latency, counters) = (Latency::new(), Counters::default());
            let now = Duration::from_secs(1_700_000_000 + run * 1_000);
            let mut log = LatencyLog::append(&path, now, latency.snapshot()).unwrap();
            for interval in 1..4 {
                latency.record(Stage::EndToEnd, Duration::from_millis(run * 10 + interval));
                counters.changes_captured.add(1);
                let now = now + Duration::from_secs(interval * 10);
                log.write(now, latency.snapshot(), Facts::sample(interval * 10), counters.counts()).unwrap();
            }
            all.add(Stage::EndToEnd, latency.snapshot().of(Stage::EndToEnd));
        }
        let report = read(&path).unwrap();
        let read = report.snapshot().unwrap();
        assert_eq!(read.of(Stage::EndToEnd), all.of(Stage::EndToEnd));
        assert_eq!((report.counts.changes_captured, report.facts.running.as_secs()), (6, 60));
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.matches("Tag=end_to_end,").count(), 6, "{text}");
        assert_eq!(text.matches("#[Histogram log format version 1.3]").count(), 2, "{text}");
    }

    #[test]
    fn what_is_no_log_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::write(&path, "hello\n").unwrap();
        assert_eq!(read(&path).unwrap_err().to_string(), "line 1 is not of an interval log");
        std::fs::write(&path, "").unwrap();
        assert!(matches!(read(&path), Err(LogError::Foreign)));
    }
}
