//! Counts what a target has, and does not show yet, so that it never has to keep too much.

use crate::wire::{FRAME_BYTES_MAX, UNPUBLISHED_BYTES_MAX, UNPUBLISHED_MAX};

/// Steps that were sent since the last publication.
#[derive(Debug, Default)]
pub(super) struct Unpublished {
    steps: usize,
    bytes: usize,
}

impl Unpublished {
    /// One more step, which takes so much of the target's memory.
    pub(super) fn add(&mut self, bytes: usize) {
        self.steps += 1;
        self.bytes += bytes;
    }

    /// Whether no more may come before a publication.
    pub(super) fn is_full(&self) -> bool {
        // One more step may be about to be counted, which takes as much as a frame has at most.
        self.steps >= UNPUBLISHED_MAX || self.bytes + FRAME_BYTES_MAX >= UNPUBLISHED_BYTES_MAX
    }

    /// Whether there is anything to publish; after that there is not.
    pub(super) fn take(&mut self) -> bool {
        std::mem::take(self).steps > 0
    }
}
