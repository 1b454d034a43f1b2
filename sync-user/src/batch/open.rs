//! Remembers files that are being written, until they are closed or have waited long enough.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Stamp, Stamps, TreePath};

/// Files that are open for writing as far as is known, each with the time at which it is looked
/// at even so.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    by_path: BTreeMap<TreePath, Waiting>,
    by_due: BTreeSet<(Stamp, TreePath)>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) due: Stamp,
    pub(super) stamps: Option<Stamps>,
}

impl OpenFiles {
    pub(super) fn len(&self) -> usize {
        self.by_path.len()
    }

    pub(super) fn contains(&self, path: &TreePath) -> bool {
        self.by_path.contains_key(path)
    }

    /// Adds `path`; of two due times the earlier stays, so that steady writing cannot put it off.
    pub(super) fn insert(&mut self, path: TreePath, waiting: Waiting) {
        match self.by_path.get(&path) {
            Some(before) if before.due <= waiting.due => return,
            Some(before) => {
                self.by_due.remove(&(before.due, path.clone()));
            }
            None => {}
        }
        self.by_due.insert((waiting.due, path.clone()));
        self.by_path.insert(path, waiting);
    }

    pub(super) fn remove(&mut self, path: &TreePath) -> Option<Waiting> {
        let waiting = self.by_path.remove(path)?;
        self.by_due.remove(&(waiting.due, path.clone()));
        Some(waiting)
    }

    pub(super) fn at_or_below(&self, top: &TreePath) -> Vec<(TreePath, Waiting)> {
        top.at_or_below(&self.by_path).map(|(path, waiting)| (path.clone(), *waiting)).collect()
    }

    pub(super) fn first_due(&self) -> Option<Stamp> {
        self.by_due.first().map(|(due, _)| *due)
    }

    pub(super) fn last_due(&self) -> Option<Stamp> {
        self.by_due.last().map(|(due, _)| *due)
    }

    /// Takes out one file that is due at `now`.
    pub(super) fn pop_due(&mut self, now: Stamp) -> Option<(TreePath, Waiting)> {
        if self.first_due()? > now {
            return None;
        }
        let (_, path) = self.by_due.pop_first()?;
        let waiting = self.by_path.remove(&path)?;
        Some((path, waiting))
    }
}
