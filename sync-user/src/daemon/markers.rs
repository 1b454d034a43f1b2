//! Takes markers from the queue to behind the batches that hold what was before them.

use std::collections::VecDeque;

use crate::barrier::{Barrier, Marker};
use crate::batch::{Batcher, End};

/// Markers that may wait for one batcher; a later one takes the place of the last of more (I6).
const WAITING_MAX: usize = 64;

/// The marker that stands in the queue: capture has delivered all that was before it.
#[derive(Debug, Default)]
pub(super) struct Queued {
    arrived: Marker,
    /// The marker, and how many changes are to be taken before it.
    next: Option<(Marker, usize)>,
}

impl Queued {
    /// Looks for a marker that capture has passed on, when `queued` changes are in the queue; to
    /// be asked in this order, so that what capture has delivered before it counts.
    pub(super) fn look(&mut self, barrier: &Barrier, queued: impl FnOnce() -> usize) {
        let captured = barrier.last_captured();
        if self.next.is_none() && captured > self.arrived {
            self.next = Some((captured, queued()));
        }
    }

    /// So many changes were taken from the queue and given to the batchers.
    pub(super) fn taken(&mut self, count: usize) {
        if let Some((_, before)) = &mut self.next {
            *before = before.saturating_sub(count);
        }
    }

    /// The marker, once all before it was taken.
    pub(super) fn arrived(&mut self) -> Option<Marker> {
        let (marker, _) = self.next.take_if(|(_, before)| *before == 0)?;
        self.arrived = marker;
        Some(marker)
    }
}

/// The markers that wait for the batcher of one target.
#[derive(Debug, Default)]
pub(super) struct Waiting(VecDeque<(Marker, End)>);

impl Waiting {
    /// Places `marker` behind all that waits in `batcher`.
    pub(super) fn place(&mut self, marker: Marker, batcher: &Batcher) {
        if self.0.len() == WAITING_MAX {
            self.0.pop_back();
        }
        self.0.push_back((marker, batcher.end()));
    }

    /// The last marker before which nothing waits any more. To be asked whenever one was placed,
    /// or a batch was closed.
    pub(super) fn passed(&mut self, batcher: &Batcher) -> Option<Marker> {
        let mut last = None;
        while let Some((marker, _)) = self.0.pop_front_if(|(_, end)| batcher.is_past(*end)) {
            last = Some(marker);
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_arrives_when_all_before_it_was_taken() {
        let barrier = Barrier::new(1).unwrap();
        let mut queued = Queued::default();
        queued.look(&barrier, || 9);
        assert_eq!(queued.arrived(), None);
        let marker = barrier.place();
        barrier.captured(marker);
        queued.look(&barrier, || 3);
        queued.taken(2);
        let later = barrier.place();
        barrier.captured(later);
        queued.look(&barrier, || 100);
        assert_eq!(queued.arrived(), None);
        queued.taken(5);
        assert_eq!(queued.arrived(), Some(marker));
        queued.look(&barrier, || 0);
        assert_eq!(queued.arrived(), Some(later));
        queued.look(&barrier, || 0);
        assert_eq!(queued.arrived(), None);
    }
}
