//! Keeps removals back that come as a flood, and holds those that are too many until a person decides.
//!
//! The target keeps what is held, and the ledger goes on to say that it does (I4), so that every later
//! comparison finds it again. What [`Guard`] decides is done here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tracing::{info, warn};

use super::Replica;
use super::answers::is_removal;
use super::flights::Flight;
use crate::barrier::PutOff;
use crate::clock;
use crate::daemon::inquiry::{Decision, HeldRemovals};
use crate::ledger::{read_held, write_held};
use crate::model::{Batch, Depth, Step, TreePath};
use crate::plan::{self, Observed, State};
use crate::ship::Session;

/// Removals that are named to those who ask; a directory stands for all that is below it.
const NAMED_MAX: usize = 1_000;

impl Replica {
    /// Takes up what the last run has held.
    pub(super) fn restore_held(&mut self) {
        match read_held(&self.setup.ledger) {
            Ok(held) => self.guard.restore(held, clock::now()),
            Err(error) => {
                let path = self.setup.ledger.display();
                warn!(%path, "cannot read which removals are held: {error}; they are judged anew");
            }
        }
        self.show_held();
    }

    /// Leaves out of the plan for what was `seen` the removals that are not to be made now.
    pub(super) fn guard_removals(&mut self, batch: &Batch, seen: &mut BTreeMap<TreePath, Observed>) {
        let now = clock::now();
        for (path, observed) in seen.iter() {
            if matches!(observed.state, State::Present(_)) {
                self.guard.came_back(path, now);
            }
        }
        let (removals, added) = plan::removals(seen, &self.ledger);
        // Of what has changed while nobody looked nothing tells that it belongs together.
        let is_comparison = batch.looks.get(&TreePath::root()).is_some_and(|look| look.depth >= Depth::Below);
        let added = if is_comparison { 0 } else { added };
        let (holds, since) = (self.ledger.len(), self.retries.owed_since());
        let held_before = self.guard.held().len();
        let verdict = self.guard.judge((&removals, added), &batch.looks, holds, since, now);
        let mut kept = verdict.kept;
        plan::keep(seen, &mut kept, &self.ledger);
        self.guard.join(kept);
        if let Some((count, of)) = verdict.held {
            self.tell_held(&removals, (count, of), held_before == 0);
        }
        self.settle_held();
    }

    /// The first time as a warning: a flood may come in several parts.
    fn tell_held(&self, removals: &BTreeSet<TreePath>, (count, of): (usize, usize), is_first: bool) {
        let (target, percent) = (&self.setup.target, self.setup.extraneous.percent_max);
        let first = removals.first().map(ToString::to_string).unwrap_or_default();
        if is_first {
            warn!(%target, first, count, of, "removals are held, as they are more than --max-delete {percent} per cent: the target keeps these paths; see `ksyncd deletes list`, then `ksyncd deletes approve` makes them, and `ksyncd deletes reject` leaves the paths to the target");
        } else {
            info!(%target, first, count, of, "more removals are held");
        }
    }

    /// Plans the flood that is over, if there is one. Says whether there was.
    pub(super) fn judge_flood(&mut self, session: &mut Session, is_busy: bool) -> bool {
        let Some((batch, since)) = self.guard.take_over(is_busy, clock::now()) else { return false };
        self.retries.owe_since(since);
        let (held_before, flood) = (self.guard.held().len(), batch.looks.keys().cloned().collect::<Vec<_>>());
        self.execute(session, batch);
        self.guard.judged();
        if self.guard.held().len() > held_before {
            // What is being sent could not be looked at, and shares the fate of the rest.
            let (retries, ledger) = (&self.retries, &self.ledger);
            let is_put_off = |path: &TreePath| retries.waits(path) && ledger.get(path).is_some();
            self.guard.hold_too(flood.into_iter().filter(is_put_off));
        }
        self.settle_held();
        true
    }

    /// The connection is lost, and with the next one everything is compared: what was kept back is found
    /// again.
    pub(super) fn forgo_flood(&mut self) {
        if let Some(since) = self.guard.owed_since() {
            self.retries.owe_since(since);
            let batch = self.guard.take_gathered(clock::now());
            self.put_off(&batch, Duration::ZERO);
        }
    }

    /// These were on their way when a connection was lost.
    pub(super) fn forgo(&mut self, flights: &[Flight]) {
        self.guard.lost(flights.iter().filter(|flight| is_removal(flight.step())).count());
    }

    /// The trees were compared: what the ledger does not know any more is not held either.
    pub(super) fn prune_held(&mut self) {
        let ledger = &self.ledger;
        self.guard.retain(|path| ledger.get(path).is_some());
        self.settle_held();
    }

    /// Follows what the target itself has done.
    pub(super) fn follow_held(&mut self, step: &Step) {
        match step {
            Step::RemoveFile { path, .. } | Step::RemoveDirectory { path } => self.guard.forget(path),
            Step::Rename { from, to, .. } => self.guard.renamed(from, to),
            Step::Exchange { one, other, .. } => self.guard.exchanged(one, other),
            _ => {}
        }
    }

    /// Shows what is held now, and stores it where the next run would go wrong without.
    pub(super) fn settle_held(&mut self) {
        if self.guard.take_changed() {
            self.show_held();
        }
        if self.guard.take_outdated() {
            self.store_held();
        }
    }

    pub(super) fn store_held(&self) {
        if let Err(error) = write_held(&self.setup.ledger, self.guard.held()) {
            let path = self.setup.ledger.display();
            warn!(%path, "cannot keep which removals are held: {error}; approve or reject them before the next start");
        }
    }

    fn show_held(&self) {
        let held = self.guard.held();
        self.target().held_removals.set(held.len(), self.guard.held_since());
        self.setup.gauges.barrier.hold(self.setup.index, PutOff::of(held.iter()));
    }

    /// Does what a person has decided about all that is held; gives what that was.
    pub(super) fn decide(&mut self, decision: Decision) -> HeldRemovals {
        let answer = self.held_removals();
        if decision == Decision::Pending || answer.count == 0 {
            return answer;
        }
        let held = self.guard.take_held();
        let (target, count) = (&self.setup.target, held.len());
        if decision == Decision::Approved {
            info!(%target, count, "removals that were held are approved");
            self.guard.approve(held.iter().cloned());
        } else {
            info!(%target, count, "removals that were held are rejected: what the target has there is not ours any more");
            for path in &held {
                self.ledger.forget(path);
            }
            if self.is_two_way() {
                self.lacking.add(held.iter().cloned());
            }
        }
        self.retries.owe_since(self.debts.taken());
        for path in held {
            self.look_again(path, Depth::Entry, Duration::ZERO);
        }
        self.settle_held();
        answer
    }

    fn held_removals(&self) -> HeldRemovals {
        let held = self.guard.held();
        let mut named: Vec<(TreePath, usize)> = Vec::new();
        let mut more = 0;
        for path in held.iter().filter(|path| !path.above().any(|above| held.contains(&above))) {
            if named.len() < NAMED_MAX {
                named.push((path.clone(), 0));
            } else {
                more += 1;
            }
        }
        for (top, count) in &mut named {
            *count = 1 + top.count_below(held);
        }
        let since = self.guard.held_since().map(|since| clock::now().since(since));
        HeldRemovals {
            count: held.len(),
            of: self.ledger.len(),
            since: since.unwrap_or_default(),
            named,
            more,
        }
    }
}
