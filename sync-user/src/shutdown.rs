//! Tells every thread of the process that it shall end.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// A stop request that can be asked for, and waited for in `poll(2)`. Clones share it.
#[derive(Debug, Clone)]
pub struct Stop(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    requested: AtomicBool,
    bell: EventFd,
}

impl Stop {
    pub fn new() -> nix::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Arc::new(Inner { requested: AtomicBool::new(false), bell })))
    }

    /// Asks all holders to end. May be called often, from any thread.
    pub fn request(&self) {
        self.0.requested.store(true, Ordering::Release);
        // The count is never read back, so the descriptor stays readable for every poller; it
        // can only fail by being full, and then it is readable too.
        let _full = self.0.bell.write(1);
    }

    pub fn requested(&self) -> bool {
        self.0.requested.load(Ordering::Acquire)
    }
}

/// Readable from the moment of the request on.
impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}
