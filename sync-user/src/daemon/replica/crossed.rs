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
//! - They have taken away what is here no more: the target may hold what our step has left there, and
//!   only that is removed. What somebody has made there since is refused to be removed, and comes here.
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
    let before = |path: TreePath| ours.undo.before(&path).and_then(Known::held);
    match &ours.step {
        Step::Rename { from, to, .. } => path.moved(to, from).and_then(before),
        Step::Exchange { one, other, .. } => {
            path.moved(one, other).or_else(|| path.moved(other, one)).and_then(before)
        }
        _ => ours.becomes.filter(|_| ours.undo.paths().any(|concerned| concerned == path)),
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
    let old = ours.undo.before(path).and_then(Known::held);
    match here {
        There::Foreign => Remedy::Look,
        // Theirs was here, and was removed here since: that is what the target most likely has.
        There::Nothing if known.is_some() => Remedy::Look,
        There::Nothing => {
            // Under the name that their rename gave it.
            let moved = before
                .and_then(|before| left(ours, before).or(ours.undo.before(before).and_then(Known::held)));
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
            if self.flights.own_concern(path) {
                // What is left there a later step says, which was crossed as well, or built on what came.
                continue;
            }
            let here = match self.setup.tree.look(path) {
                Seen::Present(entry) => There::Version(entry.version),
                Seen::Absent => There::Nothing,
                Seen::Special | Seen::Ignored | Seen::Unreadable(_) => There::Foreign,
            };
            // What was refused the ledger does not say, and theirs it says.
            let remedy = if is_applied {
                remedy(&flight.planned, path, before.as_ref(), here, self.ledger.held(path))
            } else {
                Remedy::Look
            };
            debug!(target = %self.setup.target, %path, is_applied, ?remedy, "a change of the target crossed a step");
            match remedy {
                Remedy::Look => {}
                Remedy::Expect(held) => self.target_holds(path, Some(Held { twin: None, ..held })),
                Remedy::Forget => self.target_holds(path, None),
                Remedy::Tell(version) => {
                    if let Some(keeper) = &mut self.keeper {
                        keeper.note_gap(std::iter::once(path));
                    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;
    use crate::model::{Content, Entry, Inode, Mode, Owner, Stamp, Time, XattrHash};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn version(size: u64) -> Version {
        let (kind, mtime) = (FileKind::File, Time { seconds: size.cast_signed(), nanoseconds: 0 });
        Version { kind, size, mtime, mode: Mode(0o644), owner: Owner::NOBODY, xattrs: XattrHash::NONE }
    }

    fn file(size: u64) -> Held {
        let content = Some(Content::of(&size.to_be_bytes()));
        Held { version: version(size), content, settled: true, twin: None }
    }

    fn directory() -> Held {
        let version = Version { kind: FileKind::Directory, ..version(0) };
        Held { version, content: None, settled: true, twin: None }
    }

    /// What both ends have agreed on: `d`, `d/x` and `f`, of 1 byte each.
    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.set(path("d"), Known::Holds(directory()));
        for at in ["d/x", "f"] {
            ledger.set(path(at), Known::Holds(file(1)));
        }
        ledger
    }

    fn planned(step: Step, becomes: Option<Held>, ledger: &mut Ledger) -> Planned {
        let undo = ledger.follow(&step, becomes);
        Planned { step, becomes, undo, old_files: Vec::new() }
    }

    fn put(at: &str, size: u64) -> (Step, Option<Held>) {
        let inode = Inode { device: 1, number: 1 };
        let entry = Entry { version: version(size), inode, links: 1, destination: None };
        (Step::PutFile { path: path(at), entry, expects: Expected::Anything }, Some(file(size)))
    }

    fn change(at: &str, held: Held) -> (Step, Option<Held>) {
        let (path, version, expects) = (path(at), held.version, Expected::Anything);
        (Step::SetAttributes { path, version, expects }, Some(held))
    }

    fn remove(at: &str) -> (Step, Option<Held>) {
        (Step::RemoveFile { path: path(at), expects: Expected::Anything }, None)
    }

    fn rename(from: &str, to: &str) -> (Step, Option<Held>) {
        let (expects, replaces) = (version(1), Expected::Anything);
        (Step::Rename { from: path(from), to: path(to), expects, replaces }, None)
    }

    /// Where a step of ours is crossed, and what is done about it if this is here.
    fn met(
        ours: (Step, Option<Held>),
        theirs: (Step, Option<Held>),
        here: &[(&str, Held)],
    ) -> BTreeMap<String, Remedy> {
        let (mut ledger, mut flights) = (ledger(), Flights::default());
        let ours = planned(ours.0, ours.1, &mut ledger);
        let ticket = flights.add(Flight::new(ours, None, Stamp(0)));
        let (step, becomes) = theirs;
        flights.cross(&step, becomes);
        ledger.follow(&step, becomes);
        let flight = flights.land(ticket).unwrap();
        let is_here = |path: &TreePath| here.iter().find(|(at, _)| at.as_bytes() == path.as_bytes());
        let remedies = flight.crossed.0.iter().map(|(path, before)| {
            let there = is_here(path).map_or(There::Nothing, |(_, held)| There::Version(held.version));
            (path.to_string(), remedy(&flight.planned, path, before.as_ref(), there, ledger.held(path)))
        });
        remedies.collect()
    }

    fn at(at: &str, remedy: Remedy) -> (String, Remedy) {
        (at.to_owned(), remedy)
    }

    #[test]
    fn steps_that_have_nothing_to_do_with_each_other_do_not_cross() {
        for theirs in [remove("g"), change("d/y", file(3)), change("d", directory()), rename("g", "h")] {
            assert_eq!(met(put("d/x", 2), theirs, &[]), BTreeMap::new());
        }
    }

    #[test]
    fn what_is_gone_here_is_removed_there_if_it_is_what_we_have_put() {
        let crossed = met(put("f", 1), remove("f"), &[]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Expect(file(1)))]));
        let crossed = met(put("f", 1), rename("f", "g"), &[("g", file(1))]);
        let expected = [at("f", Remedy::Expect(file(1))), at("g", Remedy::Forget)];
        assert_eq!(crossed, BTreeMap::from(expected));
        let crossed = met(put("f", 1), change("f", file(2)), &[]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Look)]), "it is theirs that was removed here");
        // What we have removed need not be removed again.
        let crossed = met(remove("f"), remove("f"), &[]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Look)]));
    }

    #[test]
    fn what_we_have_removed_comes_back_only_if_the_target_wants_it() {
        let crossed = met(remove("f"), change("f", file(1)), &[("f", file(1))]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Tell(version(1)))]));
        // Something else is an edit.
        let crossed = met(remove("f"), change("f", file(2)), &[("f", file(2))]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Forget)]));
        let crossed = met(rename("f", "g"), change("f", file(1)), &[("f", file(1)), ("g", file(1))]);
        let expected = [at("f", Remedy::Tell(version(1))), at("g", Remedy::Tell(version(1)))];
        assert_eq!(crossed, BTreeMap::from(expected));
    }

    #[test]
    fn of_two_files_the_rule_decides_and_the_same_twice_is_agreed_on() {
        let crossed = met(put("f", 2), change("f", file(3)), &[("f", file(3))]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Forget)]));
        let crossed = met(put("f", 2), change("f", file(2)), &[("f", file(2))]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Look)]));
        let other_mode = Held { version: Version { mode: Mode(0o600), ..version(2) }, ..file(2) };
        let crossed = met(put("f", 2), change("f", other_mode), &[("f", other_mode)]);
        assert_eq!(crossed, BTreeMap::from([at("f", Remedy::Forget)]));
    }

    #[test]
    fn what_a_directory_holds_is_looked_at_under_each_of_its_names() {
        // Ours took along what they have removed.
        let crossed = met(rename("d", "e"), remove("d/x"), &[("e", directory()), ("e/x", file(1))]);
        assert_eq!(crossed.get("e/x"), Some(&Remedy::Tell(version(1))));
        assert_eq!(crossed.get("d/x"), Some(&Remedy::Look));
        // Theirs took along what we have removed.
        let crossed = met(remove("d/x"), rename("d", "e"), &[("e", directory())]);
        assert_eq!(crossed.get("e/x"), Some(&Remedy::Expect(file(1))));
        // And what we have changed.
        let crossed = met(put("d/x", 2), rename("d", "e"), &[("e", directory()), ("e/x", file(2))]);
        assert_eq!(crossed.get("e/x"), Some(&Remedy::Forget));
        assert_eq!(crossed.get("d/x"), Some(&Remedy::Expect(file(2))));
    }
}
