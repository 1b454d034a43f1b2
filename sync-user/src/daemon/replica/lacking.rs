//! Gathers what the target has and this end has not, or has in another version that made way, where
//! replication is two-way.
//!
//! Mostly it is on its way here already. Only what has not come when nothing comes any more is asked
//! for: the other end's ledger may say that it is here.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Replica;
use crate::clock;
use crate::model::{Stamp, Step, There, TreePath, Version};
use crate::ship::Session;
use crate::tree::Seen;

/// How long nothing may have come before paths are asked for.
pub(super) const QUIET: Duration = Duration::from_secs(3);

/// Paths that are asked for, unless they come by themselves. Their number is bounded by that of
/// the paths that the target has listed, and of the steps that were refused.
#[derive(Debug, Default)]
pub(super) struct Lacking {
    /// Each with what the target has there, if this end has something else; `None` if it has nothing.
    paths: BTreeMap<TreePath, Option<There>>,
    /// When something came last, or a path was added.
    quiet_since: Stamp,
}

impl Lacking {
    /// The target has these, and this end has nothing there.
    pub(super) fn add(&mut self, paths: impl IntoIterator<Item = TreePath>) {
        self.paths.extend(paths.into_iter().map(|path| (path, None)));
        self.quiet_since = clock::now();
    }

    /// What the target has at `path` has won over what this end has.
    pub(super) fn yielded(&mut self, path: TreePath, there: There) {
        self.paths.insert(path, Some(there));
        self.quiet_since = clock::now();
    }

    /// Something came.
    pub(super) fn stir(&mut self) {
        if !self.paths.is_empty() {
            self.quiet_since = clock::now();
        }
    }

    /// This has come: what is gone again since is not to be asked for.
    pub(super) fn arrived(&mut self, step: &Step) {
        for path in step.paths() {
            self.paths.remove(path);
        }
    }
}

/// Whether what is `here` is not what the target was found to have there.
fn lacks(here: &Seen, there: Option<There>) -> bool {
    match (here, there) {
        (Seen::Absent, _) => true,
        (Seen::Present(here), Some(There::Version(there))) => {
            !here.version.is_kept_as(&there) || here.version.mode != there.mode
        }
        _ => false,
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
        let lacking = paths.into_iter().filter(|(path, there)| lacks(&tree.look(path), *there));
        let lacking: Vec<(TreePath, Option<Version>)> = lacking.map(|(path, _)| (path, None)).collect();
        session.holds(&lacking);
    }
}
