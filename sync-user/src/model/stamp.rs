//! Says when something happened, on one clock for kernel and user space.

use std::time::Duration;

/// Nanoseconds of `CLOCK_MONOTONIC`, the clock that `bpf_ktime_get_ns` reads in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Stamp(pub u64);

impl Stamp {
    /// The time from `earlier` to this; zero when the order is the other way round.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// The way of one change to the batcher. Of merged changes the oldest stamps stay, since that
/// change has waited longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamps {
    /// When the kernel saw the change; equal to `read` where the kernel does not tell.
    pub seen: Stamp,
    /// When capture had read it in user space.
    pub read: Stamp,
    /// When the batcher took it from the queue.
    pub taken: Stamp,
}

impl Stamps {
    /// The older of two.
    #[must_use]
    pub fn oldest(self, other: Self) -> Self {
        if other.seen < self.seen { other } else { self }
    }
}
