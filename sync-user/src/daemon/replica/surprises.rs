//! Gathers what somebody else has changed at the target, as steps meet it.
//!
//! A step that meets something else than it expects need not mean that: an earlier one, which the
//! plan built on, may have been refused meanwhile. So what was met is compared with the ledger as it
//! is once that was taken back.

use std::collections::BTreeSet;

use tracing::{debug, warn};

use super::Replica;
use crate::clock;
use crate::ledger::{Known, Ledger};
use crate::model::{Found, Met, Step, There, TreePath};

/// Paths that were kept at the target and are remembered, to be shown (I6).
const KEPT_MAX: usize = 100;

/// Why a path stays at the target that is gone at the source.
const KEPT: &str =
    "remove it at the target: somebody has changed it there; if it is not wanted, remove it there by hand";

/// What others have changed at one target.
#[derive(Debug, Default)]
pub(super) struct Surprises {
    /// Replaced since the last time that was told, and the first such path.
    replaced: Option<(usize, TreePath)>,
    /// Removed at the source, and not at the target.
    kept: Option<(usize, TreePath)>,
    /// Of all that were kept, those that are shown.
    shown: BTreeSet<TreePath>,
}

impl Surprises {
    /// Whether `path` was kept at the target.
    pub(super) fn keeps(&self, path: &TreePath) -> bool {
        self.shown.contains(path)
    }
}

fn count(gathered: &mut Option<(usize, TreePath)>, path: &TreePath) {
    gathered.get_or_insert_with(|| (0, path.clone())).0 += 1;
}

/// Notes in the ledger what a step, already taken back, has found at one of its paths instead of
/// what it expects. What is not as the ledger says is not ours any more, and never removed (I3); if
/// the source has the path, it is sent again. Gives the path if it is such a one.
pub(super) fn learn(found: &Found, step: &Step, ledger: &mut Ledger) -> Option<TreePath> {
    let Found { path, there } = found;
    let path = step.paths().find(|named| named.as_bytes() == path)?.clone();
    let is_ours = ledger.expected(&path).admits(there);
    let puts = matches!(step, Step::PutFile { .. } | Step::PutSymlink { .. } | Step::Link { .. });
    if there.is_directory() && path == *step.path() && (puts || is_ours) {
        // A directory that is in the way goes first, if it is empty.
        if !ledger.is_directory(&path) {
            ledger.set(path.clone(), super::answers::guess_directory());
        }
    } else if !is_ours {
        ledger.forget(&path);
    }
    (!is_ours).then_some(path)
}

impl Replica {
    /// A step was applied to something that `before` says, or does not say.
    pub(super) fn met(&mut self, path: &TreePath, met: Met, before: Option<Known>) {
        let Met::Other(there) = met else { return };
        if Known::expected(before).admits(&there) {
            return;
        }
        self.target().unexpected_replaced.add(1);
        debug!(target = %self.setup.target, %path, ?there, "replaced what somebody has changed there");
        count(&mut self.surprises.replaced, path);
    }

    /// A removal was refused, since somebody has changed what was to be removed.
    pub(super) fn kept(&mut self, path: &TreePath, there: Option<There>) {
        self.target().unexpected_kept.add(1);
        self.setup.gauges.counters.problems.add(1);
        debug!(target = %self.setup.target, %path, ?there, "kept what somebody has changed there");
        if self.surprises.shown.len() < KEPT_MAX {
            self.surprises.shown.insert(path.clone());
        }
        self.target().problem(path, KEPT, clock::now());
        count(&mut self.surprises.kept, path);
    }

    /// A path that was kept is ours again.
    pub(super) fn reclaimed(&mut self, path: &TreePath) {
        self.surprises.shown.remove(path);
    }

    /// Tells what others have changed since the last time.
    pub(super) fn tell_surprises(&mut self) {
        let target = &self.setup.target;
        let replaced = self.surprises.replaced.take();
        if let (Some((count, path)), true) = (&replaced, self.is_two_way()) {
            warn!(%target, %path, count, "changed at both ends: this one is newer and stays; the other is kept there, see `ksyncd conflicts` on that machine");
        } else if let Some((count, path)) = replaced {
            warn!(%target, %path, count, "somebody has changed it at the target: replaced by what the source has");
        }
        if let Some((count, path)) = self.surprises.kept.take() {
            warn!(%target, %path, count, "cannot {KEPT}");
        }
    }
}
