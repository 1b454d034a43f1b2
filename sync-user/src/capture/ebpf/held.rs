//! Keeps writes to open files back until their epoch ends, so that each is told once.

use std::collections::BTreeMap;
use std::mem::take;

use super::decode::Elsewhere;
use crate::model::{Change, Kind, TreePath};

/// Files that were written in this epoch and not closed since.
#[derive(Debug, Default)]
pub(super) struct Held {
    paths: BTreeMap<TreePath, Write<Change>>,
    /// Files that were written by a name outside of the root: where they are is asked at the end
    /// of the epoch, since a name below the root may be new to us.
    inodes: BTreeMap<u64, Write<Elsewhere>>,
}

#[derive(Debug)]
struct Write<T> {
    change: T,
    /// The processor that told; `None` for several.
    processor: Option<u32>,
}

impl<T> Write<T> {
    fn told_by(&mut self, processor: u32) {
        if self.processor != Some(processor) {
            self.processor = None;
        }
    }
}

impl Held {
    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.paths.len() + self.inodes.len()
    }

    /// Keeps back that `change.path` is being written, of which the oldest stays.
    pub(super) fn hold(&mut self, change: &Change, processor: u32) {
        let held = self.paths.entry(change.path.clone()).or_insert_with(|| Write {
            change: Change { kind: Kind::Writing, ..change.clone() },
            processor: Some(processor),
        });
        held.told_by(processor);
    }

    /// Keeps back that a file is being written by a name outside.
    pub(super) fn hold_elsewhere(&mut self, change: Elsewhere, processor: u32) {
        let write = Write { processor: Some(processor), change };
        self.inodes.entry(write.change.inode).or_insert(write).told_by(processor);
    }

    /// A file was closed, which `processor` has told of. It tells of later writes anew; another
    /// that has told of a write may keep quiet until the epoch ends, and then the file has to be
    /// looked at again.
    pub(super) fn closed(&mut self, path: &TreePath, processor: u32) {
        if self.paths.get(path).is_some_and(|held| held.processor == Some(processor)) {
            self.paths.remove(path);
        }
    }

    /// Hands everything over, which may only be looked at once the epoch has ended.
    pub(super) fn release(
        &mut self,
    ) -> (impl Iterator<Item = Change> + use<>, impl Iterator<Item = Elsewhere> + use<>) {
        let (paths, inodes) = (take(&mut self.paths), take(&mut self.inodes));
        (paths.into_values().map(|write| write.change), inodes.into_values().map(|write| write.change))
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
        let left: Vec<Change> = held.release().0.collect();
        assert_eq!(left, [Change { kind: Kind::Writing, ..b }]);
        assert!(held.is_empty());
    }
}
