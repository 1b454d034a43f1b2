//! Walks from a dentry up to the root: is it ours, and what is its path?
//!
//! First only the parents are followed, which is enough for everything that is not ours; names
//! are read in a second pass, of the same dentries.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use core::ptr::{read_volatile, write_volatile};
use sync_ebpf::{DEPTH_MAX, NAME_BYTES_MAX, NAMES_BYTES_MAX};

use crate::kernel;
use crate::maps::Scratch;

/// Where a path lies.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Inside,
    Outside,
    /// It has no parent: the top of a file system, or a file that was opened by handle and whose
    /// name the kernel has not looked for.
    Alone,
    /// Deeper than the walk goes, so nobody knows.
    TooDeep,
}

/// Whether `dentry` is `root` or lies below it; leaves the way in the scratch.
#[inline(always)]
pub(crate) fn place(scratch: *mut Scratch, dentry: u64, root: u64) -> Place {
    // SAFETY: the scratch is this processor's own, and all of it is initialised; here and below.
    unsafe { write_volatile(&raw mut (*scratch).at, dentry) };
    for depth in 0..DEPTH_MAX {
        let at = unsafe { read_volatile(&raw const (*scratch).at) };
        if at == root {
            unsafe { write_volatile(&raw mut (*scratch).depth, depth as u32) };
            return Place::Inside;
        }
        let parent = kernel::dentry_parent(at);
        if parent == at || parent == 0 {
            return if depth == 0 { Place::Alone } else { Place::Outside };
        }
        unsafe {
            write_volatile((&raw mut (*scratch).way).cast::<u64>().add(depth), at);
            write_volatile(&raw mut (*scratch).at, parent);
        }
    }
    Place::TooDeep
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
        if !name(scratch, kernel::dentry_name(at)) {
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
