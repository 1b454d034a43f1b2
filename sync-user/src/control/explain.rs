//! Says which rule decides about a path.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::model::TreePath;
use crate::tree::{Excludes, Reason};

/// Why a path is replicated or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explained {
    pub path: String,
    pub left_out: bool,
    /// The rule and where it is written; `None` when no rule matches.
    pub rule: Option<String>,
    /// The directory above the path that the rule matches, if it is not the path itself.
    pub above: Option<String>,
}

/// Explains what becomes of `path` below `source`. What is there decides whether it is a
/// directory; where there is nothing `directory` does.
pub fn explain(source: &Path, excludes: &Excludes, path: &TreePath, directory: bool) -> Explained {
    let there = source.join(path.as_path()).symlink_metadata();
    let directory = there.map_or(directory, |there| there.is_dir());
    let (left_out, reason) = excludes.explain(path, directory);
    let (rule, above) = match reason {
        Reason::NoRule => (None, None),
        Reason::Stage => (Some("ksyncd keeps its own files there, at a target".to_owned()), None),
        Reason::Rule(rule, above) => (Some(rule.to_string()), above.map(|above| above.to_string())),
    };
    Explained { path: path.to_string(), left_out, rule, above }
}
