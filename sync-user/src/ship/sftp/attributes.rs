//! Holds what SFTP version 3 tells of an entry, and makes a [`Version`] of it.

use super::packet::{Body, PacketError};
use crate::model::{FileKind, Mode, Owner, There, Time, Version, XattrHash};

const SIZE: u32 = 1;
const OWNER: u32 = 2;
const MODE: u32 = 4;
const TIMES: u32 = 8;
const MORE: u32 = 1 << 31;

/// The bits of a mode that say what it is: `S_IFMT` (`inode(7)`).
const KIND: u32 = 0o170_000;

/// What is told of an entry, or set; the rest stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Attributes {
    pub(super) size: Option<u64>,
    /// User and group.
    pub(super) owner: Option<(u32, u32)>,
    /// As `st_mode` has it.
    pub(super) mode: Option<u32>,
    /// Of modification, in whole seconds since 1970.
    pub(super) mtime: Option<u32>,
}

impl Attributes {
    pub(super) fn of_mode(mode: u32) -> Self {
        Self { mode: Some(mode), ..Self::default() }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, flag: u32| if is_set { flag } else { 0 };
        let flags = flag(self.size.is_some(), SIZE)
            | flag(self.owner.is_some(), OWNER)
            | flag(self.mode.is_some(), MODE)
            | flag(self.mtime.is_some(), TIMES);
        out.extend_from_slice(&flags.to_be_bytes());
        if let Some(size) = self.size {
            out.extend_from_slice(&size.to_be_bytes());
        }
        // Both times are set, or none.
        let times = self.mtime.map(|mtime| (mtime, mtime));
        let mode = self.mode.map(|mode| [mode]);
        let numbers = [self.owner, times].map(|pair| pair.map(|(one, other)| [one, other]));
        let [owner, times] = numbers;
        for number in owner.iter().flatten().chain(mode.iter().flatten()).chain(times.iter().flatten()) {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    pub(super) fn decode(body: &mut Body<'_>) -> Result<Self, PacketError> {
        let flags = body.number()?;
        let has = |flag: u32| flags & flag != 0;
        let mut attributes = Self::default();
        if has(SIZE) {
            attributes.size = Some(body.long()?);
        }
        if has(OWNER) {
            attributes.owner = Some((body.number()?, body.number()?));
        }
        if has(MODE) {
            attributes.mode = Some(body.number()?);
        }
        if has(TIMES) {
            let _read = body.number()?;
            attributes.mtime = Some(body.number()?);
        }
        if has(MORE) {
            for _ in 0..body.number()? {
                body.string()?;
                body.string()?;
            }
        }
        Ok(attributes)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.kind() == Some(FileKind::Directory)
    }

    /// `None` for the kinds that are not replicated.
    pub(super) fn kind(&self) -> Option<FileKind> {
        match self.mode? & KIND {
            0o100_000 => Some(FileKind::File),
            0o040_000 => Some(FileKind::Directory),
            0o120_000 => Some(FileKind::Symlink),
            _ => None,
        }
    }

    /// Without owner; a time in whole seconds.
    pub(super) fn version(&self) -> Option<Version> {
        let kind = self.kind()?;
        let is_directory = kind == FileKind::Directory;
        let mode = if kind == FileKind::Symlink { 0 } else { self.mode? & 0o7777 };
        Some(Version {
            kind,
            size: if is_directory { 0 } else { self.size? },
            mtime: Time { seconds: i64::from(self.mtime?), nanoseconds: 0 },
            mode: Mode(mode as u16),
            owner: Owner::NOBODY,
            xattrs: XattrHash::NONE,
        })
    }

    pub(super) fn there(&self) -> There {
        self.version().map_or(There::Foreign, There::Version)
    }
}

/// The time as SFTP can set it; `None` before 1970 and after 2106.
pub(super) fn whole_seconds(time: Time) -> Option<u32> {
    u32::try_from(time.seconds).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_whole_seconds_that_are_kept() {
        let exact = Time { seconds: 1_700_000_000, nanoseconds: 123_456_789 };
        let set = whole_seconds(exact).unwrap();
        let there = Attributes { size: Some(3), mode: Some(0o100_644), mtime: Some(set), owner: None };
        let version = there.version().unwrap();
        assert!(exact.is_kept_as(version.mtime));
        assert_eq!((version.kind, version.size, version.mode), (FileKind::File, 3, Mode(0o644)));
        assert_eq!(whole_seconds(Time { seconds: -1, nanoseconds: 0 }), None);
        assert_eq!(Attributes::of_mode(0o010_644).there(), There::Foreign, "a fifo");
    }

    proptest! {
        #[test]
        fn what_is_set_is_told(size: Option<u64>, owner: Option<(u32, u32)>, mode: Option<u32>, mtime: Option<u32>) {
            let attributes = Attributes { size, owner, mode, mtime };
            let mut out = Vec::new();
            attributes.encode(&mut out);
            let mut body = Body(&out);
            prop_assert_eq!(Attributes::decode(&mut body), Ok(attributes));
            prop_assert!(body.0.is_empty());
        }
    }
}
