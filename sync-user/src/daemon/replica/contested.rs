//! Draws the conclusions where both ends have changed the same (two-way, I8).
//!
//! The target decides, and its own daemon, of whose steps this end decides, comes to the same
//! end. The ledger stays with what was agreed on last until one of them arrives.

use std::time::Duration;

use tracing::debug;

use super::Replica;
use super::answers::guess_directory;
use crate::clock;
use crate::ledger::Known;
use crate::model::{Depth, Found, Refusal, Step};
use crate::ship::Ticket;

impl Replica {
    pub(super) fn is_two_way(&self) -> bool {
        self.setup.arrivals.is_some()
    }

    /// A step was refused because of what it has found.
    pub(super) fn contested(&mut self, ticket: Ticket, refusal: Refusal, detail: &str, found: Option<Found>) {
        let Some(flight) = self.withdraw(ticket, |_, _| ()) else { return };
        self.check_crossed(&flight, false);
        let (step, path) = (flight.step(), flight.step().path().clone());
        debug!(target = %self.setup.target, %path, ?refusal, "contested: {detail}");
        self.retries.succeeded(&path);
        match (refusal, step) {
            // An edit beats a removal: what is there comes here, if it is not on its way already.
            (_, Step::RemoveFile { .. } | Step::RemoveDirectory { .. }) => self.lacking.add([path]),
            (Refusal::Contested, _) => {
                self.target().conflicts_yielded.add(1);
                if let Some(Found { there, .. }) = found {
                    self.lacking.yielded(path, there);
                }
            }
            // Its content has changed there, so attributes alone would not make both the same.
            (_, Step::SetAttributes { .. }) => {
                self.ledger.set(path.clone(), Known::Unsure);
                self.look_again(path, Depth::Entry, Duration::ZERO);
            }
            (_, Step::Link { .. }) => {
                self.ledger.set_apart(path.clone());
                self.look_again(path, Depth::Entry, Duration::ZERO);
            }
            (_, Step::Rename { from: other, .. } | Step::Exchange { other, .. }) => {
                self.look_again(other.clone(), Depth::Below, Duration::ZERO);
                self.look_again(path, Depth::Below, Duration::ZERO);
            }
            _ => {
                let is_directory = found.is_some_and(|found| found.there.is_directory());
                if is_directory && !self.ledger.is_directory(&path) {
                    // It goes first, if it is empty.
                    self.ledger.set(path.clone(), guess_directory());
                }
                self.retries.failed(&path, clock::now());
            }
        }
    }
}
