//! Wakes a thread that sleeps in `poll(2)`.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use nix::poll::PollTimeout;
use nix::sys::eventfd::{EfdFlags, EventFd};

/// For how long to sleep so that `time` is over: a part of a millisecond counts as one, or whoever waits would
/// ask again and again at the end.
pub fn patience(time: Duration) -> PollTimeout {
    PollTimeout::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(PollTimeout::MAX)
}

/// Readable from when it is rung until it is hushed. Clones share it.
#[derive(Debug, Clone)]
pub struct Bell(Arc<EventFd>);

impl Bell {
    pub fn new() -> nix::Result<Self> {
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        Ok(Self(Arc::new(EventFd::from_flags(flags)?)))
    }

    pub fn ring(&self) {
        // It fails only when its counter is full, and then it is being heard anyway.
        let _full = self.0.write(1);
    }

    /// To be called before looking at what it may have rung for: what comes meanwhile rings it again.
    pub fn hush(&self) {
        // It fails when it did not ring.
        let _silent = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_over_when_the_sleep_is_and_nothing_takes_no_time() {
        let milliseconds = |time| patience(time).as_millis();
        assert_eq!(milliseconds(Duration::ZERO), Some(0));
        assert_eq!(milliseconds(Duration::from_nanos(1)), Some(1));
        assert_eq!(milliseconds(Duration::from_millis(2)), Some(2));
        assert_eq!(milliseconds(Duration::from_micros(2_001)), Some(3));
        assert_eq!(patience(Duration::MAX), PollTimeout::MAX);
    }
}
