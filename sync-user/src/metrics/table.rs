//! Prints latencies for people: pure, from a snapshot to 80 columns of ASCII.
//!
//! Every cell has its own unit and three significant digits. The bars share one logarithmic
//! scale, since what matters is the shape over five orders of magnitude.

use std::fmt::Write as _;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::counters::Counts;
use super::diagnosis::diagnosis;
use super::latency::{Snapshot, Stage};
use super::slowest::Slowest;
use super::units::time;

/// What the table says about the run besides its latencies.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Facts {
    pub source: String,
    pub targets: Vec<String>,
    /// `ebpf` or `fanotify`.
    pub backend: String,
    /// Whether the kernel stamps events; if not, capture has no latency to show.
    pub stamps_in_kernel: bool,
    pub batch_delay: Duration,
    pub batch_max_delay: Duration,
    pub batch_max_changes: usize,
    pub running: Duration,
}

/// Below this many values the 99.9th percentile would be the largest one again.
const SAMPLES_FOR_P999: u64 = 1_000;

/// Columns of a stage's bar, each a third of an order of magnitude from 10 µs on.
const BAR_COLUMNS: usize = 19;
const BAR_FROM_NS: f64 = 10_000.0;

/// Widest bar of the histogram.
const HASHES_MAX: u64 = 36;

/// What is shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) counts: &'a Counts,
    pub(super) facts: &'a Facts,
    /// Where there are several targets.
    pub(super) slowest: Option<&'a Slowest>,
    /// Of all targets only that of the facts is shown; what is not counted for each is left out.
    pub(super) one_target: bool,
    /// Only this stage.
    pub(super) stage: Option<Stage>,
}

pub(super) fn render(view: &View<'_>) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write_head(&mut out, view);
    let _infallible = write_stages(&mut out, view);
    let stage = view.stage.unwrap_or(Stage::EndToEnd);
    let histogram = view.snapshot.of(stage);
    if !histogram.is_empty() && is_measured(stage, view.facts) {
        let _infallible = write_histogram(&mut out, stage, histogram);
    }
    out.push_str(&diagnosis(view));
    out.push('\n');
    out
}

/// Without the kernel's stamps capture has no latency.
pub(super) fn is_measured(stage: Stage, facts: &Facts) -> bool {
    stage != Stage::Capture || facts.stamps_in_kernel
}

fn write_head(out: &mut String, view: &View<'_>) -> std::fmt::Result {
    let View { snapshot, counts, facts, one_target, .. } = view;
    let changes = snapshot.of(Stage::EndToEnd).len();
    let seconds = facts.running.as_secs_f64().max(0.001);
    writeln!(out, "ksyncd latency  {} -> {}", facts.source, facts.targets.join(" "))?;
    write!(
        out,
        "{} changes in {}  {:.1}/s  {} captured",
        changes,
        time(facts.running.as_nanos() as f64),
        changes as f64 / seconds,
        counts.changes_captured,
    )?;
    if *one_target {
        writeln!(out)?;
    } else {
        let content = bytesize::ByteSize(counts.bytes_shipped);
        writeln!(out, "  {content} of content  {} renames repeated", counts.renames_repeated)?;
    }
    let timed = if facts.stamps_in_kernel { "" } else { ", timed from read" };
    writeln!(
        out,
        "capture {}{timed}  batch {}/{}/{}  lost {}  gaps {}  healed {}  retried {}",
        facts.backend,
        time(facts.batch_delay.as_nanos() as f64),
        time(facts.batch_max_delay.as_nanos() as f64),
        facts.batch_max_changes,
        counts.lost_events,
        counts.gaps,
        counts.gaps_healed,
        counts.retried,
    )
}

fn write_stages(out: &mut String, view: &View<'_>) -> std::fmt::Result {
    writeln!(out)?;
    writeln!(out, "stage           p50      p90      p99    p99.9      max  10us  1ms   .1s   10s")?;
    for stage in Stage::ALL.into_iter().filter(|stage| view.stage.is_none_or(|only| only == *stage)) {
        let histogram = view.snapshot.of(stage);
        let measured = is_measured(stage, view.facts);
        write!(out, "{:<10}", stage.name())?;
        for quantile in [0.5, 0.9, 0.99, 0.999, 1.0] {
            let enough = !(0.999..1.0).contains(&quantile) || histogram.len() >= SAMPLES_FOR_P999;
            let cell = if measured && enough && !histogram.is_empty() {
                time(histogram.value_at_quantile(quantile) as f64)
            } else {
                "-".to_owned()
            };
            write!(out, "{cell:>9}")?;
        }
        let bar = if measured { bar(histogram) } else { String::new() };
        writeln!(out, "  {}", bar.trim_end())?;
    }
    writeln!(out, "percentiles of stages do not add up               # p50  = p99  - p99.9  . max")
}

/// Marks how far each percentile reaches on the common scale.
fn bar(histogram: &Histogram<u64>) -> String {
    if histogram.is_empty() {
        return String::new();
    }
    let column = |quantile: f64| {
        let value = histogram.value_at_quantile(quantile) as f64;
        let thirds = (value / BAR_FROM_NS).log10() * 3.0;
        (thirds.max(0.0) as usize).min(BAR_COLUMNS - 1)
    };
    let start = column(0.01);
    let mut cells = vec![' '; BAR_COLUMNS];
    for (quantile, mark) in [(1.0, '.'), (0.999, '-'), (0.99, '='), (0.5, '#')] {
        let end = column(quantile);
        cells[start..=end.max(start)].fill(mark);
    }
    cells.into_iter().collect()
}

/// Buckets of 1, 1.5, 2, 3, 4, 6, 8 … milliseconds, or microseconds where that is the scale.
fn write_histogram(out: &mut String, stage: Stage, histogram: &Histogram<u64>) -> std::fmt::Result {
    writeln!(out)?;
    writeln!(out, "{}: {}", stage.name(), stage.meaning())?;
    let edges = edges(histogram.value_at_quantile(0.001), histogram.max());
    let mut counts = vec![0; edges.len() - 1];
    for value in histogram.iter_recorded() {
        let bucket = edges
            .partition_point(|edge| *edge <= value.value_iterated_to())
            .saturating_sub(1)
            .min(counts.len() - 1);
        counts[bucket] += value.count_at_value();
    }
    let tallest = counts.iter().copied().max().unwrap_or(1).max(1);
    let mut seen = 0;
    let mut tags = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9")].into_iter().peekable();
    for (bucket, count) in counts.iter().enumerate() {
        seen += count;
        let share = seen as f64 / histogram.len() as f64;
        let bar = "#".repeat((count * HASHES_MAX).div_ceil(tallest) as usize);
        let to = time(edges[bucket + 1] as f64);
        let mut line =
            format!("{:>9} - {to:>8}{count:>9} {:>8.3}% {bar}", time(edges[bucket] as f64), share * 100.0);
        let mut reached = Vec::new();
        while let Some((_, tag)) = tags.next_if(|(quantile, _)| share >= *quantile) {
            if tag != "p99.9" || histogram.len() >= SAMPLES_FOR_P999 {
                reached.push(tag);
            }
        }
        if !reached.is_empty() {
            let _infallible = write!(line, "  < {}", reached.join(" "));
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The edges of at most fourteen buckets that cover `low` to `high`, with a factor of about
/// 1.4 between them, or of 2 or more where the range is wide.
fn edges(low: u64, high: u64) -> Vec<u64> {
    const BUCKETS_MAX: usize = 14;
    for step in 1.. {
        let all = (0..128_u32).map(|exponent| {
            let base = 1_000_u64.saturating_mul(1 << (exponent / 2).min(53));
            if exponent % 2 == 0 { base } else { base + base / 2 }
        });
        let all: Vec<u64> = all.step_by(step).collect();
        let first = all.partition_point(|edge| *edge <= low).saturating_sub(1);
        let last = all.partition_point(|edge| *edge <= high).max(first + 1);
        if last - first <= BUCKETS_MAX {
            return all[first..=last.min(all.len() - 1)].to_vec();
        }
    }
    unreachable!("a step that is large enough leaves one bucket")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::metrics::Latency;

    impl Facts {
        pub(in crate::metrics) fn sample(seconds: u64) -> Self {
            Self {
                source: "/srv/www".to_owned(),
                targets: vec!["ams:/srv/www".to_owned()],
                backend: "ebpf".to_owned(),
                stamps_in_kernel: true,
                batch_delay: Duration::ZERO,
                batch_max_delay: Duration::from_millis(50),
                batch_max_changes: 10_000,
                running: Duration::from_secs(seconds),
            }
        }
    }

    impl<'a> View<'a> {
        /// All stages of all targets.
        pub(in crate::metrics) fn whole(
            snapshot: &'a Snapshot,
            counts: &'a Counts,
            facts: &'a Facts,
        ) -> Self {
            Self { snapshot, counts, facts, slowest: None, one_target: false, stage: None }
        }
    }

    fn shown(snapshot: &Snapshot, counts: &Counts, facts: &Facts) -> String {
        render(&View::whole(snapshot, counts, facts))
    }

    fn facts() -> Facts {
        Facts::sample(100)
    }

    /// Latencies as a network of 20 ms would give; seeded, so that the text is always the same.
    pub(in crate::metrics) fn simulated(changes: u64) -> Snapshot {
        let latency = Latency::new();
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..changes {
            let mut total = Duration::ZERO;
            for (stage, typical) in [
                (Stage::Capture, 12e3),
                (Stage::Queue, 90e3),
                (Stage::Batch, 400e3),
                (Stage::Ship, 21e6),
                (Stage::Apply, 300e3),
            ] {
                let took = Duration::from_nanos((typical / (1.0 - 0.9 * random.f64())) as u64);
                latency.record(stage, took);
                total += took;
            }
            latency.record(Stage::EndToEnd, total);
        }
        latency.snapshot()
    }

    #[test]
    fn shows_a_run_without_changes() {
        insta::assert_snapshot!(shown(&simulated(0), &Counts::default(), &facts()), @r"
ksyncd latency  /srv/www -> ams:/srv/www
0 changes in 1.67 min  0.0/s  0 captured  0 B of content  0 renames repeated
capture ebpf  batch 0/50 ms/10000  lost 0  gaps 0  healed 0  retried 0

stage           p50      p90      p99    p99.9      max  10us  1ms   .1s   10s
capture           -        -        -        -        -  
queue             -        -        -        -        -  
batch             -        -        -        -        -  
ship              -        -        -        -        -  
apply             -        -        -        -        -  
end to end        -        -        -        -        -  
percentiles of stages do not add up               # p50  = p99  - p99.9  . max
no change has been acknowledged yet
");
    }

    #[test]
    fn shows_where_the_time_goes() {
        insta::assert_snapshot!(shown(&simulated(100_000), &Counts::default(), &facts()), @r"
ksyncd latency  /srv/www -> ams:/srv/www
100000 changes in 1.67 min  1000.0/s  0 captured  0 B of content  0 renames repeated
capture ebpf  batch 0/50 ms/10000  lost 0  gaps 0  healed 0  retried 0

stage           p50      p90      p99    p99.9      max  10us  1ms   .1s   10s
capture     21.8 us  63.6 us   110 us   119 us   120 us  ##==
queue        164 us   476 us   822 us   892 us   900 us    ##==
batch        730 us  2.11 ms  3.68 ms  3.96 ms     4 ms      ##==
ship        38.1 ms   111 ms   193 ms   208 ms   210 ms           ##==
apply        546 us  1.58 ms  2.75 ms  2.98 ms     3 ms      ##==
end to end  40.2 ms   113 ms   195 ms   210 ms   214 ms            #==
percentiles of stages do not add up               # p50  = p99  - p99.9  . max

end to end: seen by the kernel to acknowledged by the target
  16.4 ms -  24.6 ms     7541    7.541% ##########
  24.6 ms -  32.8 ms    27636   35.177% ####################################
  32.8 ms -  49.2 ms    26351   61.528% ###################################  < p50
  49.2 ms -  65.5 ms    12786   74.314% #################
  65.5 ms -  98.3 ms    12478   86.792% #################
  98.3 ms -   131 ms     6122   92.914% ########  < p90
   131 ms -   197 ms     6191   99.105% #########  < p99
   197 ms -   262 ms      895  100.000% ##  < p99.9
most of the time goes to ship (95% of the median): the network and the far end's scheduling; on a slow line try --compress always
");
    }

    #[test]
    fn shows_one_stage_of_one_target() {
        let (snapshot, counts, facts) = (simulated(1_000), Counts::default(), facts());
        let whole = View::whole(&snapshot, &counts, &facts);
        insta::assert_snapshot!(render(&View { one_target: true, stage: Some(Stage::Apply), ..whole }), @r#"
ksyncd latency  /srv/www -> ams:/srv/www
1000 changes in 1.67 min  10.0/s  0 captured
capture ebpf  batch 0/50 ms/10000  lost 0  gaps 0  healed 0  retried 0

stage           p50      p90      p99    p99.9      max  10us  1ms   .1s   10s
apply        525 us  1.56 ms  2.51 ms  2.92 ms  2.93 ms      ##==
percentiles of stages do not add up               # p50  = p99  - p99.9  . max

apply: what the target took
   256 us -   384 us      248   24.800% ####################################
   384 us -   512 us      234   48.200% ##################################
   512 us -   768 us      203   68.500% ##############################  < p50
   768 us -  1.02 ms      107   79.200% ################
  1.02 ms -  1.54 ms      102   89.400% ###############
  1.54 ms -  2.05 ms       68   96.200% ##########  < p90
  2.05 ms -  3.07 ms       38  100.000% ######  < p99 p99.9
most of the time goes to ship (95% of the median): the network and the far end's scheduling; on a slow line try --compress always
"#);
    }

    #[test]
    fn shows_what_fanotify_cannot_tell_and_what_was_lost() {
        let counts = Counts { lost_events: 7, gaps: 1, gaps_healed: 1, ..Counts::default() };
        let facts = Facts { backend: "fanotify".to_owned(), stamps_in_kernel: false, ..facts() };
        insta::assert_snapshot!(shown(&simulated(10), &counts, &facts), @r"
ksyncd latency  /srv/www -> ams:/srv/www
10 changes in 1.67 min  0.1/s  0 captured  0 B of content  0 renames repeated
capture fanotify, timed from read  batch 0/50 ms/10000  lost 7  gaps 1  healed 1  retried 0

stage           p50      p90      p99    p99.9      max  10us  1ms   .1s   10s
capture           -        -        -        -        -  
queue        150 us   293 us   439 us        -   439 us    ##=
batch        518 us  1.74 ms  3.91 ms        -  3.91 ms      ##==
ship        39.7 ms  94.6 ms   133 ms        -   133 ms            #==
apply        337 us   759 us   778 us        -   778 us      #=
end to end  40.9 ms  95.4 ms   135 ms        -   135 ms            #==
percentiles of stages do not add up               # p50  = p99  - p99.9  . max

end to end: seen by the kernel to acknowledged by the target
  16.4 ms -  24.6 ms        1   10.000% ########
  24.6 ms -  32.8 ms        1   20.000% ########
  32.8 ms -  49.2 ms        5   70.000% ####################################  < p50
  49.2 ms -  65.5 ms        0   70.000%
  65.5 ms -  98.3 ms        2   90.000% ###############  < p90
  98.3 ms -   131 ms        0   90.000%
   131 ms -   197 ms        1  100.000% ########  < p99
7 events were lost and 1 places rescanned, since more changes came than could be read: try --capture ebpf
");
    }
}
