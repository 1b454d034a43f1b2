//! Gives a root a name, by which others know it again: one number that the root keeps, and one
//! that every connection replaces.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::note;

/// The file's name in the folder.
pub const NAME: &str = "id";

/// Both numbers of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    pub root: [u8; 16],
    pub visit: [u8; 16],
}

impl Id {
    /// As it was noted; `None` if that is anything else.
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (root, visit) = bytes.split_first_chunk()?;
        Some(Self { root: *root, visit: visit.try_into().ok()? })
    }

    /// What is noted of it.
    pub fn bytes(self) -> Vec<u8> {
        [self.root, self.visit].concat()
    }
}

/// What was noted last, if anything was.
pub fn read(home: &OwnedFd) -> Option<Id> {
    Id::of_bytes(&note::read(home, NAME, 33).ok()?)
}

/// The same root with a new connection; a root that has no name yet gets one.
pub fn next(before: Option<Id>) -> Result<Id, Errno> {
    let root = before.map_or_else(random, |id| Ok(id.root))?;
    Ok(Id { root, visit: random()? })
}

/// Notes it, so that it is on the disk.
pub fn write(home: &OwnedFd, id: Id) -> std::io::Result<()> {
    note::write(home, NAME, &id.bytes())
}

/// The name that the root keeps; it gets one if it has none.
pub fn of(home: &OwnedFd) -> std::io::Result<[u8; 16]> {
    if let Some(id) = read(home) {
        return Ok(id.root);
    }
    let id = next(None)?;
    write(home, id)?;
    Ok(id.root)
}

fn random() -> Result<[u8; 16], Errno> {
    let mut number = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut number))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(number)
}
