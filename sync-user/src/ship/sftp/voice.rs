//! Gathers what is to be said to the session, as a receiver would say it.

use std::cell::RefCell;
use std::rc::Rc;

use crate::wire::{ToSource, encode};

/// Frames that the session has not taken yet; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Voice {
    frames: Rc<RefCell<Vec<u8>>>,
}

impl Voice {
    pub(super) fn say(&self, message: &ToSource) {
        encode(message, &mut self.frames.borrow_mut());
    }

    pub(super) fn waiting(&self) -> usize {
        self.frames.borrow().len()
    }

    /// Offers what waits to `write`, which says how much it took.
    pub(super) fn write<E>(&self, write: impl FnOnce(&[u8]) -> Result<usize, E>) -> Result<(), E> {
        let mut frames = self.frames.borrow_mut();
        if !frames.is_empty() {
            let count = write(&frames)?;
            frames.drain(..count);
        }
        Ok(())
    }
}
