//! Spaces attempts to connect: ever longer, and not in step with other sources.

use std::time::Duration;

/// The first wait. A server that restarts is back in about this time.
const FIRST: Duration = Duration::from_millis(500);

/// The longest wait: an operator who has mended the target sees it go on within half a minute.
const LONGEST: Duration = Duration::from_secs(30);

/// How long to wait before the next attempt.
#[derive(Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait: it doubles each time, up to half a minute. `random`, from 0 to 1, takes up
    /// to half of it away, so that sources that lost a target together do not return together.
    pub fn next(&mut self, random: f64) -> Duration {
        let full = FIRST.saturating_mul(1 << self.attempts.min(16)).min(LONGEST);
        self.attempts = self.attempts.saturating_add(1);
        full.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }

    /// Starts over, after a connection that worked.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_bounded_and_differ() {
        let mut backoff = Backoff::default();
        let waits: Vec<Duration> = (0..40).map(|_| backoff.next(0.0)).collect();
        assert_eq!((waits[0], waits[1], waits[39]), (FIRST, FIRST * 2, LONGEST));
        assert!(waits.is_sorted());
        backoff.reset();
        assert_eq!(backoff.next(1.0), FIRST / 2);
    }
}
