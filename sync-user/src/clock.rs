//! Asks the time; no other file does.

use std::time::Duration;

use crate::model::{Stamp, Time};

/// Now, on the clock that kernel events are stamped with (`CLOCK_MONOTONIC`).
pub fn now() -> Stamp {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Stamp(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64)
}

/// Now, as file systems stamp their files (`CLOCK_REALTIME`).
pub fn wall() -> Time {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    Time { seconds: time.tv_sec, nanoseconds: time.tv_nsec as u32 }
}

/// The same as a duration since 1970; 0 on a clock that stands before.
pub fn since_1970() -> Duration {
    let now = wall();
    Duration::new(u64::try_from(now.seconds).unwrap_or(0), now.nanoseconds)
}
