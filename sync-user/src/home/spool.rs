//! Keeps for the daemon of a root what has arrived there while no daemon ran.
//!
//! A daemon that did not know would take it for new, and send back what the other end may have
//! removed by then. Receivers add to one file for each root that steps come from; a daemon that
//! starts moves that into another, and removes it once it has followed it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;

use rustix::fs::{FlockOperation, Mode, OFlags, flock, fstat, openat};

const NAME: &str = "arrived-";

/// Of those that a daemon has taken.
#[cfg(feature = "source")]
const TAKEN: &str = "taken-";

/// Some 100,000 steps. Beyond, what arrives is sent back and met (I6).
const BYTES_MAX: u64 = 16 << 20;

fn name(prefix: &str, root: [u8; 16]) -> String {
    format!("{prefix}{:032x}", u128::from_be_bytes(root))
}

/// Opens a file to add to it, once nobody else reads or writes it.
fn open(home: &OwnedFd, name: &str) -> io::Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::APPEND | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = openat(home, name, flags, Mode::RUSR | Mode::WUSR)?;
    flock(&file, FlockOperation::LockExclusive)?;
    Ok(File::from(file))
}

/// Adds what has come from `root`; `false` if a daemon has started meanwhile, which is to be told.
pub fn add(home: &OwnedFd, root: [u8; 16], frame: &[u8]) -> io::Result<bool> {
    let mut file = open(home, &name(NAME, root))?;
    let stat = fstat(&file)?;
    if stat.st_nlink == 0 {
        return Ok(false);
    }
    if stat.st_size.cast_unsigned() < BYTES_MAX {
        file.write_all(frame)?;
    }
    Ok(true)
}

/// All that has come while nobody listened, by the root that it came from. To be called by a daemon
/// that listens already, so that nothing is added any more.
#[cfg(feature = "source")]
pub fn take(home: &OwnedFd) -> io::Result<Vec<([u8; 16], Vec<u8>)>> {
    use std::io::Read as _;

    let mut roots = std::collections::BTreeSet::new();
    for entry in rustix::fs::Dir::read_from(home)? {
        let entry = entry?;
        let number = |prefix: &str| {
            let digits = entry.file_name().to_str().ok()?.strip_prefix(prefix)?;
            u128::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 32)
        };
        roots.extend(number(NAME).or_else(|| number(TAKEN)).map(u128::to_be_bytes));
    }
    let mut all = Vec::new();
    for root in roots {
        let (mut bytes, mut taken) = (Vec::new(), open(home, &name(TAKEN, root))?);
        taken.read_to_end(&mut bytes)?;
        let from = bytes.len();
        open(home, &name(NAME, root))?.read_to_end(&mut bytes)?;
        taken.write_all(&bytes[from..])?;
        rustix::fs::unlinkat(home, name(NAME, root), rustix::fs::AtFlags::empty())?;
        all.push((root, bytes));
    }
    Ok(all)
}

/// The daemon has noted by itself what it has taken.
#[cfg(feature = "source")]
pub fn forget(home: &OwnedFd, root: [u8; 16]) {
    // If it stays, it is followed once more.
    let _gone = rustix::fs::unlinkat(home, name(TAKEN, root), rustix::fs::AtFlags::empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_added_is_taken_until_it_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let home = OwnedFd::from(File::open(directory.path()).unwrap());
        let (one, other) = ([1; 16], [0xab; 16]);
        assert_eq!(take(&home).unwrap(), []);
        for (root, frame) in [(one, b"a"), (other, b"b"), (one, b"c")] {
            assert!(add(&home, root, frame).unwrap());
        }
        let taken = [(one, b"ac".to_vec()), (other, b"b".to_vec())];
        assert_eq!(take(&home).unwrap(), taken);
        // The daemon is killed before it has noted it.
        assert!(add(&home, one, b"d").unwrap());
        let taken = [(one, b"acd".to_vec()), (other, b"b".to_vec())];
        assert_eq!(take(&home).unwrap(), taken);
        for root in [one, other] {
            forget(&home, root);
        }
        assert_eq!(take(&home).unwrap(), []);
    }

    #[test]
    fn nothing_is_added_to_what_was_just_taken() {
        let directory = tempfile::tempdir().unwrap();
        let home = OwnedFd::from(File::open(directory.path()).unwrap());
        let held = open(&home, &name(NAME, [1; 16])).unwrap();
        let inode = format!(":{} ", fstat(&held).unwrap().st_ino);
        let adding = std::thread::scope(|scope| {
            let adding = scope.spawn(|| add(&home, [1; 16], b"a").unwrap());
            let waits = |line: &str| line.contains("->") && line.contains(&inode);
            while !std::fs::read_to_string("/proc/locks").unwrap().lines().any(waits) {
                std::thread::yield_now();
            }
            std::fs::remove_file(directory.path().join(name(NAME, [1; 16]))).unwrap();
            drop(held);
            adding.join().unwrap()
        });
        assert!(!adding);
    }
}
