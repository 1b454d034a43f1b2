//! Compares a listing with what both ends had agreed on, where either may have changed since
//! (two-way).
//!
//! There are three versions of a path: the one that was agreed on last, which the ledger knows, what
//! the target lists, and what is here. What only the target has changed stays as it is in the
//! ledger: its own daemon sends it. What only this end has changed is sent, and so is what both
//! have: the target decides. Without a ledger nothing was agreed on, so nothing is removed (I3).

use std::collections::{BTreeMap, BTreeSet};

use super::{Known, Ledger, Listed, Note};
use crate::model::{FileKind, Owner, Step, There, TreePath, Version};

/// What may have become of paths, since steps were on their way there when the connection ended, or
/// the run.
#[derive(Debug, Default)]
pub struct Doubts {
    by_path: BTreeMap<TreePath, Vec<Option<Known>>>,
    /// Of what was agreed on there what was stored may be behind.
    noted: BTreeSet<TreePath>,
}

impl Doubts {
    pub fn is_empty(&self) -> bool {
        self.by_path.is_empty()
    }

    /// A step may have left this there.
    pub fn add(&mut self, path: &TreePath, known: Option<Known>) {
        self.by_path.entry(path.clone()).or_default().push(known);
    }

    /// A journal says what the run before may have left, and what was agreed on for sure, which the
    /// ledger is to know.
    pub fn noted(&mut self, notes: Vec<Note>, ledger: &mut Ledger) {
        for Note { path, known, is_agreed } in notes {
            match known {
                _ if !is_agreed => {
                    self.add(&path, known);
                    self.noted.insert(path);
                    continue;
                }
                Some(known) => ledger.set(path.clone(), known),
                None => ledger.forget(&path),
            }
            self.noted.remove(&path);
            self.by_path.remove(&path);
        }
    }

    /// It came from the target after all that a journal tells of.
    pub fn arrived(&mut self, step: &Step) {
        if self.noted.is_empty() {
            return;
        }
        if let Step::Rename { from, to, .. } = step {
            self.noted.retain(|path| !path.is_at_or_below(from) && !path.is_at_or_below(to));
        }
        for path in step.paths() {
            self.noted.remove(path);
        }
    }

    /// What steps may have put there.
    fn put(&self, path: &TreePath) -> impl Iterator<Item = &Known> {
        self.by_path.get(path).into_iter().flatten().flatten()
    }

    /// Whether a step of ours may have removed it.
    fn is_removed(&self, path: &TreePath) -> bool {
        self.by_path.get(path).is_some_and(|doubts| doubts.contains(&None))
    }
}

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
        let was_removed = |path: &TreePath| doubts.is_removed(path) && gone(path);
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
            let agreed = known.iter().chain(doubts.put(&path)).find(|known| is_ours(known)).copied();
            let is_same = here.is_some_and(|here| here.is_kept_as(&listed.version));
            if agreed.is_none() && !is_same && doubts.noted.contains(&path) {
                self.set(path, Known::Unsure);
                continue;
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Held;
    use crate::model::{Mode, Time, XattrHash};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn version(size: u64) -> Version {
        let mtime = Time { seconds: size.cast_signed(), nanoseconds: 0 };
        let (kind, mode) = (FileKind::File, Mode(0o644));
        Version { kind, size, mtime, mode, owner: Owner::NOBODY, xattrs: XattrHash::NONE }
    }

    fn held(version: Version) -> Held {
        Held { version, content: None, settled: true, twin: None }
    }

    fn listed(at: &str, version: Version) -> Listed {
        Listed { path: path(at), held: held(version), inode: None }
    }

    /// What the ledger says of each path after a merge of what was agreed on, what is there, and
    /// what is here.
    fn merged(
        agreed: &[(&str, u64)],
        there: &[(&str, u64)],
        here: &[(&str, u64)],
    ) -> (Ledger, Vec<TreePath>) {
        merged_with(agreed, there, here, &Doubts::default())
    }

    fn merged_with(
        agreed: &[(&str, u64)],
        there: &[(&str, u64)],
        here: &[(&str, u64)],
        doubts: &Doubts,
    ) -> (Ledger, Vec<TreePath>) {
        let mut ledger = Ledger::default();
        for (at, size) in agreed {
            ledger.set(path(at), Known::Holds(held(version(*size))));
        }
        let here: BTreeMap<TreePath, Version> =
            here.iter().map(|(at, size)| (path(at), version(*size))).collect();
        let listing = there.iter().map(|(at, size)| listed(at, version(*size)));
        let missing = ledger.merge(listing, doubts, |path| here.get(path).copied());
        (ledger, missing)
    }

    fn size(ledger: &Ledger, at: &str) -> Option<u64> {
        ledger.held(&path(at)).map(|held| held.version.size)
    }

    #[test]
    fn what_only_the_other_end_has_changed_is_left_to_it() {
        let (ledger, missing) = merged(&[("f", 1), ("gone", 1)], &[("f", 2)], &[("f", 1), ("gone", 1)]);
        assert_eq!(
            (size(&ledger, "f"), size(&ledger, "gone")),
            (Some(1), Some(1)),
            "nothing is sent over it"
        );
        assert_eq!(missing, []);
    }

    #[test]
    fn both_changes_meet_at_what_was_agreed_on() {
        let (ledger, _) = merged(&[("f", 1)], &[("f", 2)], &[("f", 3)]);
        assert_eq!(size(&ledger, "f"), Some(1));
        let (ledger, _) = merged(&[("f", 1)], &[("f", 2)], &[("f", 2)]);
        assert_eq!(size(&ledger, "f"), Some(2), "the same change twice is agreed on");
    }

    /// I3
    #[test]
    fn without_a_ledger_nothing_is_removed_and_what_is_missing_is_asked_for() {
        let (ledger, missing) =
            merged(&[], &[("both", 1), ("there", 1), ("other", 1)], &[("both", 1), ("other", 2)]);
        assert_eq!(
            (size(&ledger, "both"), size(&ledger, "there"), size(&ledger, "other")),
            (Some(1), None, None)
        );
        assert_eq!(missing, [path("there")]);
    }

    #[test]
    fn what_was_on_its_way_may_have_arrived() {
        let sent = Some(Known::Holds(held(version(2))));
        let mut doubts = Doubts::default();
        doubts.add(&path("f"), sent);
        doubts.add(&path("g"), None);
        let (ledger, _) = merged_with(&[("f", 1), ("g", 1)], &[("f", 2)], &[("f", 3)], &doubts);
        assert_eq!((size(&ledger, "f"), size(&ledger, "g")), (Some(2), None));
    }

    /// A run that was killed may have done what its journal says, and what was agreed on before is not
    /// forgotten: what was removed here since is known to be.
    #[test]
    fn what_a_journal_tells_of_is_as_it_was_or_as_it_was_to_be() {
        let known = |size| Some(Known::Holds(held(version(size))));
        let names = ["as it was", "as sent", "as nobody knows", "removed there", "removed by us"];
        let agreed = names.map(|name| (name, 1));
        let mut doubts = Doubts::default();
        let note = |name: &str, known| Note { path: path(name), known, is_agreed: false };
        let agreed_since = Note { is_agreed: true, ..note("removed there", known(1)) };
        let notes = [note("removed there", None), agreed_since].into_iter();
        let notes = notes.chain(names.iter().map(|name| note(name, known(2))));
        let notes = notes.chain([note("removed by us", None)]).collect();
        doubts.noted(notes, &mut Ledger::default());
        let there = [("as it was", 1), ("as sent", 2), ("as nobody knows", 3)];
        let (ledger, missing) = merged_with(&agreed, &there, &[], &doubts);
        assert_eq!(names.map(|name| size(&ledger, name)), [Some(1), Some(2), None, Some(1), None]);
        assert_eq!(ledger.get(&path("as nobody knows")), Some(Known::Unsure));
        assert_eq!(missing, []);
    }

    #[test]
    fn of_attributes_that_one_end_has_changed_those_are_kept() {
        let with = |mode| Version { mode: Mode(mode), ..version(1) };
        let (before, ours, theirs) = (with(0o644), with(0o600), with(0o640));
        assert_eq!(agreed_attributes(Some(before), before, ours), before, "ours are sent");
        assert_eq!(agreed_attributes(Some(before), theirs, before), before, "theirs will come");
        assert_eq!(agreed_attributes(Some(before), theirs, ours), theirs, "ours are sent, being stricter");
        assert_eq!(agreed_attributes(None, ours, theirs), theirs, "and seen from the other end nothing is");
    }
}
