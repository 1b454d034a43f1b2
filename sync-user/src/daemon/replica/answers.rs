//! Draws the conclusions from what the target answers.

use tracing::{debug, info};

use super::Replica;
use super::flights::Flight;
use crate::clock;
use crate::ledger::{Held, Known, Ledger};
use crate::metrics::Stage;
use crate::model::{
    Content, Depth, FileKind, Look, Mode, Outcome, Problem, Receipt, Refusal, Step, Time, TreePath, Version,
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
        settled: bool,
        torn: bool,
    ) {
        let Some(Flight { step, .. }) = self.flights.get(ticket) else {
            return;
        };
        let path = step.path().clone();
        self.setup.gauges.counters.bytes_shipped.add(version.size);
        self.ledger.set(path.clone(), Known::Holds(Held { version, content: Some(content), settled }));
        if torn {
            self.look_again(path, Depth::Entry, self.setup.open_file_interval);
        }
    }

    /// A file was gone when its content was wanted, which a change on its way will tell more
    /// of; or it could not be read.
    pub(super) fn unsent(&mut self, ticket: Ticket, failure: Option<String>) {
        let Some(Flight { step, .. }) = self.flights.remove(ticket) else {
            return;
        };
        let path = step.path().clone();
        self.ledger.set(path.clone(), Known::Unsure);
        match failure {
            None => self.look_again(path, Depth::Entry, std::time::Duration::ZERO),
            Some(what) => self.problem(Problem { path, what }),
        }
    }

    pub(super) fn answered(&mut self, ticket: Ticket, receipt: Receipt) {
        let Some(flight) = self.flights.remove(ticket) else {
            return;
        };
        let Receipt { sequence: _, outcome, took } = receipt;
        match outcome {
            Outcome::Applied => self.applied(&flight, took),
            Outcome::Refused { refusal, detail } => self.refused(&flight, refusal, detail),
        }
    }

    fn applied(&mut self, flight: &Flight, took: std::time::Duration) {
        let gauges = &self.setup.gauges;
        if matches!(flight.step, Step::Rename { .. } | Step::Exchange { .. }) {
            gauges.counters.renames_repeated.add(1);
        }
        if let Some(stamps) = flight.stamps {
            let now = clock::now();
            gauges.counters.changes_shipped.add(1);
            gauges.latency.record(Stage::Batch, flight.closed.since(stamps.taken));
            gauges.latency.record(Stage::Ship, now.since(flight.closed).saturating_sub(took));
            gauges.latency.record(Stage::Apply, took);
            gauges.latency.record(Stage::EndToEnd, now.since(stamps.seen));
        }
        if self.retries.succeeded(flight.step.path()) {
            gauges.counters.retried.add(1);
        }
    }

    fn refused(&mut self, flight: &Flight, refusal: Refusal, detail: String) {
        let step = &flight.step;
        let path = step.path().clone();
        debug!(target = %self.setup.target, path = %path, ?refusal, "refused: {detail}");
        match (refusal, step) {
            (Refusal::NotEmpty, Step::RemoveDirectory { .. }) => {
                info!(target = %self.setup.target, path = %path,
                    "the directory was removed at the source and stays at the target: it holds files of the target's own");
                self.ledger.forget(&path);
                return;
            }
            // What a removal found is known by now.
            (Refusal::Unexpected, Step::RemoveFile { .. }) => {
                self.ledger.set(path.clone(), guess(FileKind::Directory));
            }
            (Refusal::Unexpected, Step::RemoveDirectory { .. }) => {
                self.ledger.set(path.clone(), guess(FileKind::File));
            }
            // A directory is in the way of a file: it has to be removed first.
            (Refusal::Unexpected, Step::PutFile { .. } | Step::PutSymlink { .. }) => {
                self.ledger.set(path.clone(), guess(FileKind::Directory));
            }
            _ => doubt(step, &mut self.ledger),
        }
        if refusal == Refusal::NoParent
            && let Some(parent) = path.parent().filter(|parent| !parent.is_root())
        {
            self.ledger.set(parent, Known::Unsure);
        }
        if let Step::Rename { from, .. } | Step::Exchange { other: from, .. } = step {
            self.look_again(from.clone(), Depth::Below, std::time::Duration::ZERO);
            self.look_again(path, Depth::Below, std::time::Duration::ZERO);
            return;
        }
        match refusal {
            Refusal::Withdrawn | Refusal::Damaged => {
                self.look_again(path, Depth::Entry, self.setup.open_file_interval);
            }
            Refusal::Unexpected | Refusal::NoParent | Refusal::NotEmpty
                if self.retries.attempts(&path) < RACES_MAX =>
            {
                self.retries.failed(&path, clock::now());
            }
            _ => self.problem(Problem { what: format!("{}: {detail}", verb(step)), path }),
        }
    }

    fn look_again(&mut self, path: TreePath, depth: Depth, wait: std::time::Duration) {
        let look = Look { depth, content: true, stamps: None };
        self.retries.put_off(path, look, clock::now().plus(wait));
    }
}

/// Takes back what the ledger believes because of `step`.
pub(super) fn doubt(step: &Step, ledger: &mut Ledger) {
    match step {
        Step::Rename { from, to, .. } => ledger.doubt_rename(from, to),
        Step::Exchange { one, other, .. } => {
            ledger.doubt(one);
            ledger.doubt(other);
        }
        _ => ledger.set(step.path().clone(), Known::Unsure),
    }
}

/// An entry of which only the kind is known; no real one has this time.
fn guess(kind: FileKind) -> Known {
    let mtime = Time { seconds: i64::MIN, nanoseconds: 0 };
    Known::Holds(Held {
        version: Version { kind, size: u64::MAX, mtime, mode: Mode(0) },
        content: None,
        settled: true,
    })
}

fn verb(step: &Step) -> &'static str {
    match step {
        Step::MakeDirectory { .. } => "make the directory at the target",
        Step::PutFile { .. } => "write the file at the target",
        Step::PutSymlink { .. } => "write the symbolic link at the target",
        Step::SetAttributes { .. } | Step::SetDirectoryTime { .. } => "set its attributes at the target",
        Step::RemoveFile { .. } | Step::RemoveDirectory { .. } => "remove it at the target",
        Step::Rename { .. } | Step::Exchange { .. } => "rename it at the target",
    }
}
