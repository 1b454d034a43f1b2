//! Turns what the kernel says of an inode into an [`Entry`].

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Stat};
use rustix::io::Errno;

use crate::metadata::{XattrPlace, version};
use crate::model::{Entry, Inode, Preserve, XattrHash};

/// What `name` in `directory` is, with its extended attributes at `xattrs`; `None` for the kinds that are not
/// replicated: fifos, sockets, devices. `EAGAIN` says that another kind took its place meanwhile.
pub(super) fn entry(
    directory: impl AsFd,
    name: &Path,
    stat: &Stat,
    xattrs: &XattrPlace,
    preserve: Preserve,
) -> Result<Option<Entry>, Errno> {
    let destination = destination(&directory, name, stat)?;
    let Some(mut version) = version(stat, XattrHash::NONE, preserve) else {
        return Ok(None);
    };
    version.xattrs = XattrHash::of(&xattrs.read(preserve)?);
    let inode = Inode { device: stat.st_dev, number: stat.st_ino };
    Ok(Some(Entry { version, inode, links: stat.st_nlink, destination }))
}

/// Where a symbolic link leads; `None` for everything else.
fn destination(directory: impl AsFd, name: &Path, stat: &Stat) -> Result<Option<Vec<u8>>, Errno> {
    if !FileType::from_raw_mode(stat.st_mode).is_symlink() {
        return Ok(None);
    }
    match rustix::fs::readlinkat(directory, name, Vec::new()) {
        Ok(destination) => Ok(Some(destination.into_bytes())),
        Err(Errno::INVAL) => Err(Errno::AGAIN),
        Err(error) => Err(error),
    }
}
