//! Gathers what the target has and this end has not, where replication is two-way.
//!
//! Mostly it is on its way here already. Only what has not come when nothing comes any more is asked
//! for: the other end's ledger may say that it is here.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Replica;
use crate::clock;
use crate::model::{Stamp, TreePath};
use crate::ship::Session;
use crate::tree::Seen;

/// How long nothing may have come before paths are asked for.
const QUIET: Duration = Duration::from_secs(3);

/// Paths that are asked for, unless they come by themselves. Their number is bounded by that of
/// the paths that the target has listed, and of the removals that were refused.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    paths: BTreeSet<TreePath>,
    /// When something came last, or a path was added.
    quiet_since: Stamp,
}

impl Lacking {
    pub(super) fn add(&mut self, paths: impl IntoIterator<Item = TreePath>) {
        self.paths.extend(paths);
        self.quiet_since = clock::now();
    }

    /// Something came.
    pub(super) fn stir(&mut self) {
        if !self.paths.is_empty() {
            self.quiet_since = clock::now();
        }
    }
}

impl Replica {
    /// Asks for what did not come.
    pub(super) fn tell_lacking(&mut self, session: &mut Session) {
        if self.lacking.paths.is_empty() || clock::now().since(self.lacking.quiet_since) < QUIET {
            return;
        }
        let paths = std::mem::take(&mut self.lacking.paths);
        let tree = &self.setup.tree;
        let lacks = |path: &TreePath| matches!(tree.look(path), Seen::Absent);
        let lacking: Vec<TreePath> = paths.into_iter().filter(lacks).collect();
        session.lacking(&lacking);
    }
}
