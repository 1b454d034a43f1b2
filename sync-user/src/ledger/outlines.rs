//! Keeps outlines of large contents, in a directory of their own beside the ledger.
//!
//! Each is a file that is named after the content, so none is ever wrong, and a missing or damaged
//! one costs no more than sending the content. They are not in the ledger's database, as that is
//! read through at each start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::model::Content;

/// Outlines by content, as bytes.
#[derive(Debug)]
pub struct Outlines {
    directory: PathBuf,
}

impl Outlines {
    /// The directory of the outlines that belong to the ledger at `ledger`.
    pub fn beside(ledger: &Path) -> PathBuf {
        ledger.with_extension("outlines")
    }

    /// Opens those beside the ledger at `ledger`.
    pub fn open(ledger: &Path) -> io::Result<Self> {
        let directory = Self::beside(ledger);
        fs::create_dir_all(&directory)?;
        Ok(Self { directory })
    }

    pub fn get(&self, content: Content) -> Option<Vec<u8>> {
        fs::read(self.path(content)).ok()
    }

    /// Keeps an outline. It is not forced to the disk: it can be made again.
    pub fn put(&self, content: Content, outline: &[u8]) -> io::Result<()> {
        let path = self.path(content);
        fs::write(&path, outline).inspect_err(|_| {
            // Half of one would only take the space that is missing.
            let _gone = fs::remove_file(&path);
        })
    }

    pub fn remove(&self, content: Content) {
        // It may never have been there.
        let _gone = fs::remove_file(self.path(content));
    }

    /// Removes all but those of contents that are `used`.
    pub fn retain(&self, is_used: impl Fn(Content) -> bool) -> io::Result<()> {
        for entry in fs::read_dir(&self.directory)? {
            let entry = entry?;
            let hash = entry.file_name().to_str().and_then(|name| blake3::Hash::from_hex(name).ok());
            if !hash.is_some_and(|hash| is_used(Content(hash.into()))) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    fn path(&self, content: Content) -> PathBuf {
        self.directory.join(blake3::Hash::from(content.0).to_hex().as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outlines_are_kept_until_their_content_is_nowhere() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("a.redb");
        let (one, other) = (Content::of(b"one"), Content::of(b"other"));
        let outlines = Outlines::open(&ledger).unwrap();
        outlines.put(one, b"1").unwrap();
        outlines.put(other, b"2").unwrap();
        assert_eq!(outlines.get(one).as_deref(), Some(b"1".as_slice()));
        let outlines = Outlines::open(&ledger).unwrap();
        fs::write(Outlines::beside(&ledger).join("something else"), "").unwrap();
        outlines.retain(|content| content == one).unwrap();
        assert_eq!((outlines.get(one).is_some(), outlines.get(other)), (true, None));
        outlines.remove(one);
        outlines.remove(other);
        assert_eq!(fs::read_dir(Outlines::beside(&ledger)).unwrap().count(), 0);
    }
}
