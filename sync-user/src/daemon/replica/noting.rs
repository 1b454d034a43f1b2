//! Notes in the history what becomes of paths at this target.

use super::Replica;
use crate::clock;
use crate::model::{Batch, Receipt};
use crate::plan::Planned;
use crate::ship::Ticket;

impl Replica {
    /// The batch with this number was taken.
    pub(super) fn note_batch(&self, number: u64, batch: &Batch) {
        let index = self.setup.index;
        self.setup.gauges.history.batched(index, number, batch.closed, batch.looks.keys());
    }

    pub(super) fn note_steps(&self, steps: &[Planned]) {
        let now = clock::now();
        for Planned { step, .. } in steps {
            self.setup.gauges.history.planned(self.setup.index, step, now);
        }
    }

    /// To be called before the answer is handled, which forgets its step.
    pub(super) fn note_answer(&mut self, ticket: Ticket, receipt: &Receipt) {
        let Some(flight) = self.flights.get_mut(ticket) else { return };
        let now = clock::now();
        let latency = flight.stamps.map(|stamps| now.since(stamps.seen));
        let history = &self.setup.gauges.history;
        history.answered(self.setup.index, flight.step(), &receipt.outcome, now, latency);
    }
}
