//! Keeps the last records, in a bounded place.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::record::Record;

/// Records that a ring holds: with 48 bytes each that is 3 MiB, and an hour of 18 changes a second.
pub const REMEMBERED: usize = 1 << 16;

/// Records that are looked at before the writer has its turn: some microseconds.
const LOOKED_AT_ONCE: usize = 4_096;

/// The last [`REMEMBERED`] records.
#[derive(Debug, Default)]
pub(super) struct Ring {
    records: Vec<Record>,
    /// Where the next goes, once the ring is full.
    next: usize,
}

impl Ring {
    pub(super) fn push(&mut self, record: Record) {
        if self.records.len() < REMEMBERED {
            self.records.push(record);
        } else {
            self.records[self.next] = record;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.records.capacity() * size_of::<Record>()
    }
}

pub(super) fn lock(ring: &Mutex<Ring>) -> MutexGuard<'_, Ring> {
    ring.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The records whose path has one of the `hashes`, each with the place of that, in no order. The
/// writer goes on meanwhile, and may replace the oldest.
pub(super) fn find(ring: &Mutex<Ring>, hashes: &[u64]) -> Vec<(usize, Record)> {
    let (mut found, mut first) = (Vec::new(), 0);
    loop {
        let ring = lock(ring);
        let Some(records) = ring.records.get(first..).filter(|records| !records.is_empty()) else {
            return found;
        };
        for record in records.iter().take(LOOKED_AT_ONCE) {
            if let Some(place) = hashes.iter().position(|hash| *hash == record.path()) {
                found.push((place, *record));
            }
        }
        first += LOOKED_AT_ONCE;
    }
}
