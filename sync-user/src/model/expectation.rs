//! Says what a step expects of the target's path, and whether what is there is that.
//!
//! The source puts into each step what its ledger says the target holds; the target compares
//! before it acts, and tells what it met. Both compare in the one way that is written here.

use serde::{Deserialize, Serialize};

use super::{FileKind, Time, Version};

/// What a step expects to find at a path of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Expected {
    /// The source does not know: something of its own may be there, or nothing.
    Anything,
    Absent,
    This(Version),
}

/// What a path of the target holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum There {
    Nothing,
    /// A fifo, a socket or a device.
    Foreign,
    /// Without owner and extended attributes.
    Version(Version),
}

/// What a step that was applied had met at its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Met {
    /// What it expected.
    Expected,
    /// What it was to make: no content was written.
    Already,
    /// Something else, which it replaced.
    Other(There),
}

/// What was at a path instead of what a step that was refused expects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// One of those that the step names, as it came.
    pub path: Vec<u8>,
    pub there: There,
}

impl Expected {
    /// Whether `there` is what is expected, by its content: kind, size and modification time. The
    /// size and time of a directory follow from what is in it, so of a directory only the kind
    /// counts; and mode, owner and the like can be set again without a loss.
    pub fn admits(&self, there: &There) -> bool {
        match (self, there) {
            (Self::Anything, _) | (Self::Absent, There::Nothing) => true,
            (Self::This(expected), There::Version(there)) => expected.is_kept_as(there),
            (Self::Absent | Self::This(_), _) => false,
        }
    }

    /// In what way `there` is not what is expected, for people.
    pub fn unlike(&self, there: &There) -> &'static str {
        match (there, self) {
            (There::Nothing, _) => "it is not there",
            (There::Foreign, _) => "it is of a kind that is not replicated",
            (There::Version(now), Self::This(expected)) if now.kind != expected.kind => {
                "it is of another kind"
            }
            (There::Version(_), Self::This(_)) => "it is of another size or time",
            (There::Version(_), _) => "something is there",
        }
    }
}

impl There {
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Version(Version { kind: FileKind::Directory, .. }))
    }
}

impl Version {
    /// Whether `kept` is what a file system shows that was given this version.
    pub fn is_kept_as(&self, kept: &Self) -> bool {
        self.kind == kept.kind
            && (self.kind == FileKind::Directory
                || (self.size == kept.size && self.mtime.is_kept_as(kept.mtime)))
    }
}

impl Time {
    /// Whether a file system that was given this time may show it as `kept`: some keep no
    /// nanoseconds, but units of 100 ns (NTFS), 10 ms (exFAT) or another power of ten, up to whole
    /// seconds, or two of them (FAT); the kernel rounds down (`timestamp_truncate`).
    pub fn is_kept_as(self, kept: Self) -> bool {
        const LONGEST_UNIT: u32 = 1_000_000_000;
        let is_rounded = || {
            std::iter::successors(Some(10), |unit| (*unit < LONGEST_UNIT).then(|| unit * 10))
                .any(|unit| kept.nanoseconds == self.nanoseconds - self.nanoseconds % unit)
        };
        if self.seconds == kept.seconds {
            return self.nanoseconds == kept.nanoseconds || is_rounded();
        }
        kept.nanoseconds == 0 && kept.seconds % 2 == 0 && self.seconds.checked_sub(1) == Some(kept.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Mode, Owner, XattrHash};

    fn version(kind: FileKind, size: u64, mtime: Time) -> Version {
        Version { kind, size, mtime, mode: Mode(0), owner: Owner::NOBODY, xattrs: XattrHash::NONE }
    }

    fn time(seconds: i64, nanoseconds: u32) -> Time {
        Time { seconds, nanoseconds }
    }

    #[test]
    fn a_time_is_the_same_on_a_coarser_file_system() {
        let exact = time(1_001, 123_456_789);
        for kept in
            [exact, time(1_001, 123_456_700), time(1_001, 120_000_000), time(1_001, 0), time(1_000, 0)]
        {
            assert!(exact.is_kept_as(kept), "{kept:?}");
        }
        for other in [time(1_001, 123_456_788), time(1_001, 123_456_790), time(1_002, 0), time(999, 0)] {
            assert!(!exact.is_kept_as(other), "{other:?}");
        }
        assert!(!time(1_002, 5).is_kept_as(time(1_001, 0)), "an even second is kept as itself");
    }

    #[test]
    fn content_is_what_counts() {
        let (file, now) = (version(FileKind::File, 3, time(5, 0)), time(9, 9));
        let directory = Expected::This(version(FileKind::Directory, 0, time(5, 0)));
        assert!(directory.admits(&There::Version(version(FileKind::Directory, 0, now))));
        assert!(!directory.admits(&There::Version(file)));
        let expected = Expected::This(file);
        assert!(expected.admits(&There::Version(Version { mode: Mode(0o600), ..file })));
        for there in [
            There::Nothing,
            There::Foreign,
            There::Version(Version { size: 4, ..file }),
            There::Version(Version { mtime: now, ..file }),
        ] {
            assert!(!expected.admits(&there), "{there:?}");
            assert_eq!(Expected::Absent.admits(&there), there == There::Nothing);
            assert!(Expected::Anything.admits(&there));
        }
    }
}
