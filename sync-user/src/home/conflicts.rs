//! Keeps what lost a conflict, out of sight and as it was, until a person has looked at it.
//!
//! Each is another name of the very file, in a folder of its own beside a note of where it was.
//! Nothing is copied, so nothing can be lost on the way, and no disk is too full for it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, Dir, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{beneath, make, note, open_directory};
use crate::model::Version;

const FOLDER: &str = "conflicts";

/// What a note may take: the longest path, and some more.
const NOTE_BYTES_MAX: u64 = 16 << 10;

/// Ends the name of a note.
const NOTE: &str = ".note";

/// One that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Where it was, below the root.
    pub path: Vec<u8>,
    /// What it was, without owner and extended attributes; `None` for fifos, sockets and devices.
    pub version: Option<Version>,
    /// When it was replaced, in seconds since 1970.
    pub at: u64,
    /// Whose version took its place: host and root.
    pub by: String,
}

/// Keeps what `name` in `directory` is, under a name of its own, which is told.
pub fn keep(home: &OwnedFd, directory: impl AsFd, name: &Path, kept: &Kept) -> Result<String, Errno> {
    let folder = make(home, FOLDER)?;
    let note = postcard::to_allocvec(kept).map_err(|_never| Errno::INVAL)?;
    for attempt in 0_u32.. {
        let id = format!("{}-{}-{attempt}", kept.at, std::process::id());
        match rustix::fs::linkat(&directory, name, &folder, &id, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::EXIST) => continue,
            Err(error) => return Err(error),
        }
        return match note::write(&folder, &format!("{id}{NOTE}"), &note) {
            Ok(()) => Ok(id),
            Err(error) => {
                let _gone = rustix::fs::unlinkat(&folder, &id, AtFlags::empty());
                Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
            }
        };
    }
    Err(Errno::EXIST)
}

/// All that are kept, the oldest first.
pub fn list(home: &OwnedFd) -> io::Result<Vec<(String, Kept)>> {
    let folder = match open_directory(home, Path::new(FOLDER)) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        folder => folder?,
    };
    let mut all = Vec::new();
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        let Some(id) = entry.file_name().to_str().ok().and_then(|name| name.strip_suffix(NOTE)) else {
            continue;
        };
        let bytes = note::read(&folder, &format!("{id}{NOTE}"), NOTE_BYTES_MAX)?;
        // One that cannot be read is none of ours.
        if let Ok(kept) = postcard::from_bytes::<Kept>(&bytes) {
            all.push((id.to_owned(), kept));
        }
    }
    all.sort_by(|(one, first), (other, second)| (first.at, one).cmp(&(second.at, other)));
    Ok(all)
}

/// The content of one that is a file.
pub fn open(home: &OwnedFd, id: &str) -> io::Result<File> {
    note::open(&open_directory(home, Path::new(FOLDER))?, id)
}

/// Puts one back where it was, below `root`. What is there now is kept in its place.
pub fn restore(root: &OwnedFd, home: &OwnedFd, id: &str, kept: &Kept) -> io::Result<()> {
    let folder = open_directory(home, Path::new(FOLDER))?;
    let (directory, name) = beneath(root, &kept.path)?;
    match rustix::fs::renameat_with(&folder, id, &directory, name, RenameFlags::NOREPLACE) {
        Ok(()) => return Ok(remove(&folder, &format!("{id}{NOTE}"))?),
        Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    // The note stays: what it is about is what was there until now.
    Ok(rustix::fs::renameat_with(&folder, id, &directory, name, RenameFlags::EXCHANGE)?)
}

/// Removes one for good.
pub fn forget(home: &OwnedFd, id: &str) -> io::Result<()> {
    let folder = open_directory(home, Path::new(FOLDER))?;
    remove(&folder, id)?;
    Ok(remove(&folder, &format!("{id}{NOTE}"))?)
}

/// Removes a file; that it is not there is fine.
fn remove(folder: &OwnedFd, name: &str) -> Result<(), Errno> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::home;

    #[test]
    fn what_was_kept_comes_back_and_what_was_there_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let root = OwnedFd::from(File::open(directory.path()).unwrap());
        let home = home::open(&root).unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a/f"), "lost").unwrap();
        let kept = Kept { path: b"a/f".to_vec(), version: None, at: 7, by: "other:/srv".to_owned() };
        let above = OwnedFd::from(File::open(at("a")).unwrap());
        let id = keep(&home, &above, Path::new("f"), &kept).unwrap();
        assert_ne!(keep(&home, &above, Path::new("f"), &kept).unwrap(), id, "twice is two");
        fs::remove_file(at("a/f")).unwrap();
        fs::write(at("a/f"), "won").unwrap();
        assert_eq!(list(&home).unwrap().len(), 2);
        restore(&root, &home, &id, &kept).unwrap();
        assert_eq!(fs::read_to_string(at("a/f")).unwrap(), "lost");
        assert_eq!(io::read_to_string(open(&home, &id).unwrap()).unwrap(), "won");
        fs::remove_file(at("a/f")).unwrap();
        restore(&root, &home, &id, &kept).unwrap();
        assert_eq!(fs::read_to_string(at("a/f")).unwrap(), "won");
        let left = list(&home).unwrap();
        assert_eq!(left.len(), 1);
        forget(&home, &left[0].0).unwrap();
        assert_eq!(list(&home).unwrap(), []);
    }
}
