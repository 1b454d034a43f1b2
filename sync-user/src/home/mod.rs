//! Knows the folder `.ksyncd` at a root, in which both ends keep what belongs to that root and
//! is no part of it.
//!
//! A receiver stages files there, notes who sends and which root this is, and keeps what was removed
//! if that is wanted (`trash`). With two-way replication the daemon of that root listens there to
//! receivers (`arrivals`), or finds what they have left for it (`spool`), and what lost a conflict is
//! kept there (`conflicts`). No source replicates it, and no step may name it; only the
//! user who made it may look into it.

pub mod arrivals;
pub mod conflicts;
pub mod id;
pub mod note;
pub mod sources;
pub mod spool;
pub mod trash;

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

/// The folder's name.
pub const NAME: &str = ".ksyncd";

/// What the names of stages begin with that are worked on by SFTP. Receivers have others.
pub const SFTP_STAGE: &str = "sftp-";

/// The same for the stages of one source; what follows is the connection's own.
pub fn sftp_stage(source: &[u8; 16]) -> String {
    format!("{SFTP_STAGE}{:032x}-", u128::from_be_bytes(*source))
}

/// Opens the folder of the root, and makes it if it is missing.
pub fn open(root: impl AsFd) -> Result<OwnedFd, Errno> {
    make(root, NAME)
}

/// Opens a directory that only this user may look into, and makes it if it is missing.
fn make(at: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    match rustix::fs::mkdirat(&at, name, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    open_directory(at, Path::new(name))
}

/// Opens a directory by a name that is no symbolic link.
pub fn open_directory(at: impl AsFd, name: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// The directory that `path` is in, beneath `root` and through no link, and the name in it.
pub fn beneath(root: impl AsFd, path: &[u8]) -> Result<(OwnedFd, &Path), Errno> {
    let path = Path::new(OsStr::from_bytes(path));
    let (above, name) = (path.parent().unwrap_or(Path::new("")), path.file_name().ok_or(Errno::INVAL)?);
    let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    Ok((rustix::fs::openat2(root, above, flags, Mode::empty(), resolve)?, Path::new(name)))
}
