//! Reads the content of files, as late as possible, and notices when they change meanwhile.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::extents::{Extent, Extents};
use crate::clock;
use crate::model::{Content, FileKind, TreePath, Version, Xattr};
use crate::tree::Tree;

/// How often a file that changes while it is read is read again before it is sent as it is: a
/// busy log would never be sent otherwise, and its next change sends it again.
const READS_MAX: u32 = 3;

/// The unit of `st_blocks` (`stat(2)`).
const BLOCK_BYTES: u64 = 512;

/// A file that fits into one frame.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) version: Version,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) bytes: Vec<u8>,
    pub(super) content: Content,
    pub(super) settled: bool,
    /// It changed while it was read, and has to be looked at again.
    pub(super) torn: bool,
}

/// What a path turned out to be when its content was wanted.
#[derive(Debug)]
pub(super) enum Opened {
    Small(Loaded),
    Large(Reading),
    /// No regular file is there any more: a later change tells what is.
    Vanished,
}

/// Opens `path`; what is no larger than `inline_max` is read at once.
pub(super) fn open(tree: &Tree, path: &TreePath, inline_max: usize) -> io::Result<Opened> {
    for attempt in 1.. {
        let mut file = match tree.open_file(path) {
            Ok(file) => file,
            Err(error) if vanished(&error) => return Ok(Opened::Vanished),
            Err(error) => return Err(error),
        };
        let (version, xattrs) = tree.version_of(&file)?;
        if version.kind != FileKind::File {
            return Ok(Opened::Vanished);
        }
        let settled = version.mtime.settled(clock::wall());
        let extents = Extents::of(&file, version.size)?;
        // What has holes is sent in pieces, however short: a step carries content alone.
        if version.size > inline_max as u64 || extents.has_holes() {
            let hasher = Box::default();
            let left = version.size;
            let stored = left.min(file.metadata()?.blocks().saturating_mul(BLOCK_BYTES));
            return Ok(Opened::Large(Reading {
                file,
                version,
                xattrs,
                settled,
                stored,
                extents,
                left,
                hasher,
            }));
        }
        let mut bytes = Vec::with_capacity(version.size as usize + 1);
        // One byte more than expected, to notice growth; no more, to stay within a frame.
        file.by_ref().take(version.size + 1).read_to_end(&mut bytes)?;
        let torn = bytes.len() as u64 != version.size || tree.version_of(&file)?.0 != version;
        if torn && attempt < READS_MAX {
            continue;
        }
        bytes.truncate(version.size as usize);
        let content = Content::of(&bytes);
        let version = Version { size: bytes.len() as u64, ..version };
        return Ok(Opened::Small(Loaded {
            version,
            xattrs,
            bytes,
            content,
            settled: settled && !torn,
            torn,
        }));
    }
    unreachable!("the last attempt returns")
}

/// Whether an error says that the file is no longer under that name.
pub(super) fn vanished(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ENOENT
                | libc::ENOTDIR
                | libc::ELOOP
                | libc::EXDEV
                | libc::EISDIR
                | libc::ENXIO
                | libc::ESTALE
        )
    )
}

/// A file too large for one frame, while it is read in pieces.
#[derive(Debug)]
pub(super) struct Reading {
    file: File,
    pub(super) version: Version,
    pub(super) xattrs: Vec<Xattr>,
    pub(super) settled: bool,
    /// Bytes that the file takes on the disk, as far as they are content.
    pub(super) stored: u64,
    extents: Extents,
    left: u64,
    /// Boxed, as it is 2 KB.
    hasher: Box<blake3::Hasher>,
}

/// How a reading ended.
#[derive(Debug)]
pub(super) enum Finished {
    Whole(Content),
    /// The file changed meanwhile; the hash is of what was sent, if that has the promised size.
    Torn(Option<Content>),
}

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Piece {
    Bytes(Vec<u8>),
    /// So many zeros, which the file does not store.
    Hole(u64),
    /// It ends here, or has become shorter.
    End,
}

impl Reading {
    pub(super) fn has_holes(&self) -> bool {
        self.extents.has_holes()
    }

    /// The first bytes of the file, and the last ones: up to so many of each.
    pub(super) fn ends(&self, length: usize) -> io::Result<[Vec<u8>; 2]> {
        let size = self.version.size;
        let read = |at| -> io::Result<Vec<u8>> {
            let mut bytes = vec![0; usize::try_from(size - at).unwrap_or(usize::MAX).min(length)];
            self.file.read_exact_at(&mut bytes, at)?;
            Ok(bytes)
        };
        Ok([read(0)?, read(size.saturating_sub(length as u64))?])
    }

    /// How far it is read, holes included.
    pub(super) fn position(&self) -> u64 {
        self.version.size - self.left
    }

    /// The next piece, no longer than the two limits.
    pub(super) fn next(&mut self, bytes_max: usize, hole_max: u64) -> io::Result<Piece> {
        let at = self.position();
        let length = match self.extents.at(&self.file, at)? {
            _ if self.left == 0 => return Ok(Piece::End),
            Extent::Hole(length) => {
                let length = length.min(self.left).min(hole_max);
                self.left -= length;
                self.hasher.update_reader(io::repeat(0).take(length))?;
                return Ok(Piece::Hole(length));
            }
            Extent::Data(length) => length,
        };
        let wanted = self.left.min(bytes_max as u64).min(length);
        let mut piece = Vec::with_capacity(wanted as usize);
        (&self.file).seek(SeekFrom::Start(at))?;
        self.file.by_ref().take(wanted).read_to_end(&mut piece)?;
        self.left -= piece.len() as u64;
        self.hasher.update(&piece);
        Ok(if piece.is_empty() { Piece::End } else { Piece::Bytes(piece) })
    }

    pub(super) fn finish(self, tree: &Tree) -> io::Result<Finished> {
        let Self { file, version, xattrs: _, settled: _, stored: _, extents: _, left, hasher } = self;
        let content = Content(hasher.finalize().into());
        let unchanged = tree.version_of(&file)?.0 == version;
        Ok(match (left, unchanged) {
            (0, true) => Finished::Whole(content),
            (0, false) => Finished::Torn(Some(content)),
            (_, _) => Finished::Torn(None),
        })
    }
}
