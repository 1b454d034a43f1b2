//! Knows the directories below which nothing is to be told.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use core::ptr::read_volatile;
use sync_ebpf::{EXCLUDED_BYTES_MAX, EXCLUDED_LENGTHS_MAX, NAMES_BYTES_MAX};

use crate::maps::{EXCLUDED, EXCLUDED_LENGTHS, Scratch};

/// Whether the path in the scratch lies below an excluded directory. The names stand from the
/// leaf up, so the directory is at their end, behind the NUL of a name in it.
#[inline(always)]
pub(crate) fn is_below(scratch: *mut Scratch) -> bool {
    // SAFETY: the scratch is this processor's own, and all of it is initialised; here and below.
    let end = unsafe {
        (*scratch).end = [0; EXCLUDED_BYTES_MAX];
        &raw mut (*scratch).end
    };
    for index in 0..EXCLUDED_LENGTHS_MAX {
        // SAFETY: a static that is only ever read, and the index is in its bounds.
        let length = unsafe { read_volatile((&raw const EXCLUDED_LENGTHS).cast::<u32>().add(index)) };
        // Never more; the verifier does not know it.
        if length == 0 || length as usize > EXCLUDED_BYTES_MAX {
            return false;
        }
        let used = unsafe { read_volatile(&raw const (*scratch).used) };
        if used < length {
            return false;
        }
        let found = unsafe {
            let from = (&raw const (*scratch).names)
                .cast::<u8>()
                .add((used - length) as usize & (NAMES_BYTES_MAX - 1));
            bpf_probe_read_kernel(end.cast(), length, from.cast()) == 0 && EXCLUDED.get_ptr(&*end).is_some()
        };
        if found {
            return true;
        }
    }
    false
}
