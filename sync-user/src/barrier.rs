//! Tells when everything that was captured before a moment is acknowledged by every target.
//!
//! Whoever waits places a marker, which follows what was there before it through all stages:
//!
//! 1. Capture passes it on when it has delivered everything that the kernel held by then.
//! 2. A target's batcher, when it has been given all that, and no path of it waits any more: the
//!    marker stands behind the batch that was closed last.
//! 3. The target's replica, when that batch and all before it are settled: acknowledged, with
//!    whatever failed in between done again.
//!
//! A path is looked at after its change was captured, so what is acknowledged then is what was
//! there when the marker was placed, or newer. A later marker stands for all earlier ones.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::bell::Bell;
use crate::model::TreePath;

/// Markers that may stand behind batches of one target; a later one takes the place of the last
/// of more (I6).
const MARKERS_MAX: usize = 64;

/// Paths that a target's replica names of those that it has put off.
const PUT_OFF_MAX: usize = 1_000;

/// One moment. Of two, the later is the greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Marker(u64);

/// The markers of a run. Clones share them.
#[derive(Debug, Clone)]
pub struct Barrier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    placed: AtomicU64,
    captured: AtomicU64,
    /// Tells capture that a marker was placed.
    bell: Bell,
    /// Tells the batching thread that capture has passed one on.
    notices: (Sender<()>, Receiver<()>),
    targets: Mutex<Vec<Passage>>,
}

/// How far markers have come with one target.
#[derive(Debug, Clone, Default)]
struct Passage {
    /// Markers that stand behind a batch, by its number.
    batched: VecDeque<(Marker, u64)>,
    /// The last whose batches are settled, but for paths that were put off.
    carried: Marker,
    /// The last whose batches are settled.
    settled: Marker,
    put_off: PutOff,
    /// Removals that wait for a person.
    held: PutOff,
}

/// Paths that a replica has put off: they failed, and are looked at again later.
#[derive(Debug, Clone, Default)]
pub struct PutOff {
    pub paths: Vec<TreePath>,
    /// How many more there are, without name.
    pub more: usize,
}

impl Barrier {
    /// For a run with that many targets.
    pub fn new(targets: usize) -> nix::Result<Self> {
        let bell = Bell::new()?;
        let targets = Mutex::new(vec![Passage::default(); targets]);
        let (placed, captured) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self(Arc::new(Inner { placed, captured, bell, notices: bounded(1), targets })))
    }

    /// Places a marker behind everything that has happened by now.
    pub fn place(&self) -> Marker {
        let marker = Marker(self.0.placed.fetch_add(1, Ordering::AcqRel) + 1);
        self.0.bell.ring();
        marker
    }

    /// The last marker that was placed and that capture has not passed on. To be asked before
    /// capture reads what the kernel holds; it then has to deliver all of it, and to call
    /// [`captured`](Self::captured).
    pub fn placed(&self) -> Option<Marker> {
        // Silences the bell first: a marker that is placed meanwhile rings it again.
        self.0.bell.hush();
        let placed = self.0.placed.load(Ordering::Acquire);
        (placed > self.0.captured.load(Ordering::Acquire)).then_some(Marker(placed))
    }

    /// Everything that happened before `marker` was delivered.
    pub fn captured(&self, marker: Marker) {
        self.0.captured.fetch_max(marker.0, Ordering::AcqRel);
        // One waiting notice is as good as many.
        let _already_noticed = self.0.notices.0.try_send(());
    }

    /// Tells that capture has passed on a marker, for whoever has to take it further.
    pub fn notices(&self) -> &Receiver<()> {
        &self.0.notices.1
    }

    /// The last marker that capture has passed on: what it delivered before is in the queue, or
    /// was taken out of it.
    pub fn last_captured(&self) -> Marker {
        Marker(self.0.captured.load(Ordering::Acquire))
    }

    /// For the target number `target`, all that was delivered before `marker` is in the batch
    /// `batch` or in earlier ones.
    pub fn batched(&self, target: usize, marker: Marker, batch: u64) {
        if let Some(passage) = self.targets().get_mut(target) {
            let batched = &mut passage.batched;
            if batched.len() == MARKERS_MAX {
                batched.pop_back();
            }
            batched.push_back((marker, batch));
        }
    }

    /// The target has settled all batches before `settled`; those before `carried` are settled
    /// but for paths that were put off, which `put_off` names.
    pub fn settle(&self, target: usize, settled: u64, carried: u64, put_off: impl FnOnce() -> PutOff) {
        let mut targets = self.targets();
        let Some(passage) = targets.get_mut(target) else { return };
        if passage.batched.is_empty() {
            return;
        }
        passage.put_off = put_off();
        let before = |end: u64| passage.batched.iter().take_while(|(_, batch)| *batch < end).last();
        if let Some((marker, _)) = before(carried) {
            passage.carried = passage.carried.max(*marker);
        }
        if let Some((marker, _)) = before(settled) {
            passage.settled = passage.settled.max(*marker);
        }
        while passage.batched.pop_front_if(|(_, batch)| *batch < settled).is_some() {}
    }

    /// The removal of these waits for a person, and no marker for it.
    pub fn hold(&self, target: usize, held: PutOff) {
        if let Some(passage) = self.targets().get_mut(target) {
            passage.held = held;
        }
    }

    /// Whether removals wait for a person at the target; with `path`, of what is above, at or below it.
    pub fn holds(&self, target: usize, path: Option<&TreePath>) -> bool {
        let targets = self.targets();
        let Some(PutOff { paths, more }) = targets.get(target).map(|passage| &passage.held) else {
            return false;
        };
        *more > 0 || paths.iter().any(|held| path.is_none_or(|path| concerns(path, held)))
    }

    /// Whether the target has acknowledged everything before `marker`; with `path`, whatever of
    /// it is above, at or below this path.
    pub fn is_passed(&self, target: usize, marker: Marker, path: Option<&TreePath>) -> bool {
        let targets = self.targets();
        let Some(passage) = targets.get(target) else { return false };
        passage.settled >= marker
            || path.is_some_and(|path| {
                passage.carried >= marker
                    && passage.put_off.more == 0
                    && !passage.put_off.paths.iter().any(|other| concerns(path, other))
            })
    }

    /// Whether the target has acknowledged everything before `marker`, but for paths that were put off;
    /// with `path`, whatever concerns this path itself. What was put off below it does not.
    pub fn is_carried(&self, target: usize, marker: Marker, path: Option<&TreePath>) -> bool {
        let targets = self.targets();
        let Some(passage) = targets.get(target) else { return false };
        let is_put_off = |path: &TreePath| {
            let PutOff { paths, more } = &passage.put_off;
            *more > 0 || paths.iter().any(|other| path.is_at_or_below(other))
        };
        passage.settled >= marker || (passage.carried >= marker && !path.is_some_and(is_put_off))
    }

    /// The paths that the target has put off, as they were when a marker was last moved.
    pub fn put_off(&self, target: usize) -> PutOff {
        self.targets().get(target).map(|passage| passage.put_off.clone()).unwrap_or_default()
    }

    fn targets(&self) -> MutexGuard<'_, Vec<Passage>> {
        self.0.targets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether one of them is the other, or above it.
fn concerns(path: &TreePath, other: &TreePath) -> bool {
    other.is_at_or_below(path) || path.is_at_or_below(other)
}

/// Readable when a marker was placed.
impl AsFd for Barrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.bell.as_fd()
    }
}

impl PutOff {
    /// Names as many of `paths` as is reasonable.
    pub fn of<'a>(paths: impl ExactSizeIterator<Item = &'a TreePath>) -> Self {
        let more = paths.len().saturating_sub(PUT_OFF_MAX);
        Self { paths: paths.take(PUT_OFF_MAX).cloned().collect(), more }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_marker_passes_every_stage_in_order() {
        let barrier = Barrier::new(1).unwrap();
        assert_eq!(barrier.placed(), None);
        let (first, second) = (barrier.place(), barrier.place());
        assert_eq!(barrier.placed(), Some(second), "a later one stands for all earlier ones");
        barrier.captured(second);
        assert_eq!((barrier.placed(), barrier.last_captured()), (None, second));
        assert!(barrier.notices().try_recv().is_ok());
        barrier.settle(0, 9, 9, PutOff::default);
        assert!(!barrier.is_passed(0, first, None), "no batch is known to hold what was before it");
        barrier.batched(0, second, 3);
        barrier.settle(0, 3, 3, PutOff::default);
        assert!(!barrier.is_passed(0, first, None));
        barrier.settle(0, 4, 4, PutOff::default);
        assert!(barrier.is_passed(0, first, None) && barrier.is_passed(0, second, None));
        assert!(!barrier.is_passed(0, barrier.place(), None));
    }

    #[test]
    fn one_path_need_not_wait_for_others_that_fail() {
        let barrier = Barrier::new(1).unwrap();
        let marker = barrier.place();
        barrier.batched(0, marker, 3);
        barrier.settle(0, 2, 4, || PutOff { paths: vec![path("img/logo")], more: 0 });
        assert!(!barrier.is_passed(0, marker, None));
        for (at, passed) in [("news", true), ("img", false), ("img/logo", false), ("img/logo/x", false)] {
            assert_eq!(barrier.is_passed(0, marker, Some(&path(at))), passed, "{at}");
        }
        for (at, carried) in [("news", true), ("img", true), ("img/logo", false), ("img/logo/x", false)] {
            assert_eq!(barrier.is_carried(0, marker, Some(&path(at))), carried, "{at}");
        }
        assert!(barrier.is_carried(0, marker, None));
        barrier.settle(0, 2, 4, || PutOff { paths: Vec::new(), more: 1 });
        assert!(!barrier.is_passed(0, marker, Some(&path("news"))), "it may be that path");
    }

    #[test]
    fn many_markers_are_as_good_as_the_last() {
        let barrier = Barrier::new(1).unwrap();
        let mut last = Marker::default();
        for _ in 0..1_000 {
            last = barrier.place();
            barrier.batched(0, last, 1);
        }
        assert_eq!(barrier.targets()[0].batched.len(), MARKERS_MAX);
        barrier.settle(0, 2, 2, PutOff::default);
        assert!(barrier.is_passed(0, last, None));
    }
}
