//! Keeps writes to open files back until their epoch ends, so that each is told once.

use std::collections::BTreeMap;

use crate::model::{Captured, Change, Kind, TreePath};

/// Files that were written in this epoch and not closed since.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<TreePath, Write>);

#[derive(Debug)]
struct Write {
    change: Change,
    /// The processor that told; `None` for several.
    processor: Option<u32>,
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Keeps back that `change.path` is being written, of which the oldest stays.
    pub(super) fn hold(&mut self, change: &Change, processor: u32) {
        let held = self.0.entry(change.path.clone()).or_insert_with(|| Write {
            change: Change { kind: Kind::Writing, ..change.clone() },
            processor: Some(processor),
        });
        if held.processor != Some(processor) {
            held.processor = None;
        }
    }

    /// A file was closed, which `processor` has told of. It tells of later writes anew; another
    /// that has told of a write may keep quiet until the epoch ends, and then the file has to be
    /// looked at again.
    pub(super) fn closed(&mut self, path: &TreePath, processor: u32) {
        if self.0.get(path).is_some_and(|held| held.processor == Some(processor)) {
            self.0.remove(path);
        }
    }

    /// Hands everything over, which may only be looked at once the epoch has ended.
    pub(super) fn release(&mut self) -> impl Iterator<Item = Captured> {
        std::mem::take(&mut self.0).into_values().map(|write| Captured::Change(write.change))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Origin, Stamp};

    fn change(path: &str) -> Change {
        let path = TreePath::new(path.as_bytes()).unwrap();
        Change { kind: Kind::Created, path, origin: Origin::default(), seen: Stamp(1), read: Stamp(2) }
    }

    #[test]
    fn a_close_settles_the_writes_of_its_own_processor() {
        let (mut held, a, b) = (Held::default(), change("a"), change("b"));
        held.hold(&a, 0);
        held.hold(&b, 0);
        held.hold(&b, 1);
        held.closed(&a.path, 1);
        assert_eq!(held.len(), 2, "processor 0 may still keep quiet about a");
        held.closed(&a.path, 0);
        held.closed(&b.path, 0);
        let left: Vec<Captured> = held.release().collect();
        assert_eq!(left, [Captured::Change(Change { kind: Kind::Writing, ..b })]);
        assert!(held.is_empty());
    }
}
