//! Finds the holes of a file: what reads as zeros, and takes no space.

use std::fs::File;
use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// `st_blocks` counts in this unit on every file system (`stat(2)`).
const BLOCK_BYTES: u64 = 512;

/// What begins at a place in a file, and how long it goes on at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Data(u64),
    Hole(u64),
}

/// Where a file has data. It is asked as far as it is read, so a file of many holes costs no
/// memory; when the file changes meanwhile, so does its version, and it is sent again.
#[derive(Debug)]
pub(super) struct Extents {
    size: u64,
    has_holes: bool,
    /// Up to here the file goes on as it was last found.
    end: u64,
    is_data: bool,
}

impl Extents {
    pub(super) fn of(file: &File, size: u64) -> io::Result<Self> {
        let stat = rustix::fs::fstat(file)?;
        // Compressed files take less space too.
        let may_have = (stat.st_blocks as u64).saturating_mul(BLOCK_BYTES) < size;
        let has_holes = may_have && seek(file, SeekFrom::Hole(0))?.is_some_and(|hole| hole < size);
        Ok(Self { size, has_holes, end: 0, is_data: true })
    }

    pub(super) fn has_holes(&self) -> bool {
        self.has_holes
    }

    /// What is at `at`.
    pub(super) fn at(&mut self, file: &File, at: u64) -> io::Result<Extent> {
        if !self.has_holes {
            return Ok(Extent::Data(self.size.saturating_sub(at)));
        }
        if at >= self.end {
            let data = seek(file, SeekFrom::Data(at))?.unwrap_or(self.size);
            self.is_data = data <= at;
            self.end = if self.is_data { seek(file, SeekFrom::Hole(at))?.unwrap_or(self.size) } else { data };
        }
        let length = self.end.saturating_sub(at);
        Ok(if self.is_data { Extent::Data(length) } else { Extent::Hole(length) })
    }
}

/// `None` when there is no such place up to the end.
fn seek(file: &File, to: SeekFrom) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file, to) {
        Ok(place) => Ok(Some(place)),
        Err(Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt as _;

    use super::*;

    #[test]
    fn holes_are_found_where_nothing_was_written() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        file.write_all_at(&[1; 4096], 1 << 20).unwrap();
        let mut extents = Extents::of(&file, 3 << 20).unwrap();
        assert!(extents.has_holes());
        let (mut at, mut data) = (0, 0);
        while at < 3 << 20 {
            match extents.at(&file, at).unwrap() {
                Extent::Hole(length) => at += length,
                Extent::Data(length) => {
                    data += length;
                    at += length;
                }
            }
        }
        assert_eq!(at, 3 << 20);
        assert!((4096..1 << 20).contains(&data), "{data}");
        let full = tempfile::tempfile().unwrap();
        full.write_all_at(&[0; 8192], 0).unwrap();
        assert!(!Extents::of(&full, 8192).unwrap().has_holes());
    }
}
