//! Moves changes from the queue into one batcher per target, and closed batches into mailboxes.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::Receiver;
use crossbeam::select;
use tracing::{debug, warn};

use super::Gauges;
use super::mailbox::Mailbox;
use super::markers::{Queued, Waiting};
use crate::barrier::Barrier;
use crate::batch::{self, Batcher, Room};
use crate::clock;
use crate::metrics::Stage;
use crate::model::{Captured, Change, Gap, Kind, Reason, Stamp};
use crate::queue::{Exit, LOSS_CHECK};
use crate::shutdown::Stop;
use crate::tree::{Seen, Tree};

/// How many changes are taken in one go before batches are closed: bounds the time for which a
/// storm of changes keeps a ready batch waiting.
const TAKEN_AT_ONCE_MAX: usize = 1024;

/// The changes on their way to one target.
pub(super) struct Lane {
    batcher: Batcher,
    mailbox: Mailbox,
    overflows: u64,
    /// Which of the targets it leads to, counted from 0.
    index: usize,
    /// Batches that were left in the mailbox until now.
    left: u64,
    markers: Waiting,
}

impl Lane {
    pub(super) fn new(config: batch::Config, mailbox: Mailbox, index: usize) -> Self {
        let (batcher, markers) = (Batcher::new(config), Waiting::default());
        Self { batcher, mailbox, overflows: 0, index, left: 0, markers }
    }

    fn pass_markers(&mut self, barrier: &Barrier) {
        if let Some(marker) = self.markers.passed(&self.batcher) {
            barrier.batched(self.index, marker, self.left);
            self.mailbox.wake();
        }
    }
}

/// Runs until capture has ended and everything is handed over, or `flush_max` has passed since.
/// Returns how many paths were left.
pub(super) fn run(
    mut lanes: Vec<Lane>,
    exit: &Exit,
    noticed: &Receiver<()>,
    tree: &Arc<Tree>,
    gauges: &Gauges,
    (stop, abandon): (&Stop, &Stop),
    flush_max: Duration,
) -> usize {
    let mut noticed = noticed.clone();
    let mut queued = Queued::default();
    gauges.counters.batching.runs(true);
    loop {
        gauges.counters.batching.beat();
        queued.look(&gauges.barrier, || exit.changes().len());
        if let Some(gap) = exit.lost() {
            push_gap(&gap, &mut lanes, gauges, clock::now());
        }
        if let Some(marker) = queued.arrived() {
            for lane in &mut lanes {
                lane.markers.place(marker, &lane.batcher);
                lane.pass_markers(&gauges.barrier);
            }
        }
        let now = clock::now();
        for (lane, target) in lanes.iter_mut().zip(&*gauges.targets) {
            close(lane, now, &gauges.barrier);
            target.gathering.set(lane.batcher.waiting(), lane.batcher.waiting_since());
        }
        gauges.counters.queue_length.set(exit.changes().len());
        let wait = lanes
            .iter()
            .filter_map(|lane| lane.batcher.deadline(lane.mailbox.room()))
            .min()
            .map_or(LOSS_CHECK, |deadline| deadline.since(now).min(LOSS_CHECK));
        select! {
            recv(exit.changes()) -> captured => match captured {
                Ok(captured) => queued.taken(take(captured, &mut lanes, exit, tree, gauges)),
                Err(_) => break,
            },
            recv(noticed) -> notice => if notice.is_err() {
                // Every replica has given up: there is nobody to replicate to.
                noticed = crossbeam::channel::never();
                stop.request();
            },
            recv(gauges.barrier.notices()) -> _ => {}
            default(wait) => {}
        }
    }
    gauges.counters.batching.runs(false);
    flush(lanes, abandon, flush_max)
}

fn close(lane: &mut Lane, now: Stamp, barrier: &Barrier) {
    if let Some(batch) = lane.batcher.close(lane.mailbox.room(), now) {
        debug!(looks = batch.looks.len(), moves = batch.moves.len(), "closed a batch");
        // There was room a moment ago and only this thread fills it: the replica has ended.
        if lane.mailbox.leave(batch).is_ok() {
            lane.left += 1;
            lane.pass_markers(barrier);
        }
    }
}

/// Gives `first`, and what else waits in the queue, to every lane; says how many that were.
fn take(first: Captured, lanes: &mut [Lane], exit: &Exit, tree: &Tree, gauges: &Gauges) -> usize {
    let mut count = 0;
    for captured in std::iter::once(first).chain(exit.changes().try_iter().take(TAKEN_AT_ONCE_MAX)) {
        let taken = clock::now();
        count += 1;
        match captured {
            Captured::Change(change) => push(change, lanes, tree, gauges, taken),
            Captured::Gap(gap) => push_gap(&gap, lanes, gauges, taken),
        }
    }
    count
}

fn push(change: Change, lanes: &mut [Lane], tree: &Tree, gauges: &Gauges, taken: Stamp) {
    let Some(change) = without_excluded(change, tree) else {
        return;
    };
    gauges.counters.changes_captured.add(1);
    gauges.history.event(&change);
    gauges.busiest.count(&change.path, taken);
    // A file that stays open waits on purpose, here and before: that is no latency.
    if change.kind != Kind::Writing {
        gauges.latency.record(Stage::Capture, change.read.since(change.seen));
        gauges.latency.record(Stage::Queue, taken.since(change.read));
    }
    // Only complete files count towards the size of a batch: the others wait in any case.
    let bytes = match (&change.kind, lanes.len()) {
        (Kind::Written, 1..) => match tree.look(&change.path) {
            Seen::Present(entry) => entry.version.size,
            _ => 0,
        },
        _ => 0,
    };
    for lane in lanes {
        lane.batcher.push(change.clone(), bytes, taken);
        if lane.batcher.overflows() > lane.overflows {
            lane.overflows = lane.batcher.overflows();
            gauges.counters.gap(Reason::BacklogFull, 0, 1);
            warn!("a target is so far behind that its backlog became one rescan of the source");
        }
    }
}

/// What is left of a change when all that is excluded is out of sight: a rename to an excluded
/// name is a removal then, and one from there brings something new.
fn without_excluded(change: Change, tree: &Tree) -> Option<Change> {
    let Change { kind, path, origin, seen, read } = change;
    let (kind, path) = match kind {
        Kind::Moved { from, directory } => {
            let excluded = |path| tree.excludes_as(path, directory);
            match (excluded(&from), excluded(&path)) {
                (false, false) => (Kind::Moved { from, directory }, path),
                (false, true) => (Kind::Removed, from),
                (true, false) => (Kind::MovedIn, path),
                (true, true) => return None,
            }
        }
        _ if tree.excludes(&path) => return None,
        kind => (kind, path),
    };
    Some(Change { kind, path, origin, seen, read })
}

fn push_gap(gap: &Gap, lanes: &mut [Lane], gauges: &Gauges, taken: Stamp) {
    gauges.counters.gap(gap.reason, gap.lost, lanes.len() as u64);
    gauges.history.gap(gap);
    let Gap { place, reason, lost, .. } = gap;
    if *reason == Reason::Unresolved {
        // Nothing was lost but where it happened.
        debug!(%place, "something changed at an unknown place: it is rescanned");
    } else {
        warn!(%place, lost, "changes were lost, because {reason}: the place is rescanned");
    }
    for lane in lanes {
        lane.batcher.push_gap(gap.clone(), taken);
    }
}

/// Hands over everything that waits, open files too.
fn flush(lanes: Vec<Lane>, abandon: &Stop, limit: Duration) -> usize {
    let end = clock::now().plus(limit);
    let mut waiting: Vec<_> = lanes.into_iter().map(|lane| (lane, None)).collect();
    loop {
        let now = clock::now();
        waiting.retain_mut(|(lane, kept)| {
            let batch = kept.take().or_else(|| lane.batcher.flush(now));
            let Some(batch) = batch else { return false };
            if lane.mailbox.room() == Room::Full {
                *kept = Some(batch);
            } else {
                *kept = lane.mailbox.leave(batch).err();
            }
            true
        });
        if waiting.is_empty() || now > end || abandon.requested() {
            return waiting
                .iter()
                .map(|(lane, kept)| {
                    lane.batcher.waiting() + kept.as_ref().map_or(0, |batch| batch.looks.len())
                })
                .sum();
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
