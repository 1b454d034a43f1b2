//! Keeps which removals wait for a person, in a file beside the ledger.
//!
//! The next run finds by itself what is gone at the source, but not that it was too much: by then the
//! rest of the flood may be gone, and the tree larger.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use crate::model::TreePath;

/// The file that belongs to the ledger at `ledger`.
pub fn held_removals(ledger: &Path) -> PathBuf {
    ledger.with_extension("held")
}

/// What the last run left.
pub fn read_held(ledger: &Path) -> io::Result<BTreeSet<TreePath>> {
    match fs::read(held_removals(ledger)) {
        Ok(content) => {
            let paths: Vec<Vec<u8>> = postcard::from_bytes(&content).map_err(io::Error::other)?;
            Ok(paths.iter().filter_map(|path| TreePath::new(path).ok()).collect())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(BTreeSet::new()),
        Err(error) => Err(error),
    }
}

/// Replaces it in one act, which is on the disk then: an approval that is lost is given once more, and
/// a removal that is not held any more is made.
pub fn write_held(ledger: &Path, held: &BTreeSet<TreePath>) -> io::Result<()> {
    let path = held_removals(ledger);
    if held.is_empty() {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    let paths: Vec<&[u8]> = held.iter().map(TreePath::as_bytes).collect();
    let content = postcard::to_stdvec(&paths).map_err(io::Error::other)?;
    let new = ledger.with_extension("held-new");
    let mut file = File::create(&new)?;
    file.write_all(&content)?;
    file.sync_data()?;
    fs::rename(&new, &path)?;
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_read_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let ledger = directory.path().join("a.redb");
        assert_eq!(read_held(&ledger).unwrap(), BTreeSet::new());
        let held: BTreeSet<TreePath> =
            ["a", "a/ä", "b"].map(|name| TreePath::new(name.as_bytes()).unwrap()).into();
        write_held(&ledger, &held).unwrap();
        assert_eq!(read_held(&ledger).unwrap(), held);
        write_held(&ledger, &BTreeSet::new()).unwrap();
        assert_eq!(read_held(&ledger).unwrap(), BTreeSet::new());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
