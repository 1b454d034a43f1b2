//! Keeps a connection below a rate: a bucket that fills by it, and empties by what is written.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::model::Stamp;

/// How much may be written at once, in time at the rate: short enough that others on the line see
/// the rate, and long enough that little is lost to waking up.
const BURST: Duration = Duration::from_millis(50);

/// One SSH packet at least, so that slow rates do not make many short ones.
const BURST_BYTES_MIN: u64 = 16 << 10;

const NANOSECONDS: u128 = 1_000_000_000;

/// A bucket for one connection.
#[derive(Debug)]
pub(super) struct Throttle {
    /// Bytes per second.
    rate: NonZeroU64,
    /// Bytes that may be written now; less than 0 after a packet that had to be finished.
    credit: i64,
    /// Up to when the bucket is filled.
    filled: Stamp,
}

impl Throttle {
    pub(super) fn new(rate: NonZeroU64, now: Stamp) -> Self {
        Self { rate, credit: 0, filled: now }
    }

    /// What the bucket holds at most.
    pub(super) fn burst(&self) -> usize {
        (self.rate.get() / (1_000 / BURST.as_millis() as u64)).max(BURST_BYTES_MIN) as usize
    }

    /// Fills the bucket up to `now`; gives how many bytes may be written.
    pub(super) fn fill(&mut self, now: Stamp) -> usize {
        let passed = now.since(self.filled).as_nanos();
        let more = passed * u128::from(self.rate.get()) / NANOSECONDS;
        // The rest of a byte counts the next time.
        self.filled =
            self.filled.plus(Duration::from_nanos((more * NANOSECONDS / u128::from(self.rate.get())) as u64));
        let burst = self.burst() as i64;
        let more = i64::try_from(more).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_add(more).min(burst);
        self.credit.try_into().unwrap_or(0)
    }

    /// Takes out what was written.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.credit = self.credit.saturating_sub(bytes as i64);
    }

    /// How long it takes until there is something worth writing: half of what the bucket holds.
    pub(super) fn wait(&self) -> Duration {
        let missing = (self.burst() as i64 / 2).saturating_sub(self.credit);
        Duration::from_secs_f64(missing.max(0) as f64 / self.rate.get() as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_in_proportion_to_the_rate() {
        for rate in [1_000, 100_000, 10_000_000_000] {
            let mut throttle = Throttle::new(NonZeroU64::new(rate).unwrap(), Stamp(0));
            let (mut now, mut written) = (Stamp(0), 0);
            let hour = Duration::from_hours(1);
            while now.since(Stamp(0)) < hour {
                let allowed = throttle.fill(now).min(32_700);
                throttle.spend(allowed);
                written += allowed as u64;
                let wait = throttle.wait();
                now = now.plus(wait.max(Duration::from_micros(if rate > 1_000_000 { 3 } else { 100 })));
                if written > 50_000_000_000 {
                    break;
                }
            }
            let expected = now.since(Stamp(0)).as_secs_f64() * rate as f64;
            let ratio = written as f64 / expected;
            assert!((0.9..1.1).contains(&ratio), "{rate}: {ratio}");
        }
    }

    #[test]
    fn a_pause_saves_up_no_more_than_one_burst() {
        let mut throttle = Throttle::new(NonZeroU64::new(1 << 20).unwrap(), Stamp(0));
        let later = Stamp(0).plus(Duration::from_hours(1));
        assert_eq!(throttle.fill(later), throttle.burst());
        assert_eq!(throttle.wait(), Duration::ZERO);
        throttle.spend(2 * throttle.burst());
        assert_eq!(throttle.fill(later), 0);
        assert!(throttle.wait() > BURST, "what was too much is paid back");
    }
}
