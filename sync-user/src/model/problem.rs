//! Reports what went wrong for one path while the rest goes on.

use super::TreePath;

/// One path's failure: told once, kept dirty, and tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {what}")]
pub struct Problem {
    pub path: TreePath,
    /// What was tried, and how it failed, as one clause.
    pub what: String,
}
