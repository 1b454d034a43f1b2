//! Asks targets, and waits for their answers, as long as they are connected.

use std::collections::BTreeMap;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};

use super::VerifyError;
use super::teller::Teller;
use crate::clock;
use crate::daemon::Gauges;
use crate::daemon::inquiry::{Mend, Order, Reply};
use crate::metrics::Connection;
use crate::model::{Owner, Xattr};
use crate::wire::{Answer, QUESTIONS_MAX, Question};

/// How often it is looked whether a target is still connected.
const INTERVAL: Duration = Duration::from_millis(100);

/// How long a target may take to connect, and to compare the trees first.
const CONNECTING_MAX: Duration = Duration::from_secs(10);

/// All targets of a run.
pub(super) struct Targets<'a> {
    gauges: &'a Gauges,
    all: Vec<Asked>,
}

/// One target.
struct Asked {
    replies: (Sender<Reply>, Receiver<Reply>),
    /// Answers that came before somebody waited for them.
    answers: BTreeMap<u64, Answer>,
    /// Why it is not asked any more.
    ended: Option<String>,
}

impl<'a> Targets<'a> {
    /// Waits for those that are about to be connected.
    pub(super) fn new(gauges: &'a Gauges, teller: &mut Teller<'_>) -> Result<Self, VerifyError> {
        // Room for more replies than can be on their way.
        let asked = |_| Asked { replies: bounded(2 * QUESTIONS_MAX), answers: BTreeMap::new(), ended: None };
        let all = (0..gauges.targets.len()).map(asked).collect();
        let mut targets = Self { gauges, all };
        let deadline = clock::now().plus(CONNECTING_MAX);
        for target in 0..targets.all.len() {
            let connection = || gauges.targets[target].snapshot(clock::now()).connection;
            while matches!(connection(), Connection::Connecting | Connection::Comparing)
                && clock::now() < deadline
            {
                teller.pause(INTERVAL)?;
            }
            if connection() != Connection::Up {
                targets.end(target);
            }
        }
        Ok(targets)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn is_open(&self, target: usize) -> bool {
        self.all[target].ended.is_none()
    }

    /// Why not everything was compared with this target, if so.
    pub(super) fn ended(&self, target: usize) -> Option<&str> {
        self.all[target].ended.as_deref()
    }

    fn is_connected(&self, target: usize) -> bool {
        let connection = self.gauges.targets[target].snapshot(clock::now()).connection;
        matches!(connection, Connection::Up | Connection::Comparing)
    }

    fn end(&mut self, target: usize) {
        let seen = self.gauges.targets[target].snapshot(clock::now());
        let why = match (seen.connection, seen.error) {
            (Connection::Up, _) => "its connection was lost meanwhile".to_owned(),
            (Connection::Comparing, _) => "it is compared by the daemon itself".to_owned(),
            (_, Some(error)) => format!("it is not connected: {}", error.what),
            (_, None) => "it is not connected".to_owned(),
        };
        self.all[target].ended = Some(why);
    }

    /// Sends a question to a target. Nothing comes back from one that is not asked any more.
    pub(super) fn ask(
        &mut self,
        target: usize,
        question: Question,
        owners: Vec<(Owner, Vec<Xattr>)>,
        teller: &mut Teller<'_>,
    ) -> Result<(), VerifyError> {
        let reply = self.all[target].replies.0.clone();
        self.leave(target, Order::Ask { question, owners, reply }, teller)
    }

    fn leave(&mut self, target: usize, mut order: Order, teller: &mut Teller<'_>) -> Result<(), VerifyError> {
        while self.is_open(target) {
            match self.gauges.inquiry.desk(target).leave(order, INTERVAL) {
                Ok(()) => break,
                Err(back) => order = back,
            }
            teller.tick()?;
            if !self.is_connected(target) {
                self.end(target);
            }
        }
        Ok(())
    }

    /// Waits for the answer to a question; `None` when none will come.
    pub(super) fn answer(
        &mut self,
        target: usize,
        number: u64,
        teller: &mut Teller<'_>,
    ) -> Result<Option<Answer>, VerifyError> {
        loop {
            if let Some(answer) = self.all[target].answers.remove(&number) {
                return Ok(Some(answer));
            }
            match self.reply(target, teller)? {
                Some(Reply::Answered(answer)) => {
                    self.all[target].answers.insert(answer.number, answer);
                }
                Some(Reply::Mending | Reply::Told(_) | Reply::Decided(_)) => {}
                Some(Reply::Lost) | None => return Ok(None),
            }
        }
    }

    /// Has paths sent again; returns once they are put off, to be looked at.
    pub(super) fn mend(
        &mut self,
        target: usize,
        paths: Vec<Mend>,
        teller: &mut Teller<'_>,
    ) -> Result<(), VerifyError> {
        let reply = self.all[target].replies.0.clone();
        self.leave(target, Order::Mend { paths, reply }, teller)?;
        while let Some(reply) = self.reply(target, teller)? {
            match reply {
                Reply::Answered(answer) => {
                    self.all[target].answers.insert(answer.number, answer);
                }
                Reply::Mending | Reply::Told(_) | Reply::Decided(_) | Reply::Lost => break,
            }
        }
        Ok(())
    }

    /// The next that comes from a target; `None` when nothing will come any more.
    fn reply(&mut self, target: usize, teller: &mut Teller<'_>) -> Result<Option<Reply>, VerifyError> {
        while self.is_open(target) {
            match self.all[target].replies.1.recv_timeout(INTERVAL) {
                Ok(Reply::Lost) => self.end(target),
                Ok(reply) => return Ok(Some(reply)),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    if !self.is_connected(target) {
                        self.end(target);
                    }
                }
            }
            teller.tick()?;
        }
        Ok(None)
    }
}
