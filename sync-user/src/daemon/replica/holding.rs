//! Tells the target's own daemon what is here, where only that can tell whether it is to stay
//! (two-way).
//!
//! It compares: what it has as well is agreed on, and what it has not it removes here, if it is still
//! that. Should it do neither, as it does not run, what is here is sent: nothing is to be at one end
//! alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Replica;
use super::lacking::QUIET;
use crate::clock;
use crate::model::{Depth, Stamp, Step, TreePath, Version};
use crate::ship::Session;

/// Paths that the target was told of, or is to be.
#[derive(Debug, Default)]
pub(super) struct Holding {
    /// Until it is told.
    untold: BTreeMap<TreePath, Version>,
    told: BTreeMap<TreePath, Version>,
    /// When something came last, or a path was told.
    quiet_since: Stamp,
}

impl Holding {
    pub(super) fn add(&mut self, path: TreePath, version: Version) {
        self.untold.insert(path, version);
    }

    /// Whether the ledger is not to be believed about `path` after a crash.
    pub(super) fn concerns(&self, path: &TreePath) -> bool {
        self.untold.contains_key(path) || self.told.contains_key(path)
    }

    /// The target has changed something here: what it has changed is settled.
    pub(super) fn arrived(&mut self, step: &Step) {
        if self.told.is_empty() && self.untold.is_empty() {
            return;
        }
        let is_settled = |path: &TreePath| step.paths().any(|changed| path.is_at_or_below(changed));
        self.untold.retain(|path, _| !is_settled(path));
        self.told.retain(|path, _| !is_settled(path));
        self.quiet_since = clock::now();
    }

    /// Everything: nobody will answer.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = TreePath> + use<> {
        std::mem::take(&mut self.untold).into_keys().chain(std::mem::take(&mut self.told).into_keys())
    }
}

impl Replica {
    /// Tells what is to be told, and sends what nobody has said anything about.
    pub(super) fn tell_holding(&mut self, session: &mut Session) {
        if !self.holding.untold.is_empty() {
            let untold = std::mem::take(&mut self.holding.untold);
            let entries: Vec<_> =
                untold.iter().map(|(path, version)| (path.clone(), Some(*version))).collect();
            session.holds(&entries);
            self.holding.told.extend(untold);
            self.holding.quiet_since = clock::now();
        }
        if self.holding.told.is_empty() || clock::now().since(self.holding.quiet_since) < QUIET {
            return;
        }
        for path in std::mem::take(&mut self.holding.told).into_keys() {
            self.target_holds(&path, None);
            self.look_again(path, Depth::Entry, Duration::ZERO);
        }
    }
}
