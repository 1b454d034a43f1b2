//! Reports how far the target is, to those who watch and those who wait.

use super::Replica;
use crate::barrier::PutOff;
use crate::clock;
use crate::metrics::{Connection, Target};
use crate::model::TreePath;

impl Replica {
    pub(super) fn target(&self) -> &Target {
        &self.setup.gauges.targets[self.setup.index]
    }

    pub(super) fn connection(&self, connection: Connection) {
        self.target().connection(connection, clock::now());
    }

    /// To be called whenever what was answered has been handled, and before a batch is taken.
    pub(super) fn report(&mut self) {
        self.setup.post.hush();
        self.debts.acknowledged(self.flights.first());
        let target = self.target();
        target.shipping.set(self.flights.len(), self.debts.oldest());
        target.put_off.set(self.retries.len() + self.guard.gathered().len(), None);
        target.catches_up(self.flights.catching_up());
        if self.flights.len() == 0 {
            let is_one = |path: &TreePath| {
                self.retries.waits(path) || self.surprises.keeps(path) || self.left.as_ref() == Some(path)
            };
            target.keep_problems(is_one);
        }
        let carried = self.debts.carried();
        let put_off = self.retries.oldest().into_iter().chain(self.guard.owed_since());
        let settled = put_off.fold(carried, u64::min);
        let paths = || self.retries.paths().chain(self.guard.gathered()).collect::<Vec<_>>();
        let put_off = || PutOff::of(paths().into_iter());
        self.setup.gauges.barrier.settle(self.setup.index, settled, carried, put_off);
    }
}
