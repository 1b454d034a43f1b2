//! Gathers what changed at a place that nobody can name: only a rescan of the whole root finds
//! it, so that is asked for now and then, and not for each.

use std::time::Duration;

use crate::model::{Captured, Gap, Reason, Stamp, TreePath};

/// How often the whole root is rescanned for such changes, at most.
const INTERVAL: Duration = Duration::from_secs(1);

/// Changes without a place that were not told yet.
#[derive(Debug, Default)]
pub(super) struct Unplaced {
    /// Why the last of them has no place.
    waiting: Option<Reason>,
    /// When the root was last rescanned for them.
    told: Stamp,
}

impl Unplaced {
    pub(super) fn add(&mut self, reason: Reason) {
        self.waiting = Some(reason);
    }

    /// How long until they may be told; `None` when there are none.
    pub(super) fn due_in(&self, now: Stamp) -> Option<Duration> {
        self.waiting.map(|_| INTERVAL.saturating_sub(now.since(self.told)))
    }

    /// Delivers a gap for all of them if its time has come, or if it is the `last` chance.
    pub(super) fn tell(&mut self, last: bool, now: Stamp, deliver: &mut dyn FnMut(Captured)) {
        if last || self.due_in(now) == Some(Duration::ZERO) {
            let Some(reason) = self.waiting.take() else { return };
            self.told = now;
            deliver(Captured::Gap(Gap { place: TreePath::root(), reason, lost: 0, seen: now }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_become_one_rescan_a_second() {
        let mut unplaced = Unplaced::default();
        let mut told = 0;
        for at in 0..3_000_u64 {
            unplaced.add(Reason::Unresolved);
            unplaced.tell(false, Stamp(5_000_000_000 + at * 1_000_000), &mut |_| told += 1);
        }
        assert_eq!(told, 3);
        unplaced.tell(true, Stamp(8_000_000_000), &mut |_| told += 1);
        unplaced.tell(true, Stamp(8_000_000_000), &mut |_| told += 1);
        assert_eq!(told, 4, "the last chance is taken, once");
    }
}
