//! Notes which paths a step is about to change, and what it leaves there, before it is sent.
//!
//! The database is behind by a fraction of a second, on purpose. If the run is killed meanwhile,
//! what it has not stored is here, and may be so or not: it is sent or removed once more. A line
//! is written but not forced to the disk, which survives the end of the process and not that of
//! the machine; so it counts only while the machine has not been started anew.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::Known;
use crate::model::TreePath;

/// Each path, and each thing that is known, stands behind its length in this many bytes.
const LENGTH_BYTES: usize = 2;

/// What is noted of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub path: TreePath,
    /// What a step leaves there.
    pub known: Option<Known>,
    /// Whether it is so for sure, as it has come from the target.
    pub is_agreed: bool,
}

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
    pub fn open(path: &Path) -> io::Result<(Self, Vec<Note>)> {
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

    pub fn add(&mut self, notes: impl Iterator<Item = Note>) -> io::Result<()> {
        let lines = lines(notes)?;
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
    pub fn replace(&mut self, notes: impl Iterator<Item = Note>) -> io::Result<()> {
        let lines = lines(notes)?;
        let new = self.path.with_extension("journal-new");
        let mut file = File::options().append(true).create(true).open(&new)?;
        file.set_len(0)?;
        file.write_all(&lines)?;
        fs::rename(&new, &self.path)?;
        (self.file, self.bytes) = (file, lines.len() as u64);
        Ok(())
    }
}

fn lines(notes: impl Iterator<Item = Note>) -> io::Result<Vec<u8>> {
    let mut lines = Vec::new();
    for Note { path, known, is_agreed } in notes {
        let known = postcard::to_stdvec(&(known, is_agreed)).map_err(io::Error::other)?;
        // No path is longer than 4,095 bytes, and what is known takes some 100.
        for part in [path.as_bytes(), &known] {
            lines.extend((part.len() as u16).to_le_bytes());
            lines.extend(part);
        }
    }
    Ok(lines)
}

fn read(mut content: &[u8]) -> Vec<Note> {
    let mut notes = Vec::new();
    while let Some((path, rest)) = part(content)
        && let Some((known, rest)) = part(rest)
        && let Ok((known, is_agreed)) = postcard::from_bytes(known)
    {
        notes.extend(TreePath::new(path).map(|path| Note { path, known, is_agreed }));
        content = rest;
    }
    notes
}

fn part(content: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = content.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(names: &[&str]) -> Vec<Note> {
        let note = |name: &&str| Note {
            path: TreePath::new(name.as_bytes()).unwrap(),
            known: (name.len() > 1).then_some(Known::Unsure),
            is_agreed: name.len() > 2,
        };
        names.iter().map(note).collect()
    }

    #[test]
    fn what_was_noted_is_read_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.journal");
        let (mut journal, before) = Journal::open(&file).unwrap();
        assert_eq!(before, []);
        journal.add(notes(&["a/b", "ä", ""]).into_iter()).unwrap();
        journal.add(notes(&["c"]).into_iter()).unwrap();
        assert_eq!(journal.bytes(), fs::metadata(&file).unwrap().len());
        assert_eq!(Journal::open(&file).unwrap().1, notes(&["a/b", "ä", "", "c"]));
        journal.replace(notes(&["d"]).into_iter()).unwrap();
        journal.add(notes(&["e"]).into_iter()).unwrap();
        assert_eq!(Journal::open(&file).unwrap().1, notes(&["d", "e"]));
        let length = fs::metadata(&file).unwrap().len();
        File::options().write(true).open(&file).unwrap().set_len(length - 1).unwrap();
        let (mut journal, noted) = Journal::open(&file).unwrap();
        assert_eq!(noted, notes(&["d"]), "the last one was cut short");
        journal.clear().unwrap();
        assert_eq!((journal.bytes(), fs::metadata(&file).unwrap().len()), (0, 0));
    }
}
