//! Remembers which names share an inode at the source.
//!
//! The kernel reports a write under the one name that was opened; the other hard links of the
//! inode changed with it. They are separate files at the target, so each has to be sent.

use std::collections::{BTreeSet, HashMap};

use crate::model::{Inode, TreePath};

/// Names by inode, for inodes that were seen with more than one. It may name too many, which
/// costs a look, never too few of the names that were replicated.
#[derive(Debug, Default)]
pub struct Links {
    names: HashMap<Inode, BTreeSet<TreePath>>,
}

impl Links {
    /// Notes that `path` names `inode`, which has `links` names in all.
    pub fn note(&mut self, inode: Inode, links: u64, path: &TreePath) {
        if links > 1 {
            self.names.entry(inode).or_default().insert(path.clone());
        } else {
            self.names.remove(&inode);
        }
    }

    /// The other names that `inode` had when they were last seen.
    pub fn others<'a>(&'a self, inode: Inode, path: &'a TreePath) -> impl Iterator<Item = &'a TreePath> {
        self.names.get(&inode).into_iter().flatten().filter(move |name| *name != path)
    }

    /// Forgets `path`, which no longer names `inode`.
    pub fn drop_name(&mut self, inode: Inode, path: &TreePath) {
        if let Some(names) = self.names.get_mut(&inode) {
            names.remove(path);
            if names.is_empty() {
                self.names.remove(&inode);
            }
        }
    }
}
