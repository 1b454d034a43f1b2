//! Follows one file whose content comes in pieces.

use super::Error;
use crate::model::{Content, Refusal, Stamp};
use crate::receive::{Failure, Incoming, Root, Whole};
use crate::wire::{COPY_BYTES_MAX, HOLE_BYTES_MAX, Piece};

/// A file of which not all pieces have come.
pub(super) struct Arriving {
    pub(super) since: Stamp,
    /// What came so far; or why the file was given up, while the rest of it is passed over.
    incoming: Result<Incoming, Failure>,
}

impl Arriving {
    pub(super) fn new(since: Stamp, incoming: Result<Incoming, Failure>) -> Self {
        Self { since, incoming }
    }

    /// Adds a piece; gives what became of the file, once it was the last one.
    pub(super) fn add(
        &mut self,
        piece: Piece,
        root: &mut Root,
    ) -> Result<Option<Result<Whole, Failure>>, Error> {
        let added = match (piece, &mut self.incoming) {
            (Piece::End(content), _) => return Ok(Some(self.end(root, content))),
            (Piece::Abort, _) => return Ok(Some(Err(self.abort()))),
            // Without content a message would cost its sender little and this side no end.
            (Piece::Hole { length }, _) if length > HOLE_BYTES_MAX => {
                return Err(Error::Protocol(format!("a hole of {length} bytes came at once")));
            }
            (Piece::Copy { length, .. }, _) if length == 0 || length > COPY_BYTES_MAX => {
                return Err(Error::Protocol(format!("a range of {length} bytes was to be copied at once")));
            }
            (_, Err(_)) => Ok(()),
            (Piece::Bytes(bytes), Ok(incoming)) => incoming.write(&bytes),
            (Piece::Hole { length }, Ok(incoming)) => incoming.hole(length),
            (Piece::Copy { from, length }, Ok(incoming)) => incoming.copy(from, length),
        };
        if let Err(failure) = added {
            // Its space is free again from here on.
            self.incoming = Err(failure);
        }
        Ok(None)
    }

    fn end(&mut self, root: &mut Root, content: Content) -> Result<Whole, Failure> {
        let over = Err(Failure::new(Refusal::Withdrawn, "it has ended"));
        std::mem::replace(&mut self.incoming, over).and_then(|incoming| root.complete(incoming, content))
    }

    fn abort(&mut self) -> Failure {
        let withdrawn = Failure::new(Refusal::Withdrawn, "the source took it back");
        std::mem::replace(&mut self.incoming, Err(withdrawn.clone())).err().unwrap_or(withdrawn)
    }
}
