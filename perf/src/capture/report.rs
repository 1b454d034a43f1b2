//! Writes the costs and latencies as tables in Markdown.

use std::fmt::Write as _;
use std::time::Duration;

use super::latency::Latency;
use super::load::Where;
use super::setup::Setup;
use super::{Arguments, Cost};
use crate::machine;

pub(crate) fn render(
    arguments: &Arguments,
    costs: &[Cost],
    latencies: &[Latency],
    setups: &[Setup],
) -> String {
    let mut report = String::from(
        "| load | where | watched by | processor time alone | watched | median of ratios | least | most |\n\
         |---|---|---|---:|---:|---:|---:|---:|\n",
    );
    for cost in costs {
        let mut ratios: Vec<f64> =
            cost.rounds.iter().map(|(watched, alone)| watched.as_secs_f64() / alone.as_secs_f64()).collect();
        ratios.sort_by(f64::total_cmp);
        let (watched, alone): (Vec<_>, Vec<_>) = cost.rounds.iter().copied().unzip();
        let place = match cost.place {
            Where::Inside => "inside",
            Where::Beside => "beside",
        };
        // A `String` takes whatever is written to it.
        let _written = writeln!(
            report,
            "| {} | {place} | {} | {} | {} | {:.3} | {:.3} | {:.3} |",
            cost.load.name(),
            cost.watcher.name(),
            milliseconds(median(alone)),
            milliseconds(median(watched)),
            quantile(&ratios, 0.5),
            quantile(&ratios, 0.0),
            quantile(&ratios, 1.0),
        );
    }
    report.push_str(
        "\n| watched by | idle p50 | idle p99 | under load p50 | under load p99 | changes/s | lost |\n\
         |---|---:|---:|---:|---:|---:|---:|\n",
    );
    for Latency { watcher, idle, loaded, rate, lost } in latencies {
        let _written = writeln!(
            report,
            "| {} | {} | {} | {} | {} | {rate:.0} | {lost} |",
            watcher.name(),
            microseconds(idle, 0.5),
            microseconds(idle, 0.99),
            microseconds(loaded, 0.5),
            microseconds(loaded, 0.99),
        );
    }
    report.push_str(
        "\n| watched by | directories | until it watches | marks and watches | memory |\n|---|---:|---:|---:|---:|\n",
    );
    for Setup { watcher, directories, time, marks, resident } in setups {
        let _written = writeln!(
            report,
            "| {} | {directories} | {} | {marks} | {} MiB |",
            watcher.name(),
            milliseconds(*time),
            resident / 1024
        );
    }
    let _written = writeln!(
        report,
        "\n{}; {} files, {} rounds. Processor time is that of the working thread. \"Beside\" is another tree on the same file system. \
         Latency is from the kernel's stamp; by fanotify, which has none, from before the call that makes a file.",
        machine::facts(),
        arguments.files,
        arguments.rounds
    );
    report
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn quantile(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (sorted.len() as f64 * quantile).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

fn microseconds(sorted: &[f64], at: f64) -> String {
    if sorted.is_empty() { "-".to_owned() } else { format!("{:.0} us", quantile(sorted, at)) }
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let sorted = [1.0, 2.0, 3.0, 10.0];
        let found = [0.0, 0.5, 0.99, 1.0].map(|at| quantile(&sorted, at).to_string());
        assert_eq!(found, ["1", "2", "10", "10"]);
    }
}
