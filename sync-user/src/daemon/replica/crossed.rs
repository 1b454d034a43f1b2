//! Sees which of our steps a change of the target crosses on its way here, and has their paths
//! compared anew (two-way, I8).
//!
//! The ledger follows both in the order in which this end learns of them: ours, then theirs. At the
//! target theirs came first, unless it was made upon ours, and nothing tells which. If both were
//! taken where they arrived, each end may hold what the other one has given up: a file that is sent
//! once more meets its removal, and is where it was removed and gone where it was not. At least one
//! of the ends sees that they cross, since a receipt is handled only after all that arrived before.
//!
//! So the ledger is not believed where they met. What it is made to say then is never wrong in a way
//! that loses anything, whichever came first:
//!
//! - Nothing is here any more: the target may hold what our step has left there, and only that is
//!   removed. What somebody has made there since is refused to be removed, and comes here.
//! - It is here, and is what our step removed: the target has sent what it had not heard of. Whether
//!   it is to stay only the target's own daemon can tell, so that is told what is here ([`holding`](super::holding)).
//!   To send it would bring back what was removed.
//! - Anything else is put as if nothing were known, and the rule decides, alike at both ends.
//!
//! A rename takes what is below along, also what the other end did not know to be moved. So each
//! path is looked at under the name that either rename would have given it, too.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::debug;

use super::Replica;
use super::flights::{Flight, Flights};
use crate::ledger::{Held, Known};
use crate::model::{Depth, Expected, FileKind, Step, There, TreePath, Version};
use crate::plan::Planned;
use crate::tree::Seen;

/// Where changes of the target have crossed a step: each path, and the name that it had where they
/// met, if a rename has given it another. No more than the paths of the tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Crossed(BTreeMap<TreePath, Option<TreePath>>);

/// What is done about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The ledger is right, or a look leads to a step that meets whatever is there.
    Look,
    /// The target may hold this: it is removed if it is just that.
    Expect(Held),
    /// Nothing is known of it.
    Forget,
    /// The target's daemon has to compare this with what is there.
    Tell(Version),
}

impl Flights {
    /// A change of the target has arrived, while ours are on their way.
    pub(super) fn cross(&mut self, theirs: &Step, becomes: Option<Held>) {
        let keeps_below = |kind: FileKind| kind == FileKind::Directory;
        let is_deep = !becomes.is_some_and(|held| keeps_below(held.version.kind));
        let concerns = |path: &TreePath| {
            self.concern(path)
                || (is_deep && self.concern_below(path))
                || path.above().any(|above| self.concern(&above))
        };
        if !theirs.paths().any(concerns) {
            return;
        }
        for Flight { planned, crossed, .. } in self.own_mut() {
            crossed.meet(planned, theirs, is_deep);
        }
    }
}

impl Crossed {
    fn meet(&mut self, ours: &Planned, theirs: &Step, is_deep: bool) {
        let moves = !matches!(
            ours.step,
            Step::MakeDirectory { .. } | Step::SetAttributes { .. } | Step::SetDirectoryTime { .. }
        );
        // What a rename carries along is below the names that it has.
        let others = ours.undo.paths().filter(|_| !is_rename(&ours.step));
        for our in ours.step.paths().chain(others) {
            for their in theirs.paths() {
                if our == their || (moves && their.is_below(our)) || (is_deep && our.is_below(their)) {
                    for met in [our, their] {
                        self.0.entry(met.clone()).or_insert(None);
                        for moved in names(&ours.step, met).chain(names(theirs, met)) {
                            self.0.entry(moved).or_insert_with(|| Some(met.clone()));
                        }
                    }
                }
            }
        }
    }
}

fn is_rename(step: &Step) -> bool {
    matches!(step, Step::Rename { .. } | Step::Exchange { .. })
}

/// The names that a rename gives what was at `path`.
fn names<'a>(step: &'a Step, path: &'a TreePath) -> impl Iterator<Item = TreePath> + use<> {
    let (there, back) = match step {
        Step::Rename { from, to, .. } => (path.moved(from, to), None),
        Step::Exchange { one, other, .. } => (path.moved(one, other), path.moved(other, one)),
        _ => (None, None),
    };
    there.into_iter().chain(back)
}

/// What `ours` has left at a path, if it was applied.
fn left(ours: &Planned, path: &TreePath) -> Option<Held> {
    let before = |path: TreePath| held(ours.undo.before(&path));
    match &ours.step {
        Step::Rename { from, to, .. } => path.moved(to, from).and_then(before),
        Step::Exchange { one, other, .. } => {
            path.moved(one, other).or_else(|| path.moved(other, one)).and_then(before)
        }
        _ => ours.becomes.filter(|_| ours.undo.paths().any(|concerned| concerned == path)),
    }
}

fn held(known: Option<Known>) -> Option<Held> {
    match known {
        Some(Known::Holds(held)) => Some(held),
        Some(Known::Unsure) | None => None,
    }
}

/// What to do about `path`, where `here` is what this end holds there, and `known` what the ledger
/// says.
fn remedy(
    ours: &Planned,
    path: &TreePath,
    before: Option<&TreePath>,
    here: There,
    known: Option<Held>,
) -> Remedy {
    let made = left(ours, path);
    let old = held(ours.undo.before(path));
    match here {
        There::Foreign => Remedy::Look,
        There::Nothing => {
            // Under the name that their rename gave it.
            let moved = before.and_then(|before| left(ours, before).or(held(ours.undo.before(before))));
            made.or(moved).map_or(Remedy::Look, Remedy::Expect)
        }
        There::Version(here) => {
            let is = |held: Option<Held>| held.is_some_and(|held| held.version.is_kept_as(&here));
            let gave_up = if before.is_some() { made } else { old.filter(|_| made.is_none()) };
            if is(gave_up) {
                return Remedy::Tell(here);
            }
            let is_same = |(one, other): (Held, Held)| {
                let what = |held: Held| (held.version.kind, held.version.mode, held.content);
                what(one) == what(other) && one.version.is_kept_as(&other.version)
            };
            // Both have put the same.
            if made.zip(known).is_some_and(is_same) { Remedy::Look } else { Remedy::Forget }
        }
    }
}

impl Replica {
    /// The target has answered a step, which is out of the ledger if it was refused.
    pub(super) fn check_crossed(&mut self, flight: &Flight, is_applied: bool) {
        for (path, before) in &flight.crossed.0 {
            let here = match self.setup.tree.look(path) {
                Seen::Present(entry) => There::Version(entry.version),
                Seen::Absent => There::Nothing,
                Seen::Special | Seen::Ignored | Seen::Unreadable(_) => There::Foreign,
            };
            let remedy = match is_applied {
                true => remedy(&flight.planned, path, before.as_ref(), here, self.ledger.held(path)),
                false => Remedy::Look,
            };
            debug!(target = %self.setup.target, %path, is_applied, ?remedy, "a change of the target crossed a step");
            match remedy {
                Remedy::Look => {}
                Remedy::Expect(held) => self.target_holds(path, Some(Held { twin: None, ..held })),
                Remedy::Forget => self.target_holds(path, None),
                Remedy::Tell(version) => {
                    self.holding.add(path.clone(), version);
                    continue;
                }
            }
            let depth =
                if is_rename(flight.step()) || before.is_some() { Depth::Below } else { Depth::Entry };
            self.look_again(path.clone(), depth, Duration::ZERO);
        }
    }

    /// Has the ledger say of a path what the target holds there, or that nothing is known, in its
    /// place among the steps on their way.
    pub(super) fn target_holds(&mut self, path: &TreePath, held: Option<Held>) {
        let (path, expects) = (path.clone(), Expected::Anything);
        let step = match held {
            Some(Held { version, .. }) => Step::SetAttributes { path, version, expects },
            None => Step::RemoveFile { path, expects },
        };
        self.follow_target(step, held);
    }
}
