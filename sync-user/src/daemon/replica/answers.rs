//! Draws the conclusions from what the target answers.

use std::time::Duration;

use tracing::{debug, info};

use super::flights::Flight;
use super::{Replica, surprises};
use crate::clock;
use crate::ledger::{Held, Known, Ledger};
use crate::metrics::Stage;
use crate::model::{
    Aspect, Content, Depth, FileKind, Found, Lack, Look, Mode, Outcome, Owner, Receipt, Refusal, Step, Time,
    TreePath, Version, XattrHash,
};
use crate::ship::Ticket;

/// After this many failures in a row a path is a problem that is told; before, it is a race
/// with a change that is on its way.
const RACES_MAX: u32 = 4;

impl Replica {
    /// Content was read and is on its way: the ledger follows what was read, not what was
    /// planned.
    pub(super) fn sent(
        &mut self,
        ticket: Ticket,
        version: Version,
        content: Content,
        (settled, torn): (bool, bool),
        shipped: u64,
    ) {
        let Some(flight) = self.flights.get_mut(ticket) else {
            return;
        };
        let planned = flight.planned.becomes;
        let path = flight.step().path().clone();
        let held =
            Held { version, content: Some(content), settled, twin: planned.and_then(|held| held.twin) };
        self.setup.gauges.counters.bytes_shipped.add(shipped);
        self.target().bytes_shipped.add(shipped);
        self.flights.amend(ticket, held, &mut self.ledger);
        if planned.is_none_or(|planned| planned.version != version)
            && let Some(keeper) = &mut self.keeper
        {
            keeper.note(&self.ledger, std::iter::once(&path));
        }
        if torn {
            // All that was there when its batch was planned is on its way.
            self.retries.owe_since(self.debts.taken());
            self.look_again(path, Depth::Entry, self.setup.open_file_interval);
        }
    }

    /// The target was told to build a file from what it has.
    pub(super) fn built(&mut self, ticket: Ticket, from: (TreePath, Content)) {
        if let Some(flight) = self.flights.get_mut(ticket) {
            flight.built_from = Some(from);
        }
    }

    /// A file was gone when its content was wanted, which a change on its way will tell more
    /// of; or it could not be read.
    pub(super) fn unsent(&mut self, ticket: Ticket, failure: Option<String>) {
        self.retries.owe_since(self.debts.since(ticket));
        let Some(flight) = self.withdraw(ticket, |_, _| ()) else {
            return;
        };
        self.check_crossed(&flight, false);
        let path = flight.step().path().clone();
        match failure {
            None => self.look_again(path, Depth::Entry, Duration::ZERO),
            Some(what) => self.problem(&path, &what),
        }
    }

    /// Takes a step out that was not applied. Where it was to be renamed after that, its new name is looked
    /// at as well: the rename was planned as if it took along what is not there.
    pub(super) fn withdraw(
        &mut self,
        ticket: Ticket,
        learned: impl FnOnce(&Step, &mut Ledger),
    ) -> Option<Flight> {
        let flight = self.flights.withdraw(ticket, &mut self.ledger, learned)?;
        for path in flight.step().paths() {
            for name in self.flights.later_names(ticket, path) {
                self.look_again(name, Depth::Below, Duration::ZERO);
            }
        }
        Some(flight)
    }

    pub(super) fn answered(&mut self, ticket: Ticket, receipt: Receipt) {
        let Receipt { sequence: _, outcome, took } = receipt;
        self.retries.owe_since(self.debts.since(ticket));
        match outcome {
            Outcome::Applied { lacks, met } => {
                if let Some(flight) = self.flights.land(ticket) {
                    self.check_crossed(&flight, true);
                    let path = flight.step().path();
                    self.met(path, met, flight.planned.undo.before(path));
                    self.reclaimed(path);
                    self.lacks.note(flight.step().path(), lacks);
                    if flight.built_from.is_some() {
                        self.memory.answered(true);
                    }
                    self.applied(&flight, took);
                }
            }
            Outcome::Refused { refusal, detail, found }
                if self.is_two_way() && (found.is_some() || refusal == Refusal::Contested) =>
            {
                self.contested(ticket, refusal, &detail, found);
            }
            Outcome::Refused { refusal, detail, found } => {
                let flight = self.flights.get_mut(ticket);
                let old_file = flight.and_then(|flight| flight.built_from.take());
                let old_file = old_file.filter(|_| refusal == Refusal::NoOldFile);
                let mut changed = None;
                let learned = |step: &Step, ledger: &mut Ledger| {
                    match &found {
                        Some(found) => changed = surprises::learn(found, step, ledger),
                        None => learn(refusal, step, ledger),
                    }
                    // It has what it was sent since.
                    if let Some((path, old)) = &old_file
                        && ledger.held(path).is_some_and(|held| held.content == Some(*old))
                    {
                        doubt(path, ledger);
                    }
                };
                if let Some(flight) = self.withdraw(ticket, learned) {
                    self.check_crossed(&flight, false);
                    let step = flight.step();
                    if old_file.is_some() {
                        // Another old file may be as wrong as this one.
                        self.whole.insert(step.path().clone());
                    }
                    match changed {
                        Some(path) if is_removal(step) => {
                            self.retries.succeeded(&path);
                            self.kept(&path, found.map(|Found { there, .. }| there));
                        }
                        Some(path) if path != *step.path() => {
                            if matches!(step, Step::Rename { .. }) {
                                // The source has it under its new name alone.
                                self.kept(&path, found.map(|Found { there, .. }| there));
                            } else {
                                self.look_again(path, Depth::Entry, Duration::ZERO);
                            }
                            self.refused(step, refusal, &detail);
                        }
                        _ => self.refused(step, refusal, &detail),
                    }
                }
                if let Some((path, _)) = old_file {
                    self.memory.answered(false);
                    self.look_again(path, Depth::Entry, Duration::ZERO);
                }
            }
        }
    }

    fn applied(&mut self, flight: &Flight, took: Duration) {
        let gauges = &self.setup.gauges;
        if matches!(flight.step(), Step::Rename { .. } | Step::Exchange { .. }) {
            gauges.counters.renames_repeated.add(1);
        }
        if let Some(stamps) = flight.stamps {
            let now = clock::now();
            gauges.counters.changes_shipped.add(1);
            self.target().changes_shipped.add(1);
            for latency in [&*gauges.latency, &self.target().latency] {
                latency.record(Stage::Batch, flight.closed.since(stamps.taken));
                latency.record(Stage::Ship, now.since(flight.closed).saturating_sub(took));
                latency.record(Stage::Apply, took);
                latency.record(Stage::EndToEnd, now.since(stamps.seen));
            }
        }
        if self.retries.succeeded(flight.step().path()) {
            gauges.counters.retried.add(1);
        }
    }

    /// The ledger has the step taken back already.
    fn refused(&mut self, step: &Step, refusal: Refusal, detail: &str) {
        let path = step.path().clone();
        debug!(target = %self.setup.target, path = %path, ?refusal, "refused: {detail}");
        match (refusal, step) {
            // What kept its batch back is told by itself, and all of it is tried again together.
            (Refusal::Withheld, _) => {
                for path in step.paths() {
                    self.retries.failed(path, clock::now());
                }
            }
            (_, Step::Rename { from: other, .. } | Step::Exchange { other, .. }) => {
                self.look_again(other.clone(), Depth::Below, Duration::ZERO);
                self.look_again(path, Depth::Below, Duration::ZERO);
            }
            (Refusal::Unlinkable, _) => {
                let lack = Lack { aspect: Aspect::Links, detail: detail.to_owned() };
                self.lacks.note(&path, vec![lack]);
                self.ledger.set_apart(path.clone());
                self.look_again(path, Depth::Entry, Duration::ZERO);
            }
            // What is in it comes here, if it is not on its way already.
            (Refusal::NotEmpty, Step::RemoveDirectory { .. }) if self.is_two_way() => {
                self.lacking.add([path.clone()]);
                self.retries.failed(&path, clock::now());
            }
            // What of ours is still on its way out of it would leave it behind, and ours no more.
            (Refusal::NotEmpty, Step::RemoveDirectory { .. })
                if !self.ledger.has_below(&path) && !self.flights.concern_below(&path) =>
            {
                info!(target = %self.setup.target, path = %path,
                    "the directory was removed at the source and stays at the target: it holds files of the target's own");
                self.ledger.forget(&path);
            }
            // From now on nothing is known that it could be built from.
            (Refusal::NoOldFile, _) => self.look_again(path, Depth::Entry, Duration::ZERO),
            (Refusal::Withdrawn | Refusal::Damaged, _) => {
                self.look_again(path, Depth::Entry, self.setup.open_file_interval);
            }
            (Refusal::Unexpected | Refusal::NoParent | Refusal::NotEmpty, _)
                if self.retries.attempts(&path) < RACES_MAX =>
            {
                self.retries.failed(&path, clock::now());
            }
            _ => self.problem(&path, &format!("{}: {detail}{}", verb(step), remedy(refusal))),
        }
    }

    pub(super) fn look_again(&mut self, path: TreePath, depth: Depth, wait: Duration) {
        let look = Look { depth, content: true, stamps: None };
        self.retries.put_off(path, look, clock::now().plus(wait));
    }
}

/// Notes what the refusal of a step tells of the target, where it does not say what is there.
fn learn(refusal: Refusal, step: &Step, ledger: &mut Ledger) {
    match (refusal, step) {
        // Of directories the kind is all that matters here: the steps inside will tell the rest.
        (
            Refusal::NoParent,
            Step::Rename { from: one, to: other, .. } | Step::Exchange { one, other, .. },
        ) => {
            for path in [one, other] {
                if !ledger.is_directory(path) {
                    doubt(path, ledger);
                }
            }
        }
        (Refusal::NoParent, step) => {
            doubt(step.path(), ledger);
            if let Some(parent) = step.path().parent() {
                doubt(&parent, ledger);
            }
        }
        // The steps before have disturbed it, whatever was known.
        (_, Step::SetDirectoryTime { path, .. }) => ledger.forget_time(path),
        // One of the attributes may have been set.
        (_, Step::MakeDirectory { path, .. } | Step::SetAttributes { path, .. }) => doubt(path, ledger),
        // All or nothing: it is there, as it was.
        (
            _,
            Step::PutFile { .. }
            | Step::PutSymlink { .. }
            | Step::Link { .. }
            | Step::RemoveFile { .. }
            | Step::RemoveDirectory { .. }
            | Step::Rename { .. }
            | Step::Exchange { .. },
        ) => {}
    }
}

pub(super) fn is_removal(step: &Step) -> bool {
    matches!(step, Step::RemoveFile { .. } | Step::RemoveDirectory { .. })
}

/// What is known of `path` may not be so; a path that is not ours stays so.
fn doubt(path: &TreePath, ledger: &mut Ledger) {
    if ledger.get(path).is_some() {
        ledger.set(path.clone(), Known::Unsure);
    }
}

/// A directory of which nothing else is known.
pub(super) fn guess_directory() -> Known {
    Known::Holds(Held {
        version: Version {
            kind: FileKind::Directory,
            size: u64::MAX,
            mtime: Time::UNKNOWN,
            mode: Mode(0),
            owner: Owner::NOBODY,
            xattrs: XattrHash::NONE,
        },
        content: None,
        settled: true,
        twin: None,
    })
}

/// What a person can do about a refusal that repeating does not end.
fn remedy(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Full => "; free some space there",
        Refusal::Forbidden => "; let the receiving user write there",
        _ => "",
    }
}

fn verb(step: &Step) -> &'static str {
    match step {
        Step::MakeDirectory { .. } => "make the directory at the target",
        Step::PutFile { .. } => "write the file at the target",
        Step::PutSymlink { .. } => "write the symbolic link at the target",
        Step::Link { .. } => "link it at the target",
        Step::SetAttributes { .. } | Step::SetDirectoryTime { .. } => "set its attributes at the target",
        Step::RemoveFile { .. } | Step::RemoveDirectory { .. } => "remove it at the target",
        Step::Rename { .. } | Step::Exchange { .. } => "rename it at the target",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// I1: the directory may have the time that the source has, and not any more.
    #[test]
    fn the_time_of_a_directory_that_could_not_be_set_is_not_known() {
        let (path, mtime) = (TreePath::new(b"a").unwrap(), Time { seconds: 1, nanoseconds: 0 });
        for refusal in [Refusal::Failed, Refusal::NoParent] {
            let mut ledger = Ledger::default();
            let Known::Holds(mut held) = guess_directory() else { panic!("it is no guess") };
            held.version.mtime = mtime;
            ledger.set(path.clone(), Known::Holds(held));
            learn(refusal, &Step::SetDirectoryTime { path: path.clone(), mtime }, &mut ledger);
            assert_ne!(ledger.held(&path).map(|held| held.version.mtime), Some(mtime), "{refusal:?}");
        }
    }
}
