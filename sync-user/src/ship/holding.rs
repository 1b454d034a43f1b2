//! Tells a target what the source holds, where replication is two-way and the ledger of the target's
//! own daemon may say otherwise.

use super::Session;
use crate::model::{TreePath, Version};
use crate::wire::{Holding, ToReceiver};

/// Paths in one message: under a frame's limit even if each is as long as can be.
const ENTRIES_MAX: usize = 200;

impl Session {
    /// Says what the source holds at these paths; `None` where it has nothing, or wants what the
    /// target has.
    pub fn holds(&mut self, entries: &[(TreePath, Option<Version>)]) {
        for part in entries.chunks(ENTRIES_MAX) {
            self.outbox.push(&ToReceiver::Holds { entries: part.iter().map(holding).collect() });
        }
    }

    /// Says what the source has got from a third root; by nothing, that there is one.
    pub fn holds_too(&mut self, entries: &[(TreePath, Option<Version>)]) {
        let (first, rest) = entries.split_at(entries.len().min(ENTRIES_MAX));
        for part in std::iter::once(first).chain(rest.chunks(ENTRIES_MAX)) {
            self.outbox.push(&ToReceiver::HoldsToo { entries: part.iter().map(holding).collect() });
        }
    }
}

fn holding((path, version): &(TreePath, Option<Version>)) -> Holding {
    Holding { path: path.as_bytes().to_vec(), version: *version }
}
