//! Walks from a dentry up to the root: is it ours, and what is its path?
//!
//! First only the parents are followed, which is enough for everything that is not ours; names
//! are read in a second pass, of the same dentries.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use core::ptr::{read_volatile, write_volatile};
use sync_ebpf::{DEPTH_MAX, Handshake, NAME_BYTES_MAX, NAMES_BYTES_MAX};

use crate::kernel;
use crate::maps::Scratch;

/// Where a path lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Inside,
    /// Inside, but the name is gone: a path leads elsewhere or nowhere.
    Unhashed,
    Outside,
    /// Outside, and the name is gone: it may have another one inside.
    UnhashedOutside,
    /// It has no parent: a file that was opened by handle, and whose name the kernel has not
    /// looked for.
    Alone,
    /// Deeper than the walk goes, so nobody knows.
    TooDeep,
}

/// Whether `dentry` is the root or lies below it; leaves the way in the scratch.
#[inline(always)]
pub(crate) fn place(scratch: *mut Scratch, dentry: u64, root: &Handshake) -> Place {
    let mut is_hashed = true;
    // SAFETY: the scratch is this processor's own, and all of it is initialised; here and below.
    unsafe { write_volatile(&raw mut (*scratch).at, dentry) };
    for depth in 0..DEPTH_MAX {
        let at = unsafe { read_volatile(&raw const (*scratch).at) };
        if at == root.dentry {
            unsafe { write_volatile(&raw mut (*scratch).depth, depth as u32) };
            return if is_hashed { Place::Inside } else { Place::Unhashed };
        }
        if at == root.top || at == 0 {
            return if is_hashed { Place::Outside } else { Place::UnhashedOutside };
        }
        let now = kernel::dentry(at);
        if now.parent == at {
            return if depth == 0 { Place::Alone } else { Place::Outside };
        }
        if depth == 0 {
            is_hashed = now.is_hashed;
        }
        unsafe {
            write_volatile((&raw mut (*scratch).way).cast::<u64>().add(depth), now.name);
            write_volatile(&raw mut (*scratch).at, now.parent);
        }
    }
    Place::TooDeep
}

/// Whether the walk that found something to be outside has seen the whole way up. A way that ends
/// elsewhere is one that the kernel has yet to put together.
#[inline(always)]
pub(crate) fn reached_top(scratch: *mut Scratch, root: &Handshake) -> bool {
    // SAFETY: the scratch is this processor's own.
    unsafe { read_volatile(&raw const (*scratch).at) == root.top }
}

/// Adds the names on the way that [`place`] has found; `false` when they are too long.
#[inline(always)]
pub(crate) fn names(scratch: *mut Scratch) -> bool {
    for index in 0..DEPTH_MAX {
        // SAFETY: the scratch is this processor's own, and all of it is initialised.
        let (depth, at) = unsafe {
            let way = (&raw const (*scratch).way).cast::<u64>();
            (read_volatile(&raw const (*scratch).depth), read_volatile(way.add(index)))
        };
        if index >= depth as usize {
            return true;
        }
        if !name(scratch, at) {
            return false;
        }
    }
    true
}

/// Adds one name, with its NUL.
#[inline(always)]
pub(crate) fn name(scratch: *mut Scratch, name: u64) -> bool {
    // SAFETY: as in `names`; the index is below the room for all names, behind which there is
    // room for one more, and the helper writes no more than that.
    unsafe {
        let used = read_volatile(&raw const (*scratch).used);
        if used as usize >= NAMES_BYTES_MAX {
            return false;
        }
        let used = used as usize & (NAMES_BYTES_MAX - 1);
        let to = (&raw mut (*scratch).names).cast::<u8>().add(used);
        let length = bpf_probe_read_kernel_str(to.cast(), NAME_BYTES_MAX as u32, name as *const _);
        if length <= 1 || length > NAME_BYTES_MAX as i64 {
            return false;
        }
        write_volatile(&raw mut (*scratch).used, used as u32 + length as u32);
    }
    true
}
