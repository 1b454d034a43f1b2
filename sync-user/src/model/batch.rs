//! Holds the changes that are considered together.

use std::collections::BTreeMap;

use super::{Stamp, Stamps, TreePath};

/// Changes folded by path, and the moves among them in the order in which they happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    pub looks: BTreeMap<TreePath, Look>,
    /// Hints: what they say is tried first, and the looks make it right in any case.
    pub moves: Vec<Move>,
    /// How many gaps the looks are to heal.
    pub gaps: u64,
    pub closed: Stamp,
}

impl Batch {
    pub fn is_empty(&self) -> bool {
        self.looks.is_empty() && self.moves.is_empty()
    }
}

/// A path whose state at the source is to be read again and made so at the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    pub depth: Depth,
    /// Content may have changed even if size and times did not (a write within the same clock
    /// tick, a store through a memory map): compare it by hash.
    pub content: bool,
    /// `None` for looks that no change asked for (a rescan, a retry): they have no latency.
    pub stamps: Option<Stamps>,
}

/// How far a [`Look`] reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The path alone; and below it, if it is a directory that the target does not have.
    Entry,
    /// The path and everything below.
    Below,
    /// The same, and of each file below the content may have changed even if size and times did
    /// not.
    Content,
}

/// A rename at the source, which the target may be able to repeat instead of receiving content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    pub from: TreePath,
    pub to: TreePath,
}
