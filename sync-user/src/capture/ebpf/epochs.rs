//! Tells the programs that everything they have told of is about to be looked at.

use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use aya::maps::{Map, MapData};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use sync_ebpf::Epochs as Shared;

use crate::capture::Error;

/// The kernel maps whole pages.
const PAGE_BYTES: NonZeroUsize = NonZeroUsize::new(4096).unwrap();

/// The epochs, in memory that is shared with the programs.
pub(super) struct Epochs {
    memory: NonNull<Shared>,
    /// Keeps the map in the kernel.
    _map: MapData,
}

// SAFETY: the memory is accessed by atomic operations only.
unsafe impl Send for Epochs {}

impl Epochs {
    /// Shares the memory of `map`, and starts the first epochs.
    pub(super) fn open(map: Map) -> Result<Self, Error> {
        let failed = |cause: &dyn std::fmt::Display| {
            Error::new("share memory with the programs", cause, "use --capture fanotify")
        };
        let Map::Array(map) = map else {
            return Err(failed(&"the map is no array"));
        };
        // SAFETY: a new mapping at an address that the kernel chooses.
        let memory = unsafe {
            mmap(
                None,
                PAGE_BYTES,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
                map.fd().as_fd(),
                0,
            )
        };
        let epochs = Self { memory: memory.map_err(|error| failed(&error))?.cast(), _map: map };
        epochs.end_writes();
        epochs.end_closes();
        Ok(epochs)
    }

    /// From now on writes are told anew. To be called between reading the ring and looking at
    /// what it told of.
    pub(super) fn end_writes(&self) {
        // SAFETY: the mapping is alive and holds the struct at its start.
        next(unsafe { &raw mut (*self.memory.as_ptr()).writes });
    }

    /// The same for closes after writing.
    pub(super) fn end_closes(&self) {
        // SAFETY: as above.
        next(unsafe { &raw mut (*self.memory.as_ptr()).closes });
    }
}

fn next(epoch: *mut u64) {
    // SAFETY: the pointer is into the mapping, aligned, and only written through atomics here.
    unsafe { AtomicU64::from_ptr(epoch) }.fetch_add(1, Ordering::SeqCst);
}

impl Drop for Epochs {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, and no reference to it is left.
        let _unmapped = unsafe { munmap(self.memory.cast(), PAGE_BYTES.get()) };
    }
}
