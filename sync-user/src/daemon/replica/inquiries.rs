//! Asks the target what those want to know who verify, has sent again what they found wanting, and
//! tells what is known of a path.

use std::collections::BTreeMap;

use crossbeam::channel::Sender;

use super::Replica;
use crate::clock;
use crate::daemon::inquiry::{Knowledge, Mend, Order, Reply, give};
use crate::ledger::{Held, Known};
use crate::model::{Depth, Look, Owner, TreePath};
use crate::ship::Session;
use crate::wire::Answer;

/// Questions of this connection, and who waits for each answer.
#[derive(Debug, Default)]
pub(super) struct Inquiries {
    waiting: BTreeMap<u64, Sender<Reply>>,
}

impl Replica {
    /// Takes the orders for which the connection has room.
    pub(super) fn take_orders(&mut self, session: &mut Session) {
        let inquiry = self.setup.gauges.inquiry.clone();
        let desk = inquiry.desk(self.setup.index);
        desk.hush();
        while session.takes_question()
            && let Some(order) = desk.take()
        {
            match order {
                Order::Ask { question, owners, reply } => {
                    self.inquiries.waiting.insert(question.number, reply);
                    session.examine(question, &owners);
                }
                Order::Mend { paths, reply } => {
                    self.retries.owe_since(self.debts.taken());
                    for mend in paths {
                        self.mend(mend);
                    }
                    give(&reply, Reply::Mending);
                }
                Order::Tell { path, reply } => give(&reply, Reply::Told(self.knowledge(&path))),
                Order::Decide { decision, reply } => give(&reply, Reply::Decided(self.decide(decision))),
            }
        }
    }

    pub(super) fn examined(&mut self, answer: Answer) {
        if let Some(reply) = self.inquiries.waiting.remove(&answer.number) {
            give(&reply, Reply::Answered(answer));
        }
    }

    fn knowledge(&self, path: &TreePath) -> Knowledge {
        Knowledge {
            ledger: self.ledger.get(path),
            on_its_way: self.flights.concern(path),
            put_off: self
                .retries
                .due_of(path)
                .or_else(|| self.guard.due_of(path))
                .map(|due| due.since(clock::now())),
            failures: self.retries.attempts(path),
            is_held: self.guard.held().contains(path),
        }
    }

    /// Tells all who wait that there is no connection; what is known is told without one.
    pub(super) fn answer_nobody(&mut self) {
        for reply in std::mem::take(&mut self.inquiries.waiting).into_values() {
            give(&reply, Reply::Lost);
        }
        let inquiry = self.setup.gauges.inquiry.clone();
        let desk = inquiry.desk(self.setup.index);
        desk.hush();
        while let Some(order) = desk.take() {
            let reply = match &order {
                Order::Tell { path, .. } => Reply::Told(self.knowledge(path)),
                Order::Decide { decision, .. } => Reply::Decided(self.decide(*decision)),
                Order::Ask { .. } | Order::Mend { .. } => Reply::Lost,
            };
            give(order.reply(), reply);
        }
    }

    /// Has the ledger say what the target really holds, and looks at the path. What has other
    /// content there is not ours any more, as with all that somebody else has changed: should the
    /// source remove it by then, it stays (I3).
    fn mend(&mut self, Mend { path, holds }: Mend) {
        // What is on its way may be what was found wanting; it is looked at behind that.
        if !self.flights.concern(&path) {
            match holds {
                Some((mut version, content)) => {
                    let before = self.ledger.held(&path);
                    let owner = before.map_or(Owner::NOBODY, |held| held.version.owner);
                    // What this target cannot set is no difference.
                    if version.owner.user == Owner::LEFT {
                        version.owner.user = owner.user;
                    }
                    if version.owner.group == Owner::LEFT {
                        version.owner.group = owner.group;
                    }
                    let twin = before.and_then(|held| held.twin);
                    let held = Held { version, content, settled: false, twin };
                    self.ledger.set(path.clone(), Known::Holds(held));
                }
                None => self.ledger.forget(&path),
            }
        }
        let look = Look { depth: Depth::Entry, content: true, stamps: None };
        self.retries.put_off(path, look, clock::now());
    }
}
