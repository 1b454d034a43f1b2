//! Gathers what changed at a place that nobody can name: only a rescan of the whole root finds
//! it, so that is asked for now and then, and not for each.

use std::time::Duration;

use crate::model::{Captured, Gap, Reason, Stamp, TreePath};

/// How long a rescan keeps others off. When such changes go on the time doubles, up to the longest:
/// a rescan takes time itself, and a file that is not below the root at all may be behind them.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(32);

/// So many rescans in a row are no reason to wait longer.
const PATIENT: u32 = 8;

/// Changes without a place that were not told yet.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    /// Why the last of them has no place.
    waiting: Option<Reason>,
    /// When the root was last rescanned for them.
    told: Stamp,
    /// Rescans since it was last quiet.
    in_row: u32,
}

impl Unplaced {
    pub(super) fn add(&mut self, reason: Reason) {
        self.waiting = Some(reason);
    }

    /// How long until they may be told; `None` when there are none.
    pub(super) fn due_in(&self, now: Stamp) -> Option<Duration> {
        self.waiting.map(|_| self.interval().saturating_sub(now.since(self.told)))
    }

    /// How long the last rescan keeps others off.
    fn interval(&self) -> Duration {
        match self.in_row {
            0 => Duration::ZERO,
            rescans => SHORTEST.saturating_mul(1 << rescans.saturating_sub(PATIENT).min(5)).min(LONGEST),
        }
    }

    /// Delivers a gap for all of them if its time has come, or if it is the `last` chance.
    pub(super) fn tell(&mut self, last: bool, now: Stamp, deliver: &mut dyn FnMut(Captured)) {
        if last || self.due_in(now) == Some(Duration::ZERO) {
            let Some(reason) = self.waiting.take() else { return };
            let quiet = now.since(self.told) > self.interval() * 2;
            self.in_row = if quiet { 1 } else { self.in_row.saturating_add(1) };
            self.told = now;
            deliver(Captured::Gap(Gap { place: TreePath::root(), reason, lost: 0, seen: now }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the root is rescanned for changes at each of `millis`, in seconds.
    fn told(unplaced: &mut Unplaced, millis: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut told = Vec::new();
        for at in millis {
            unplaced.add(Reason::Unresolved);
            unplaced.tell(false, Stamp(at * 1_000_000), &mut |_| told.push(at / 1_000));
        }
        told
    }

    #[test]
    fn the_longer_they_go_on_the_rarer_are_rescans() {
        let mut unplaced = Unplaced::default();
        let first: Vec<u64> = (100..=108).collect();
        let found = told(&mut unplaced, 100_000..140_000);
        assert_eq!((&found[..9], &found[9..]), (&first[..], &[110, 114, 122, 138][..]));
        // Once it was quiet they are told at once.
        assert_eq!(told(&mut unplaced, 300_000..303_000), [300, 301, 302]);
    }

    #[test]
    fn the_last_chance_is_taken_once() {
        let mut unplaced = Unplaced::default();
        told(&mut unplaced, 100_000..100_002);
        let mut last = 0;
        unplaced.tell(true, Stamp(100_002_000_000), &mut |_| last += 1);
        unplaced.tell(true, Stamp(100_002_000_000), &mut |_| last += 1);
        assert_eq!(last, 1);
    }
}
