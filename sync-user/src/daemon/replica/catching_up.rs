//! Follows how much is left of what a comparison found to do.

use crate::metrics::Progress;
use crate::model::{FileKind, Step};
use crate::ship::Ticket;

/// What came of the last comparison, as long as some of it is on its way.
#[derive(Debug, Default)]
pub(super) struct CatchingUp {
    /// The last step that came of it.
    until: Option<Ticket>,
    done: Progress,
    of: Progress,
}

impl CatchingUp {
    /// From now on `steps` are left to do, the last of which is `until`.
    pub(super) fn begin<'a>(&mut self, until: Ticket, steps: impl Iterator<Item = &'a Step>) {
        let of = steps.fold(Progress::default(), |sum, step| sum.plus(amount(step)));
        *self = Self { until: Some(until), done: Progress::default(), of };
    }

    /// `step` is not on its way any more.
    pub(super) fn ended(&mut self, ticket: Ticket, step: &Step) {
        if self.until.is_some_and(|until| ticket <= until) {
            self.done = self.done.plus(amount(step));
            if self.done.steps >= self.of.steps {
                self.forget();
            }
        }
    }

    /// Nothing is on its way any more.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// What is done, and of how much; `None` when nothing is left.
    pub(super) fn progress(&self) -> Option<(Progress, Progress)> {
        self.until.map(|_| (self.done, self.of))
    }
}

fn amount(step: &Step) -> Progress {
    let bytes = match step {
        Step::PutFile { entry, .. } if entry.version.kind == FileKind::File => entry.version.size,
        _ => 0,
    };
    Progress { steps: 1, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Expected, TreePath};

    #[test]
    fn what_came_of_the_comparison_counts_and_what_came_later_does_not() {
        let path = TreePath::new(b"f").unwrap();
        let step = Step::RemoveFile { path, expects: Expected::Anything };
        let mut catching_up = CatchingUp::default();
        catching_up.ended(Ticket(1), &step);
        assert_eq!(catching_up.progress(), None);
        catching_up.begin(Ticket(5), [&step, &step].into_iter());
        catching_up.ended(Ticket(6), &step);
        catching_up.ended(Ticket(4), &step);
        let steps = |steps| Progress { steps, bytes: 0 };
        assert_eq!(catching_up.progress(), Some((steps(1), steps(2))));
        catching_up.ended(Ticket(5), &step);
        assert_eq!(catching_up.progress(), None);
    }
}
