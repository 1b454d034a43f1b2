//! Remembers what happened to paths lately, so that it can be asked why one is as it is.
//!
//! There is one ring of events, and one for each target of what became of them; each holds the last
//! [`REMEMBERED`] records of 48 bytes, which is 3 MiB at most, and forgets the oldest first. A record
//! names its path by a hash. Each ring has one writer, to whom a record costs less than 0.1 us.

mod record;
mod ring;

pub use record::{EventKind, StepKind, What};
pub use ring::REMEMBERED;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::model::{Change, Gap, Kind, Outcome, Stamp, Step, TreePath};
use record::Record;
use ring::Ring;

/// What happened to paths of a run. Clones share it.
#[derive(Debug, Clone)]
pub struct History(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    events: Mutex<Ring>,
    targets: Vec<Mutex<Ring>>,
}

/// Something that happened to a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    pub at: Stamp,
    /// Which of the targets it is about; `None` for what happened at the source.
    pub target: Option<usize>,
    /// The directory above the path that it happened to, if it is not the path itself.
    pub above: Option<TreePath>,
    pub what: What,
}

impl History {
    /// For a run with that many targets.
    pub fn new(targets: usize) -> Self {
        let targets = (0..targets).map(|_| Mutex::default()).collect();
        Self(Arc::new(Inner { events: Mutex::default(), targets }))
    }

    /// A change was captured that no rule leaves out.
    pub fn event(&self, change: &Change) {
        let mut ring = ring::lock(&self.0.events);
        if let Kind::Moved { from, .. } = &change.kind {
            ring.push(Record::event(from, EventKind::MovedAway, change));
        }
        ring.push(Record::event(&change.path, EventKind::of(&change.kind), change));
    }

    /// Changes may have gone unseen.
    pub fn gap(&self, gap: &Gap) {
        ring::lock(&self.0.events).push(Record::gap(gap));
    }

    /// A target's batch with this number holds these paths.
    pub fn batched<'a>(
        &self,
        target: usize,
        number: u64,
        closed: Stamp,
        paths: impl Iterator<Item = &'a TreePath>,
    ) {
        if let Some(ring) = self.0.targets.get(target) {
            let mut ring = ring::lock(ring);
            for path in paths {
                ring.push(Record::target(path, closed, &What::Batched { number }));
            }
        }
    }

    /// A step was planned for a target.
    pub fn planned(&self, target: usize, step: &Step, at: Stamp) {
        self.of_step(target, step, at, &What::Planned { step: StepKind::of(step) });
    }

    /// A target has answered a step. `latency` is the time since the change behind it was seen.
    pub fn answered(
        &self,
        target: usize,
        step: &Step,
        outcome: &Outcome,
        at: Stamp,
        latency: Option<Duration>,
    ) {
        let step_kind = StepKind::of(step);
        let what = match outcome {
            Outcome::Applied { .. } => What::Applied { step: step_kind, latency },
            Outcome::Refused { refusal, .. } => What::Refused { step: step_kind, refusal: *refusal },
        };
        self.of_step(target, step, at, &what);
    }

    fn of_step(&self, target: usize, step: &Step, at: Stamp, what: &What) {
        if let Some(ring) = self.0.targets.get(target) {
            let mut ring = ring::lock(ring);
            for path in step.paths() {
                ring.push(Record::target(path, at, what));
            }
        }
    }

    /// What is remembered of `path`, in the order in which it happened: with what happened to the
    /// directories above it, as far as that moves it, removes it, or has it looked at.
    pub fn of(&self, path: &TreePath) -> Vec<Happening> {
        let places: Vec<TreePath> = std::iter::once(path.clone()).chain(path.above()).collect();
        let hashes: Vec<u64> = places.iter().map(record::hash).collect();
        let rings = self.0.targets.iter().enumerate().map(|(target, ring)| (Some(target), ring));
        let mut happenings = Vec::new();
        for (target, ring) in std::iter::once((None, &self.0.events)).chain(rings) {
            for (place, record) in ring::find(ring, &hashes) {
                let above = places.get(place).filter(|_| place > 0).cloned();
                if let Some(what) = record.what()
                    && (above.is_none() || what.reaches_below())
                {
                    happenings.push(Happening { at: record.at(), target, above, what });
                }
            }
        }
        happenings.sort_by_key(|happening| happening.at);
        happenings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Expected, Origin, Reason, Refusal};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn change(kind: Kind, at: &str, seen: u64) -> Change {
        let mut comm = [0; 16];
        comm[..4].copy_from_slice(b"php\0");
        let origin = Origin { tgid: 7, comm, ignored: false };
        Change { kind, path: path(at), origin, seen: Stamp(seen), read: Stamp(seen) }
    }

    #[test]
    fn tells_of_a_path_and_of_what_moves_it() {
        let history = History::new(2);
        history.event(&change(Kind::Written, "d/page", 1));
        history.event(&change(Kind::Written, "d/other", 2));
        history.event(&change(Kind::Attributes, "d", 3));
        history.event(&change(Kind::Moved { from: path("d"), directory: true }, "e", 4));
        history.gap(&Gap { place: TreePath::root(), reason: Reason::RingFull, lost: 3, seen: Stamp(5) });
        history.batched(1, 42, Stamp(6), [path("d/page"), path("x")].iter());
        let step = Step::RemoveFile { path: path("d/page"), expects: Expected::Anything };
        history.planned(1, &step, Stamp(7));
        let refused = Outcome::Refused { refusal: Refusal::NoParent, detail: String::new(), found: None };
        history.answered(1, &step, &refused, Stamp(8), None);
        let told: Vec<(u64, Option<usize>, Option<String>, What)> = history
            .of(&path("d/page"))
            .into_iter()
            .map(|Happening { at, target, above, what }| {
                (at.0, target, above.map(|above| above.to_string()), what)
            })
            .collect();
        let event = |kind| What::Event { kind, process: 7, command: "php".to_owned() };
        let step = StepKind::RemoveFile;
        assert_eq!(
            told,
            [
                (1, None, None, event(EventKind::Written)),
                (4, None, Some("d".to_owned()), event(EventKind::MovedAway)),
                (5, None, Some(".".to_owned()), What::Gap { reason: Reason::RingFull, lost: 3 }),
                (6, Some(1), None, What::Batched { number: 42 }),
                (7, Some(1), None, What::Planned { step }),
                (8, Some(1), None, What::Refused { step, refusal: Refusal::NoParent }),
            ]
        );
        assert!(history.of(&path("e/other")).iter().all(|happening| happening.above.is_some()));
    }

    #[test]
    fn the_oldest_is_forgotten_first_and_memory_is_bounded() {
        assert_eq!(size_of::<Record>(), 48);
        let history = History::new(0);
        for seen in 0..REMEMBERED as u64 + 10 {
            let at = if seen.is_multiple_of(2) { "even" } else { "odd" };
            history.event(&change(Kind::Written, at, seen));
        }
        let even = history.of(&path("even"));
        assert_eq!((even.len(), even[0].at), (REMEMBERED / 2, Stamp(10)));
        assert_eq!(ring::lock(&history.0.events).bytes(), REMEMBERED * 48);
    }
}
