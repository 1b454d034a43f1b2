//! Knows whom a POSIX access control list names, in the form in which Linux keeps it.
//!
//! ```text
//!  0         4                  4+8n
//!  │ version │ n entries: tag u16, permissions u16, id u32 │     little endian
//! ```

use super::is_acl;
use crate::model::Xattr;

/// `POSIX_ACL_XATTR_VERSION` (`posix_acl_xattr.h`).
const VERSION: u32 = 2;
const HEADER_BYTES: usize = 4;
const ENTRY_BYTES: usize = 8;

/// `ACL_USER` and `ACL_GROUP` (`posix_acl.h`): the entries that name somebody.
const USER: u16 = 0x02;
const GROUP: u16 = 0x08;

/// Everybody whom the attribute names, if it is an access control list.
pub fn named_by(xattr: &Xattr) -> Vec<Who> {
    if is_acl(&xattr.name) { names(&xattr.value) } else { Vec::new() }
}

/// Somebody whom a list names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    User(u32),
    Group(u32),
}

/// Everybody whom the list names; nobody if it is none.
fn names(list: &[u8]) -> Vec<Who> {
    let mut all = Vec::new();
    // Nothing is changed, so a list that is none has no names.
    let _unchanged = translate(list, |who| {
        all.push(who);
        match who {
            Who::User(id) | Who::Group(id) => id,
        }
    });
    all
}

/// The list with other numbers for those whom it names; `None` if it is no list.
pub fn translate(list: &[u8], mut other: impl FnMut(Who) -> u32) -> Option<Vec<u8>> {
    let (version, entries) = list.split_first_chunk::<HEADER_BYTES>()?;
    if u32::from_le_bytes(*version) != VERSION || entries.len() % ENTRY_BYTES != 0 {
        return None;
    }
    let mut translated = version.to_vec();
    for entry in entries.as_chunks::<ENTRY_BYTES>().0 {
        let [tag, tag_high, permissions @ .., id_0, id_1, id_2, id_3] = *entry;
        let id = u32::from_le_bytes([id_0, id_1, id_2, id_3]);
        let id = match u16::from_le_bytes([tag, tag_high]) {
            USER => other(Who::User(id)),
            GROUP => other(Who::Group(id)),
            _ => id,
        };
        translated.extend([tag, tag_high]);
        translated.extend(permissions);
        translated.extend(id.to_le_bytes());
    }
    Some(translated)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `user::rw-, user:1000:r--, group::r--, group:33:rw-, mask::rw-, other::---`
    fn list(user: u32, group: u32) -> Vec<u8> {
        let entries: [(u16, u16, u32); 6] = [
            (0x01, 6, u32::MAX),
            (USER, 4, user),
            (0x04, 4, u32::MAX),
            (GROUP, 6, group),
            (0x10, 6, u32::MAX),
            (0x20, 0, u32::MAX),
        ];
        let mut bytes = VERSION.to_le_bytes().to_vec();
        for (tag, permissions, id) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(id.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn only_those_who_are_named_get_other_numbers() {
        assert_eq!(names(&list(1000, 33)), [Who::User(1000), Who::Group(33)]);
        let other = |who| match who {
            Who::User(id) => id + 1,
            Who::Group(id) => id + 2,
        };
        assert_eq!(translate(&list(1000, 33), other), Some(list(1001, 35)));
    }

    #[test]
    fn what_is_no_list_is_left_alone() {
        for bytes in [&b""[..], b"\x02", b"\x01\0\0\0", &list(1, 2)[..11]] {
            assert_eq!(translate(bytes, |_| 0), None);
            assert_eq!(names(bytes), []);
        }
    }
}
