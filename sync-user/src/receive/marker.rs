//! Gives the root a name, by which a source knows it again.
//!
//! A ledger that is kept between runs holds for one root only, and only as long as nobody else
//! was there. So the stage holds a file with two numbers: one that the root keeps, and one that
//! every connection replaces. A root that was set up anew, a copy, one that was restored from a
//! snapshot and one that another source has visited all differ in one of them, or in the inode.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::note;
use crate::metadata;
use crate::model::Inode;
use crate::wire::Claimed;

const NAME: &str = "id";

/// The number of the root, then that of the last connection.
type Marker = [u8; 32];

/// Marks a new connection. A root that cannot be marked, since its disk is full, is not
/// recognised the next time, and that is all.
pub(super) fn mark(root: impl AsFd, home: &OwnedFd) -> Result<Claimed, Errno> {
    let stat = rustix::fs::fstat(root)?;
    let before = read(home);
    let (mut id, mut visit) = ([0; 16], [0; 16]);
    fill(&mut visit)?;
    match &before {
        Some(marker) => id.copy_from_slice(&marker[..16]),
        None => fill(&mut id)?,
    }
    let mut marker: Marker = [0; 32];
    marker[..16].copy_from_slice(&id);
    marker[16..].copy_from_slice(&visit);
    // On the disk before the first step of this connection: else a crash of this machine could bring
    // the old number back, though steps had followed. Where it cannot be, what is told now will not
    // be found again: the ledger is not believed.
    let _unmarked = note::write(home, NAME, &marker);
    let last_visit = before.map(|marker| {
        let mut visit = [0; 16];
        visit.copy_from_slice(&marker[16..]);
        visit
    });
    let root = Inode { device: stat.st_dev, number: stat.st_ino };
    Ok(Claimed { root, id, last_visit, visit, boot: metadata::boot(), is_shared: false })
}

fn read(home: &OwnedFd) -> Option<Marker> {
    note::read(home, NAME, size_of::<Marker>() as u64).ok()?.try_into().ok()
}

fn fill(number: &mut [u8; 16]) -> Result<(), Errno> {
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(number))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

#[cfg(test)]
mod tests {
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
        std::fs::write(directory.path().join(NAME), "short").unwrap();
        assert_ne!(mark(&home, &home).unwrap().id, first.id);
    }
}
