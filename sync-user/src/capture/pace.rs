//! Decides whether to read at once, or to let changes gather first.
//!
//! While changes wait to be read the kernel wakes nobody, and waking is what costs the writers
//! most. So a change on an idle system is read at once, and under load many are read together.

use crate::model::Stamp;

/// Wake-ups that are answered at once before it counts as load.
const CREDIT_MAX: u32 = 32;

/// Credit for wake-ups: each takes one, and each millisecond gives one back.
#[derive(Debug)]
pub(super) struct Pace {
    credit: u32,
    /// Until when credit was given back.
    counted: Stamp,
}

impl Pace {
    pub(super) fn new(now: Stamp) -> Self {
        Self { credit: CREDIT_MAX, counted: now }
    }

    /// Counts a wake-up at `now`; whether changes had better gather first.
    pub(super) fn lingers(&mut self, now: Stamp) -> bool {
        let passed = now.since(self.counted).as_millis().min(u128::from(CREDIT_MAX)) as u32;
        if passed > 0 {
            self.credit = (self.credit + passed).min(CREDIT_MAX);
            self.counted = now;
        }
        if self.credit == 0 {
            return true;
        }
        self.credit -= 1;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_read_in_groups_and_calm_at_once() {
        let micros = |count: u64| Stamp(count * 1_000);
        let mut pace = Pace::new(micros(0));
        let burst = (0..1_000).filter(|at| !pace.lingers(micros(*at))).count();
        assert_eq!(burst, CREDIT_MAX as usize);
        // One in two milliseconds can go on for ever.
        assert!((0..1_000).all(|at| !pace.lingers(micros(10_000 + at * 2_000))));
        // Ten in a millisecond cannot.
        let steady = (0..10_000).filter(|at| !pace.lingers(micros(3_000_000 + at * 100))).count();
        assert!((900..1_100).contains(&steady), "{steady}");
    }
}
