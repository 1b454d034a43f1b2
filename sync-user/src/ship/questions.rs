//! Remembers what a target was asked, and takes only answers to that.

use std::collections::BTreeMap;

use crate::wire::{Answer, QUESTIONS_MAX, Question};

/// Questions of one connection that have no answer yet.
#[derive(Debug, Default)]
pub(super) struct Questions {
    open: BTreeMap<u64, Question>,
}

impl Questions {
    /// Whether another may be asked.
    pub(super) fn have_room(&self) -> bool {
        self.open.len() < QUESTIONS_MAX
    }

    pub(super) fn ask(&mut self, question: Question) {
        self.open.insert(question.number, question);
    }

    /// Takes an answer; an error says why it is none.
    pub(super) fn answered(&mut self, answer: &Answer) -> Result<(), String> {
        let question = self.open.remove(&answer.number).ok_or("it answers what was not asked")?;
        answer.fault(&question).map_or(Ok(()), |fault| Err(format!("an answer of it is none: {fault}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_is_answered_and_once() {
        let mut questions = Questions::default();
        let question = |number| {
            let (directory, names) = (Vec::new(), Vec::new());
            Question { number, directory, names, hashes: true, others: None }
        };
        let answer = |number| Answer { number, entries: Vec::new(), rest_after: None };
        (0..QUESTIONS_MAX as u64).for_each(|number| questions.ask(question(number)));
        assert!(!questions.have_room());
        assert_eq!(questions.answered(&answer(3)), Ok(()));
        assert!(questions.have_room());
        assert!(questions.answered(&answer(3)).is_err());
        let beyond = Answer { rest_after: Some(b"a".to_vec()), ..answer(4) };
        assert!(questions.answered(&beyond).is_err(), "nothing was asked that it could go on with");
    }
}
