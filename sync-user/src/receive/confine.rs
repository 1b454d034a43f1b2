//! Opens what a peer names, and nothing outside the root, whatever links appear there (I5).
//!
//! The kernel resolves each path from the root's descriptor, beneath it and through no symbolic
//! link, in one call; everything after uses the directory's descriptor and one name in it. No
//! descriptor is kept for the next step: a directory that is moved out of the root meanwhile
//! takes no further step along.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::failure::Failure;
use crate::home;
use crate::model::{PathError, Refusal, TreePath};

/// A name in a directory that is held open.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) directory: OwnedFd,
    pub(super) path: TreePath,
}

impl Leaf {
    pub(super) fn name(&self) -> &Path {
        if self.path.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(self.path.name())) }
    }
}

/// Checks a path that a peer has sent: it names something inside the root, and not the stage.
pub(super) fn checked(bytes: &[u8]) -> Result<TreePath, Failure> {
    let path = checked_or_root(bytes)?;
    if path.is_root() { Err(Failure::from(PathError::Component)) } else { Ok(path) }
}

/// The same, but it may be the root itself.
pub(super) fn checked_or_root(bytes: &[u8]) -> Result<TreePath, Failure> {
    let path = TreePath::new(bytes)?;
    if path.components().next() == Some(home::NAME.as_bytes()) {
        return Err(Failure::new(Refusal::Forbidden, format!("\"{}\" is the receiver's own", home::NAME)));
    }
    Ok(path)
}

/// Opens the directory that `path` is in.
pub(super) fn leaf(root: impl AsFd, path: TreePath) -> Result<Leaf, Failure> {
    let parent = path.parent().unwrap_or_else(TreePath::root);
    match open_directory(root, &parent, OFlags::PATH) {
        Ok(directory) => Ok(Leaf { directory, path }),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
            Err(Failure::new(Refusal::NoParent, format!("the directory \"{parent}\" is not there")))
        }
        Err(error) => Err(Failure::of("open its directory", error)),
    }
}

/// Opens a directory of the tree.
pub(super) fn open_directory(root: impl AsFd, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    loop {
        match rustix::fs::openat2(&root, path.as_path(), flags, Mode::empty(), resolve) {
            // A rename somewhere in the tree made the kernel's walk give up: again.
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Linux before 5.6.
            Err(Errno::NOSYS) => return walk(&root, path, flags),
            result => return result,
        }
    }
}

/// What `openat2` does, one component at a time: none of them may be a link.
fn walk(root: impl AsFd, path: &TreePath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(root, ".", step, Mode::empty())?;
    for component in path.components() {
        at = rustix::fs::openat(&at, OsStr::from_bytes(component), step, Mode::empty())?;
    }
    rustix::fs::openat(&at, ".", flags | OFlags::NOFOLLOW, Mode::empty())
}
