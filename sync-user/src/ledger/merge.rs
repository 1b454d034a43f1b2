//! Compares a listing with what both ends had agreed on, where either may have changed since
//! (two-way).
//!
//! There are three versions of a path: the one that was agreed on last, which the ledger knows, what
//! the target lists, and what is here. What only the target has changed stays as it is in the
//! ledger: its own daemon sends it. What only this end has changed is sent, and so is what both
//! have: the target decides. Without a ledger nothing was agreed on, so nothing is removed (I3).

use std::collections::BTreeMap;

use super::{Known, Ledger, Listed};
use crate::model::{FileKind, Owner, There, TreePath, Version};

/// What may have become of paths, since steps were on their way there when the connection ended.
pub type Doubts = BTreeMap<TreePath, Vec<Option<Known>>>;

impl Ledger {
    /// Gives the paths that the target has and this end never had.
    pub fn merge(
        &mut self,
        listing: impl IntoIterator<Item = Listed>,
        doubts: &Doubts,
        here: impl Fn(&TreePath) -> Option<Version>,
    ) -> Vec<TreePath> {
        let listing: BTreeMap<TreePath, Listed> =
            listing.into_iter().map(|listed| (listed.path.clone(), listed)).collect();
        let gone = |path: &TreePath| !listing.contains_key(path);
        let was_removed =
            |path: &TreePath| doubts.get(path).is_some_and(|doubts| doubts.contains(&None)) && gone(path);
        let removed: Vec<TreePath> = self.known.keys().filter(|path| was_removed(path)).cloned().collect();
        for path in &removed {
            self.forget(path);
        }
        let mut missing = Vec::new();
        let mut inodes = BTreeMap::new();
        for (path, Listed { held: mut listed, inode, .. }) in listing {
            let (known, here) = (self.get(&path), here(&path));
            let there = There::Version(listed.version);
            let is_ours = |known: &Known| {
                matches!(known, Known::Holds(_)) && Known::expected(Some(*known)).admits(&there)
            };
            let sent = || doubts.get(&path).into_iter().flatten().flatten();
            let agreed = known.iter().chain(sent()).find(|known| is_ours(known)).copied();
            let is_same = here.is_some_and(|here| here.is_kept_as(&listed.version));
            if agreed.is_none() && !is_same {
                if known.is_none() && here.is_none() {
                    missing.push(path);
                }
                continue;
            }
            if let Some(Known::Holds(before)) = agreed {
                listed.content = listed.content.or(before.content);
                listed.settled = before.settled;
            }
            let before = match agreed {
                Some(Known::Holds(held)) => Some(held.version),
                _ => None,
            };
            if let Some(here) = here {
                // What the target cannot set is no difference.
                let owner = &mut listed.version.owner;
                if owner.user == Owner::LEFT {
                    owner.user = here.owner.user;
                }
                if owner.group == Owner::LEFT {
                    owner.group = here.owner.group;
                }
                listed.version = agreed_attributes(before, listed.version, here);
            }
            listed.twin = inode.map(|inode| *inodes.entry(inode).or_insert_with(|| self.twins.fresh()));
            self.set(path, Known::Holds(listed));
        }
        missing
    }
}

/// The listed version with the attributes that the ledger is to know: the listed ones if this
/// end's are to be sent, and else this end's own. Where both ends have others than were agreed on,
/// both decide by their order, alike.
fn agreed_attributes(before: Option<Version>, listed: Version, here: Version) -> Version {
    let rank = |version: Version| (version.mode.0, version.owner.user, version.owner.group, version.xattrs);
    let is_as_before = |version: Version| before.is_some_and(|before| rank(version) == rank(before));
    let sends = match (is_as_before(listed), is_as_before(here)) {
        (true, _) => true,
        (false, true) => false,
        (false, false) => rank(here) < rank(listed),
    };
    let attributes = if sends { listed } else { here };
    // Times of directories are not replicated this way.
    let mtime = if listed.kind == FileKind::Directory { here.mtime } else { listed.mtime };
    Version { mode: attributes.mode, owner: attributes.owner, xattrs: attributes.xattrs, mtime, ..listed }
}
