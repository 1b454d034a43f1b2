//! Compares the contenders in a table.

use std::fmt::Write as _;
use std::time::Duration;

use clap::ValueEnum as _;

use super::contender::Contender;
use super::line::Line;
use super::{Bench, Figures};
use crate::machine;

/// A table in Markdown. Each median has its ratio to that of ksyncd behind it.
pub(crate) fn render(results: &[Figures], far: Option<Line>) -> String {
    let mut report = String::from(
        "| benchmark | program | samples | median | p90 | p99 | longest | × ksyncd | bytes on the wire | × ksyncd |\n",
    );
    report.push_str("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
    for figures in results {
        let ours =
            results.iter().find(|other| other.bench == figures.bench && other.contender == Contender::Ksyncd);
        let ratio = |of: &dyn Fn(&Figures) -> f64| ours.map_or(f64::NAN, |ours| of(figures) / of(ours));
        let median = |figures: &Figures| quantile(&figures.times, 0.5);
        let bytes = |figures: &Figures| quantile(&figures.bytes, 0.5);
        // A `String` takes whatever is written to it.
        let _written = writeln!(
            report,
            "| {} | {} | {} | {} | {} | {} | {} | {:.1} | {} | {:.1} |",
            name(figures.bench),
            figures.contender.name(),
            figures.times.len(),
            milliseconds(median(figures)),
            milliseconds(quantile(&figures.times, 0.9)),
            milliseconds(quantile(&figures.times, 0.99)),
            milliseconds(quantile(&figures.times, 1.0)),
            ratio(&|figures| median(figures).as_secs_f64()),
            bytes(figures),
            ratio(&|figures| bytes(figures) as f64),
        );
    }
    let _written = writeln!(
        report,
        "\n{}; both ends on this machine, over SSH on loopback{}.\n\
         Bytes are the median of all that passed the loopback interface, in both directions, with all headers.",
        machine::facts(),
        far.map(|line| format!(" through a line of {} Mbit/s with a round trip of 45 ms", line.mbit))
            .unwrap_or_default()
    );
    report
}

fn quantile<T: Copy + Default>(sorted: &[T], quantile: f64) -> T {
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
        let of = |contender, times: &[u64]| Figures {
            bench: Bench::Latency,
            contender,
            times: times.iter().map(|time| Duration::from_millis(*time)).collect(),
            bytes: times.iter().map(|time| time * 1_000).collect(),
        };
        let report = render(&[of(Contender::Ksyncd, &[1, 2, 30]), of(Contender::Lsyncd, &[1000])], None);
        let ours = "| latency | ksyncd | 3 | 2.00 ms | 30 ms | 30 ms | 30 ms | 1.0 | 2000 | 1.0 |";
        let theirs =
            "| latency | lsyncd | 1 | 1000 ms | 1000 ms | 1000 ms | 1000 ms | 500.0 | 1000000 | 500.0 |";
        assert!(report.contains(ours) && report.contains(theirs), "{report}");
    }
}
