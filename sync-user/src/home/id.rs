//! Gives a root a name, by which others know it again: one number that the root keeps, and one
//! that every connection replaces.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::io::Errno;

use super::note;

const NAME: &str = "id";

/// Both numbers of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    pub root: [u8; 16],
    pub visit: [u8; 16],
}

/// What was noted last, if anything was.
pub fn read(home: &OwnedFd) -> Option<Id> {
    let bytes: [u8; 32] = note::read(home, NAME, 32).ok()?.try_into().ok()?;
    let mut id = Id { root: [0; 16], visit: [0; 16] };
    id.root.copy_from_slice(&bytes[..16]);
    id.visit.copy_from_slice(&bytes[16..]);
    Some(id)
}

/// The same root with a new connection; a root that has no name yet gets one.
pub fn next(before: Option<Id>) -> Result<Id, Errno> {
    let root = before.map_or_else(random, |id| Ok(id.root))?;
    Ok(Id { root, visit: random()? })
}

/// Notes it, so that it is on the disk.
pub fn write(home: &OwnedFd, id: Id) -> std::io::Result<()> {
    note::write(home, NAME, &[id.root, id.visit].concat())
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
