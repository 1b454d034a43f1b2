//! Names the socket at which the daemon of a root hears from receivers of the same root.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::UnixStream;
#[cfg(feature = "source")]
use std::os::{fd::OwnedFd, unix::net::UnixListener};

const NAME: &str = "arrivals";

/// The socket's path by way of the folder's descriptor: however deep the root lies, it fits into
/// the 108 bytes of an address, and it leads nowhere else.
fn place(home: impl AsFd) -> String {
    format!("/proc/self/fd/{}/{NAME}", home.as_fd().as_raw_fd())
}

/// Reaches the daemon, if one listens.
pub fn reach(home: impl AsFd) -> io::Result<UnixStream> {
    UnixStream::connect(place(home))
}

/// Listens in place of whoever listened before. Whoever may write into the folder may speak.
#[cfg(feature = "source")]
pub fn listen(home: &OwnedFd) -> io::Result<UnixListener> {
    use rustix::fs::{AtFlags, Gid, Mode, Uid};

    let _none = rustix::fs::unlinkat(home, NAME, AtFlags::empty());
    let listener = UnixListener::bind(place(home))?;
    let owner = rustix::fs::fstat(home)?;
    let (user, group) = (Uid::from_raw(owner.st_uid), Gid::from_raw(owner.st_gid));
    rustix::fs::chownat(home, NAME, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::chmodat(home, NAME, Mode::RUSR | Mode::WUSR, AtFlags::empty())?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
