//! Knows which paths of the target are names of one inode.

use std::collections::{BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use super::Known;
use crate::model::TreePath;

/// A mark that all names of one inode of the target share, and nothing else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Twin(pub u64);

fn twin(known: Known) -> Option<Twin> {
    known.held().and_then(|held| held.twin)
}

/// Paths by mark.
#[derive(Debug, Default)]
pub(super) struct Twins {
    paths: HashMap<Twin, BTreeSet<TreePath>>,
    /// Paths that the target cannot make hard links, until it is listed anew.
    apart: BTreeSet<TreePath>,
    next: u64,
}

impl Twins {
    pub(super) fn fresh(&mut self) -> Twin {
        self.next += 1;
        Twin(self.next)
    }

    pub(super) fn add(&mut self, path: &TreePath, known: Known) {
        let Some(twin) = twin(known) else { return };
        // A mark that comes from elsewhere is not given again.
        self.next = self.next.max(twin.0);
        self.paths.entry(twin).or_default().insert(path.clone());
    }

    pub(super) fn remove(&mut self, path: &TreePath, known: Known) {
        let Some(twin) = twin(known) else { return };
        if let Some(paths) = self.paths.get_mut(&twin) {
            paths.remove(path);
            if paths.is_empty() {
                self.paths.remove(&twin);
            }
        }
    }

    pub(super) fn of(&self, twin: Twin) -> impl Iterator<Item = &TreePath> {
        self.paths.get(&twin).into_iter().flatten()
    }

    pub(super) fn set_apart(&mut self, path: TreePath) {
        self.apart.insert(path);
    }

    pub(super) fn is_apart(&self, path: &TreePath) -> bool {
        self.apart.contains(path)
    }
}
