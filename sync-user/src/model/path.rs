//! Names a place in a tree: a relative path that cannot lead out of it.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::ffi::OsStr;
use std::fmt;
use std::ops::Bound;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// A path relative to the root of a tree, as raw bytes; the empty path is the root itself.
///
/// Checked once, on construction: no leading, trailing or doubled slash, no `.` or `..`
/// component, no NUL byte, at most [`TreePath::MAX_BYTES`] bytes and [`TreePath::MAX_NAME`]
/// bytes a component. A clone shares the bytes. The order is the byte order, with which all
/// paths below `a` stand together: between `a/` and `a0`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath(Arc<[u8]>);

/// Why bytes are not a [`TreePath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    #[error("a component is empty, \".\" or \"..\"")]
    Component,
    #[error("it contains a NUL byte")]
    Nul,
    #[error(
        "it is longer than {} bytes, or a component is longer than {}",
        TreePath::MAX_BYTES,
        TreePath::MAX_NAME
    )]
    TooLong,
}

impl TreePath {
    /// Linux takes paths of up to `PATH_MAX` bytes with the final NUL (`limits.h`).
    pub const MAX_BYTES: usize = 4095;
    /// `NAME_MAX` (`limits.h`).
    pub const MAX_NAME: usize = 255;

    /// The root of the tree.
    pub fn root() -> Self {
        Self(Arc::from(&b""[..]))
    }

    /// Checks `bytes` and keeps them. Empty bytes are the root.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Ok(Self::root());
        }
        if bytes.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        for component in bytes.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." | b".." => return Err(PathError::Component),
                _ if component.len() > Self::MAX_NAME => return Err(PathError::TooLong),
                _ => {}
            }
        }
        Ok(Self(Arc::from(bytes)))
    }

    /// This path with one more component, or several: `name` may contain slashes.
    pub fn join(&self, name: &[u8]) -> Result<Self, PathError> {
        if self.is_root() {
            return Self::new(name);
        }
        if name.is_empty() {
            return Err(PathError::Component);
        }
        let mut bytes = Vec::with_capacity(self.0.len() + 1 + name.len());
        bytes.extend_from_slice(&self.0);
        bytes.push(b'/');
        bytes.extend_from_slice(name);
        Self::new(&bytes)
    }

    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// For system calls relative to the root's descriptor; the root itself is `.`.
    pub fn as_path(&self) -> &Path {
        if self.is_root() { Path::new(".") } else { Path::new(OsStr::from_bytes(&self.0)) }
    }

    /// The directory that holds this path; `None` for the root.
    pub fn parent(&self) -> Option<Self> {
        if self.is_root() {
            return None;
        }
        let end = self.0.iter().rposition(|&byte| byte == b'/').unwrap_or(0);
        Some(Self(Arc::from(&self.0[..end])))
    }

    /// The last component; empty for the root.
    pub fn name(&self) -> &[u8] {
        let start = self.0.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        &self.0[start..]
    }

    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/').filter(|component| !component.is_empty())
    }

    /// Whether this path is `ancestor`, or lies below it.
    pub fn is_at_or_below(&self, ancestor: &Self) -> bool {
        ancestor.is_root()
            || (self.0.starts_with(&ancestor.0) && matches!(self.0.get(ancestor.0.len()), None | Some(b'/')))
    }

    /// Whether this path lies below `ancestor`, and is not it.
    pub fn is_below(&self, ancestor: &Self) -> bool {
        self != ancestor && self.is_at_or_below(ancestor)
    }

    /// This path as it is called once `from` is called `to`; `None` when it is not at or below
    /// `from`, or when its new name would be too long.
    pub fn moved(&self, from: &Self, to: &Self) -> Option<Self> {
        if !self.is_at_or_below(from) {
            return None;
        }
        let rest = self.0.get(from.0.len()..).unwrap_or_default();
        match rest.strip_prefix(b"/").unwrap_or(rest) {
            b"" => Some(to.clone()),
            rest => to.join(rest).ok(),
        }
    }

    /// The directories above this path, the nearest first, the root last.
    pub fn above(&self) -> impl Iterator<Item = Self> + use<> {
        std::iter::successors(self.parent(), Self::parent)
    }

    /// What `map` has below this path, without the path itself, in path order.
    pub fn below<'a, V>(&self, map: &'a BTreeMap<Self, V>) -> btree_map::Range<'a, Self, V> {
        let (first, end) = self.bounds();
        map.range::<[u8], _>((slice(&first), slice(&end)))
    }

    /// Whether `set` has anything below this path.
    pub fn is_above_any(&self, set: &BTreeSet<Self>) -> bool {
        let (first, end) = self.bounds();
        set.range::<[u8], _>((slice(&first), slice(&end))).next().is_some()
    }

    /// How much `set` has below this path.
    pub fn count_below(&self, set: &BTreeSet<Self>) -> usize {
        let (first, end) = self.bounds();
        set.range::<[u8], _>((slice(&first), slice(&end))).count()
    }

    /// What lies between these lies below this path.
    fn bounds(&self) -> (Bound<Vec<u8>>, Bound<Vec<u8>>) {
        if self.is_root() {
            return (Bound::Excluded(Vec::new()), Bound::Unbounded);
        }
        let with = |byte| [&self.0, &[byte][..]].concat();
        (Bound::Included(with(b'/')), Bound::Excluded(with(b'/' + 1)))
    }

    /// What `map` has at this path and below it, in path order.
    pub fn at_or_below<'a, V>(
        &self,
        map: &'a BTreeMap<Self, V>,
    ) -> impl Iterator<Item = (&'a Self, &'a V)> + use<'a, V> {
        map.get_key_value(self).into_iter().chain(self.below(map))
    }
}

fn slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

impl std::borrow::Borrow<[u8]> for TreePath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// With control characters and bytes that are not UTF-8 escaped: names are hostile input.
impl fmt::Display for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return formatter.write_str(".");
        }
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(formatter, "{}", character.escape_default())?;
                } else {
                    write!(formatter, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(formatter, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn refuses_what_could_lead_out_of_the_tree() {
        for bad in ["/a", "a/", "a//b", ".", "..", "a/../b", "a/./b"] {
            assert_eq!(TreePath::new(bad.as_bytes()), Err(PathError::Component), "{bad}");
        }
        assert_eq!(TreePath::new(b"a\0b"), Err(PathError::Nul));
        assert_eq!(TreePath::new(&[b'a'; 256]), Err(PathError::TooLong));
        assert!(TreePath::new(&[b'a'; 255]).is_ok());
    }

    #[test]
    fn knows_what_lies_below_what() {
        assert!(path("a/b").is_below(&path("a")));
        assert!(!path("ab").is_below(&path("a")));
        assert!(path("a").is_at_or_below(&path("a")));
        assert!(path("a").is_below(&TreePath::root()));
        assert_eq!(path("a/b/c").moved(&path("a/b"), &path("x")), Some(path("x/c")));
        assert_eq!(path("a/b").moved(&path("a/b"), &path("x")), Some(path("x")));
        assert_eq!(path("a/bc").moved(&path("a/b"), &path("x")), None);
        assert_eq!(path("a/b").parent(), Some(path("a")));
        assert_eq!(path("a").parent(), Some(TreePath::root()));
        assert_eq!(path("a/b").name(), b"b");
    }

    #[test]
    fn shows_hostile_names_escaped() {
        assert_eq!(TreePath::new(b"a\n\xff\x1b").unwrap().to_string(), "a\\n\\xff\\u{1b}");
    }
}
