//! Remembers what lies outside of the root, so that whoever works there is not asked again.
//!
//! Without it each write on the root's file system costs a walk to the top, wherever it is.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::{bpf_get_smp_processor_id, bpf_ktime_get_ns};

use crate::kernel::{Inode, offset};
use crate::maps::{LAST_MOVE, OUTSIDE, OUTSIDE_MAX, Outside, place_of};

/// The last move on the root's file system, never 0. To be read before the walk whose outcome is
/// remembered: a move during the walk voids it.
#[inline(always)]
pub(crate) fn last_move() -> u64 {
    let Some(last) = LAST_MOVE.get_ptr(0) else { return 1 };
    // SAFETY: the map's memory lives as long as the program; whole words are written; here and
    // below.
    (unsafe { read_volatile(last) }) | 1
}

/// A name moved, or a file got another one: what was outside may be inside now. Called before
/// user space is told, which looks at what has moved, and so at all that was kept quiet about.
#[inline(always)]
pub(crate) fn moved() {
    let Some(last) = LAST_MOVE.get_ptr_mut(0) else { return };
    // Time and processor make it another one than all before, without counting together.
    // SAFETY: the helpers only read.
    let (time, processor) = unsafe { (bpf_ktime_get_ns(), bpf_get_smp_processor_id()) };
    unsafe { write_volatile(last, (time << 12) ^ (u64::from(processor) << 1)) };
}

/// Whether this processor has found the file or directory to be outside, and nothing has moved
/// since. Not so of a file with several names: one of them may be inside.
#[inline(always)]
pub(crate) fn is_known(inode: impl Inode, is_directory: bool) -> bool {
    let Some(known) = OUTSIDE.get_ptr_mut(place_of(inode.number(), OUTSIDE_MAX)) else { return false };
    // SAFETY: the map's memory lives as long as the program, and is this processor's own.
    let known = unsafe { *known };
    known.inode == inode.address()
        && known.number == inode.number()
        && known.generation == u64::from(inode.generation())
        && known.last_move == last_move()
        && (is_directory || inode.links() == 1)
}

/// Remembers that a walk that began when `last_move` was the last one has led to the top without meeting
/// the root.
#[inline(always)]
pub(crate) fn remember(inode: impl Inode, last_move: u64) {
    // Where the kernel may give the same number and generation to something else, it could be
    // taken for this.
    if offset!(inodes_are_unique) == 0 {
        return;
    }
    if let Some(known) = OUTSIDE.get_ptr_mut(place_of(inode.number(), OUTSIDE_MAX)) {
        let generation = u64::from(inode.generation());
        let outside = Outside { inode: inode.address(), number: inode.number(), generation, last_move };
        // SAFETY: as in `is_known`.
        unsafe { *known = outside };
    }
}
