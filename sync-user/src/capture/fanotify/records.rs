//! Parses what the kernel writes into the group's descriptor, trusting no length in it.
//!
//! The layout is that of `fanotify(7)`: a 24-byte head with the length of the whole event, then
//! records, each with its own length. Records of unknown types are passed over.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Event<'a> {
    pub(super) mask: u64,
    /// The process that caused it; 0 when it is not in our pid namespace.
    pub(super) process: i32,
    /// The directory and the name in it that the event is about.
    pub(super) entry: Option<Entry<'a>>,
    /// Of a rename, the old and the new name.
    pub(super) old: Option<Entry<'a>>,
    pub(super) new: Option<Entry<'a>>,
    /// The inode itself.
    pub(super) inode: Option<Handle<'a>>,
    /// Whether the kernel could not say where the event happened.
    pub(super) incomplete: bool,
}

impl<'a> Event<'a> {
    /// The inode, if it has ended: it has no name any more, nor ever will.
    pub(super) fn ended(&self) -> Option<Handle<'a>> {
        self.inode.filter(|_| self.mask & libc::FAN_DELETE_SELF != 0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) directory: Handle<'a>,
    pub(super) name: &'a OsStr,
}

/// A file handle: names an inode for as long as it exists, and never another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Handle<'a> {
    pub(super) kind: i32,
    pub(super) bytes: &'a [u8],
}

const HEAD_BYTES: usize = 24;
const RECORD_HEAD_BYTES: usize = 20;

/// `FILEID_INVALID`: the file system could not make a handle.
const INVALID_KIND: i32 = 0xff;

/// The events in `bytes`; ends at the first that is cut.
pub(super) fn events(bytes: &[u8]) -> impl Iterator<Item = Event<'_>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = u32_at(rest, 0)? as usize;
        let event = rest.get(..length).filter(|_| length >= HEAD_BYTES)?;
        rest = &rest[length..];
        parse(event)
    })
}

fn parse(event: &[u8]) -> Option<Event<'_>> {
    let head = u16_at(event, 6)? as usize;
    let mask = u64::from_ne_bytes(*event.get(8..)?.first_chunk()?);
    let process = u32_at(event, 20)?.cast_signed();
    let mut parsed = Event { mask, process, ..Event::default() };
    let mut records = event.get(head..).unwrap_or_default();
    while let (Some(kind), Some(length)) = (records.first(), u16_at(records, 2)) {
        let Some(record) = records.get(..length as usize).filter(|_| length > 0) else {
            break;
        };
        records = &records[length as usize..];
        add(&mut parsed, *kind, record);
    }
    Some(parsed)
}

fn add<'a>(event: &mut Event<'a>, kind: u8, record: &'a [u8]) {
    let handle = || {
        let bytes = record.get(RECORD_HEAD_BYTES..)?.get(..u32_at(record, 12)? as usize)?;
        Some(Handle { kind: u32_at(record, 16)?.cast_signed(), bytes })
    };
    let Some(handle) = handle() else {
        event.incomplete = true;
        return;
    };
    if handle.kind == INVALID_KIND || handle.bytes.is_empty() {
        event.incomplete = true;
        return;
    }
    let name = || {
        let rest = record.get(RECORD_HEAD_BYTES + handle.bytes.len()..)?;
        Some(OsStr::from_bytes(&rest[..rest.iter().position(|byte| *byte == 0)?]))
    };
    let entry = || Some(Entry { directory: handle, name: name()? });
    match kind {
        libc::FAN_EVENT_INFO_TYPE_FID => event.inode = Some(handle),
        libc::FAN_EVENT_INFO_TYPE_DFID => {
            event.entry = Some(Entry { directory: handle, name: OsStr::new(".") });
        }
        libc::FAN_EVENT_INFO_TYPE_DFID_NAME => event.entry = entry(),
        libc::FAN_EVENT_INFO_TYPE_OLD_DFID_NAME => event.old = entry(),
        libc::FAN_EVENT_INFO_TYPE_NEW_DFID_NAME => event.new = entry(),
        _ => {}
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(kind: u8, handle: &[u8], name: Option<&str>) -> Vec<u8> {
        let mut record = vec![kind, 0, 0, 0];
        record.extend([0; 8]);
        record.extend((handle.len() as u32).to_ne_bytes());
        record.extend(1_i32.to_ne_bytes());
        record.extend(handle);
        record.extend(name.into_iter().flat_map(|name| [name.as_bytes(), b"\0"].concat()));
        record.resize(record.len().next_multiple_of(4), 0);
        let length = (record.len() as u16).to_ne_bytes();
        record[2..4].copy_from_slice(&length);
        record
    }

    fn event(mask: u64, records: &[Vec<u8>]) -> Vec<u8> {
        let body = records.concat();
        let mut event = ((HEAD_BYTES + body.len()) as u32).to_ne_bytes().to_vec();
        event.extend([3, 0]);
        event.extend((HEAD_BYTES as u16).to_ne_bytes());
        event.extend(mask.to_ne_bytes());
        event.extend((-1_i32).to_ne_bytes());
        event.extend(77_i32.to_ne_bytes());
        event.extend(body);
        event
    }

    #[test]
    fn finds_names_and_handles() {
        let bytes = [
            event(
                libc::FAN_CLOSE_WRITE,
                &[record(2, b"dirhandle", Some("index.html")), record(1, b"file", None)],
            ),
            event(
                libc::FAN_RENAME,
                &[record(10, b"d1", Some("a")), record(99, b"?", None), record(12, b"d2", Some("b"))],
            ),
        ]
        .concat();
        let parsed: Vec<Event<'_>> = events(&bytes).collect();
        assert_eq!(parsed.len(), 2);
        assert_eq!(parsed[0].process, 77);
        let entry = parsed[0].entry.unwrap();
        assert_eq!((entry.directory.bytes, entry.name), (&b"dirhandle"[..], OsStr::new("index.html")));
        assert_eq!(parsed[0].inode.unwrap().bytes, b"file");
        assert_eq!(
            (parsed[1].old.unwrap().name, parsed[1].new.unwrap().name),
            (OsStr::new("a"), OsStr::new("b"))
        );
    }

    proptest! {
        #[test]
        fn survives_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(events(&bytes).count() <= 300);
        }

        #[test]
        fn survives_damaged_events(at in 0..60_usize, byte: u8) {
            let mut bytes = event(libc::FAN_CREATE, &[record(2, b"dirhandle", Some("index.html"))]);
            let at = at % bytes.len();
            bytes[at] = byte;
            prop_assert!(events(&bytes).count() <= 2);
        }
    }
}
