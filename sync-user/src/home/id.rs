//! Gives a root a name, by which others know it again: one number that the root keeps, and one
//! that every connection replaces.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
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
fn read(home: &OwnedFd) -> Option<Id> {
    Id::of_bytes(&note::read(home, NAME, 33).ok()?)
}

/// Begins a new connection, and says what was noted before; a root that has no name yet gets one. What cannot
/// be written, as the disk is full, is not found again.
pub fn visit(home: &OwnedFd) -> Result<(Option<Id>, Id), Errno> {
    let _alone = alone(home);
    let before = read(home);
    let now = next(before)?;
    let _unmarked = write(home, now);
    Ok((before, now))
}

/// The same root with a new connection; a root that has no name yet gets one.
pub fn next(before: Option<Id>) -> Result<Id, Errno> {
    let root = before.map_or_else(random, |id| Ok(id.root))?;
    Ok(Id { root, visit: random()? })
}

/// The name that the root keeps; it gets one if it has none.
pub fn of(home: &OwnedFd) -> std::io::Result<[u8; 16]> {
    let _alone = alone(home);
    if let Some(id) = read(home) {
        return Ok(id.root);
    }
    let id = Id { root: random()?, visit: random()? };
    write(home, id)?;
    Ok(id.root)
}

/// Notes it, so that it is on the disk.
fn write(home: &OwnedFd, id: Id) -> std::io::Result<()> {
    note::write(home, NAME, &id.bytes())
}

/// Waits until nobody else reads or writes it, until this is dropped: the daemon of a root and receivers from
/// several others may all be the first, and have to know it by one name. Where there are no locks, they
/// hardly ever are.
fn alone(home: &OwnedFd) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let own = openat(home, ".", flags, Mode::empty()).ok()?;
    flock(&own, FlockOperation::LockExclusive).ok()?;
    Some(own)
}

fn random() -> Result<[u8; 16], Errno> {
    let mut number = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut number))
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_come_first_at_once_know_the_root_by_one_name() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let home = || OwnedFd::from(File::open(directory.path()).unwrap());
            let names: Vec<[u8; 16]> = std::thread::scope(|scope| {
                let daemon = scope.spawn(|| of(&home()).unwrap());
                let receivers: Vec<_> =
                    (0..3).map(|_| scope.spawn(|| visit(&home()).unwrap().1.root)).collect();
                receivers.into_iter().chain([daemon]).map(|name| name.join().unwrap()).collect()
            });
            assert!(names.iter().all(|name| *name == names[0]), "{names:?}");
        }
    }
}
