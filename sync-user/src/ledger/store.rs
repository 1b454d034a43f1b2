//! Keeps a ledger in a file, so that the next run knows what the target holds.
//!
//! The file is a database of its own for each target (`redb`). It says what [`About`] says it is
//! about; whether it can be believed is for the caller to find out. A file that cannot be read
//! is set aside, and the ledger begins anew: that costs a comparison with the target's own
//! listing, and removes nothing (I3).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use redb::{Builder, Database, ReadableDatabase as _, ReadableTable as _, TableDefinition};
use serde::{Deserialize, Serialize};

use super::Known;
use crate::model::{Inode, Preserve, TreePath};

/// Of what is stored, so that another version's file is not misread.
const FORMAT: u32 = 2;

const ABOUT: TableDefinition<&str, &[u8]> = TableDefinition::new("about");
const ABOUT_KEY: &str = "about";
const KNOWN: TableDefinition<&[u8], &[u8]> = TableDefinition::new("known");

/// What the database may hold in memory; the file system caches the rest.
const CACHE_BYTES: usize = 16 << 20;

/// What a ledger is about, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The root of the source.
    pub source: Inode,
    /// The root of the target.
    pub target: Inode,
    /// The target's own name for its root.
    pub id: [u8; 16],
    /// The target's name for the last connection.
    pub visit: [u8; 16],
    pub preserve: Preserve,
    pub numeric_ids: bool,
    /// The start of the source's machine (`/proc/sys/kernel/random/boot_id`), for which the journal
    /// counts.
    pub boot: String,
    /// The start of the target's machine.
    pub target_boot: String,
    /// Whether the run ended with everything answered and stored.
    pub complete: bool,
}

/// One path, and what is known of it; nothing if it is not ours any more.
pub type Entry = (TreePath, Option<Known>);

/// A ledger's file. While it is open nobody else can open it.
#[derive(Debug)]
pub struct Store {
    database: Database,
}

/// What a file held.
#[derive(Debug)]
pub struct Saved {
    pub about: About,
    pub entries: Vec<(TreePath, Known)>,
}

/// Why a ledger cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(String);

impl From<io::Error> for StoreError {
    fn from(error: io::Error) -> Self {
        Self::of(error)
    }
}

impl StoreError {
    fn of(error: impl std::fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl Store {
    /// Opens the file, and makes it if it is missing. With what it held, or why nothing could be
    /// read from it.
    pub fn open(path: &Path) -> Result<(Self, Result<Option<Saved>, StoreError>), StoreError> {
        let opened = || -> Result<(Self, Option<Saved>), StoreError> {
            let store = Self { database: database(path)? };
            let saved = store.load()?;
            Ok((store, saved))
        };
        match opened() {
            Ok((store, saved)) => Ok((store, Ok(saved))),
            Err(damage) => {
                match fs::rename(path, set_aside(path)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(damage),
                    _ => {}
                }
                Ok((Self { database: database(path)? }, Err(damage)))
            }
        }
    }

    /// Opens a file that is there, and changes nothing about it.
    pub fn open_only(path: &Path) -> Result<Self, StoreError> {
        let database = builder().open(path).map_err(StoreError::of)?;
        Ok(Self { database })
    }

    /// Says what the ledger is about from now on; with `anew` all that it held is forgotten.
    pub fn begin(&self, about: &About, anew: bool) -> Result<(), StoreError> {
        self.write(|transaction| {
            if anew {
                transaction.delete_table(KNOWN).map_err(StoreError::of)?;
            }
            put_about(transaction, about)
        })
    }

    /// Stores what is known of some paths, and with `about` how the run ended.
    pub fn commit(&self, entries: &[Entry], about: Option<&About>) -> Result<(), StoreError> {
        self.write(|transaction| {
            let mut table = transaction.open_table(KNOWN).map_err(StoreError::of)?;
            for (path, known) in entries {
                match known {
                    Some(known) => {
                        let value = postcard::to_stdvec(known).map_err(StoreError::of)?;
                        table.insert(path.as_bytes(), value.as_slice()).map_err(StoreError::of)?;
                    }
                    None => {
                        table.remove(path.as_bytes()).map_err(StoreError::of)?;
                    }
                }
            }
            about.map_or(Ok(()), |about| put_about(transaction, about))
        })
    }

    /// All that is stored, in one piece or not at all.
    pub fn load(&self) -> Result<Option<Saved>, StoreError> {
        let transaction = self.database.begin_read().map_err(StoreError::of)?;
        let about = match transaction.open_table(ABOUT) {
            Ok(table) => table,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(StoreError::of(error)),
        };
        let Some(about) = about.get(ABOUT_KEY).map_err(StoreError::of)? else { return Ok(None) };
        let (format, about): (u32, _) = postcard::take_from_bytes(about.value()).map_err(StoreError::of)?;
        if format != FORMAT {
            return Err(StoreError(format!("it has format {format}, this is format {FORMAT}")));
        }
        let about: About = postcard::from_bytes(about).map_err(StoreError::of)?;
        let mut entries = Vec::new();
        match transaction.open_table(KNOWN) {
            Ok(table) => {
                for entry in table.iter().map_err(StoreError::of)? {
                    let (path, known) = entry.map_err(StoreError::of)?;
                    let path = TreePath::new(path.value()).map_err(StoreError::of)?;
                    let known = postcard::from_bytes(known.value()).map_err(StoreError::of)?;
                    entries.push((path, known));
                }
            }
            Err(redb::TableError::TableDoesNotExist(_)) => {}
            Err(error) => return Err(StoreError::of(error)),
        }
        Ok(Some(Saved { about, entries }))
    }

    /// Gives unused space back to the file system.
    pub fn compact(&mut self) -> Result<(), StoreError> {
        self.database.compact().map(drop).map_err(StoreError::of)
    }

    fn write(
        &self,
        work: impl FnOnce(&redb::WriteTransaction) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut transaction = self.database.begin_write().map_err(StoreError::of)?;
        // After a crash the file opens at once, instead of being read through.
        transaction.set_quick_repair(true);
        work(&transaction)?;
        transaction.commit().map_err(StoreError::of)
    }
}

/// Where a damaged ledger is kept for those who want to know why.
fn set_aside(path: &Path) -> PathBuf {
    path.with_extension("damaged")
}

fn database(path: &Path) -> Result<Database, StoreError> {
    builder().create(path).map_err(StoreError::of)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn put_about(transaction: &redb::WriteTransaction, about: &About) -> Result<(), StoreError> {
    let value = postcard::to_stdvec(&(FORMAT, about)).map_err(StoreError::of)?;
    let mut table = transaction.open_table(ABOUT).map_err(StoreError::of)?;
    table.insert(ABOUT_KEY, value.as_slice()).map_err(StoreError::of)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Held, Twin};
    use crate::model::{Content, FileKind, Mode, Owner, Time, Version, XattrHash};

    fn about() -> About {
        let inode = Inode { device: 1, number: 2 };
        let (id, visit) = ([3; 16], [4; 16]);
        let preserve = Preserve::ALL;
        About {
            source: inode,
            target: inode,
            id,
            visit,
            preserve,
            numeric_ids: false,
            boot: String::new(),
            target_boot: String::new(),
            complete: false,
        }
    }

    fn known(size: u64) -> Known {
        let version = Version {
            kind: FileKind::File,
            size,
            mtime: Time { seconds: -1, nanoseconds: 7 },
            mode: Mode(0o644),
            owner: Owner { user: 33, group: 33 },
            xattrs: XattrHash::NONE,
        };
        let content = Some(Content::of(b"x"));
        Known::Holds(Held { version, content, settled: true, twin: Some(Twin(9)) })
    }

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_was_committed_is_there_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.redb");
        {
            let (store, saved) = Store::open(&file).unwrap();
            assert!(saved.unwrap().is_none());
            store.begin(&about(), true).unwrap();
            let entries = [(path("a"), Some(known(1))), (path("b"), Some(Known::Unsure)), (path("c"), None)];
            store.commit(&entries, None).unwrap();
            store.commit(&[(path("a"), None), (path("d"), Some(known(4)))], None).unwrap();
        }
        let (mut store, saved) = Store::open(&file).unwrap();
        let saved = saved.unwrap().unwrap();
        assert_eq!(saved.about, about());
        assert_eq!(saved.entries, [(path("b"), Known::Unsure), (path("d"), known(4))]);
        let complete = About { complete: true, ..about() };
        store.commit(&[], Some(&complete)).unwrap();
        store.compact().unwrap();
        assert_eq!(store.load().unwrap().unwrap().about, complete);
        store.begin(&about(), true).unwrap();
        assert_eq!(store.load().unwrap().unwrap().entries, []);
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("a.redb");
        fs::write(&file, b"this is no database, but long enough to be taken for one".repeat(1_000)).unwrap();
        let (store, saved) = Store::open(&file).unwrap();
        assert!(saved.is_err());
        store.begin(&about(), true).unwrap();
        assert!(file.with_extension("damaged").exists());
    }
}
