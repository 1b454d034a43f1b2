//! Says in words where the time goes, and which flag to try.

use super::latency::Stage;
use super::slowest::Slowest;
use super::table::View;
use super::units::time;

/// Nobody waits for the batcher this long, unless it cannot keep up: 10 ms.
const QUEUE_P99_NS: f64 = 10e6;

/// One sentence, or two.
pub(super) fn diagnosis(view: &View<'_>) -> String {
    let View { snapshot, counts, facts, .. } = view;
    let at = |stage, quantile| snapshot.of(stage).value_at_quantile(quantile) as f64;
    let end_to_end = at(Stage::EndToEnd, 0.5);
    if counts.lost_events > 0 {
        let advice = if facts.stamps_in_kernel { "try a larger --ring-size" } else { "try --capture ebpf" };
        return format!(
            "{} events were lost and {} places rescanned, since more changes came than could be read: {advice}",
            counts.lost_events, counts.gaps
        );
    }
    if snapshot.of(Stage::EndToEnd).is_empty() {
        return "no change has been acknowledged yet".to_owned();
    }
    if at(Stage::Queue, 0.99) > QUEUE_P99_NS {
        return format!(
            "the batcher cannot keep up, queue p99 is {}: leave out by --exclude what nobody needs at the targets",
            time(at(Stage::Queue, 0.99))
        );
    }
    let (slowest, value) = [Stage::Capture, Stage::Batch, Stage::Ship, Stage::Apply]
        .into_iter()
        .map(|stage| (stage, at(stage, 0.5)))
        .max_by(|one, other| one.1.total_cmp(&other.1))
        .unwrap_or((Stage::Ship, 0.0));
    let share = 100.0 * value / end_to_end.max(1.0);
    let advice = match slowest {
        Stage::Batch if !facts.batch_delay.is_zero() => {
            "changes wait for company: try a smaller --batch-delay"
        }
        Stage::Batch => {
            "changes gather while the target is busy: try a smaller --batch-max-delay, if it is idle often"
        }
        Stage::Ship => "the network and the far end's scheduling; on a slow line try --compress always",
        Stage::Apply => "the target's disk: try --durability none, if a crash there may cost a listing",
        _ => "this machine is too busy to read events at once",
    };
    let name = slowest.name();
    let of_target = match view.slowest {
        Some(Slowest { target, ship_p99_ns }) if slowest == Stage::Ship => {
            format!("\nslowest target {target}: ship p99 {}", time(*ship_p99_ns as f64))
        }
        _ => String::new(),
    };
    format!("most of the time goes to {name} ({share:.0}% of the median): {advice}{of_target}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metrics::{Counts, Facts, Latency};

    /// The sentence about changes of which each takes so many milliseconds in each stage.
    fn said(stages: &[(Stage, u64)], facts: &Facts, slowest: Option<&Slowest>, lost_events: u64) -> String {
        let latency = Latency::new();
        for (stage, milliseconds) in stages {
            latency.record(*stage, Duration::from_millis(*milliseconds));
        }
        let total = stages.iter().map(|(_, milliseconds)| milliseconds).sum();
        if total > 0 {
            latency.record(Stage::EndToEnd, Duration::from_millis(total));
        }
        let counts = Counts { lost_events, gaps: lost_events, ..Counts::default() };
        diagnosis(&View { slowest, ..View::whole(&latency.snapshot(), &counts, facts) })
    }

    #[test]
    fn the_stage_that_takes_longest_is_named_with_what_to_try() {
        let facts = Facts::sample(1);
        let waiting = Facts { batch_delay: Duration::from_millis(5), ..facts.clone() };
        let unstamped = Facts { stamps_in_kernel: false, ..facts.clone() };
        let slow = Slowest { target: "web3:/srv".to_owned(), ship_p99_ns: 90_000_000 };
        for (said, expected) in [
            (said(&[], &facts, None, 0), "no change has been acknowledged yet"),
            (
                said(&[(Stage::Ship, 3)], &facts, None, 2),
                "2 events were lost and 2 places rescanned, since more changes came than could be read: try a larger --ring-size",
            ),
            (
                said(&[], &unstamped, None, 1),
                "1 events were lost and 1 places rescanned, since more changes came than could be read: try --capture ebpf",
            ),
            (
                said(&[(Stage::Queue, 20), (Stage::Ship, 30)], &facts, None, 0),
                "the batcher cannot keep up, queue p99 is 20 ms: leave out by --exclude what nobody needs at the targets",
            ),
            (
                said(&[(Stage::Batch, 8), (Stage::Ship, 2)], &waiting, None, 0),
                "most of the time goes to batch (80% of the median): changes wait for company: try a smaller --batch-delay",
            ),
            (
                said(&[(Stage::Batch, 8), (Stage::Ship, 2)], &facts, Some(&slow), 0),
                "most of the time goes to batch (80% of the median): changes gather while the target is busy: try a smaller --batch-max-delay, if it is idle often",
            ),
            (
                said(&[(Stage::Batch, 2), (Stage::Ship, 8)], &facts, Some(&slow), 0),
                "most of the time goes to ship (80% of the median): the network and the far end's scheduling; on a slow line try --compress always\nslowest target web3:/srv: ship p99 90 ms",
            ),
            (
                said(&[(Stage::Apply, 9), (Stage::Ship, 1)], &facts, None, 0),
                "most of the time goes to apply (90% of the median): the target's disk: try --durability none, if a crash there may cost a listing",
            ),
        ] {
            assert_eq!(said, expected);
        }
    }
}
