//! Knows the names below the root of files that have several, so that a change by a name outside
//! of the root is told by those inside.
//!
//! Whoever looks at the tree notes them, and capture asks. Names are noted first and looked at
//! after: so a change that capture cannot place yet is one that the look has seen.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::model::TreePath;

/// Names that are kept. Beyond, nobody knows where a file with several names is, and the root is
/// rescanned when one changes by a name outside (I6). About 20 MB.
const NAMES_MAX: usize = 100_000;

/// Files that are told apart from those that were never looked at, in some 64 MB. Beyond, any file
/// may have a name below the root (I6).
const INODES_MAX: usize = 4_000_000;

/// The index; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Aliases(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    /// The files that were looked at, with one name or several.
    inodes: HashSet<u64>,
    by_inode: HashMap<u64, BTreeSet<TreePath>>,
    by_name: HashMap<TreePath, u64>,
    /// There are more than are kept.
    overflown: bool,
}

/// Where else a file may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// By these names, or by none.
    Names(Vec<TreePath>),
    /// Anywhere.
    Anywhere,
}

impl Aliases {
    /// Of a tree that nobody looks at: whatever changes outside may have a name below the root.
    pub fn unknown() -> Self {
        Self(Arc::new(Mutex::new(Names { overflown: true, ..Names::default() })))
    }

    /// Notes that a file with this inode number was looked at.
    pub fn see(&self, inode: u64) {
        let mut names = self.lock();
        if names.inodes.len() < INODES_MAX {
            names.inodes.insert(inode);
        }
    }

    /// Whether the file may have a name below the root that was looked at.
    pub fn may_hold(&self, inode: u64) -> bool {
        let names = self.lock();
        names.overflown || names.inodes.len() >= INODES_MAX || names.inodes.contains(&inode)
    }

    /// Notes that `path` is one of several names of the inode with this number. On one file
    /// system the number is enough; a wrong one costs a look.
    pub fn note(&self, inode: u64, path: &TreePath) {
        let mut names = self.lock();
        if names.by_name.get(path) == Some(&inode) {
            return;
        }
        names.forget(path);
        if names.by_name.len() >= NAMES_MAX {
            names.overflown = true;
            return;
        }
        names.by_name.insert(path.clone(), inode);
        names.by_inode.entry(inode).or_default().insert(path.clone());
    }

    /// Notes that `path` is gone, or the only name of what it leads to.
    pub fn forget(&self, path: &TreePath) {
        self.lock().forget(path);
    }

    /// The names of the inode with this number.
    pub fn of(&self, inode: u64) -> Found {
        let names = self.lock();
        if names.overflown {
            return Found::Anywhere;
        }
        Found::Names(names.by_inode.get(&inode).into_iter().flatten().cloned().collect())
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn forget(&mut self, path: &TreePath) {
        let Some(inode) = self.by_name.remove(path) else { return };
        if let Some(names) = self.by_inode.get_mut(&inode) {
            names.remove(path);
            if names.is_empty() {
                self.by_inode.remove(&inode);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_file_is_known_by_the_names_that_still_lead_to_it() {
        let aliases = Aliases::default();
        assert_eq!(aliases.of(7), Found::Names(vec![]));
        for name in ["a", "b", "b"] {
            aliases.note(7, &path(name));
        }
        assert_eq!(aliases.of(7), Found::Names(vec![path("a"), path("b")]));
        aliases.note(8, &path("b"));
        aliases.forget(&path("a"));
        assert_eq!((aliases.of(7), aliases.of(8)), (Found::Names(vec![]), Found::Names(vec![path("b")])));
    }

    #[test]
    fn a_file_that_was_never_looked_at_has_no_name_below_the_root() {
        let aliases = Aliases::default();
        aliases.see(7);
        assert_eq!((aliases.may_hold(7), aliases.may_hold(8)), (true, false));
    }

    #[test]
    fn beyond_its_bound_a_file_may_be_anywhere() {
        let aliases = Aliases::default();
        for number in 0..NAMES_MAX {
            aliases.note(number as u64, &path(&number.to_string()));
        }
        assert_eq!(aliases.of(3), Found::Names(vec![path("3")]));
        aliases.note(7, &path("one more"));
        assert_eq!(aliases.of(3), Found::Anywhere);
    }
}
