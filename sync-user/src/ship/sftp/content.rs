//! Hands the pieces of a large file to the step that they belong to.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::wire::Piece;

/// Pieces that have come and are not used yet; clones share them.
#[derive(Debug, Clone, Default)]
pub(super) struct Pieces {
    queue: Rc<RefCell<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    bytes: usize,
    /// All were taken.
    is_over: bool,
}

impl Pieces {
    pub(super) fn add(&self, piece: Piece) {
        let mut queue = self.queue.borrow_mut();
        queue.bytes += bytes(&piece);
        queue.pieces.push_back(piece);
    }

    /// Whether all have come.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.queue.borrow().pieces.back(), Some(Piece::End(_) | Piece::Abort))
    }

    /// What waits to be used.
    pub(super) fn bytes(&self) -> usize {
        self.queue.borrow().bytes
    }

    /// The next one, once it has come.
    pub(super) fn next(&self) -> Next {
        Next(self.clone())
    }

    /// Takes all that is still to come.
    pub(super) async fn drain(&self) {
        while !self.queue.borrow().is_over {
            drop(self.next().await);
        }
    }
}

fn bytes(piece: &Piece) -> usize {
    if let Piece::Bytes(bytes) = piece { bytes.len() } else { 0 }
}

/// A piece to come. Whoever adds one goes on with the task that waits.
#[derive(Debug)]
pub(super) struct Next(Pieces);

impl Future for Next {
    type Output = Piece;

    fn poll(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<Piece> {
        let mut queue = self.0.queue.borrow_mut();
        match queue.pieces.pop_front() {
            Some(piece) => {
                queue.bytes -= bytes(&piece);
                queue.is_over |= matches!(piece, Piece::End(_) | Piece::Abort);
                Poll::Ready(piece)
            }
            None => Poll::Pending,
        }
    }
}
