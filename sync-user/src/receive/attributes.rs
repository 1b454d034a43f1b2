//! Reads and sets what an entry is besides its content, one call at a time.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Mode as RawMode, OFlags, Stat, Timespec, Timestamps};
use rustix::io::Errno;

use crate::metadata;
use crate::model::{Mode, Preserve, There, Time, Version, XattrHash};

/// What `name` in `directory` is now.
pub(super) fn there(directory: impl AsFd, name: &Path) -> Result<There, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(version(&stat).map_or(There::Foreign, There::Version)),
        Err(Errno::NOENT) => Ok(There::Nothing),
        Err(error) => Err(error),
    }
}

/// Without owner and extended attributes; `None` for the kinds that are not replicated.
pub(super) fn version(stat: &Stat) -> Option<Version> {
    metadata::version(stat, XattrHash::NONE, Preserve::NONE)
}

/// A modification time to set; the access time stays.
pub(super) fn times(mtime: Time) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: rustix::fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanoseconds.into() },
    }
}

/// Opens whatever `name` is, without access to its content, and not through a link.
pub(super) fn open_path(directory: impl AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, RawMode::empty())
}

/// Changes the mode of what `descriptor` holds, which is no symbolic link. A descriptor from
/// [`open_path`] takes no `fchmod`, so it goes by the descriptor's name.
pub(super) fn set_mode(descriptor: impl AsFd, mode: Mode) -> Result<(), Errno> {
    let name = format!("/proc/self/fd/{}", descriptor.as_fd().as_raw_fd());
    rustix::fs::chmod(name, RawMode::from_raw_mode(u32::from(mode.0 & 0o7777)))
}
