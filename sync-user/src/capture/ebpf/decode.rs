//! Turns records of the eBPF programs into changes, trusting nothing in them.

use sync_ebpf::{HEAD_BYTES, flag, kind};

use crate::model::{Change, Kind, Origin, Reason, Stamp, TreePath};

/// A record is not one that our programs write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) told: Told,
    /// The processor that told.
    pub(super) processor: u32,
    /// Whether it is about a name that became another, on one side of the root's border at least.
    pub(super) is_rename: bool,
}

/// What the programs told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    Change(Change),
    /// The same of all names below the root that this inode has: it was changed by one outside.
    Elsewhere(Elsewhere),
    /// A change at a place that nobody knows.
    Unplaced(Reason),
}

/// A change to a file with several names, without those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Elsewhere {
    pub(super) inode: u64,
    pub(super) kind: Kind,
    pub(super) origin: Origin,
    pub(super) seen: Stamp,
    pub(super) read: Stamp,
}

impl Elsewhere {
    /// The change of one of the names.
    pub(super) fn at(&self, path: TreePath) -> Change {
        let Self { inode: _, kind, origin, seen, read } = self.clone();
        Change { kind, path, origin, seen, read }
    }
}

pub(super) fn decode(record: &[u8], read: Stamp) -> Result<Record, Damaged> {
    let (head, names) = record.split_at_checked(HEAD_BYTES).ok_or(Damaged)?;
    let word = |at: usize| head[at..].first_chunk().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(Damaged);
    let number = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]) as usize;
    let seen = Stamp(u64::from_ne_bytes(*head.first_chunk().ok_or(Damaged)?));
    let comm = *head[8..].first_chunk().ok_or(Damaged)?;
    let (tgid, processor) = (word(24)?, word(28)?);
    let (first, second, happened, flags) = (number(32), number(34), head[36], head[37]);
    let old = names.get(..first).ok_or(Damaged)?;
    let new = names.get(first..first + second).ok_or(Damaged)?;
    let has = |bit: u8| flags & bit != 0;
    let origin = Origin { tgid, comm, ignored: has(flag::IGNORED) };
    // A stamp from the future would be a clock that runs backwards.
    let seen = seen.min(read);
    let change = |kind, path| Told::Change(Change { kind, path, origin, seen, read });
    let elsewhere = |kind| {
        let inode = u64::from_ne_bytes(old.try_into().map_err(|_length| Damaged)?);
        Ok(Told::Elsewhere(Elsewhere { inode, kind, origin, seen, read }))
    };
    let told = match happened {
        kind::CREATED if has(flag::UNFINISHED) => change(Kind::Created, path(old)?),
        kind::CREATED => change(Kind::Named, path(old)?),
        kind::WRITING => change(Kind::Writing, path(old)?),
        kind::WRITTEN => change(Kind::Written, path(old)?),
        kind::ATTRIBUTES => change(Kind::Attributes, path(old)?),
        kind::REMOVED => change(Kind::Removed, path(old)?),
        kind::RENAMED if has(flag::TO_OUTSIDE) => change(Kind::Removed, path(old)?),
        kind::RENAMED if has(flag::FROM_OUTSIDE) => change(Kind::MovedIn, path(new)?),
        kind::RENAMED => {
            change(Kind::Moved { from: path(old)?, directory: has(flag::DIRECTORY) }, path(new)?)
        }
        kind::UNPLACED => Told::Unplaced(Reason::PathTooDeep),
        kind::NAMELESS => Told::Unplaced(Reason::Unresolved),
        kind::WRITING_OUTSIDE => elsewhere(Kind::Writing)?,
        kind::WRITTEN_OUTSIDE => elsewhere(Kind::Written)?,
        kind::ATTRIBUTES_OUTSIDE => elsewhere(Kind::Attributes)?,
        _ => return Err(Damaged),
    };
    Ok(Record { told, processor, is_rename: happened == kind::RENAMED })
}

/// Names with NULs, from the leaf up, as a path.
fn path(names: &[u8]) -> Result<TreePath, Damaged> {
    let Some(names) = names.strip_suffix(b"\0") else {
        return if names.is_empty() { Ok(TreePath::root()) } else { Err(Damaged) };
    };
    let parts: Vec<&[u8]> = names.split(|byte| *byte == 0).rev().collect();
    TreePath::new(&parts.join(&b'/')).map_err(|_not_a_path| Damaged)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(happened: u8, flags: u8, old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut record = 7_u64.to_ne_bytes().to_vec();
        record.extend(*b"php-fpm\0\0\0\0\0\0\0\0\0");
        record.extend(42_u32.to_ne_bytes());
        record.extend(3_u32.to_ne_bytes());
        record.extend((old.len() as u16).to_ne_bytes());
        record.extend((new.len() as u16).to_ne_bytes());
        record.extend([happened, flags, 0, 0]);
        record.extend(old);
        record.extend(new);
        record
    }

    fn decoded(record: &[u8]) -> Change {
        match decode(record, Stamp(9)) {
            Ok(Record { told: Told::Change(change), .. }) => change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn paths_are_put_together_from_the_leaf_up() {
        let change = decoded(&record(kind::WRITTEN, flag::IGNORED, b"f\0b\0a\0", b""));
        assert_eq!(
            (change.kind, change.path.to_string(), change.origin.tgid),
            (Kind::Written, "a/b/f".to_owned(), 42)
        );
        assert_eq!((change.seen, change.read), (Stamp(7), Stamp(9)));
        assert_eq!(change.origin.command().as_deref(), Some("php-fpm"));
        assert!(change.origin.ignored);
    }

    #[test]
    fn renames_across_the_root_are_arrivals_and_removals() {
        let moved = decoded(&record(kind::RENAMED, flag::DIRECTORY, b"x\0", b"y\0d\0"));
        assert_eq!(moved.path.to_string(), "d/y");
        assert_eq!(moved.kind, Kind::Moved { from: TreePath::new(b"x").unwrap(), directory: true });
        assert_eq!(decoded(&record(kind::RENAMED, flag::FROM_OUTSIDE, b"", b"y\0")).kind, Kind::MovedIn);
        assert_eq!(decoded(&record(kind::RENAMED, flag::TO_OUTSIDE, b"x\0", b"")).kind, Kind::Removed);
    }

    #[test]
    fn only_a_new_regular_file_with_one_name_may_still_be_written() {
        assert_eq!(decoded(&record(kind::CREATED, flag::UNFINISHED, b"f\0", b"")).kind, Kind::Created);
        assert_eq!(decoded(&record(kind::CREATED, 0, b"f\0", b"")).kind, Kind::Named);
    }

    #[test]
    fn a_change_from_outside_is_told_by_the_inode() {
        let told = |names: &[u8]| decode(&record(kind::WRITTEN_OUTSIDE, 0, names, b""), Stamp(9));
        let Ok(Record { told: Told::Elsewhere(elsewhere), .. }) = told(&5_u64.to_ne_bytes()) else {
            panic!("not understood");
        };
        let change = elsewhere.at(TreePath::new(b"f").unwrap());
        assert_eq!((elsewhere.inode, change.kind, change.seen), (5, Kind::Written, Stamp(7)));
        assert_eq!(told(b"abc"), Err(Damaged));
    }

    proptest! {
        #[test]
        fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = decode(&bytes, Stamp(1));
        }

        #[test]
        fn survives_damaged_records(at in 0..60_usize, byte: u8) {
            let mut bytes = record(kind::RENAMED, 0, b"x\0", b"y\0d\0");
            let at = at % bytes.len();
            bytes[at] = byte;
            let _any = decode(&bytes, Stamp(1));
        }
    }
}
