//! Keeps the steps of a batch until all of them are here and checked, and then makes them visible, one
//! right after the other.

use super::Error;
use crate::clock;
use crate::model::{Refusal, Sequence, Stamp};
use crate::receive::{Done, Failure, Root, Whole};
use crate::wire::{Step, UNPUBLISHED_BYTES_MAX, UNPUBLISHED_MAX};

/// What is not visible yet.
#[derive(Debug, Default)]
pub(super) struct Publication {
    kept: Vec<(Sequence, Kept)>,
    /// What the steps take that are kept as they came.
    bytes: usize,
}

#[derive(Debug)]
enum Kept {
    /// A file in the stage.
    Whole(Box<Whole>),
    Step(Step),
    /// Nothing is left to do: it was there already, or it could not even be staged.
    Over(Result<Done, Failure>),
}

/// A step that was published, or refused, and when that began.
pub(super) type Answer = (Sequence, Stamp, Result<Done, Failure>);

impl Publication {
    pub(super) fn whole(&mut self, sequence: Sequence, whole: Box<Whole>) {
        self.kept.push((sequence, Kept::Whole(whole)));
    }

    pub(super) fn step(&mut self, sequence: Sequence, step: Step) {
        self.bytes += step.kept_bytes();
        self.kept.push((sequence, Kept::Step(step)));
    }

    pub(super) fn over(&mut self, sequence: Sequence, result: Result<Done, Failure>) {
        self.kept.push((sequence, Kept::Over(result)));
    }

    /// So much is kept at most that the source has it published in time (I6).
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.kept.len() > UNPUBLISHED_MAX || self.bytes > UNPUBLISHED_BYTES_MAX {
            return Err(Error::Protocol("more came than may wait to be published".to_owned()));
        }
        Ok(())
    }

    /// Makes all of it visible, in the order in which it was planned. If the content of one could not be
    /// staged, by a full disk or the like, nothing becomes visible.
    pub(super) fn publish(mut self, root: &mut Root) -> Vec<Answer> {
        // A small step may have come within a large file.
        self.kept.sort_by_key(|(sequence, _)| *sequence);
        let spoilt = self.spoilt_by();
        let answer = |(sequence, kept)| {
            let since = clock::now();
            let result = match (kept, &spoilt) {
                (Kept::Over(result), _) => result,
                (_, Some(why)) => Err(Failure::new(Refusal::Withheld, why.clone())),
                (Kept::Whole(whole), None) => root.publish(*whole),
                (Kept::Step(step), None) => root.apply_at_once(step),
            };
            (sequence, since, result)
        };
        self.kept.into_iter().map(answer).collect()
    }

    /// Why nothing is to become visible. A file that only changed while it was read comes again by
    /// itself, and the others need not wait for a log that never rests.
    fn spoilt_by(&self) -> Option<String> {
        let failures = self.kept.iter().filter_map(|(_, kept)| match kept {
            Kept::Over(Err(failure)) => Some(failure),
            _ => None,
        });
        let mut spoiling = failures.filter(|failure| {
            matches!(failure.refusal, Refusal::Full | Refusal::Forbidden | Refusal::Failed | Refusal::Damaged)
        });
        spoiling
            .next()
            .map(|failure| format!("another file of its batch could not be staged: {}", failure.detail))
    }
}
