//! Finds what only the target has, where that is to be removed.
//!
//! It is asked for by `--delete-extraneous`, and once in a run: when the trees are compared first.
//! What is found becomes ours, and goes as what was removed at the source does, if it still is as it
//! was listed. Each doubt about the source keeps all of it (I3).

use std::collections::BTreeSet;

use tracing::{error, info};

use super::Replica;
use super::comparison::Listing;
use crate::clock;
use crate::home;
use crate::model::{FileKind, TreePath};

/// Whether to remove what only the target has, and how much of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extraneous {
    pub remove: bool,
    /// Of what the target holds, in per cent: if more would go, nothing does.
    pub percent_max: u8,
}

impl Replica {
    /// The paths that only the target has and that are to be removed.
    pub(super) fn extraneous(&mut self, listing: &Listing, is_shared: bool) -> BTreeSet<TreePath> {
        let Extraneous { remove, percent_max } = self.setup.extraneous;
        if !remove || self.acquainted {
            return BTreeSet::new();
        }
        let is_extraneous = |path: &TreePath, kind: FileKind| {
            !path.is_root()
                && !listing.at_source.contains_key(path)
                && self.ledger.get(path).is_none()
                && !self.setup.tree.excludes_as(path, kind == FileKind::Directory)
        };
        let entries = listing.entries.iter();
        let extraneous = entries.filter(|listed| is_extraneous(&listed.path, listed.held.version.kind));
        let extraneous: BTreeSet<TreePath> = extraneous.map(|listed| listed.path.clone()).collect();
        let Some(first) = extraneous.first() else { return extraneous };
        let (count, of) = (extraneous.len(), listing.entries.len());
        let is_stage = |path: &TreePath| path.components().any(|name| name == home::NAME.as_bytes());
        let doubt = if is_shared || extraneous.iter().any(is_stage) {
            "other sources replicate into it, or below; it has to be this one's alone".to_owned()
        } else if let Some((place, cause)) = &listing.unreadable {
            format!("{place} at the source cannot be read: {cause}; mend that")
        } else if !self.root_holds() || listing.at_source.keys().all(TreePath::is_root) {
            "the source is empty, or not the directory that it was; see to that".to_owned()
        } else if count * 100 > of * usize::from(percent_max) {
            format!("--max-delete {percent_max} allows less; see whether they may go, and give a higher one")
        } else {
            info!(target = %self.setup.target, count, %first, "removing what only the target has");
            self.removing.clone_from(&extraneous);
            // Judged here; there is no flood at the source.
            self.guard.approve(extraneous.iter().cloned());
            return extraneous;
        };
        let what =
            format!("remove the {count} of {of} paths that only the target has: {doubt}, and start again");
        error!(target = %self.setup.target, %first, "cannot {what}; they stay there");
        self.target().problem(first, &what, clock::now());
        self.setup.gauges.counters.problems.add(1);
        self.left = Some(first.clone());
        BTreeSet::new()
    }
}
