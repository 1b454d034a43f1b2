//! Remembers how it went with each target in the last ten minutes, for the pictures of the page.
//!
//! What is kept are readings of counters, so a missed reading costs detail and no events.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::control::Watched;
use crate::metrics::{Connection, TargetSnapshot};
use crate::model::Stamp;

/// How often it is looked.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// Bars of a picture.
pub(super) const BARS: usize = 60;

/// How much time a bar stands for: while little is known, and later.
const SHORT: Duration = EVERY;
const LONG: Duration = Duration::from_secs(10);

/// Readings of a target: those of the longest picture, one before it, and one for the bar that has
/// only begun (I6).
const READINGS_MAX: usize = BARS * (LONG.as_secs() / EVERY.as_secs()) as usize + 2;

/// What was read at one moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) at: Stamp,
    pub(super) lag: Duration,
    pub(super) is_up: bool,
    /// The others count since the start.
    pub(super) changes: u64,
    pub(super) bytes: u64,
    pub(super) failures: u64,
}

impl Reading {
    fn of(seen: &TargetSnapshot, at: Stamp) -> Self {
        Self {
            at,
            lag: seen.lag,
            is_up: matches!(seen.connection, Connection::Up | Connection::Comparing),
            changes: seen.changes_shipped,
            bytes: seen.bytes_written,
            failures: seen.problems_total + seen.connections_failed,
        }
    }
}

/// The readings of all targets. Clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Trend(Arc<Mutex<BTreeMap<Name, VecDeque<Reading>>>>);

/// Of a sync, and of a target of it: so a section that is started anew goes on where it was.
type Name = (String, String);

impl Trend {
    /// Looks at all targets, and forgets those that are gone.
    pub(super) fn look(&self, syncs: &[Arc<Watched>], now: Stamp) {
        let mut targets = self.targets();
        let mut present = BTreeMap::new();
        for watched in syncs {
            for target in watched.gauges.targets.iter() {
                let name = (watched.name.clone(), target.name().to_owned());
                let mut readings = targets.remove(&name).unwrap_or_default();
                note(&mut readings, Reading::of(&target.snapshot(now), now));
                present.insert(name, readings);
            }
        }
        *targets = present;
    }

    /// How it went with a target until `now`.
    pub(super) fn of(&self, sync: &str, target: &str, now: Stamp) -> Lately {
        let name = (sync.to_owned(), target.to_owned());
        let mut targets = self.targets();
        let readings = targets.get_mut(&name).map(VecDeque::make_contiguous);
        Lately::of(readings.as_deref().unwrap_or_default(), now)
    }

    fn targets(&self) -> MutexGuard<'_, BTreeMap<Name, VecDeque<Reading>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn note(readings: &mut VecDeque<Reading>, reading: Reading) {
    while readings.len() >= READINGS_MAX {
        readings.pop_front();
    }
    readings.push_back(reading);
}

/// What happened while a bar lasted.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Bar {
    /// The longest that was read.
    pub(super) lag: Duration,
    /// Whether the target was found not to be connected.
    pub(super) was_away: bool,
    pub(super) changes: f64,
    pub(super) bytes: f64,
    /// Attempts of connections and of single paths.
    pub(super) failures: u64,
    /// How much of the bar lies between two readings, in seconds.
    pub(super) known: f64,
}

/// How it went lately, in bars of which the last one has only begun.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lately {
    pub(super) bars: [Bar; BARS],
    /// How long one lasts.
    pub(super) each: Duration,
}

impl Lately {
    /// `readings` are in the order of time. Bars begin at multiples of their length, so that they move
    /// by whole bars.
    fn of(readings: &[Reading], now: Stamp) -> Self {
        let known = readings.first().map_or(Duration::ZERO, |first| now.since(first.at));
        let each = if known < SHORT * BARS as u32 { SHORT } else { LONG };
        let mut lately = Self { bars: [Bar::default(); BARS], each };
        let last = now.0 / each.as_nanos() as u64;
        for pair in readings.windows(2) {
            lately.add(&pair[0], &pair[1], last);
        }
        lately
    }

    /// Spreads what happened between two readings over the bars in which that was.
    fn add(&mut self, before: &Reading, after: &Reading, last: u64) {
        let each = self.each.as_nanos() as u64;
        let span = after.at.since(before.at).as_nanos() as f64;
        if span <= 0.0 {
            return;
        }
        for number in before.at.0 / each..=after.at.0 / each {
            let Some(bar) = (number + BARS as u64).checked_sub(last + 1) else { continue };
            let Some(bar) = self.bars.get_mut(bar as usize) else { continue };
            let from = before.at.0.max(number * each);
            let until = after.at.0.min((number + 1) * each);
            let share = until.saturating_sub(from) as f64 / span;
            // A counter that is behind where it was has begun anew.
            bar.changes += after.changes.saturating_sub(before.changes) as f64 * share;
            bar.bytes += after.bytes.saturating_sub(before.bytes) as f64 * share;
            bar.known += until.saturating_sub(from) as f64 / 1e9;
            if number == after.at.0 / each {
                bar.failures += after.failures.saturating_sub(before.failures);
                bar.lag = bar.lag.max(after.lag);
                bar.was_away |= !after.is_up;
            } else {
                // Those of before are what is known of the bar's end.
                bar.lag = bar.lag.max(before.lag);
                bar.was_away |= !before.is_up;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Stamp {
        Stamp((seconds * 1e9) as u64)
    }

    fn reading(seconds: f64, changes: u64) -> Reading {
        Reading { at: at(seconds), lag: Duration::ZERO, is_up: true, changes, bytes: 0, failures: 0 }
    }

    #[test]
    fn what_happened_is_in_the_bars_of_its_time() {
        // Bars of 2 s: from 1000 on, 1002 on, 1004 on.
        let readings = [reading(1001.0, 100), reading(1004.0, 130), reading(1004.5, 131)];
        let lately = Lately::of(&readings, at(1005.0));
        let changes: Vec<f64> = lately.bars[BARS - 4..].iter().map(|bar| bar.changes).collect();
        assert_eq!((lately.each, changes), (SHORT, vec![0.0, 10.0, 20.0, 1.0]));
        let known: Vec<f64> = lately.bars[BARS - 4..].iter().map(|bar| bar.known).collect();
        assert_eq!(known, [0.0, 1.0, 2.0, 0.5]);
    }

    #[test]
    fn nothing_is_counted_twice_or_left_out() {
        let mut readings = VecDeque::new();
        let mut now = 5000.0;
        for number in 0..2000_u64 {
            // Sometimes late, as on a busy machine.
            now += if number % 7 == 0 { 5.3 } else { 2.0 };
            let failures = number / 3;
            note(&mut readings, Reading { failures, bytes: number * 10, ..reading(now, number) });
        }
        assert_eq!(readings.len(), READINGS_MAX);
        let lately = Lately::of(readings.make_contiguous(), at(now));
        let known: f64 = lately.bars[..BARS - 1].iter().map(|bar| bar.known).sum();
        assert!((known - 590.0).abs() < 1e-6, "{known} s of {:?} are known", lately.each * 59);
        // Of all bars but the last, which may have begun just now.
        let first = at(now).0 / 10_000_000_000 * 10 - 590;
        let expected = |from: f64| readings.iter().filter(|reading| reading.at >= at(from)).count() as f64;
        let changes: f64 = lately.bars.iter().map(|bar| bar.changes).sum();
        assert!((changes - expected(first as f64)).abs() < 2.0, "{changes} changes");
        let bytes: f64 = lately.bars.iter().map(|bar| bar.bytes).sum();
        assert!((bytes - changes * 10.0).abs() < 1e-6, "{bytes} bytes");
    }

    #[test]
    fn a_run_that_begins_anew_has_lost_nothing_and_gained_nothing() {
        let lately = Lately::of(&[reading(1000.5, 900), reading(1001.5, 3)], at(1001.6));
        assert_eq!(lately.bars[BARS - 1].changes.to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn a_target_that_was_away_shows_as_such() {
        let away = Reading { is_up: false, lag: Duration::from_secs(9), failures: 2, ..reading(1003.0, 0) };
        let lately = Lately::of(&[reading(1001.0, 0), away, reading(1005.0, 0)], at(1005.0));
        let [before, during, after] = [3, 2, 1].map(|back| lately.bars[BARS - back]);
        assert_eq!((before.was_away, before.failures), (false, 0));
        assert_eq!((during.was_away, during.failures, during.lag), (true, 2, Duration::from_secs(9)));
        assert_eq!((after.was_away, after.lag), (false, Duration::ZERO));
    }
}
