//! Tells every thread of the process that it shall end.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};

use crate::bell::{Bell, patience};

/// A stop request that can be asked for, and waited for in `poll(2)`. Clones share it.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requested: AtomicBool,
    bell: Bell,
}

impl Stop {
    pub fn new() -> nix::Result<Self> {
        let bell = Bell::new()?;
        Ok(Self(Arc::new(Inner { requested: AtomicBool::new(false), bell })))
    }

    /// Asks all holders to end. May be called often, from any thread.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::Release);
        // It is never hushed, so it stays readable for every poller.
        self.0.bell.ring();
    }

    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::Acquire)
    }

    /// Waits for the request, but no longer than `limit`; a signal may end it sooner.
    pub fn wait(&self, limit: Duration) {
        let mut ready = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let _woken = poll(&mut ready, patience(limit));
    }
}

/// Readable from the moment of the request on.
impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}
