//! Turns batches into steps: looks at the source, plans, and submits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, error, info};

use super::{Replica, flights};
use crate::clock;
use crate::daemon::arrivals::Arrivals;
use crate::daemon::observe::{names_of_moves, observe, present};
use crate::model::{Batch, Depth, Look, Stamp, Step, TreePath};
use crate::plan::{self, Planned};
use crate::ship::Session;

/// Names of files that may be remembered beyond twice those that the target has (I6).
const LINKS_SPARE: usize = 10_000;

/// How many fifos, sockets and devices are told of.
const SPECIAL_MAX: usize = 100;

/// How soon a large file is looked at again that has changed while its content was on its way.
const SENDING_RETRY: Duration = Duration::from_millis(20);

/// How long a look at a directory waits for the large files in it. They may be sent all the time, and
/// it heals a gap.
const RESCAN_PUT_OFF_MAX: Duration = Duration::from_secs(10);

/// How soon the source is looked at again when it was not the directory that was opened.
const IDENTITY_RETRY: Duration = Duration::from_secs(1);

impl Replica {
    /// Tells once of each fifo, socket and device, as long as they are few.
    fn tell_special(&mut self, special: Vec<TreePath>) {
        for path in special {
            if self.special.len() < SPECIAL_MAX && self.special.insert(path.clone()) {
                info!(%path, "a fifo, socket or device is not replicated");
            }
        }
    }

    /// Looks, plans and submits.
    pub(super) fn execute(&mut self, session: &mut Session, mut batch: Batch) {
        self.tell_lacks();
        self.tell_surprises();
        // What is seen counts only if the root is the one that was opened, before and after (I3).
        if !self.root_holds() {
            return self.put_off(&batch, IDENTITY_RETRY);
        }
        let now = clock::now();
        let is_overdue = self.rescan_put_off.is_some_and(|since| now.since(since) > RESCAN_PUT_OFF_MAX);
        let is_rescan = |look: &Look| look.depth >= Depth::Below;
        self.take_arrivals();
        let arrivals = self.setup.arrivals.as_ref().zip(self.about.as_ref().map(|about| about.id));
        let is_sending = |path: &TreePath, look: &Look| {
            let below = is_rescan(look) && !is_overdue;
            let is_changing = |(arrivals, root): (&Arrivals, _)| arrivals.is_changing(root, path, below);
            session.is_sending(path, below) || arrivals.is_some_and(is_changing)
        };
        // What has become of it meanwhile is seen once it has gone, or a second one would wait behind it.
        let sending: BTreeMap<TreePath, Look> =
            batch.looks.extract_if(.., |path, look| is_sending(path, look)).collect();
        if sending.values().any(is_rescan) {
            self.rescan_put_off.get_or_insert(now);
        } else if batch.looks.values().any(is_rescan) {
            self.rescan_put_off = None;
        }
        if !sending.is_empty() {
            let gaps = std::mem::take(&mut batch.gaps);
            let sending = Batch { looks: sending, moves: Vec::new(), gaps, closed: batch.closed };
            self.put_off(&sending, SENDING_RETRY);
        }
        if batch.is_empty() {
            return;
        }
        // Repeated, it would take what is kept below along under a name at which nobody looks for it.
        batch.moves.retain(|rename| !self.guard.concerns(&rename.from) && !self.guard.concerns(&rename.to));
        // The target most likely has it under its new name.
        let elsewhere = &self.elsewhere;
        batch.moves.retain(|rename| !elsewhere.concerns(&rename.from) && !elsewhere.concerns(&rename.to));
        let batch = &batch;
        let tree = Arc::clone(&self.setup.tree);
        let names = names_of_moves(&batch.moves, &tree);
        let mut steps = plan::moves(&batch.moves, &names, &mut self.ledger);
        let mut observation = observe(batch, &tree, &self.ledger, &mut self.links);
        if self.links.len() > 2 * self.ledger.len() + LINKS_SPARE {
            let ledger = &self.ledger;
            self.links.retain(|name| ledger.get(name).is_some());
        }
        let mut looked = true;
        if self.root_holds() {
            self.leave_to_others(&mut observation.seen);
            self.guard_removals(batch, &mut observation.seen);
            let links = tree.preserve().links;
            steps.extend(plan::differences(&observation.seen, links, &mut self.ledger));
        } else {
            self.put_off(batch, IDENTITY_RETRY);
            looked = false;
        }
        if self.setup.terms.publishes {
            let last = Arc::clone(&self.setup.publish_last);
            steps = plan::pages_last(steps, |path| last.excluded(path, false));
        }
        if tree.preserve().directory_times {
            let at_source = |path: &TreePath| Some(present(&tree, path)?.version);
            let times = plan::directory_times(&steps, &batch.looks, at_source, &mut self.ledger);
            steps.extend(times);
        }
        self.tell_special(observation.special);
        for problem in observation.problems {
            self.problem(&problem.path, &problem.what);
        }
        self.submit(session, steps, &batch.looks, batch.closed);
        if looked {
            let at_root = batch.looks.get(&TreePath::root());
            let everything = at_root.is_some_and(|look| look.depth >= Depth::Below);
            self.healing.planned(batch.gaps, everything, self.flights.last());
        }
    }

    fn submit(
        &mut self,
        session: &mut Session,
        steps: Vec<Planned>,
        looks: &BTreeMap<TreePath, Look>,
        closed: Stamp,
    ) {
        debug!(target = %self.setup.target, steps = steps.len(), "planned");
        self.note_steps(&steps);
        self.note_in_journal(&steps);
        for mut flight in flights::attribute(steps, looks, closed) {
            let (step, mut old_files) =
                (flight.step().clone(), std::mem::take(&mut flight.planned.old_files));
            if self.whole.remove(step.path()) {
                old_files.clear();
            }
            let twins = match &step {
                Step::SetAttributes { path, .. } => {
                    flight.planned.undo.paths().filter(|twin| *twin != path).cloned().collect()
                }
                _ => Vec::new(),
            };
            let ticket = self.flights.add(flight);
            session.submit(ticket, step, old_files, twins);
        }
        let seen = looks.values().filter_map(|look| Some(look.stamps?.seen)).min().unwrap_or(closed);
        self.debts.planned(self.flights.last(), self.retries.owed_since(), seen);
    }

    pub(super) fn root_holds(&mut self) -> bool {
        match self.setup.tree.identity_holds() {
            Ok(()) => {
                if std::mem::take(&mut self.root_lost) {
                    info!("the source's root is back; going on");
                }
                true
            }
            Err(cause) => {
                if !std::mem::replace(&mut self.root_lost, true) {
                    error!("{cause}; nothing is replicated, and nothing removed, until it is back");
                }
                false
            }
        }
    }

    pub(super) fn put_off(&mut self, batch: &Batch, wait: Duration) {
        let due = clock::now().plus(wait);
        for (path, look) in &batch.looks {
            self.retries.put_off(path.clone(), *look, due);
        }
        if batch.gaps > 0 {
            // Whatever the gaps were, this heals them.
            let everything = Look { depth: Depth::Below, content: true, stamps: None };
            self.retries.put_off(TreePath::root(), everything, due);
            self.healing.put_off(batch.gaps);
        }
    }
}
