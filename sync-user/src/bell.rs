//! Wakes a thread that sleeps in `poll(2)`.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::eventfd::{EfdFlags, EventFd};

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
