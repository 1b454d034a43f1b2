//! Writes the metrics in the text format of Prometheus: pure, from a status and latencies.
//!
//! Base units, one unit a name, counters end with `_total`. Labels are targets, stages and
//! reasons, of which there are few; never paths.

use std::fmt::{self, Display, Write as _};

use hdrhistogram::Histogram;

use crate::control::{Status, TargetStatus};
use crate::metrics::{Snapshot, Stage};

/// Upper edges of the buckets of latency, in nanoseconds: 100 µs to 10 minutes.
const EDGES_NS: [u64; 20] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    600_000_000_000,
];

/// What `/metrics` answers. `is_current` is whether the settings were read without errors when
/// they were read last.
pub(super) fn text(syncs: &[(Status, Snapshot)], is_current: bool) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    let _infallible = write_process(&mut out, is_current);
    let _infallible = write_syncs(&mut out, syncs);
    let _infallible = write_targets(&mut out, syncs);
    let _infallible = write_latency(&mut out, syncs);
    out
}

fn write_process(out: &mut String, is_current: bool) -> fmt::Result {
    head(out, "ksyncd_build_info", "gauge", "The program; always 1.")?;
    sample(out, "ksyncd_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1)?;
    let name = "ksyncd_config_last_reload_successful";
    head(out, name, "gauge", "Whether the settings were read without errors when they were read last.")?;
    sample(out, name, &[], u8::from(is_current))?;
    head(out, "ksyncd_queue_capacity", "gauge", "How many changes may wait in a queue.")?;
    sample(out, "ksyncd_queue_capacity", &[], crate::daemon::QUEUE_CAPACITY)
}

fn write_syncs(out: &mut String, syncs: &[(Status, Snapshot)]) -> fmt::Result {
    let all = || syncs.iter().map(|(status, _)| (status.name.as_str(), status));
    head(out, "ksyncd_up", "gauge", "Whether the sync runs.")?;
    for (sync, status) in all() {
        sample(out, "ksyncd_up", &[("sync", sync)], u8::from(status.ended.is_none()))?;
    }
    let name = "ksyncd_changes_captured_total";
    head(out, name, "counter", "Changes seen below the root that no exclude rule left out.")?;
    for (sync, status) in all() {
        let backend = status.capture.as_ref().map_or("none", |capture| capture.backend.as_str());
        sample(out, name, &[("sync", sync), ("capture", backend)], status.changes_captured)?;
    }
    let name = "ksyncd_changes_lost_total";
    head(out, name, "counter", "Events that were lost and counted; each loss leads to a rescan.")?;
    for (sync, status) in all() {
        for gap in &status.gaps_by_reason {
            sample(out, name, &[("sync", sync), ("reason", &gap.reason)], gap.lost_events)?;
        }
    }
    let name = "ksyncd_gaps_total";
    head(out, name, "counter", "Places rescanned because something there may have gone unseen.")?;
    for (sync, status) in all() {
        for gap in &status.gaps_by_reason {
            sample(out, name, &[("sync", sync), ("reason", &gap.reason)], gap.gaps)?;
        }
    }
    head(out, "ksyncd_queue_length", "gauge", "Changes that wait between capture and the batcher.")?;
    for (sync, status) in all() {
        sample(out, "ksyncd_queue_length", &[("sync", sync)], status.queue_length)?;
    }
    Ok(())
}

fn write_targets(out: &mut String, syncs: &[(Status, Snapshot)]) -> fmt::Result {
    let mut family = |name: &str, kind: &str, help: &str, value: fn(&TargetStatus) -> f64| -> fmt::Result {
        head(out, name, kind, help)?;
        for (status, _) in syncs {
            for target in &status.targets {
                sample(out, name, &[("sync", &status.name), ("target", &target.name)], value(target))?;
            }
        }
        Ok(())
    };
    family("ksyncd_target_up", "gauge", "Whether the target is connected.", |target| {
        f64::from(u8::from(target.is_up()))
    })?;
    let help = "SSH connections: one, and lanes that carry large files.";
    family("ksyncd_target_connections", "gauge", help, |target| target.connections as f64)?;
    let help = "Steps left of what the last comparison found to do.";
    family("ksyncd_target_catching_up_steps", "gauge", help, |target| {
        target.catching_up.map_or(0.0, |progress| progress.steps.saturating_sub(progress.steps_done) as f64)
    })?;
    let help = "Content left of what the last comparison found to do.";
    family("ksyncd_target_catching_up_bytes", "gauge", help, |target| {
        target.catching_up.map_or(0.0, |progress| progress.bytes.saturating_sub(progress.bytes_done) as f64)
    })?;
    let help = "How long the oldest change on its way has waited.";
    family("ksyncd_target_lag_seconds", "gauge", help, |target| target.lag_seconds)?;
    let help = "How many changes are on their way.";
    family("ksyncd_target_lag_changes", "gauge", help, |target| target.lag_changes as f64)?;
    let help = "Paths that failed and are looked at again later.";
    family("ksyncd_target_put_off", "gauge", help, |target| target.put_off as f64)?;
    let help = "Removals that wait for a person: ksyncd deletes.";
    family("ksyncd_target_held_removals", "gauge", help, |target| target.held_removals as f64)?;
    let help = "Changes that the target has acknowledged.";
    family("ksyncd_changes_shipped_total", "counter", help, |target| target.changes_shipped as f64)?;
    let help = "Content that was sent, before encryption.";
    family("ksyncd_shipped_bytes_total", "counter", help, |target| target.bytes_shipped as f64)?;
    let help = "All that was written to connections, before encryption.";
    family("ksyncd_written_bytes_total", "counter", help, |target| target.bytes_written as f64)?;
    let help = "Comparisons of the whole tree with the target's listing.";
    family("ksyncd_rescans_total", "counter", help, |target| target.rescans as f64)?;
    let help = "Failures of single paths, each attempt counted.";
    family("ksyncd_problems_total", "counter", help, |target| target.problems_total as f64)?;
    let help = "Steps that replaced what somebody else had changed at the target.";
    family("ksyncd_unexpected_replaced_total", "counter", help, |target| target.unexpected_replaced as f64)?;
    let help = "Removals left out, since somebody else had changed at the target what they were to remove.";
    family("ksyncd_unexpected_kept_total", "counter", help, |target| target.unexpected_kept as f64)?;
    let help = "Versions of the source that made way for the target's, as both had changed (two-way).";
    family("ksyncd_conflicts_yielded_total", "counter", help, |target| target.conflicts_yielded as f64)
}

fn write_latency(out: &mut String, syncs: &[(Status, Snapshot)]) -> fmt::Result {
    let name = "ksyncd_stage_latency_seconds";
    head(out, name, "histogram", "How long a change took in each stage, one value a change.")?;
    for (status, latency) in syncs {
        for stage in Stage::ALL {
            write_histogram(out, name, (&status.name, stage.tag()), latency.of(stage))?;
        }
    }
    Ok(())
}

fn write_histogram(
    out: &mut String,
    name: &str,
    (sync, stage): (&str, &str),
    histogram: &Histogram<u64>,
) -> fmt::Result {
    let (mut counts, mut sum) = ([0_u64; EDGES_NS.len()], 0.0);
    // One pass: asking for ranges would count what shares a sub-bucket with an edge twice.
    for value in histogram.iter_recorded() {
        let (nanoseconds, count) = (value.value_iterated_to(), value.count_at_value());
        sum += nanoseconds as f64 / 1e9 * count as f64;
        if let Some(bucket) = counts.get_mut(EDGES_NS.partition_point(|edge| *edge < nanoseconds)) {
            *bucket += count;
        }
    }
    let mut below = 0;
    for (edge, count) in EDGES_NS.iter().zip(counts) {
        below += count;
        let edge = (*edge as f64 / 1e9).to_string();
        sample(out, &format!("{name}_bucket"), &[("sync", sync), ("stage", stage), ("le", &edge)], below)?;
    }
    sample(
        out,
        &format!("{name}_bucket"),
        &[("sync", sync), ("stage", stage), ("le", "+Inf")],
        histogram.len(),
    )?;
    sample(out, &format!("{name}_sum"), &[("sync", sync), ("stage", stage)], sum)?;
    sample(out, &format!("{name}_count"), &[("sync", sync), ("stage", stage)], histogram.len())
}

fn head(out: &mut String, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
}

fn sample(out: &mut String, name: &str, labels: &[(&str, &str)], value: impl Display) -> fmt::Result {
    let escaped = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
    let labels: Vec<String> =
        labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
    match labels.as_slice() {
        [] => writeln!(out, "{name} {value}"),
        labels => writeln!(out, "{name}{{{}}} {value}", labels.join(",")),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::metrics::Latency;

    #[test]
    fn buckets_grow_to_the_count_and_sum_up() {
        let latency = Latency::new();
        for micros in [100, 100, 900, 20_000, 3_600_000_000] {
            latency.record(Stage::Ship, Duration::from_micros(micros));
        }
        let mut out = String::new();
        for stage in [Stage::Ship, Stage::EndToEnd] {
            let snapshot = latency.snapshot();
            write_histogram(
                &mut out,
                "ksyncd_stage_latency_seconds",
                ("www", stage.tag()),
                snapshot.of(stage),
            )
            .unwrap();
        }
        let values: BTreeMap<&str, f64> = out
            .lines()
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap())
            .map(|(name, value)| (name, value.parse().unwrap()))
            .collect();
        let at = |edge: &str| {
            values[format!(
                "ksyncd_stage_latency_seconds_bucket{{sync=\"www\",stage=\"ship\",le=\"{edge}\"}}"
            )
            .as_str()] as u64
        };
        // Three significant digits: 100 µs is kept as 100.031 µs.
        assert_eq!((at("0.00025"), at("0.001"), at("0.025"), at("600"), at("+Inf")), (2, 3, 4, 4, 5));
        let sum = values["ksyncd_stage_latency_seconds_sum{sync=\"www\",stage=\"ship\"}"];
        assert!((3600.0..3610.0).contains(&sum), "{sum}");
        assert!(out.contains("ksyncd_stage_latency_seconds_count{sync=\"www\",stage=\"end_to_end\"} 0\n"));
    }

    #[test]
    fn labels_are_escaped() {
        let mut out = String::new();
        sample(&mut out, "name", &[("target", "a\"b\\c\nd")], 1).unwrap();
        assert_eq!(out, "name{target=\"a\\\"b\\\\c\\nd\"} 1\n");
    }
}
