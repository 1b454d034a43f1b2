//! Passes batches from the batching thread to a replica, one at a time.
//!
//! The replica says how much it can take ([`Room`]), which is the back-pressure that closes
//! batches. It sleeps in `poll(2)`, so a batch rings a bell that `poll` can hear.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam::channel::{Receiver, Sender, TryRecvError, TrySendError, bounded};

use crate::batch::Room;
use crate::bell::Bell;
use crate::model::Batch;

/// Both ends of a new mailbox; `notices` is told whenever the room grows.
pub(super) fn mailbox(notices: Sender<()>) -> nix::Result<(Mailbox, Post)> {
    let (sender, receiver) = bounded(1);
    let bell = Bell::new()?;
    let room = Arc::new(AtomicU8::new(encoded(Room::Full)));
    let mailbox = Mailbox { batches: sender, bell: bell.clone(), room: Arc::clone(&room) };
    Ok((mailbox, Post { batches: receiver, bell, room, notices }))
}

/// The less room, the larger the number.
const IDLE: u8 = 0;
const FULL: u8 = u8::MAX;

fn encoded(room: Room) -> u8 {
    match room {
        Room::Idle => IDLE,
        Room::Busy(steps) => steps.clamp(IDLE + 1, FULL - 1),
        Room::Full => FULL,
    }
}

/// The batching thread's end.
#[derive(Debug)]
pub(super) struct Mailbox {
    batches: Sender<Batch>,
    bell: Bell,
    room: Arc<AtomicU8>,
}

impl Mailbox {
    pub(super) fn room(&self) -> Room {
        if !self.batches.is_empty() {
            return Room::Full;
        }
        match self.room.load(Ordering::Acquire) {
            IDLE => Room::Idle,
            FULL => Room::Full,
            steps => Room::Busy(steps),
        }
    }

    /// Has the replica look up, though there is no batch.
    pub(super) fn wake(&self) {
        self.bell.ring();
    }

    /// Leaves a batch; gives it back when the mailbox is taken, or its replica has ended.
    pub(super) fn leave(&self, batch: Batch) -> Result<(), Batch> {
        match self.batches.try_send(batch) {
            Ok(()) => {
                self.bell.ring();
                Ok(())
            }
            Err(TrySendError::Full(batch) | TrySendError::Disconnected(batch)) => Err(batch),
        }
    }
}

impl Drop for Mailbox {
    /// Wakes the replica, which finds that no batch will follow.
    fn drop(&mut self) {
        let (closed, _) = bounded(0);
        self.batches = closed;
        self.bell.ring();
    }
}

/// The replica's end.
#[derive(Debug)]
pub(super) struct Post {
    batches: Receiver<Batch>,
    bell: Bell,
    room: Arc<AtomicU8>,
    notices: Sender<()>,
}

/// What the mailbox held.
#[derive(Debug)]
pub(super) enum Delivery {
    Batch(Batch),
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Post {
    /// Silences the bell. To be called before looking at what it may have rung for: what comes
    /// meanwhile rings it again.
    pub(super) fn hush(&self) {
        self.bell.hush();
    }

    pub(super) fn take(&self) -> Delivery {
        match self.batches.try_recv() {
            Ok(batch) => Delivery::Batch(batch),
            Err(TryRecvError::Empty) => Delivery::Nothing,
            Err(TryRecvError::Disconnected) => Delivery::Closed,
        }
    }

    /// Says how much this replica can take now.
    pub(super) fn offer(&self, room: Room) {
        let room = encoded(room);
        if room < self.room.swap(room, Ordering::AcqRel) {
            // One waiting notice is as good as many.
            let _already_noticed = self.notices.try_send(());
        }
    }
}

/// Readable when there is something to take.
impl AsFd for Post {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
