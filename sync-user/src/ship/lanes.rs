//! Opens lanes to a target when there is enough to carry, and spreads pieces of large files over them.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use nix::sys::eventfd::EventFd;
use tracing::{debug, warn};

use super::event::SessionError;
use super::lane::{Lane, Open, State, bell, hush};
use super::link::LinkError;
use crate::wire;

/// Content of large files that one connection carries before lanes are worth while: twice what SSH
/// lets be on its way at once.
const WORTH_BYTES: u64 = 4 << 20;

/// The lanes of one connection.
pub(super) struct Lanes {
    open: Open,
    /// How many there may be.
    max: u8,
    lanes: Vec<Lane>,
    /// Rung by any of them.
    bell: Option<Arc<EventFd>>,
    /// Content of large files that was begun, in bytes.
    begun: u64,
    /// Pieces that were sent by whatever way.
    pieces: u64,
}

impl Lanes {
    pub(super) fn new(open: Open, max: u8) -> Self {
        let bell = if max == 0 { None } else { bell().map(Arc::new).ok() };
        Self { open, max: if bell.is_some() { max } else { 0 }, lanes: Vec::new(), bell, begun: 0, pieces: 0 }
    }

    /// A large file is begun, of which so many bytes are stored.
    pub(super) fn begin(&mut self, stored: u64) {
        self.begun = self.begun.saturating_add(stored);
    }

    /// The place of the next piece.
    pub(super) fn place(&mut self) -> u64 {
        self.pieces += 1;
        self.pieces - 1
    }

    /// Opens one lane more, if that is worth while and the last one is open; fails if one was lost.
    pub(super) fn look_after(&mut self, introduction: impl FnOnce(u8) -> Option<wire::Lane>) -> Result<(), SessionError> {
        let Some(bell) = &self.bell else { return Ok(()) };
        hush(bell);
        for lane in &self.lanes {
            if let State::Lost(cause) = lane.state() {
                return Err(LinkError(cause).into());
            }
        }
        match self.lanes.last().map(Lane::state) {
            // Servers take amiss many that knock at once.
            Some(State::Opening) => return Ok(()),
            Some(State::Refused(cause)) => {
                self.lanes.pop();
                self.max = self.lanes.len() as u8;
                warn!(lanes = self.max, "no more lanes can be opened: {cause}");
            }
            Some(State::Lost(_) | State::Ready) | None => {}
        }
        let number = self.lanes.len() as u8;
        if number < self.max
            && self.begun >= WORTH_BYTES
            && let Some(introduction) = introduction(number)
        {
            debug!(number, "opening a lane");
            match Lane::open(Arc::clone(&self.open), introduction, Arc::clone(bell)) {
                Ok(lane) => self.lanes.push(lane),
                Err(error) => {
                    self.max = number;
                    warn!(lanes = number, "no more lanes can be opened: {error}");
                }
            }
        }
        Ok(())
    }

    /// Whether pieces go by lanes.
    pub(super) fn are_open(&self) -> bool {
        self.lanes.first().is_some_and(|lane| lane.state() == State::Ready)
    }

    /// How many are open.
    pub(super) fn open(&self) -> usize {
        self.lanes.iter().filter(|lane| lane.state() == State::Ready).count()
    }

    /// The lane that has most room, if any has.
    pub(super) fn best(&self) -> Option<&Lane> {
        let loads = self.lanes.iter().filter_map(|lane| Some((lane.load()?, lane)));
        loads.min_by_key(|(load, _)| *load).map(|(_, lane)| lane)
    }

    /// What rings when a lane has room again.
    pub(super) fn bell(&self) -> Option<BorrowedFd<'_>> {
        self.bell.as_ref().map(|bell| bell.as_fd())
    }
}
