//! Puts a record together, and tells it.

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_get_smp_processor_id, bpf_ktime_get_ns,
};
use core::ptr::{read_volatile, write_volatile};
use sync_ebpf::{Handshake, Head, IGNORED_MAX, flag, kind};

use crate::emit::emit;
use crate::maps::{SCRATCH, Scratch};

/// An empty record, with the time of the event.
#[inline(always)]
pub(crate) fn begin() -> Option<*mut Scratch> {
    let scratch = SCRATCH.get_ptr_mut(0)?;
    // SAFETY: the scratch is this processor's own; the helper only reads the clock.
    unsafe {
        (*scratch).head.time = bpf_ktime_get_ns();
        write_volatile(&raw mut (*scratch).used, 0);
    }
    Some(scratch)
}

/// Bytes of names so far.
#[inline(always)]
pub(crate) fn used(scratch: *mut Scratch) -> u16 {
    // SAFETY: the scratch is this processor's own.
    unsafe { read_volatile(&raw const (*scratch).used) as u16 }
}

/// Tells the record, of whose names the first `first` bytes are the old path; whether there was
/// room for it.
#[inline(always)]
pub(crate) fn tell(scratch: *mut Scratch, root: &Handshake, kind: u8, flags: u8, first: u16) -> bool {
    let tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
    let mut flags = flags;
    let mut index = 0;
    while index < IGNORED_MAX && root.ignored[index] != 0 {
        if root.ignored[index] == tgid {
            flags |= flag::IGNORED;
        }
        index += 1;
    }
    // SAFETY: the scratch is this processor's own.
    unsafe {
        (*scratch).head = Head {
            time: (*scratch).head.time,
            comm: bpf_get_current_comm().unwrap_or_default(),
            tgid,
            processor: bpf_get_smp_processor_id(),
            first,
            second: used(scratch) - first,
            kind,
            flags,
            reserved: 0,
        };
    }
    emit(scratch)
}

/// Tells of the inode with this number, in place of a path.
#[inline(always)]
pub(crate) fn tell_inode(scratch: *mut Scratch, root: &Handshake, kind: u8, number: u64) -> bool {
    // SAFETY: the scratch is this processor's own, and has room for more names than a word.
    unsafe {
        write_volatile((&raw mut (*scratch).names).cast::<u64>(), number);
        write_volatile(&raw mut (*scratch).used, size_of::<u64>() as u32);
    }
    tell(scratch, root, kind, 0, size_of::<u64>() as u16)
}

/// Tells that something happened, without the path.
#[inline(always)]
pub(crate) fn tell_without_path(scratch: *mut Scratch, root: &Handshake, kind: u8) -> bool {
    // SAFETY: the scratch is this processor's own.
    unsafe { write_volatile(&raw mut (*scratch).used, 0) };
    tell(scratch, root, kind, 0, 0)
}

/// Tells of a path that is too deep or too long.
#[inline(always)]
pub(crate) fn tell_unplaced(scratch: *mut Scratch, root: &Handshake) -> bool {
    tell_without_path(scratch, root, kind::UNPLACED)
}
