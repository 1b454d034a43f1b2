//! Loads the ledger when a run begins, stores what is acknowledged (I4), and notes in the journal what
//! is not.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Replica;
use super::answers::is_removal;
use super::keeper::Keeper;
use super::outlines::Memory;
use crate::ledger::{About, Held, Known, Ledger};
use crate::model::{FileKind, Stamp, Step, TreePath};
use crate::plan::Planned;

impl Replica {
    /// Reads what is known of the target from an earlier run. Of a large ledger that takes a while.
    pub(in crate::daemon) fn open_ledger(&mut self) {
        self.load_ledger();
        self.restore_held();
        self.memory = Memory::open(&self.setup.ledger, &self.ledger);
    }

    fn load_ledger(&mut self) {
        let Some((keeper, saved, noted)) = Keeper::open(&self.setup.ledger) else { return };
        self.keeper = Some(keeper);
        let Some(mut saved) = saved else { return };
        if !self.is_two_way() {
            saved.entries.extend(noted.iter().map(|note| (note.path.clone(), Known::Unsure)));
        }
        // Paths that are excluded by now are not ours any more (I3).
        let tree = Arc::clone(&self.setup.tree);
        let is_ours = |path: &TreePath, known: Known| {
            let is_directory =
                matches!(known, Known::Holds(Held { version, .. }) if version.kind == FileKind::Directory);
            !tree.excludes_as(path, is_directory)
        };
        self.ledger = Ledger::saved(saved.entries, is_ours);
        if self.is_two_way() {
            // What was agreed on tells a removal from what is new at the other end, so it is not given up.
            let noted =
                noted.into_iter().filter(|note| note.known.is_none_or(|known| is_ours(&note.path, known)));
            self.doubts.noted(noted.collect(), &mut self.ledger);
        }
        self.about = Some(saved.about);
        self.expect_arrivals();
    }

    /// Stores what has changed in the ledger and is acknowledged (I4).
    pub(super) fn store(&mut self, now: Stamp) {
        let (flights, holding) = (&self.flights, &self.holding);
        if let Some(keeper) = &mut self.keeper {
            keeper.store(&mut self.ledger, |path| flights.concern(path) || holding.concerns(path), now);
        }
        self.memory.forget(&mut self.ledger, |path| flights.concern(path));
    }

    /// Stores the rest. Only when everything is answered the next run can do without a listing.
    pub(super) fn close_ledger(&mut self, complete: bool) {
        self.store_held();
        if let Some(keeper) = self.keeper.take() {
            for path in self.holding.take_all() {
                self.ledger.set(path, Known::Unsure);
            }
            let flights = &self.flights;
            let entries = self.ledger.take_touched(|path| flights.concern(path));
            let about = self.about.clone().filter(|_| complete);
            keeper.finish(entries, about.map(|about| About { complete: true, ..about }));
        }
    }

    /// To be called before the steps are sent.
    pub(super) fn note_in_journal(&mut self, steps: &[Planned]) {
        let is_two_way = self.is_two_way();
        if let Some(keeper) = &mut self.keeper {
            let is_foreign = |step: &Step| is_removal(step) && self.removing.contains(step.path());
            let ours = steps.iter().filter(|planned| !is_foreign(&planned.step));
            let paths: Vec<&TreePath> = ours.flat_map(|planned| planned.undo.paths()).collect();
            if is_two_way {
                // Between two steps at one path something else is there.
                let mut seen = BTreeSet::new();
                keeper.note_gap(paths.iter().copied().filter(|path| !seen.insert(*path)));
            }
            keeper.note(&self.ledger, paths.into_iter());
        }
    }
}
