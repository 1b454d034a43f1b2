//! Keeps the bytes that the link has not taken yet, in the order in which they must go.

use serde::Serialize;

use super::link::{Link, LinkError};
use crate::model::Compression;
use crate::wire::Encoder;

/// Encoded frames. New ones go to the end only: SSH may have encrypted the head already.
#[derive(Debug)]
pub(super) struct Outbox {
    encoder: Encoder,
    bytes: Vec<u8>,
    taken: usize,
    /// How much was offered to the link that took nothing: no less may be offered again.
    offered: usize,
}

impl Outbox {
    pub(super) fn new(compression: Compression) -> Self {
        Self { encoder: Encoder::new(compression), bytes: Vec::new(), taken: 0, offered: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a frame, and says how many bytes it has.
    pub(super) fn push<M: Serialize>(&mut self, message: &M) -> usize {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        let before = self.bytes.len();
        self.encoder.encode(message, &mut self.bytes);
        self.bytes.len() - before
    }

    /// A frame that goes another way.
    pub(super) fn encode<M: Serialize>(&mut self, message: &M) -> Vec<u8> {
        let mut frame = Vec::new();
        self.encoder.encode(message, &mut frame);
        frame
    }

    /// Writes as much as the link takes, up to a limit, and says how much that was. It can be more
    /// where a packet was begun.
    pub(super) fn write_to(&mut self, link: &mut dyn Link, limit: usize) -> Result<usize, LinkError> {
        let (before, end) = (self.taken, self.taken.saturating_add(limit).min(self.bytes.len()));
        while !self.is_empty() {
            let length = end.saturating_sub(self.taken).max(self.offered).min(self.len());
            if length == 0 {
                break;
            }
            match link.write(&self.bytes[self.taken..][..length])? {
                0 => {
                    self.offered = length;
                    break;
                }
                count => {
                    self.taken += count;
                    self.offered = 0;
                }
            }
        }
        Ok(self.taken - before)
    }
}
