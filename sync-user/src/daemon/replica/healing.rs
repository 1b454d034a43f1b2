//! Follows gaps until they are healed: the place was looked at, and the target has answered all
//! that came of it.

use std::collections::VecDeque;

use crate::ship::Ticket;

/// Gaps that are not healed yet.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// Gaps whose place has still to be looked at.
    waiting: u64,
    /// The last step that came of a look, and the gaps that it heals.
    looked_at: VecDeque<(Ticket, u64)>,
}

impl Healing {
    /// Gaps whose looks were put off, or whose steps are lost: a later look heals them.
    pub(super) fn put_off(&mut self, gaps: u64) {
        self.waiting += gaps;
    }

    /// A look was planned, the last step of which is `last`: it heals `gaps`, and what was put off
    /// if it was `everything` that waits.
    pub(super) fn planned(&mut self, gaps: u64, everything: bool, last: Ticket) {
        let gaps = gaps + if everything { std::mem::take(&mut self.waiting) } else { 0 };
        if gaps > 0 {
            self.looked_at.push_back((last, gaps));
        }
    }

    /// Takes out the gaps that are healed once `first` is the first step on its way.
    pub(super) fn healed(&mut self, first: Option<Ticket>) -> u64 {
        let mut healed = 0;
        while let Some((last, gaps)) = self.looked_at.front().copied()
            && first.is_none_or(|first| last < first)
        {
            healed += gaps;
            self.looked_at.pop_front();
        }
        healed
    }

    /// Nothing is known of any step any more: everything is looked at again.
    pub(super) fn lost(&mut self) {
        self.waiting += self.looked_at.drain(..).map(|(_, gaps)| gaps).sum::<u64>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_healed_when_the_last_step_that_came_of_it_is_answered() {
        let mut healing = Healing::default();
        healing.planned(2, false, Ticket(5));
        healing.planned(0, false, Ticket(6));
        healing.planned(1, false, Ticket(9));
        assert_eq!(healing.healed(Some(Ticket(5))), 0);
        assert_eq!(healing.healed(Some(Ticket(6))), 2);
        assert_eq!((healing.healed(None), healing.healed(None)), (1, 0));
    }

    #[test]
    fn a_lost_connection_heals_nothing() {
        let mut healing = Healing::default();
        healing.planned(2, false, Ticket(5));
        healing.lost();
        healing.put_off(1);
        assert_eq!(healing.healed(None), 0);
        healing.planned(0, false, Ticket(6));
        assert_eq!(healing.healed(None), 0);
        healing.planned(0, true, Ticket(8));
        assert_eq!(healing.healed(Some(Ticket(9))), 3);
    }
}
