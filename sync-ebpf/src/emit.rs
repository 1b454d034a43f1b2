//! Passes a record on to user space, or counts it as lost.

use aya_ebpf::helpers::generated::bpf_ringbuf_output;
use sync_ebpf::{HEAD_BYTES, NAMES_BYTES_MAX};

use crate::maps::{EVENTS, LOST, Scratch};

/// Whether there was room.
#[inline(always)]
pub(crate) fn emit(scratch: *mut Scratch) -> bool {
    // SAFETY: the scratch is this processor's own, all of it is initialised, and the names stand
    // right behind the head.
    let status = unsafe {
        let used = core::ptr::read_volatile(&raw const (*scratch).used) as usize;
        // More than there can be is cut, so that the verifier sees the bound.
        let length = HEAD_BYTES + (used & (2 * NAMES_BYTES_MAX - 1)).min(NAMES_BYTES_MAX);
        bpf_ringbuf_output((&raw const EVENTS).cast_mut().cast(), scratch.cast(), length as u64, 0)
    };
    if status == 0 {
        return true;
    }
    if let Some(lost) = LOST.get_ptr_mut(0) {
        // SAFETY: this processor's own counter.
        unsafe { *lost += 1 };
    }
    false
}
