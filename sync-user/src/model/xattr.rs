//! Holds extended attributes, and the hash by which two ends compare them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One extended attribute.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Xattr {
    /// With its namespace: `user.comment`.
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// The hash of all extended attributes of an entry; all zero when it has none.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct XattrHash([u8; 16]);

impl XattrHash {
    /// No extended attributes, or none that are replicated.
    pub const NONE: Self = Self([0; 16]);

    /// Of attributes in the order of their names.
    pub fn of(xattrs: &[Xattr]) -> Self {
        if xattrs.is_empty() {
            return Self::NONE;
        }
        let mut hasher = blake3::Hasher::new();
        for Xattr { name, value } in xattrs {
            // Lengths first, so that no two lists look alike.
            hasher.update(&(name.len() as u64).to_le_bytes()).update(name);
            hasher.update(&(value.len() as u64).to_le_bytes()).update(value);
        }
        let mut hash = [0; 16];
        hasher.finalize_xof().fill(&mut hash);
        Self(hash)
    }
}

impl fmt::Debug for Xattr {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={} bytes", self.name.escape_ascii(), self.value.len())
    }
}

impl fmt::Debug for XattrHash {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NONE => formatter.write_str("none"),
            Self(hash) => write!(formatter, "{:08x}…", u128::from_be_bytes(hash) >> 96),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_that_differ_in_any_way_have_other_hashes() {
        let xattr = |name: &str, value: &str| Xattr { name: name.into(), value: value.into() };
        let lists =
            [vec![], vec![xattr("a", "")], vec![xattr("", "a")], vec![xattr("a", ""), xattr("b", "")]];
        for (at, one) in lists.iter().enumerate() {
            for other in &lists[at + 1..] {
                assert_ne!(XattrHash::of(one), XattrHash::of(other), "{one:?} {other:?}");
            }
        }
        assert_eq!(XattrHash::of(&[]), XattrHash::NONE);
    }
}
