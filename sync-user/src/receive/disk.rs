//! Makes sure that the disk has what was applied, before that is acknowledged.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use crate::model::Durability;

/// The file system of a root.
#[derive(Debug, Clone)]
pub struct Disk {
    root: Arc<OwnedFd>,
    durability: Durability,
}

impl Disk {
    pub(super) fn new(root: OwnedFd, durability: Durability) -> Self {
        Self { root: Arc::new(root), durability }
    }

    /// Returns once all that was applied is on the disk, if that was asked for. What is mounted
    /// below the root is on other file systems, and written when their kernel likes.
    pub fn settle(&self) -> io::Result<()> {
        if self.durability != Durability::None {
            rustix::fs::syncfs(&*self.root)?;
        }
        Ok(())
    }
}
