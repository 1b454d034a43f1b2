//! Notes which paths a step is about to change, and what it leaves there, before it is sent.
//!
//! The database is behind by a fraction of a second, on purpose. If the run is killed meanwhile,
//! what it has not stored is here, and may be so or not: it is sent or removed once more. A line
//! is written but not forced to the disk, which survives the end of the process and not that of
//! the machine; so it counts only while the machine has not been started anew.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Entry, Known};
use crate::model::TreePath;

/// Each path, and each thing that is known, stands behind its length in this many bytes.
const LENGTH_BYTES: usize = 2;

/// A path, and what a step leaves there.
type Noted<'a> = (&'a TreePath, Option<Known>);

/// Paths of steps that may not be stored yet.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Journal {
    /// Opens the file, and makes it if it is missing; with what was noted in it, in its order. What
    /// was cut short was not sent either.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Entry>)> {
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

    pub fn add<'a>(&mut self, entries: impl Iterator<Item = Noted<'a>>) -> io::Result<()> {
        let lines = lines(entries)?;
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

    /// Leaves only these in it, in one act.
    pub fn replace<'a>(&mut self, entries: impl Iterator<Item = Noted<'a>>) -> io::Result<()> {
        let lines = lines(entries)?;
        let new = self.path.with_extension("journal-new");
        let mut file = File::options().append(true).create(true).open(&new)?;
        file.set_len(0)?;
        file.write_all(&lines)?;
        fs::rename(&new, &self.path)?;
        (self.file, self.bytes) = (file, lines.len() as u64);
        Ok(())
    }
}

fn lines<'a>(entries: impl Iterator<Item = Noted<'a>>) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for (path, known) in entries {
        let known = postcard::to_stdvec(&known).map_err(io::Error::other)?;
        // No path is longer than 4,095 bytes, and what is known takes some 100.
        for part in [path.as_bytes(), &known] {
            lines.extend((part.len() as u16).to_le_bytes());
            lines.extend(part);
        }
    }
    Ok(lines)
}

fn read(mut content: &[u8]) -> Vec<Entry> {
    let mut entries = Vec::new();
    while let Some((path, rest)) = part(content)
        && let Some((known, rest)) = part(rest)
        && let Ok(known) = postcard::from_bytes(known)
    {
        entries.extend(TreePath::new(path).map(|path| (path, known)));
        content = rest;
    }
    entries
}

fn part(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Vec<Entry> {
        let entry = |name: &&str| {
            let known = (name.len() > 1).then_some(Known::Unsure);
            (TreePath::new(name.as_bytes()).unwrap(), known)
        };
        names.iter().map(entry).collect()
    }

    fn noted(entries: &[Entry]) -> impl Iterator<Item = Noted<'_>> {
        entries.iter().map(|(path, known)| (path, *known))
    }

    #[test]
    fn what_was_noted_is_read_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.journal");
        let (mut journal, before) = Journal::open(&file).unwrap();
        assert_eq!(before, []);
        journal.add(noted(&entries(&["a/b", "ä", ""]))).unwrap();
        journal.add(noted(&entries(&["c"]))).unwrap();
        assert_eq!(journal.bytes(), fs::metadata(&file).unwrap().len());
        assert_eq!(Journal::open(&file).unwrap().1, entries(&["a/b", "ä", "", "c"]));
        journal.replace(noted(&entries(&["d"]))).unwrap();
        journal.add(noted(&entries(&["e"]))).unwrap();
        assert_eq!(Journal::open(&file).unwrap().1, entries(&["d", "e"]));
        let length = fs::metadata(&file).unwrap().len();
        File::options().write(true).open(&file).unwrap().set_len(length - 1).unwrap();
        let (mut journal, noted) = Journal::open(&file).unwrap();
        assert_eq!(noted, entries(&["d"]), "the last one was cut short");
        journal.clear().unwrap();
        assert_eq!((journal.bytes(), fs::metadata(&file).unwrap().len()), (0, 0));
    }
}
