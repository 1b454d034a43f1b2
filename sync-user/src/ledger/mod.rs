//! Knows what one target holds, so that only differences travel.
//!
//! It starts from what the last run stored ([`Store`]), where that can be believed, else from the
//! target's own listing, and follows each step as it is planned, so that the
//! next plan can build on it. A step that is refused is taken back, whatever was planned after
//! it ([`Undo`]); after a lost connection the steps without an answer leave their paths
//! [`Known::Unsure`] (I4), and unsure is never taken for equal. Paths that only the target has are
//! not in the ledger, so nothing ever removes them (I3).

mod contents;
mod follow;
mod journal;
mod links;
mod merge;
mod outlines;
mod removals;
mod store;
mod twins;

#[cfg(test)]
mod tests;

pub use follow::Undo;
pub use journal::{Journal, Note};
pub use links::Links;
pub use merge::Doubts;
pub use outlines::Outlines;
pub use removals::{held_removals, read_held, write_held};
pub use store::{About, Entry, Saved, Store, StoreError};
pub use twins::Twin;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::{Deserialize, Serialize};

use crate::model::{Content, Expected, FileKind, Inode, OldFile, Owner, There, Time, TreePath, Version};
use contents::Contents;
use twins::Twins;

/// What is known of one path of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Known {
    Holds(Held),
    /// Something may be there, of whatever kind and content: we put it there, or meant to.
    Unsure,
}

impl Known {
    /// What is there, if that is sure.
    pub fn held(self) -> Option<Held> {
        match self {
            Self::Holds(held) => Some(held),
            Self::Unsure => None,
        }
    }

    /// What a step expects that is planned when this is known of its path.
    pub fn expected(known: Option<Self>) -> Expected {
        match known {
            None => Expected::Absent,
            Some(Self::Holds(Held { version, .. }))
                if version.kind == FileKind::Directory || version.mtime != Time::UNKNOWN =>
            {
                Expected::This(version)
            }
            Some(Self::Holds(_) | Self::Unsure) => Expected::Anything,
        }
    }
}

/// A path of the target as it was listed, or as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    pub version: Version,
    /// The hash of a file's content or of a link's destination, where it is known.
    pub content: Option<Content>,
    /// Whether the modification time was old enough when the content was read that a later
    /// write must have changed it. If not, equal times prove nothing.
    pub settled: bool,
    /// The same for all names of one inode of the target, as far as it has several.
    pub twin: Option<Twin>,
}

/// A path of the target as it was listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub path: TreePath,
    pub held: Held,
    /// The inode at the target, of what has several names.
    pub inode: Option<Inode>,
}

/// How many files of the same size are offered as what another may be a copy of.
const ALIKE_MAX: usize = 4;

/// What one target holds, by path.
#[derive(Debug, Default)]
pub struct Ledger {
    known: BTreeMap<TreePath, Known>,
    twins: Twins,
    contents: Contents,
    /// Paths of which something else is known since they were last stored.
    touched: BTreeSet<TreePath>,
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
        self.get(path).and_then(Known::held)
    }

    /// What the next step at this path expects there.
    pub fn expected(&self, path: &TreePath) -> Expected {
        Known::expected(self.get(path))
    }

    /// Whether the path is known to be a directory; the root always is.
    pub fn is_directory(&self, path: &TreePath) -> bool {
        path.is_root() || self.held(path).is_some_and(|held| held.version.kind == FileKind::Directory)
    }

    pub fn set(&mut self, path: TreePath, known: Known) {
        let before = self.get(&path);
        if before == Some(known) {
            return;
        }
        if let Some(before) = before {
            self.contents.remove(&path, before);
            self.twins.remove(&path, before);
        }
        self.contents.add(&path, known);
        self.twins.add(&path, known);
        self.touched.insert(path.clone());
        self.known.insert(path, known);
    }

    /// Nothing is known any more of the time of the directory at `path`, so it is set when that is
    /// looked at.
    pub fn forget_time(&mut self, path: &TreePath) {
        if let Some(mut held) = self.held(path).filter(|held| held.version.kind == FileKind::Directory) {
            held.version.mtime = Time::UNKNOWN;
            self.set(path.clone(), Known::Holds(held));
        }
    }

    pub fn forget(&mut self, path: &TreePath) {
        if let Some(before) = self.known.remove(path) {
            self.contents.remove(path, before);
            self.twins.remove(path, before);
        }
        self.touched.insert(path.clone());
    }

    /// A ledger as it was stored, without the paths that `is_ours` is false for. Of what is said twice of a path
    /// the last counts.
    pub fn saved(entries: Vec<(TreePath, Known)>, is_ours: impl Fn(&TreePath, Known) -> bool) -> Self {
        // Made at once it takes a third of the time.
        let mut ledger = Self { known: entries.into_iter().collect(), ..Self::default() };
        let Self { known, twins, contents, touched } = &mut ledger;
        known.retain(|path, known| {
            let is_ours = is_ours(path, *known);
            if is_ours {
                contents.add(path, *known);
                twins.add(path, *known);
            }
            if !is_ours || *known == Known::Unsure {
                touched.insert(path.clone());
            }
            is_ours
        });
        ledger
    }

    /// Forgets everything, since it was about another target.
    pub fn clear(&mut self) {
        self.relist([], false, |_| None);
    }

    /// The paths of which something else is known since they were last taken.
    pub fn touched(&self) -> impl Iterator<Item = &TreePath> {
        self.touched.iter()
    }

    /// What is known of the paths that have changed, but for those that `is_open`: what becomes of
    /// them is not known yet, and they are left for the next time.
    pub fn take_touched(&mut self, is_open: impl Fn(&TreePath) -> bool) -> Vec<Entry> {
        let settled: Vec<TreePath> = self.touched.extract_if(.., |path| !is_open(path)).collect();
        settled.into_iter().map(|path| (self.get(&path), path)).map(|(known, path)| (path, known)).collect()
    }

    /// What the target has that a file of this size at `path` can be built from: first what is
    /// there already, then others of the same size, which may be the same.
    pub fn old_files(&self, path: &TreePath, size: u64) -> Vec<OldFile> {
        if size < OldFile::SIZE_MIN {
            return Vec::new();
        }
        let others = self.contents.of_size(size).filter(|other| *other != path).take(ALIKE_MAX);
        let old_file = |path: &TreePath| {
            let Held { version, content, .. } = self.held(path)?;
            let is_large = version.kind == FileKind::File && version.size >= OldFile::SIZE_MIN;
            Some(OldFile { path: path.clone(), version, content: content.filter(|_| is_large)? })
        };
        std::iter::once(path).chain(others).filter_map(old_file).collect()
    }

    /// Whether some large file of the target is known to have this content.
    pub fn has_content(&self, content: Content) -> bool {
        self.contents.has(content)
    }

    /// Large contents that no file of the target has any more; what had been at paths that are
    /// `is_open` is left for the next time.
    pub fn take_lost_contents(&mut self, is_open: impl Fn(&TreePath) -> bool) -> Vec<Content> {
        self.contents.take_lost(is_open)
    }

    /// The paths that are names of one inode of the target.
    pub fn twins(&self, twin: Twin) -> impl Iterator<Item = &TreePath> {
        self.twins.of(twin)
    }

    /// A mark for an inode that shall have several names.
    pub fn new_twin(&mut self) -> Twin {
        self.twins.fresh()
    }

    /// The target cannot make `path` a hard link: from now on it is a file of its own.
    pub fn set_apart(&mut self, path: TreePath) {
        self.twins.set_apart(path);
    }

    pub fn is_apart(&self, path: &TreePath) -> bool {
        self.twins.is_apart(path)
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
    ///
    /// With `is_exact` what was known held until now, but for what was unsure: what is listed otherwise
    /// somebody else has changed. It is not ours any more, and given back.
    pub fn relist(
        &mut self,
        listing: impl IntoIterator<Item = Listed>,
        is_exact: bool,
        at_source: impl Fn(&TreePath) -> Option<Owner>,
    ) -> Vec<TreePath> {
        let mut changed = Vec::new();
        let before = std::mem::take(&mut self.known);
        self.twins = Twins::default();
        self.contents = Contents::default();
        self.touched.extend(before.keys().cloned());
        let mut inodes = HashMap::new();
        for Listed { path, held: mut listed, inode } in listing {
            let owner = at_source(&path);
            let known = before.get(&path);
            if known.is_none() && owner.is_none() {
                continue;
            }
            let there = There::Version(listed.version);
            if is_exact && known.is_some() && !Known::expected(known.copied()).admits(&there) {
                changed.push(path);
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
            // What was put there is shown with a coarser time by some file systems, and by SFTP.
            if let Some(Known::Holds(held)) = known
                && held.version.is_kept_as(&listed.version)
                && held.version.mtime.is_kept_as(listed.version.mtime)
            {
                listed.version.mtime = held.version.mtime;
            }
            if let Some(Known::Holds(held)) = known
                && held.version == listed.version
            {
                listed.content = listed.content.or(held.content);
                listed.settled = held.settled;
            }
            listed.twin = inode.map(|inode| *inodes.entry(inode).or_insert_with(|| self.twins.fresh()));
            self.set(path, Known::Holds(listed));
        }
        changed
    }
}
