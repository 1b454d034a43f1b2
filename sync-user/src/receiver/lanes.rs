//! Takes pieces of files from lanes, in the order in which the source has sent them.
//!
//! A lane is a connection of its own, whose receiver pours what comes into a pipe of this one. The
//! source counts its pieces, and gives each to the lane that has room. Of every lane no more than
//! one piece is looked at ahead: what comes too early waits in its pipe, and slows down its lane
//! alone (I6).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use super::Error;
use crate::model::Sequence;
use crate::wire::{Decoder, Piece, ToReceiver};

/// The lanes of one connection, and the place of the piece that is due.
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    due: u64,
}

/// A piece that a lane has brought.
struct Part {
    place: u64,
    sequence: Sequence,
    piece: Piece,
}

struct Lane {
    pipe: OwnedFd,
    decoder: Decoder,
    head: Option<Part>,
}

impl Lanes {
    pub(super) fn new(pipes: Vec<OwnedFd>) -> Self {
        let lane = |pipe| Lane { pipe, decoder: Decoder::default(), head: None };
        Self { lanes: pipes.into_iter().map(lane).collect(), due: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lanes.is_empty()
    }

    /// Notes a piece that did not come by a lane, but behind its step.
    pub(super) fn passed(&mut self, place: u64) -> Result<(), Error> {
        if place != self.due {
            return Err(Error::Protocol(format!("piece {place} came where {} was due", self.due)));
        }
        self.due += 1;
        Ok(())
    }

    /// The piece that is due, if it has come and so has its step: the last one was `announced`.
    pub(super) fn take(&mut self, announced: u64) -> Result<Option<ToReceiver>, Error> {
        for lane in &mut self.lanes {
            lane.look(self.due)?;
            let is_due = |part: &mut Part| part.place == self.due && part.sequence.0 <= announced;
            if let Some(Part { place, sequence, piece }) = lane.head.take_if(is_due) {
                self.due += 1;
                return Ok(Some(ToReceiver::Piece { place, sequence, piece }));
            }
        }
        Ok(None)
    }

    /// The lanes whose next piece has not come.
    pub(super) fn awaited(&self) -> Vec<BorrowedFd<'_>> {
        let awaited = self.lanes.iter().filter(|lane| lane.head.is_none());
        awaited.map(|lane| lane.pipe.as_fd()).collect()
    }

    /// Reads what has come, by way of `buffer`.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        for lane in &mut self.lanes {
            while lane.head.is_none() {
                match rustix::io::read(&lane.pipe, &mut *buffer) {
                    Ok(0) | Err(Errno::AGAIN) => break,
                    Ok(count) => lane.decoder.extend(&buffer[..count]),
                    Err(Errno::INTR) => continue,
                    Err(error) => return Err(Error::Read(error.into())),
                }
                lane.look(self.due)?;
            }
        }
        Ok(())
    }
}

impl Lane {
    /// Takes the next piece out of what was read, if all of it is there.
    fn look(&mut self, due: u64) -> Result<(), Error> {
        while self.head.is_none() {
            match self.decoder.take()? {
                None => break,
                Some(ToReceiver::Piece { place, sequence, piece }) if place >= due => {
                    self.head = Some(Part { place, sequence, piece });
                }
                // It keeps what lies between from taking the lane for dead.
                Some(ToReceiver::Ping { .. }) => {}
                Some(_) => return Err(Error::Protocol("a lane brought what is no piece".to_owned())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::wire::encode;

    fn piece(place: u64) -> ToReceiver {
        ToReceiver::Piece { place, sequence: Sequence(place / 3 + 1), piece: Piece::Bytes(vec![7; 100]) }
    }

    fn lanes(count: usize) -> (Vec<std::io::PipeWriter>, Lanes) {
        let (readers, writers): (Vec<_>, Vec<_>) = (0..count).map(|_| std::io::pipe().unwrap()).unzip();
        for reader in &readers {
            rustix::io::ioctl_fionbio(reader, true).unwrap();
        }
        (writers, Lanes::new(readers.into_iter().map(OwnedFd::from).collect()))
    }

    fn say(writer: &mut impl std::io::Write, message: &ToReceiver) {
        let mut bytes = Vec::new();
        encode(message, &mut bytes);
        writer.write_all(&bytes).unwrap();
    }

    #[test]
    fn pieces_come_in_their_order_whichever_lane_is_faster() {
        let (mut writers, mut lanes) = lanes(3);
        // The first lane is the last to deliver.
        for place in [1, 2, 4, 5, 7, 8, 0, 3, 6] {
            say(&mut writers[place as usize % 3], &piece(place));
        }
        let mut buffer = [0; 64];
        let mut taken = Vec::new();
        while taken.len() < 9 {
            lanes.read(&mut buffer).unwrap();
            // Steps become known as pieces of those before are taken.
            let announced = taken.len() as u64 / 3 + 1;
            while let Some(ToReceiver::Piece { place, .. }) = lanes.take(announced).unwrap() {
                taken.push(place);
            }
        }
        assert_eq!(taken, (0..9).collect::<Vec<u64>>());
        assert_eq!(lanes.awaited().len(), 3);
    }

    #[test]
    fn a_piece_waits_for_its_step() {
        let (mut writers, mut lanes) = lanes(1);
        say(&mut writers[0], &piece(0));
        lanes.read(&mut [0; 4096]).unwrap();
        assert!(lanes.take(0).unwrap().is_none() && lanes.awaited().is_empty());
        assert_eq!(lanes.take(1).unwrap(), Some(piece(0)));
    }

    #[test]
    fn a_lane_brings_nothing_but_pieces_and_none_twice() {
        for wrong in [piece(0), ToReceiver::Publish] {
            let (mut writers, mut lanes) = lanes(1);
            lanes.passed(0).unwrap();
            say(&mut writers[0], &wrong);
            assert!(matches!(lanes.read(&mut [0; 4096]), Err(Error::Protocol(_))), "{wrong:?}");
        }
        let (mut writers, mut lanes) = lanes(1);
        writers[0].write_all(&[0xff; 100]).unwrap();
        assert!(matches!(lanes.read(&mut [0; 4096]), Err(Error::Frame(_))));
        assert!(matches!(lanes.passed(1), Err(Error::Protocol(_))));
    }
}
