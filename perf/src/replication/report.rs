//! Compares the contenders in a table.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum as _;

use super::contender::Contender;
use super::{Bench, Times};
use crate::machine;

/// A table in Markdown. The last column compares each median with that of ksyncd.
pub(crate) fn render(results: &[Times]) -> String {
    let mut report = String::from("| benchmark | program | samples | median | p90 | longest | × ksyncd |\n");
    report.push_str("|---|---|---:|---:|---:|---:|---:|\n");
    for times in results {
        let reference = results
            .iter()
            .find(|other| other.bench == times.bench && other.contender == Contender::Ksyncd)
            .map(|other| quantile(&other.sorted, 0.5));
        let median = quantile(&times.sorted, 0.5);
        let ratio = reference.map_or(f64::NAN, |reference| median.as_secs_f64() / reference.as_secs_f64());
        // A `String` takes whatever is written to it.
        let _written = writeln!(
            report,
            "| {} | {} | {} | {} | {} | {} | {ratio:.1} |",
            name(times.bench),
            times.contender.name(),
            times.sorted.len(),
            milliseconds(median),
            milliseconds(quantile(&times.sorted, 0.9)),
            milliseconds(quantile(&times.sorted, 1.0)),
        );
    }
    let _written =
        writeln!(report, "\n{}; both ends on this machine, over SSH on loopback.", machine::facts());
    report
}

fn quantile(sorted: &[Duration], quantile: f64) -> Duration {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

fn milliseconds(time: Duration) -> String {
    let milliseconds = time.as_secs_f64() * 1e3;
    if milliseconds < 10.0 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}

fn name(bench: Bench) -> String {
    bench.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_compared_with_ours() {
        let of = |contender, times: &[u64]| Times {
            bench: Bench::Latency,
            contender,
            sorted: times.iter().map(|time| Duration::from_millis(*time)).collect(),
        };
        let report = render(&[of(Contender::Ksyncd, &[1, 2, 30]), of(Contender::Lsyncd, &[1000])]);
        assert!(report.contains("| latency | ksyncd | 3 | 2.00 ms | 30 ms | 30 ms | 1.0 |"), "{report}");
        assert!(
            report.contains("| latency | lsyncd | 1 | 1000 ms | 1000 ms | 1000 ms | 500.0 |"),
            "{report}"
        );
    }
}
