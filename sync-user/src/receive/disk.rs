//! Makes sure that the disk has what was applied, before that is acknowledged.

use std::io;
use std::os::fd::OwnedFd;

use crate::model::Durability;

/// The file system of a root, and whether it may be behind.
#[derive(Debug)]
pub struct Disk {
    root: OwnedFd,
    durability: Durability,
    is_behind: bool,
}

impl Disk {
    pub(super) fn new(root: OwnedFd, durability: Durability) -> Self {
        Self { root, durability, is_behind: false }
    }

    /// Something was applied.
    pub fn disturb(&mut self) {
        self.is_behind = true;
    }

    /// Returns once all that was applied is on the disk, if that was asked for. What is mounted
    /// below the root is on other file systems, and written when their kernel likes.
    pub fn settle(&mut self) -> io::Result<()> {
        if self.is_behind && self.durability != Durability::None {
            rustix::fs::syncfs(&self.root)?;
        }
        self.is_behind = false;
        Ok(())
    }
}
