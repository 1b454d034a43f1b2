//! Gives a root a name, by which others know it again: one number that the root keeps, and one
//! that every connection replaces.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, openat};
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
fn read(home: &OwnedFd) -> Option<Id> {
    let bytes: [u8; 32] = note::read(home, NAME, 32).ok()?.try_into().ok()?;
    let mut id = Id { root: [0; 16], visit: [0; 16] };
    id.root.copy_from_slice(&bytes[..16]);
    id.visit.copy_from_slice(&bytes[16..]);
    Some(id)
}

/// Begins a new connection, and says what was noted before; a root that has no name yet gets one. What cannot
/// be written, as the disk is full, is not found again.
pub fn visit(home: &OwnedFd) -> Result<(Option<Id>, Id), Errno> {
    let _alone = alone(home);
    let before = read(home);
    let root = before.map_or_else(random, |id| Ok(id.root))?;
    let now = Id { root, visit: random()? };
    let _unmarked = write(home, now);
    Ok((before, now))
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
    note::write(home, NAME, &[id.root, id.visit].concat())
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
