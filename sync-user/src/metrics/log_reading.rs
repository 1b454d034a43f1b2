//! Reads a latency log back: all of it, or its last part, of all targets or of one.

use std::fs::File;
use std::io;
use std::path::Path;
use std::time::Duration;

use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

use super::counters::Counts;
use super::intervals::read_tag;
use super::latency::{Latencies, Snapshot, Stage};
use super::log::{Comment, OURS};
use super::portable::{CodecError, Report, decode};
use super::slowest::meant;

/// The longest file that is read, in bytes: ten seconds an interval for some months.
const READ_MAX: u64 = 1 << 30;

/// Which part of a log is wanted.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Only intervals that end later than this before the end of the log.
    pub since: Option<Duration>,
    /// Only this target, by its name or a part of it.
    pub target: Option<&'a str>,
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
    #[error("{0}")]
    NoTarget(String),
    #[error(transparent)]
    Codec(CodecError),
}

/// One histogram of the log, as it is written.
struct Interval<'a> {
    line: usize,
    /// When it ends, since 1970.
    until: Duration,
    stage: Stage,
    target: Option<String>,
    encoded: &'a str,
}

/// What all runs together had counted at a moment.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    until: Duration,
    counts: Counts,
    running: Duration,
}

/// Reads the log at `path` as one report.
pub fn read(path: &Path, wanted: &Wanted<'_>) -> Result<Report, LogError> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path)?, READ_MAX), &mut text)?;
    let (intervals, comments) = parse(&text)?;
    let Some(Comment { facts, .. }) = comments.last() else { return Err(LogError::Foreign) };
    let sums = sums(&comments);
    let end = intervals.iter().map(|interval| interval.until);
    let end = end.chain(sums.iter().map(|sum| sum.until)).max().unwrap_or_default();
    let from = wanted.since.map_or(Duration::ZERO, |since| end.saturating_sub(since));

    let by_target = facts.targets.iter().map(|target| (target.clone(), Snapshot::default())).collect();
    let mut latencies = Latencies { all: Snapshot::default(), by_target };
    for Interval { line, stage, target, encoded, .. } in intervals.into_iter().filter(|one| one.until > from)
    {
        let histogram = decode(encoded).map_err(|cause| LogError::Histogram { line, cause })?;
        match target {
            None => latencies.all.add(stage, &histogram),
            // A target that is none any more is among all, and cannot be asked for.
            Some(name) => {
                if let Some((_, own)) = latencies.by_target.iter_mut().find(|(target, _)| *target == name) {
                    own.add(stage, &histogram);
                }
            }
        }
    }
    let target = wanted.target.map(|target| meant(&facts.targets, target)).transpose();
    let target = target.map_err(LogError::NoTarget)?;
    let last = sums.last().copied().unwrap_or_default();
    let is_before = |sum: &&Sum| from > Duration::ZERO && sum.until <= from;
    let before = sums.iter().rfind(is_before).copied().unwrap_or_default();
    let mut facts = facts.clone();
    facts.running = last.running.saturating_sub(before.running);
    let counts = last.counts.minus(&before.counts);
    Report::new(&facts, counts, &latencies, target, end).map_err(LogError::Codec)
}

fn parse(text: &str) -> Result<(Vec<Interval<'_>>, Vec<Comment>), LogError> {
    let (mut intervals, mut comments) = (Vec::new(), Vec::new());
    let mut until = Duration::ZERO;
    for (index, with_end) in text.split_inclusive('\n').enumerate() {
        let line = index + 1;
        // It is being written.
        if !with_end.ends_with('\n') {
            break;
        }
        if let Some(comment) = with_end.strip_prefix(OURS) {
            let mut comment: Comment =
                serde_json::from_str(comment).map_err(|_not_ours| LogError::Line { line })?;
            // Earlier versions have left it to the intervals.
            comment.until = comment.until.max(until);
            comments.push(comment);
            continue;
        }
        for entry in IntervalLogIterator::new(with_end.as_bytes()) {
            let Ok(entry) = entry else { return Err(LogError::Line { line }) };
            let LogEntry::Interval(interval) = entry else { continue };
            until = interval.start_timestamp() + interval.duration();
            let Some((stage, target)) = interval.tag().and_then(|tag| read_tag(tag.as_str())) else {
                continue;
            };
            let encoded = interval.encoded_histogram();
            intervals.push(Interval { line, until, stage, target, encoded });
        }
    }
    Ok((intervals, comments))
}

/// Counts are those since the start of a run; another run starts again from 0.
fn sums(comments: &[Comment]) -> Vec<Sum> {
    let (mut before, mut last) = (Sum::default(), Sum::default());
    let mut previous = Duration::ZERO;
    let mut sums = Vec::new();
    for Comment { facts, counts, until } in comments {
        if facts.running < previous {
            before = last;
        }
        previous = facts.running;
        last = Sum {
            until: *until,
            counts: before.counts.plus(counts),
            running: before.running + facts.running,
        };
        sums.push(last);
    }
    sums
}
