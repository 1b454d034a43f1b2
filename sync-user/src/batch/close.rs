//! Decides when a batch ends: back-pressure first, then age and size.
//!
//! At low load the target is idle and a change leaves at once: latency. At high load batches
//! are on their way, changes gather and fold meanwhile: throughput. The same settings serve both.
//! In between they gather for as much of the time as there are steps on their way: on a long line, and behind a slow
//! disk, a single step is on its way for long, and that is no load.

use std::mem;
use std::time::Duration;

use super::Batcher;
use crate::model::{Batch, Stamp};

/// With so many steps on their way changes gather for all of the time that they may. By calculation a file that is
/// written without end then goes to a target 60 ms away about 100 times a second: six are on their way, and each waits
/// for 6/32 of 50 ms.
pub const PRESSING: u8 = 32;

/// What a target can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Nothing is on its way.
    Idle,
    /// So many steps are on their way, [`PRESSING`] or more of them alike, and more may follow.
    Busy(u8),
    /// Nothing more fits, or the target is not connected: changes gather and fold.
    Full,
}

impl Batcher {
    /// Ends the batch, if it is time to.
    pub fn close(&mut self, room: Room, now: Stamp) -> Option<Batch> {
        self.promote_due(now);
        if self.closes_at(room)? > now {
            return None;
        }
        Some(self.take(now))
    }

    /// When [`close`](Self::close) will next have something to do, if nothing else happens.
    pub fn deadline(&self, room: Room) -> Option<Stamp> {
        if room == Room::Full {
            return None;
        }
        match (self.closes_at(room), self.open.first_due()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// Ends the batch in any case, with the files that are still open: for the end of the run.
    pub fn flush(&mut self, now: Stamp) -> Option<Batch> {
        self.promote_due(Stamp(u64::MAX));
        (!self.ready.is_empty()).then(|| self.take(now))
    }

    fn closes_at(&self, room: Room) -> Option<Stamp> {
        let since = self.ready_since?;
        let wait = match room {
            Room::Full => return None,
            _ if self.ready.len() >= self.config.max_changes || self.ready_bytes >= self.config.max_bytes => {
                Duration::ZERO
            }
            Room::Idle => self.config.delay,
            Room::Busy(steps) => {
                let gathers = self.config.max_delay * u32::from(steps.min(PRESSING)) / u32::from(PRESSING);
                gathers.max(self.config.delay)
            }
        };
        Some(since.plus(wait))
    }

    fn take(&mut self, now: Stamp) -> Batch {
        self.ready_since = None;
        self.ready_bytes = 0;
        Batch {
            looks: mem::take(&mut self.ready),
            moves: mem::take(&mut self.moves),
            gaps: mem::take(&mut self.gaps),
            closed: now,
        }
    }
}
