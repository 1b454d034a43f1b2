//! Notes which paths a step is about to change, before it is sent.
//!
//! The database is behind by a fraction of a second, on purpose. If the run is killed meanwhile,
//! what it has not stored is here, and counts as unsure: it is sent or removed once more. A line
//! is written but not forced to the disk, which survives the end of the process and not that of
//! the machine; so it counts only while the machine has not been started anew.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::model::TreePath;

/// Each path stands behind its length in this many bytes.
const LENGTH_BYTES: usize = 2;

/// Paths of steps that may not be stored yet.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Journal {
    /// Opens the file, and makes it if it is missing; with the paths in it. What was cut short
    /// was not sent either.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<TreePath>)> {
        let mut file = File::options().read(true).append(true).create(true).open(path)?;
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let journal = Self { path: path.to_owned(), file, bytes: content.len() as u64 };
        Ok((journal, read(&content)))
    }

    /// How long it is.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn add<'a>(&mut self, paths: impl Iterator<Item = &'a TreePath>) -> io::Result<()> {
        let lines = lines(paths);
        self.file.write_all(&lines)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }

    /// Empties it: all is stored.
    pub fn clear(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.bytes = 0;
        Ok(())
    }

    /// Leaves only these paths in it, in one act.
    pub fn replace<'a>(&mut self, paths: impl Iterator<Item = &'a TreePath>) -> io::Result<()> {
        let lines = lines(paths);
        let new = self.path.with_extension("journal-new");
        let mut file = File::options().append(true).create(true).open(&new)?;
        file.set_len(0)?;
        file.write_all(&lines)?;
        fs::rename(&new, &self.path)?;
        (self.file, self.bytes) = (file, lines.len() as u64);
        Ok(())
    }
}

/// Paths as they stand in a file.
pub(super) fn lines<'a>(paths: impl Iterator<Item = &'a TreePath>) -> Vec<u8> {
    let mut lines = Vec::new();
    for path in paths {
        // No path is longer than 4,095 bytes.
        lines.extend((path.as_bytes().len() as u16).to_le_bytes());
        lines.extend(path.as_bytes());
    }
    lines
}

/// The paths of a file, without one that was cut short.
pub(super) fn read(mut content: &[u8]) -> Vec<TreePath> {
    let mut paths = Vec::new();
    while let Some((length, rest)) = content.split_first_chunk::<LENGTH_BYTES>() {
        let Some((path, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else {
            break;
        };
        paths.extend(TreePath::new(path));
        content = rest;
    }
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(names: &[&str]) -> Vec<TreePath> {
        names.iter().map(|name| TreePath::new(name.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn what_was_noted_is_read_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.journal");
        let (mut journal, before) = Journal::open(&file).unwrap();
        assert_eq!(before, []);
        journal.add(paths(&["a/b", "ä", ""]).iter()).unwrap();
        journal.add(paths(&["c"]).iter()).unwrap();
        assert_eq!(journal.bytes(), fs::metadata(&file).unwrap().len());
        let (_, noted) = Journal::open(&file).unwrap();
        assert_eq!(noted, paths(&["a/b", "ä", "", "c"]));
        journal.replace(paths(&["d"]).iter()).unwrap();
        journal.add(paths(&["e"]).iter()).unwrap();
        let (_, noted) = Journal::open(&file).unwrap();
        assert_eq!(noted, paths(&["d", "e"]));
        let length = fs::metadata(&file).unwrap().len();
        File::options().write(true).open(&file).unwrap().set_len(length - 1).unwrap();
        let (mut journal, noted) = Journal::open(&file).unwrap();
        assert_eq!(noted, paths(&["d"]), "the last one was cut short");
        journal.clear().unwrap();
        assert_eq!((journal.bytes(), fs::metadata(&file).unwrap().len()), (0, 0));
    }
}
