//! Gives the root a name, by which a source knows it again.
//!
//! A ledger that is kept between runs holds for one root only, and only as long as nobody else
//! was there. So the stage holds a file with two numbers: one that the root keeps, and one that
//! every connection replaces. A root that was set up anew, a copy, one that was restored from a
//! snapshot and one that another source has visited all differ in one of them, or in the inode.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use crate::home::id;
use crate::metadata;
use crate::model::Inode;
use crate::wire::Claimed;

/// Marks a new connection. A root that cannot be marked, since its disk is full, is not
/// recognised the next time, and that is all.
pub(super) fn mark(root: impl AsFd, home: &OwnedFd) -> Result<Claimed, Errno> {
    let stat = rustix::fs::fstat(root)?;
    // On the disk before the first step of this connection: else a crash of this machine could bring
    // the old number back, though steps had followed. Where it cannot be, what is told now will not
    // be found again: the ledger is not believed.
    let (before, now) = id::visit(home)?;
    let root = Inode { device: stat.st_dev, number: stat.st_ino };
    let last_visit = before.map(|id| id.visit);
    let boot = metadata::boot();
    Ok(Claimed { root, id: now.root, last_visit, visit: now.visit, boot, is_shared: false })
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_root_keeps_its_name_and_every_connection_has_another() {
        let directory = tempfile::tempdir().unwrap();
        let home = OwnedFd::from(File::open(directory.path()).unwrap());
        let first = mark(&home, &home).unwrap();
        let second = mark(&home, &home).unwrap();
        assert_eq!(first.last_visit, None);
        assert_eq!(second.last_visit, Some(first.visit));
        assert_eq!((second.root, second.id), (first.root, first.id));
        assert_ne!(second.visit, first.visit);
        std::fs::write(directory.path().join("id"), "short").unwrap();
        assert_ne!(mark(&home, &home).unwrap().id, first.id);
    }
}
