//! Notices what is mounted and unmounted below the root: it uncovers and covers files without
//! any event of the file system.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::Error;
use crate::clock;
use crate::model::{Captured, Gap, Reason, TreePath};

/// The mounts that this process sees. Polling it for `POLLPRI` tells of each change once.
const TABLE: &str = "/proc/self/mountinfo";

/// The mounts below a root, as they were last read.
#[derive(Debug)]
pub(super) struct Mounts {
    table: File,
    root: PathBuf,
    known: BTreeSet<Mount>,
}

/// A mount's number, by which a new one at an old place is told, and its place.
type Mount = (u64, TreePath);

impl Mounts {
    pub(super) fn open(root: &Path) -> Result<Self, Error> {
        let failed = |error: std::io::Error| Error::new(&format!("read {TABLE}"), &error, "mount /proc");
        let table = File::open(TABLE).map_err(failed)?;
        let mut mounts = Self { table, root: root.to_owned(), known: BTreeSet::new() };
        mounts.known = mounts.read().map_err(failed)?;
        Ok(mounts)
    }

    /// Delivers each place where the mounts are others than before, as a gap.
    pub(super) fn tell(&mut self, deliver: &mut dyn FnMut(Captured)) {
        let Ok(now) = self.read() else {
            // Whatever it is, it will be there at the next change.
            return;
        };
        let places: BTreeSet<&TreePath> =
            now.symmetric_difference(&self.known).map(|(_, place)| place).collect();
        for place in places {
            let (place, seen) = (place.clone(), clock::now());
            deliver(Captured::Gap(Gap { place, reason: Reason::MountsChanged, lost: 0, seen }));
        }
        self.known = now;
    }

    fn read(&mut self) -> std::io::Result<BTreeSet<Mount>> {
        let mut text = Vec::new();
        self.table.rewind()?;
        self.table.read_to_end(&mut text)?;
        Ok(below(&text, &self.root))
    }
}

impl AsFd for Mounts {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.table.as_fd()
    }
}

/// The mounts below `root`: the first field of a line is the number, the fifth the place.
fn below(table: &[u8], root: &Path) -> BTreeSet<Mount> {
    let mount = |line: &[u8]| {
        let mut fields = line.split(|byte| *byte == b' ');
        let number = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let place = unescaped(fields.nth(3)?);
        let below = Path::new(std::ffi::OsStr::from_bytes(&place)).strip_prefix(root).ok()?;
        let place = TreePath::new(below.as_os_str().as_bytes()).ok()?;
        (!place.is_root()).then_some((number, place))
    };
    table.split(|byte| *byte == b'\n').filter_map(mount).collect()
}

/// Spaces and the like stand as three octal digits behind a backslash.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        let digits = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                plain.push(byte);
                rest = &after[3..];
            }
            _ => plain.push(*first),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_below_the_root_count() {
        let table = b"22 1 254:0 / / rw - ext4 /dev/root rw\n\
            30 22 0:5 / /srv/www rw - tmpfs tmpfs rw\n\
            31 22 0:6 / /srv/www/up\\040loads/a rw shared:1 - tmpfs tmpfs rw\n\
            32 22 0:7 / /srv/www2 rw - tmpfs tmpfs rw\n\
            garbage\n";
        let found = below(table, Path::new("/srv/www"));
        assert_eq!(found, BTreeSet::from([(31, TreePath::new(b"up loads/a").unwrap())]));
    }
}
