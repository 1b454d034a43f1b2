//! Answers questions about the tree beside all other work, so that no step waits for a hash.
//!
//! A thread of its own looks and hashes, with little claim to processor and disk. It begins with
//! the first question, and ends with the connection.

use std::io::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::{self, Scope};

use super::{Error, say};
use crate::priority;
use crate::receive::{Examiner, Root, Translation};
use crate::wire::{QUESTIONS_MAX, Question, ToSource};

type Questions = SyncSender<(Question, Translation)>;

/// The questions of one connection.
pub(super) struct Examination<'scope, 'env, W> {
    scope: &'scope Scope<'scope, 'env>,
    writer: &'env Mutex<W>,
    /// Whether the connection is over, and nobody waits for an answer.
    over: &'env AtomicBool,
    questions: Option<Questions>,
}

impl<'scope, 'env, W: Write + Send> Examination<'scope, 'env, W> {
    pub(super) fn new(
        scope: &'scope Scope<'scope, 'env>,
        writer: &'env Mutex<W>,
        over: &'env AtomicBool,
    ) -> Self {
        Self { scope, writer, over, questions: None }
    }

    /// Has `question` answered in its turn.
    pub(super) fn examine(&mut self, question: Question, root: &Root) -> Result<(), Error> {
        if let Some(fault) = question.fault() {
            return Err(Error::Protocol(fault.to_owned()));
        }
        let questions = match &self.questions {
            Some(questions) => questions,
            None => self.questions.insert(self.begin(root)?),
        };
        match questions.try_send((question, root.translation())) {
            // Without its thread, which could not write, this one will not be able to either.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(_)) => {
                Err(Error::Protocol(format!("more than {QUESTIONS_MAX} questions came at once")))
            }
        }
    }

    fn begin(&self, root: &Root) -> Result<Questions, Error> {
        let mut examiner: Examiner = root.examiner().map_err(Error::Examine)?;
        let (sender, questions) = sync_channel::<(Question, Translation)>(QUESTIONS_MAX);
        let (writer, over) = (self.writer, self.over);
        let work = move || {
            priority::stand_back();
            let goes_on = || !over.load(Ordering::Relaxed);
            for (question, translation) in questions {
                let Ok(answer) = examiner.answer(&question, &translation, &goes_on) else { return };
                // Who no longer listens is noticed where steps are answered.
                if say(writer, &ToSource::Examined(answer)).is_err() {
                    return;
                }
            }
        };
        let thread = thread::Builder::new().name("examine".to_owned());
        thread.spawn_scoped(self.scope, work).map_err(Error::Examine)?;
        Ok(sender)
    }
}
