//! Gathers changes until a batch is worth sending: pure, with the time passed in.
//!
//! Changes fold by path (`fold`), files that are still being written wait for their close
//! (`open`), and back-pressure decides when a batch ends (`close`). One [`Batcher`] serves one
//! target, so that a slow target gathers while a fast one is served.

mod close;
mod fold;
mod open;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use close::{PRESSING, Room};

use crate::model::{Look, Move, Stamp, TreePath};
use open::OpenFiles;

/// What closes a batch. All limits hold at once; the first that is reached closes.
#[derive(Debug, Clone)]
pub struct Config {
    /// How long a change waits for company while the target is idle; 0 sends at once.
    pub delay: Duration,
    /// How old the oldest change of a batch grows while earlier batches are on their way.
    pub max_delay: Duration,
    /// How many paths a batch gathers while earlier batches are on their way.
    pub max_changes: usize,
    /// How many bytes of content a batch gathers while earlier batches are on their way.
    pub max_bytes: u64,
    /// How often a file that stays open for writing is sent, and how long a new file that
    /// nobody closes waits.
    pub open_file_interval: Duration,
    /// How many paths may wait for one target; past it they become one rescan of the root (I6).
    pub backlog_max: usize,
}

/// The changes that wait for one target.
#[derive(Debug)]
pub struct Batcher {
    config: Config,
    /// Paths to look at in the next batch.
    ready: BTreeMap<TreePath, Look>,
    /// Content behind `ready`, as far as it was told.
    ready_bytes: u64,
    /// When the oldest of `ready` came.
    ready_since: Option<Stamp>,
    /// Files to look at when they are closed, or have been open for long.
    open: OpenFiles,
    /// Renames in the order in which they happened.
    moves: Vec<Move>,
    /// Directories renamed lately: kernel time and new name. An event that was stamped before
    /// such a rename and arrives after it may carry a path that no longer is.
    renamed: VecDeque<(Stamp, TreePath)>,
    /// Gaps among `ready`.
    gaps: u64,
    /// How often the backlog was replaced by a rescan.
    overflows: u64,
}

/// A place behind changes that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// When the last of the files is looked at that are open: files are put off by the same time,
    /// so that those which come later are due later.
    open_until: Option<Stamp>,
}

impl Batcher {
    pub fn new(config: Config) -> Self {
        Self {
            config,
            ready: BTreeMap::new(),
            ready_bytes: 0,
            ready_since: None,
            open: OpenFiles::default(),
            moves: Vec::new(),
            renamed: VecDeque::new(),
            gaps: 0,
            overflows: 0,
        }
    }

    /// How many paths wait, ready or open.
    pub fn waiting(&self) -> usize {
        self.ready.len() + self.open.len()
    }

    /// Since when the oldest path waits that shall be looked at in the next batch. Files that
    /// stay open wait on purpose, and do not count.
    pub fn waiting_since(&self) -> Option<Stamp> {
        self.ready_since
    }

    /// Stands behind everything that waits now, for [`is_past`](Self::is_past).
    pub fn end(&self) -> End {
        End { open_until: self.open.last_due() }
    }

    /// Whether nothing waits any more that did when `end` was taken. Files that stayed open were
    /// waited for until their time came.
    pub fn is_past(&self, end: End) -> bool {
        let open = self.open.first_due().is_some_and(|due| Some(due) <= end.open_until);
        self.ready.is_empty() && !open
    }

    /// How often [`Config::backlog_max`] was reached.
    pub fn overflows(&self) -> u64 {
        self.overflows
    }
}
