//! Knows what one target holds, so that only differences travel.
//!
//! It starts from the target's own listing and follows each step as it is planned, so that the
//! next plan can build on it. A step that is refused is taken back, whatever was planned after
//! it ([`Undo`]); after a lost connection the steps without an answer leave their paths
//! [`Known::Unsure`] (I4), and unsure is never taken for equal. Paths that only the target has are
//! not in the ledger, so nothing ever removes them (I3).

mod follow;
mod links;

#[cfg(test)]
mod tests;

pub use follow::Undo;
pub use links::Links;

use std::collections::BTreeMap;

use crate::model::{Content, FileKind, Owner, TreePath, Version};

/// What is known of one path of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    Holds(Held),
    /// Something may be there, of whatever kind and content: we put it there, or meant to.
    Unsure,
}

/// A path of the target as it was listed, or as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub version: Version,
    /// The hash of a file's content or of a link's destination, where it is known.
    pub content: Option<Content>,
    /// Whether the modification time was old enough when the content was read that a later
    /// write must have changed it. If not, equal times prove nothing.
    pub settled: bool,
}

/// What one target holds, by path.
#[derive(Debug, Default)]
pub struct Ledger {
    known: BTreeMap<TreePath, Known>,
}

impl Ledger {
    pub fn len(&self) -> usize {
        self.known.len()
    }

    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn get(&self, path: &TreePath) -> Option<Known> {
        self.known.get(path).copied()
    }

    /// What the path is known to hold; `None` when nothing is known, or nothing for sure.
    pub fn held(&self, path: &TreePath) -> Option<Held> {
        match self.known.get(path) {
            Some(Known::Holds(held)) => Some(*held),
            Some(Known::Unsure) | None => None,
        }
    }

    /// Whether the path is known to be a directory; the root always is.
    pub fn is_directory(&self, path: &TreePath) -> bool {
        path.is_root() || self.held(path).is_some_and(|held| held.version.kind == FileKind::Directory)
    }

    pub fn set(&mut self, path: TreePath, known: Known) {
        self.known.insert(path, known);
    }

    pub fn forget(&mut self, path: &TreePath) {
        self.known.remove(path);
    }

    /// What is known below `top`, without `top` itself, in path order.
    pub fn below(&self, top: &TreePath) -> impl DoubleEndedIterator<Item = (&TreePath, &Known)> {
        top.below(&self.known)
    }

    pub fn has_below(&self, top: &TreePath) -> bool {
        self.below(top).next().is_some()
    }

    /// What is known of `top` and of everything below it, in path order.
    pub fn at_or_below(&self, top: &TreePath) -> Vec<(TreePath, Known)> {
        top.at_or_below(&self.known).map(|(path, known)| (path.clone(), *known)).collect()
    }

    /// Starts over from what the target lists, keeping to the paths that are ours: those that
    /// were known before, and those that `at_source` has. What is known of content stays where
    /// the target lists the very version it was known for.
    pub fn relist(
        &mut self,
        listing: impl IntoIterator<Item = (TreePath, Held)>,
        at_source: impl Fn(&TreePath) -> Option<Owner>,
    ) {
        let before = std::mem::take(&mut self.known);
        for (path, mut listed) in listing {
            let owner = at_source(&path);
            let known = before.get(&path);
            if known.is_none() && owner.is_none() {
                continue;
            }
            // What the target cannot set is no difference to be mended.
            let owner = owner.unwrap_or(Owner::NOBODY);
            let listed_owner = &mut listed.version.owner;
            if listed_owner.user == Owner::LEFT {
                listed_owner.user = owner.user;
            }
            if listed_owner.group == Owner::LEFT {
                listed_owner.group = owner.group;
            }
            if let Some(Known::Holds(held)) = known
                && held.version == listed.version
            {
                listed.content = listed.content.or(held.content);
                listed.settled = held.settled;
            }
            self.known.insert(path, Known::Holds(listed));
        }
    }
}
