//! Remembers the steps that are on their way, and the change behind each.

use std::collections::BTreeMap;

use crate::model::{Depth, Look, Stamp, Stamps, Step, TreePath};
use crate::ship::Ticket;

/// A step on its way.
#[derive(Debug, Clone)]
pub(super) struct Flight {
    pub(super) step: Step,
    /// The way of the change that this step completes; `None` for all other steps.
    pub(super) stamps: Option<Stamps>,
    pub(super) closed: Stamp,
}

/// Steps by ticket; tickets count up, so the order is that of sending.
#[derive(Debug, Default)]
pub(super) struct Flights {
    flights: BTreeMap<Ticket, Flight>,
    next: u64,
}

impl Flights {
    pub(super) fn len(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn add(&mut self, flight: Flight) -> Ticket {
        self.next += 1;
        let ticket = Ticket(self.next);
        self.flights.insert(ticket, flight);
        ticket
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Flight> {
        self.flights.get(&ticket)
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Flight> {
        self.flights.remove(&ticket)
    }

    pub(super) fn drain_latest_first(&mut self) -> impl Iterator<Item = Flight> + use<> {
        std::mem::take(&mut self.flights).into_values().rev()
    }
}

/// Gives each change that asked for a look to the step that completes it: the last one at its
/// path, or below it when the look goes below. One change, one latency.
pub(super) fn attribute(steps: Vec<Step>, looks: &BTreeMap<TreePath, Look>, closed: Stamp) -> Vec<Flight> {
    let mut last: BTreeMap<&TreePath, usize> = BTreeMap::new();
    for (index, step) in steps.iter().enumerate() {
        // Times of directories follow from other steps: no change waits for them.
        if !matches!(step, Step::SetDirectoryTime { .. }) {
            last.insert(step.path(), index);
            if let Step::Exchange { other, .. } = step {
                last.insert(other, index);
            }
        }
    }
    let mut stamps: BTreeMap<usize, Stamps> = BTreeMap::new();
    for (path, look) in looks {
        let Some(waited) = look.stamps else { continue };
        let index = match (last.get(path), look.depth) {
            (Some(index), _) => Some(*index),
            (None, Depth::Entry) => None,
            (None, Depth::Below) => last
                .range::<&TreePath, _>(path..)
                .take_while(|(other, _)| other.is_at_or_below(path))
                .map(|(_, index)| *index)
                .max(),
        };
        if let Some(index) = index {
            stamps.entry(index).and_modify(|before| *before = before.oldest(waited)).or_insert(waited);
        }
    }
    let flight = |(index, step)| Flight { step, stamps: stamps.get(&index).copied(), closed };
    steps.into_iter().enumerate().map(flight).collect()
}
