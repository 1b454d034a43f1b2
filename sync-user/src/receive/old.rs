//! Opens the file that a new one is to be built from.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::attributes::version;
use super::confine::Leaf;
use super::failure::Failure;
use crate::model::{FileKind, Refusal, Version};

/// A file of the target as the source described it. Whether it has the content too shows in the
/// hash of what is built from it.
#[derive(Debug)]
pub(super) struct OldFile {
    pub(super) file: OwnedFd,
    pub(super) size: u64,
}

impl OldFile {
    /// Opens what `leaf` names, if it is a file of the expected size and time.
    pub(super) fn open(leaf: &Leaf, expects: Version) -> Result<Self, Failure> {
        // A fifo would wait for somebody who writes.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&leaf.directory, leaf.name(), flags, Mode::empty())
            .map_err(|error| Failure::old_file(format!("it cannot be opened: {error}")))?;
        let stat = rustix::fs::fstat(&file).map_err(|error| Failure::of("examine the old file", error))?;
        match version(&stat) {
            Some(now) if (now.kind, now.size, now.mtime) == (FileKind::File, expects.size, expects.mtime) => {
                Ok(Self { file, size: now.size })
            }
            _ => Err(Failure::old_file("it is of another kind, size or time")),
        }
    }

    /// Checks that it has this range.
    pub(super) fn check(&self, from: u64, length: u64) -> Result<(), Failure> {
        match from.checked_add(length) {
            Some(end) if end <= self.size => Ok(()),
            _ => Err(Failure::old_file("it is shorter than what was to be taken from it")),
        }
    }
}

/// Whether the kernel cannot copy between these two by itself, so that it has to be read and written.
pub(super) fn needs_reading(error: Errno) -> bool {
    matches!(error, Errno::XDEV | Errno::NOSYS | Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM)
}

impl Failure {
    pub(super) fn old_file(detail: impl std::fmt::Display) -> Self {
        Self::new(Refusal::NoOldFile, format!("the file that it is to be built from: {detail}"))
    }
}
