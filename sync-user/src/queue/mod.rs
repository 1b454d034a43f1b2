//! Hands changes from capture to the batcher without ever making capture wait (I9).
//!
//! The queue is a bounded lock-free ring (crossbeam). When it is full the change is counted and
//! dropped, and the batcher finds a gap over the whole root in its place (I6, I7): a rescan
//! costs time, a stalled reader would cost events.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam::channel::{self, TrySendError};

use crate::clock;
use crate::model::{Captured, Gap, Reason, TreePath};

/// How long [`Exit::lost`] may go unasked: a loss that races with the batcher going to sleep is
/// found no later than this.
pub const LOSS_CHECK: std::time::Duration = std::time::Duration::from_millis(250);

/// A queue for `capacity` changes.
pub fn bounded(capacity: usize) -> (Entrance, Exit) {
    let (sender, receiver) = channel::bounded(capacity);
    let lost = Arc::new(AtomicU64::new(0));
    (Entrance { sender, lost: Arc::clone(&lost) }, Exit { receiver, lost })
}

/// Capture's end.
#[derive(Debug, Clone)]
pub struct Entrance {
    sender: channel::Sender<Captured>,
    lost: Arc<AtomicU64>,
}

impl Entrance {
    /// Never blocks; what does not fit is counted, and becomes a gap at the other end.
    pub fn push(&self, captured: Captured) {
        match self.sender.try_send(captured) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => {
                self.lost.fetch_add(1, Ordering::Release);
            }
        }
    }
}

/// The batcher's end.
#[derive(Debug)]
pub struct Exit {
    receiver: channel::Receiver<Captured>,
    lost: Arc<AtomicU64>,
}

impl Exit {
    /// To wait on, together with other channels; disconnected once capture has ended and all
    /// it captured was taken.
    pub fn changes(&self) -> &channel::Receiver<Captured> {
        &self.receiver
    }

    /// The gap that stands for everything dropped since the last call. To be asked after every
    /// change taken, and every [`LOSS_CHECK`].
    pub fn lost(&self) -> Option<Gap> {
        if self.lost.load(Ordering::Acquire) == 0 {
            return None;
        }
        let lost = self.lost.swap(0, Ordering::AcqRel);
        (lost > 0).then(|| Gap {
            place: TreePath::root(),
            reason: Reason::QueueFull,
            lost,
            seen: clock::now(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Kind, Origin, Stamp};

    fn change(name: &str) -> Captured {
        Captured::Change(Change {
            kind: Kind::Written,
            path: TreePath::new(name.as_bytes()).unwrap(),
            origin: Origin::default(),
            seen: Stamp(1),
            read: Stamp(1),
        })
    }

    #[test]
    fn what_does_not_fit_is_counted_and_becomes_one_gap() {
        let (entrance, exit) = bounded(2);
        for name in ["a", "b", "c", "d"] {
            entrance.push(change(name));
        }
        assert_eq!(exit.changes().try_recv(), Ok(change("a")));
        let gap = exit.lost().expect("two changes did not fit");
        assert_eq!((gap.lost, gap.reason, gap.place.is_root()), (2, Reason::QueueFull, true));
        assert_eq!(exit.lost(), None);
        assert_eq!(exit.changes().try_recv(), Ok(change("b")));
        drop(entrance);
        assert!(exit.changes().recv().is_err());
    }
}
