//! Keeps what was removed at a target for a time, out of sight and as it was.
//!
//! Each receiver fills bins, one after the other, each for a part of that time. In a bin lie the very
//! files, renamed to numbers, beside a manifest that says where each was and when it was removed. Nothing
//! is copied; and a bin that is too old is emptied a piece at a time, by the receiver of any source.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{beneath, make, note, open_directory};

const FOLDER: &str = "trash";

const MANIFEST: &str = "manifest";

/// How long a bin is filled: a part of the time for which things are kept, so that they are not kept
/// much longer, and at most an hour, so that there are some hundred bins at most.
const BIN_PART: u32 = 10;
const BIN_MAX: Duration = Duration::from_hours(1);
const BIN_MIN: Duration = Duration::from_secs(1);

/// Entries that one call of [`Trash::purge`] removes: some milliseconds of work.
const PURGED_MAX: usize = 1_000;

/// Bins of one name that a receiver tries: its process may have had that number before.
const ATTEMPTS_MAX: u32 = 1_000;

/// Each record of a manifest stands behind its length in this many bytes.
const LENGTH_BYTES: usize = 2;

/// What a record of a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    /// What it is called in the bin.
    number: u64,
    /// Where it was, below the root.
    path: Vec<u8>,
    /// When it was removed, in seconds since 1970.
    at: u64,
}

/// Something that was removed, and is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// Where it was, below the root.
    pub path: Vec<u8>,
    /// When it was removed, in seconds since 1970.
    pub at: u64,
    pub is_directory: bool,
    bin: PathBuf,
    number: u64,
}

/// The trash as one receiver fills it.
#[derive(Debug)]
pub struct Trash {
    limit: Duration,
    bin: Option<Bin>,
}

#[derive(Debug)]
struct Bin {
    /// Locked for as long as it is filled, so that nobody empties it.
    folder: OwnedFd,
    manifest: File,
    since: Duration,
    count: u64,
}

impl Trash {
    /// What is removed is kept for `limit`.
    pub fn new(limit: Duration) -> Self {
        Self { limit, bin: None }
    }

    /// Moves `name` in `directory`, which was at `path`, here. The manifest is written first: what it
    /// names and is not there was not moved.
    pub fn take(
        &mut self,
        home: &OwnedFd,
        directory: impl AsFd,
        name: &Path,
        path: &[u8],
        now: Duration,
    ) -> Result<(), Errno> {
        let span = self.span();
        let bin = match &mut self.bin {
            Some(bin) if now < bin.since + span && bin.is_there() => bin,
            bin => bin.insert(Bin::begin(home, now)?),
        };
        bin.count += 1;
        let record = Record { number: bin.count, path: path.to_vec(), at: now.as_secs() };
        bin.manifest.write_all(&line(&record)).map_err(|error| errno(&error))?;
        rustix::fs::renameat(directory, name, &bin.folder, bin.count.to_string())
    }

    /// Removes a piece of what was kept for long enough.
    pub fn purge(&mut self, home: &OwnedFd, now: Duration) -> Result<(), Errno> {
        let folder = match open_directory(home, Path::new(FOLDER)) {
            Err(Errno::NOENT) => return Ok(()),
            folder => folder?,
        };
        // The limit is the source's, and may be any.
        let age = self.span().saturating_add(self.limit);
        if self.bin.as_ref().is_some_and(|bin| bin.since.saturating_add(age) <= now) {
            self.bin = None;
        }
        let mut left = PURGED_MAX;
        for (name, since) in bins(&folder)? {
            if since.saturating_add(age) <= now && left > 0 {
                left -= empty(&folder, &name, left)?;
            }
        }
        Ok(())
    }

    fn span(&self) -> Duration {
        (self.limit / BIN_PART).clamp(BIN_MIN, BIN_MAX)
    }
}

impl Bin {
    fn begin(home: &OwnedFd, now: Duration) -> Result<Self, Errno> {
        let all = make(home, FOLDER)?;
        for attempt in 0..ATTEMPTS_MAX {
            let name = format!("{}-{}-{attempt}", now.as_secs(), std::process::id());
            match rustix::fs::mkdirat(&all, &name, Mode::RWXU) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(error),
            }
            let folder = open_directory(&all, Path::new(&name))?;
            rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::APPEND | OFlags::CLOEXEC;
            let manifest = rustix::fs::openat(&folder, MANIFEST, flags, Mode::RUSR | Mode::WUSR)?;
            let since = Duration::from_secs(now.as_secs());
            return Ok(Self { folder, manifest: File::from(manifest), since, count: 0 });
        }
        Err(Errno::EXIST)
    }

    /// Whether nobody has removed it by hand.
    fn is_there(&self) -> bool {
        rustix::fs::fstat(&self.folder).is_ok_and(|stat| stat.st_nlink > 0)
    }
}

/// All that is kept, in the order of paths; of the same path the last that was removed comes first.
pub fn list(home: &OwnedFd) -> io::Result<Vec<Removed>> {
    let folder = match open_directory(home, Path::new(FOLDER)) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        folder => folder?,
    };
    let mut all = Vec::new();
    for (bin, _) in bins(&folder)? {
        let opened = open_directory(&folder, &bin)?;
        let manifest = match note::read(&opened, MANIFEST, u64::MAX) {
            // It was emptied meanwhile, or is about to be filled.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            manifest => manifest?,
        };
        for Record { number, path, at } in records(&manifest) {
            let stat = rustix::fs::statat(&opened, number.to_string(), AtFlags::SYMLINK_NOFOLLOW);
            if let Ok(stat) = stat {
                let is_directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
                all.push(Removed { path, at, is_directory, bin: bin.clone(), number });
            }
        }
    }
    all.sort_by(|one, other| (&one.path, other.at, other.number).cmp(&(&other.path, one.at, one.number)));
    Ok(all)
}

/// Puts one back where it was, below `root`, if nothing is there.
pub fn put_back(root: &OwnedFd, home: &OwnedFd, removed: &Removed) -> Result<(), Errno> {
    let bin = open_directory(open_directory(home, Path::new(FOLDER))?, &removed.bin)?;
    let (directory, name) = beneath(root, &removed.path)?;
    rustix::fs::renameat_with(bin, removed.number.to_string(), directory, name, RenameFlags::NOREPLACE)
}

/// Whether it could be put back: its directory is there, and its name is free.
pub fn is_free(root: &OwnedFd, removed: &Removed) -> Result<(), Errno> {
    let (directory, name) = beneath(root, &removed.path)?;
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(Errno::EXIST),
        Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The bins and when each was begun, the oldest first.
fn bins(folder: &OwnedFd) -> Result<Vec<(PathBuf, Duration)>, Errno> {
    let mut bins = BTreeSet::new();
    for name in names(folder)? {
        let since =
            name.to_str().and_then(|name| name.split_once('-')).and_then(|(since, _)| since.parse().ok());
        if let Some(since) = since {
            bins.insert((Duration::from_secs(since), PathBuf::from(name)));
        }
    }
    Ok(bins.into_iter().map(|(since, name)| (name, since)).collect())
}

/// Empties a bin that nobody fills, by `limit` entries at most, and removes it when nothing is left. Says
/// how many entries that were.
fn empty(folder: &OwnedFd, name: &Path, limit: usize) -> Result<usize, Errno> {
    let bin = open_directory(folder, name)?;
    if rustix::fs::flock(&bin, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(0);
    }
    let entries = names(&bin)?;
    let mut kept: Vec<&OsString> = entries.iter().filter(|entry| *entry != MANIFEST).collect();
    let more = kept.len().saturating_sub(limit);
    kept.truncate(limit);
    for entry in &kept {
        // Of a directory that is not empty somebody else has made something: it stays, and so does the bin.
        let _kind = rustix::fs::unlinkat(&bin, entry.as_os_str(), AtFlags::empty())
            .or_else(|_| rustix::fs::unlinkat(&bin, entry.as_os_str(), AtFlags::REMOVEDIR));
    }
    if more == 0 {
        // Last, as without it nobody knows what the rest was.
        let _gone = rustix::fs::unlinkat(&bin, MANIFEST, AtFlags::empty());
        let _not_empty = rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR);
    }
    Ok(kept.len().max(1))
}

fn names(directory: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    use std::os::unix::ffi::OsStringExt as _;
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            names.push(OsString::from_vec(name));
        }
    }
    Ok(names)
}

fn line(record: &Record) -> Vec<u8> {
    // Plain data always fits, and no path is longer than 4,095 bytes.
    let bytes = postcard::to_allocvec(record).unwrap_or_default();
    [&(bytes.len() as u16).to_le_bytes(), bytes.as_slice()].concat()
}

/// The records of a manifest, without one that was cut short.
fn records(mut content: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while let Some((length, rest)) = content.split_first_chunk::<LENGTH_BYTES>() {
        let Some((record, rest)) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length))) else {
            break;
        };
        records.extend(postcard::from_bytes::<Record>(record));
        content = rest;
    }
    records
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::home;

    struct Place {
        directory: tempfile::TempDir,
        root: OwnedFd,
        home: OwnedFd,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let root = OwnedFd::from(File::open(directory.path()).unwrap());
            let home = home::open(&root).unwrap();
            Self { directory, root, home }
        }

        fn at(&self, path: &str) -> PathBuf {
            self.directory.path().join(path)
        }

        /// Writes a file, and has it removed at that second.
        fn remove(&self, trash: &mut Trash, path: &str, content: &str, at: u64) {
            fs::write(self.at(path), content).unwrap();
            let now = Duration::from_secs(at);
            trash.take(&self.home, &self.root, Path::new(path), path.as_bytes(), now).unwrap();
            assert!(!self.at(path).exists());
        }

        fn kept(&self) -> Vec<(String, u64)> {
            let name = |removed: Removed| (String::from_utf8(removed.path).unwrap(), removed.at);
            list(&self.home).unwrap().into_iter().map(name).collect()
        }
    }

    #[test]
    fn what_was_removed_comes_back_where_nothing_is() {
        let place = Place::new();
        let mut trash = Trash::new(Duration::from_hours(1));
        place.remove(&mut trash, "b", "first", 100);
        place.remove(&mut trash, "a", "a", 101);
        place.remove(&mut trash, "b", "second", 900);
        let kept = list(&place.home).unwrap();
        assert_eq!(place.kept(), [("a".to_owned(), 101), ("b".to_owned(), 900), ("b".to_owned(), 100)]);
        fs::write(place.at("a"), "new").unwrap();
        assert_eq!(put_back(&place.root, &place.home, &kept[0]), Err(Errno::EXIST));
        assert_eq!(fs::read_to_string(place.at("a")).unwrap(), "new");
        put_back(&place.root, &place.home, &kept[1]).unwrap();
        assert_eq!(fs::read_to_string(place.at("b")).unwrap(), "second");
        assert_eq!(place.kept(), [("a".to_owned(), 101), ("b".to_owned(), 100)]);
    }

    #[test]
    fn what_is_old_enough_is_purged_a_piece_at_a_time() {
        let place = Place::new();
        let mut trash = Trash::new(Duration::from_secs(100));
        for number in 0..PURGED_MAX as u64 + 10 {
            place.remove(&mut trash, &format!("old-{number}"), "", 1_000);
        }
        place.remove(&mut trash, "new", "", 1_050);
        let mut other = Trash::new(Duration::from_secs(100));
        other.purge(&place.home, Duration::from_secs(1_109)).unwrap();
        assert_eq!(place.kept().len(), PURGED_MAX + 11, "none is old enough");
        other.purge(&place.home, Duration::from_secs(1_110)).unwrap();
        assert_eq!(place.kept().len(), 11);
        other.purge(&place.home, Duration::from_secs(1_110)).unwrap();
        assert_eq!(place.kept(), [("new".to_owned(), 1_050)]);
        other.purge(&place.home, Duration::from_secs(2_000)).unwrap();
        assert_eq!(place.kept().len(), 1, "it is still filled");
        trash.purge(&place.home, Duration::from_secs(2_000)).unwrap();
        assert_eq!(fs::read_dir(place.at(".ksyncd/trash")).unwrap().count(), 0);
    }

    #[test]
    fn a_manifest_that_was_cut_short_tells_the_rest() {
        let record = |number| Record { number, path: vec![b'x'; 4_095], at: u64::MAX };
        let content = [line(&record(1)), line(&record(2))].concat();
        assert_eq!(records(&content), [record(1), record(2)]);
        assert_eq!(records(&content[..content.len() - 1]), [record(1)]);
    }
}
