//! Decides what is left out, by patterns as rsync reads them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use crate::model::TreePath;

/// Where receivers keep what they have not put into place yet, at the root of a target. A
/// source that is a target too does not pass it on.
const STAGE: &[u8] = b".ksyncd";

/// How receivers name temporary files outside of [`STAGE`].
const STAGED_PREFIX: &[u8] = b".ksyncd.";

/// Patterns of paths that are not replicated.
///
/// `foo` leaves out that name at any depth, `a/b` any path that ends so, `/foo` the one at the
/// root, `foo/` directories only. `*` and `?` do not match a slash; `**` between slashes stands
/// for any number of directories. What is below a directory that is left out is left out too.
#[derive(Debug, Clone)]
pub struct Excludes {
    any_kind: GlobSet,
    directories: GlobSet,
    is_empty: bool,
    /// What the patterns name by its whole path.
    literal: Vec<TreePath>,
}

/// A pattern that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("the pattern {pattern:?} cannot be read: {what}")]
pub struct PatternError {
    pub pattern: String,
    pub what: String,
}

impl Excludes {
    pub fn new(patterns: &[String]) -> Result<Self, PatternError> {
        let (mut any_kind, mut directories) = (GlobSetBuilder::new(), GlobSetBuilder::new());
        let mut literal: Vec<TreePath> = TreePath::new(STAGE).into_iter().collect();
        for pattern in patterns {
            let failed = |what: String| PatternError { pattern: pattern.clone(), what };
            let (body, directory_only) = match pattern.strip_suffix('/') {
                Some(body) => (body, true),
                None => (pattern.as_str(), false),
            };
            let glob = match body.strip_prefix('/') {
                Some(anchored) => anchored.to_owned(),
                None => format!("**/{body}"),
            };
            if body.trim_matches('/').is_empty() {
                return Err(failed("it would leave out everything".to_owned()));
            }
            let built = GlobBuilder::new(&glob)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map_err(|error| failed(error.kind().to_string()))?;
            if body.starts_with('/') && !body.contains(['*', '?', '[', ']', '{', '}', '\\']) {
                literal.extend(TreePath::new(body.trim_start_matches('/').as_bytes()));
            }
            if directory_only { &mut directories } else { &mut any_kind }.add(built);
        }
        let failed =
            |error: globset::Error| PatternError { pattern: patterns.join(" "), what: error.to_string() };
        Ok(Self {
            any_kind: any_kind.build().map_err(failed)?,
            directories: directories.build().map_err(failed)?,
            is_empty: patterns.is_empty(),
            literal,
        })
    }

    /// Paths below which everything is left out, whatever is there: those that a pattern names
    /// from the root on, without any wildcard.
    pub fn left_out_below(&self) -> &[TreePath] {
        &self.literal
    }

    /// Whether `path`, which is a directory or not, is left out.
    pub fn excluded(&self, path: &TreePath, directory: bool) -> bool {
        let mut components = path.components();
        if components.next() == Some(STAGE) || path.components().any(|name| name.starts_with(STAGED_PREFIX)) {
            return true;
        }
        if self.is_empty {
            return false;
        }
        let matches = |path: &TreePath, directory: bool| {
            let path = Path::new(OsStr::from_bytes(path.as_bytes()));
            self.any_kind.is_match(path) || (directory && self.directories.is_match(path))
        };
        matches(path, directory)
            || std::iter::successors(path.parent(), TreePath::parent)
                .take_while(|parent| !parent.is_root())
                .any(|parent| matches(&parent, true))
    }
}
