//! Knows which large contents the target has, and where: what a new file can be built from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Held, Known};
use crate::model::{Content, FileKind, OldFile, TreePath};

/// Files that are remembered here, 20 MB of them; the content of others is sent, whatever the
/// target has (I6).
const FILES_MAX: usize = 100_000;

/// Contents that are remembered as lost. Those beyond are found by the next run.
const LOST_MAX: usize = 1_000;

/// Large files whose content is known, by size.
#[derive(Debug, Default)]
pub(super) struct Contents {
    by_size: BTreeMap<u64, BTreeSet<TreePath>>,
    files: usize,
    /// How many of the files have each content.
    counts: HashMap<Content, usize>,
    /// Contents that a path no longer has.
    lost: BTreeSet<(TreePath, [u8; 32])>,
}

/// The size and content of a large file, as far as they are known.
fn large(known: Known) -> Option<(u64, Content)> {
    let Known::Holds(Held { version, content, .. }) = known else { return None };
    let is_large = version.kind == FileKind::File && version.size >= OldFile::SIZE_MIN;
    Some((version.size, content.filter(|_| is_large)?))
}

impl Contents {
    pub(super) fn add(&mut self, path: &TreePath, known: Known) {
        let Some((size, content)) = large(known) else { return };
        if self.files < FILES_MAX && self.by_size.entry(size).or_default().insert(path.clone()) {
            self.files += 1;
            *self.counts.entry(content).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, path: &TreePath, known: Known) {
        let Some((size, content)) = large(known) else { return };
        let Some(paths) = self.by_size.get_mut(&size) else { return };
        if !paths.remove(path) {
            return;
        }
        if paths.is_empty() {
            self.by_size.remove(&size);
        }
        self.files -= 1;
        if let Some(count) = self.counts.get_mut(&content) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&content);
            }
        }
        if self.lost.len() < LOST_MAX {
            self.lost.insert((path.clone(), content.0));
        }
    }

    /// The files of this size.
    pub(super) fn of_size(&self, size: u64) -> impl Iterator<Item = &TreePath> {
        self.by_size.get(&size).into_iter().flatten()
    }

    pub(super) fn has(&self, content: Content) -> bool {
        self.counts.contains_key(&content)
    }

    /// Contents that are nowhere any more. What `is_open` says of a path is that its last step may
    /// be taken back: what it had is left for the next time.
    pub(super) fn take_lost(&mut self, is_open: impl Fn(&TreePath) -> bool) -> Vec<Content> {
        let Self { lost, counts, .. } = self;
        let settled = lost.extract_if(.., |(path, _)| !is_open(path)).map(|(_, content)| Content(content));
        settled.filter(|content| !counts.contains_key(content)).collect()
    }
}
