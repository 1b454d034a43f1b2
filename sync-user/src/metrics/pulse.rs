//! Tells whether a thread that has to go on goes on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// The turns of a loop that takes one at least every now and then.
#[derive(Debug, Default)]
pub struct Pulse {
    turns: AtomicU64,
    runs: AtomicBool,
}

impl Pulse {
    /// The loop has begun, or ended.
    pub fn runs(&self, runs: bool) {
        self.runs.store(runs, Ordering::Relaxed);
    }

    /// One more turn.
    pub fn beat(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// The turns until now, while the loop runs.
    pub fn turns(&self) -> Option<u64> {
        self.runs.load(Ordering::Relaxed).then(|| self.turns.load(Ordering::Relaxed))
    }
}
