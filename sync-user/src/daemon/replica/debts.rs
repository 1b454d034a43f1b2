//! Knows what is owed to the target, so that it can be said which batches are settled.
//!
//! Batches are numbered in the order in which they are taken; number 0 is the comparison at the
//! start. A batch is settled when the target has acknowledged every step that it led to,
//! however often that took. Looking at a path may lead to no step because one that is on its
//! way does all that is needed, so a batch owes whatever is on its way once it was planned.

use std::collections::VecDeque;

use crate::model::Stamp;
use crate::ship::Ticket;

/// Plans that are told apart. Beyond, the newest are taken for one, which says less and never more (I6).
const PLANS_MAX: usize = 1_024;

/// Batches that were planned, and are not acknowledged yet.
#[derive(Debug)]
pub(super) struct Debts {
    taken: u64,
    /// The trees have to be compared: since which batch, and which moment, that is owed.
    comparison: Option<(u64, Option<Stamp>)>,
    /// In the order of planning. Both `last` and `since` grow: of two that would not, the one
    /// that says more stays.
    planned: VecDeque<Plan>,
}

#[derive(Debug, Clone, Copy)]
struct Plan {
    /// The last step that was on its way when this was planned.
    last: Ticket,
    /// The oldest batch that is owed by it.
    since: u64,
    /// When the oldest change behind it was seen.
    seen: Stamp,
}

impl Debts {
    /// At the start everything is owed.
    pub(super) fn new(now: Stamp) -> Self {
        Self { taken: 0, comparison: Some((0, Some(now))), planned: VecDeque::new() }
    }

    /// The number of the batch that was taken last.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Counts another batch, and says its number.
    pub(super) fn take(&mut self) -> u64 {
        self.taken += 1;
        self.taken
    }

    /// A plan was made of what is owed since the batch `since`, and its last step is `last`.
    pub(super) fn planned(&mut self, last: Ticket, since: u64, seen: Stamp) {
        let mut plan = Plan { last, since, seen };
        while let Some(before) = self.planned.pop_back_if(|before| before.since >= since) {
            plan.seen = plan.seen.min(before.seen);
        }
        if self.planned.len() >= PLANS_MAX
            && let Some(before) = self.planned.pop_back()
        {
            (plan.since, plan.seen) = (before.since, plan.seen.min(before.seen));
        }
        self.planned.push_back(plan);
    }

    /// The oldest batch that owes the step `ticket`.
    pub(super) fn since(&self, ticket: Ticket) -> u64 {
        let plan = self.planned.iter().find(|plan| plan.last >= ticket);
        plan.map_or(self.taken, |plan| plan.since)
    }

    /// Every step before `first` is acknowledged, or put off; all are when there is none.
    pub(super) fn acknowledged(&mut self, first: Option<Ticket>) {
        while self.planned.pop_front_if(|plan| first.is_none_or(|first| plan.last < first)).is_some() {}
    }

    /// The connection is lost, and with it all that is known of steps on their way. `put_off` is
    /// the oldest batch that a path which was put off is owed since.
    pub(super) fn lost(&mut self, put_off: Option<u64>) {
        let before = self.comparison;
        let since = before.map(|(since, _)| since).into_iter().chain(put_off);
        let since = since.chain(self.planned.front().map(|plan| plan.since)).min();
        let seen = self.oldest();
        self.planned.clear();
        self.comparison = Some((since.unwrap_or(self.taken + 1), seen));
    }

    /// Since which batch the comparison is owed that is being made; it is no more, once planned.
    pub(super) fn compared(&mut self) -> u64 {
        self.comparison.take().map_or(self.taken, |(since, _)| since)
    }

    /// How many batches, from 0 on, are settled, but for paths that were put off.
    pub(super) fn carried(&self) -> u64 {
        let comparison = self.comparison.map(|(since, _)| since);
        let planned = self.planned.front().map(|plan| plan.since);
        comparison.into_iter().chain(planned).min().unwrap_or(u64::MAX).min(self.taken + 1)
    }

    /// When the oldest change was seen that is on its way.
    pub(super) fn oldest(&self) -> Option<Stamp> {
        let comparison = self.comparison.and_then(|(_, seen)| seen);
        comparison.into_iter().chain(self.planned.iter().map(|plan| plan.seen)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A replica that has made its first comparison, which led to no step.
    fn compared() -> Debts {
        let mut debts = Debts::new(Stamp(1));
        assert_eq!(debts.carried(), 0, "nothing is settled before the trees were compared");
        let since = debts.compared();
        debts.planned(Ticket(0), since, Stamp(1));
        debts.acknowledged(None);
        assert_eq!((debts.carried(), debts.oldest()), (1, None));
        debts
    }

    #[test]
    fn a_batch_is_settled_when_all_that_was_on_its_way_is_acknowledged() {
        let mut debts = compared();
        for (ticket, seen) in [(5, 10), (5, 20), (9, 30)] {
            let number = debts.take();
            debts.planned(Ticket(ticket), number, Stamp(seen));
        }
        debts.acknowledged(Some(Ticket(5)));
        assert_eq!((debts.carried(), debts.oldest()), (1, Some(Stamp(10))));
        // The second batch led to no step, since one of the first did all.
        debts.acknowledged(Some(Ticket(6)));
        assert_eq!((debts.carried(), debts.oldest()), (3, Some(Stamp(30))));
        debts.acknowledged(None);
        assert_eq!((debts.carried(), debts.oldest()), (4, None));
    }

    #[test]
    fn however_many_batches_wait_for_one_step_they_are_bounded_and_settled_with_it() {
        let mut debts = compared();
        for ticket in 1..=5_000 {
            let number = debts.take();
            debts.planned(Ticket(ticket), number, Stamp(ticket));
        }
        assert_eq!(
            (debts.planned.len(), debts.since(Ticket(7)), debts.oldest()),
            (PLANS_MAX, 7, Some(Stamp(1)))
        );
        debts.acknowledged(Some(Ticket(4_999)));
        assert!(debts.carried() <= 4_999);
        debts.acknowledged(None);
        assert_eq!(debts.carried(), 5_001);
    }

    #[test]
    fn what_is_looked_at_again_is_owed_since_its_first_batch() {
        let mut debts = compared();
        debts.take();
        debts.planned(Ticket(3), 1, Stamp(10));
        debts.take();
        debts.planned(Ticket(6), 2, Stamp(20));
        assert_eq!((debts.since(Ticket(2)), debts.since(Ticket(4)), debts.since(Ticket(6))), (1, 2, 2));
        debts.acknowledged(Some(Ticket(4)));
        // A step of the first batch was refused. What it was about may be done by a step of the
        // second by now, which the first owes from here on.
        debts.planned(Ticket(6), 1, Stamp(30));
        assert_eq!((debts.carried(), debts.since(Ticket(5))), (1, 1));
        assert_eq!(debts.oldest(), Some(Stamp(20)));
    }

    #[test]
    fn a_lost_connection_owes_a_comparison_since_the_oldest_debt() {
        let mut debts = compared();
        for ticket in [3, 6] {
            let number = debts.take();
            debts.planned(Ticket(ticket), number, Stamp(ticket));
        }
        debts.acknowledged(Some(Ticket(4)));
        debts.lost(None);
        assert_eq!((debts.carried(), debts.oldest()), (2, Some(Stamp(6))), "the first batch stays settled");
        debts.lost(Some(1));
        assert_eq!(debts.carried(), 1);
        assert_eq!(debts.compared(), 1);
        debts.planned(Ticket(7), 1, Stamp(9));
        assert_eq!(debts.carried(), 1);
        debts.acknowledged(None);
        assert_eq!(debts.carried(), 3);
    }
}
