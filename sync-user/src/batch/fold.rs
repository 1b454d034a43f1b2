//! Folds a change into what is already waiting.
//!
//! Whatever is folded, each path that changed stays in the table until after the change, and
//! is looked at then; so the order and number of changes cannot matter. What is folded away is
//! repetition only.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Batcher;
use super::open::Waiting;
use crate::model::{Change, Depth, Gap, Kind, Look, Move, Stamp, Stamps, TreePath};

/// How many renames of directories are remembered for [`Batcher::renamed`]. Events overtake
/// each other by microseconds; 64 renames take far longer.
const RENAMED_MAX: usize = 64;

/// Of the largest backlog, which part may wait for each path below a renamed directory to be
/// repeated under its new name. Directories that are renamed into each other would else double
/// all that waits each time.
const REPEATED_SHARE: usize = 100;

/// How many renames a batch repeats at the target; content is sent beyond.
const MOVES_MAX: usize = 10_000;

impl Batcher {
    /// Adds a change that was taken from the queue at `taken`. `bytes` is the size of the file
    /// behind it, 0 where that does not matter.
    pub fn push(&mut self, change: Change, bytes: u64, taken: Stamp) {
        let Change { kind, path, origin: _, seen, read } = change;
        let stamps = Stamps { seen, read, taken };
        self.look_again_after_overtaken_rename(seen, taken);
        self.ready_bytes = self.ready_bytes.saturating_add(bytes);
        match kind {
            Kind::Created | Kind::Writing => {
                let due = taken.plus(self.config.open_file_interval);
                self.open.insert(path, Waiting { due, stamps: Some(stamps) });
            }
            Kind::Written => {
                // The wait until the close was meant: it is not latency.
                self.open.remove(&path);
                self.ready(path, Depth::Entry, true, Some(stamps), taken);
            }
            Kind::Named => self.ready(path, Depth::Entry, true, Some(stamps), taken),
            Kind::Attributes => {
                // While it is being written the close brings the attributes along; sending now
                // would show half a file.
                if !self.open.contains(&path) {
                    self.ready(path, Depth::Entry, false, Some(stamps), taken);
                }
            }
            // When something is there again by then, it is another: a directory that was moved
            // out of the root, or removed with all that was in it, told only of itself.
            Kind::Removed => {
                self.open.remove(&path);
                self.ready(path, Depth::Below, true, Some(stamps), taken);
            }
            Kind::Moved { from, directory } => self.moved(from, path, directory, stamps),
            Kind::MovedIn => self.ready(path, Depth::Below, true, Some(stamps), taken),
        }
        self.bound_backlog(taken);
    }

    /// Adds a place to rescan.
    pub fn push_gap(&mut self, gap: Gap, taken: Stamp) {
        self.gaps += 1;
        self.look(gap.place, Depth::Below, taken);
    }

    /// Adds a path to look at for another reason than a change, such as a retry.
    pub fn look(&mut self, path: TreePath, depth: Depth, taken: Stamp) {
        self.ready(path, depth, true, None, taken);
        self.bound_backlog(taken);
    }

    fn ready(&mut self, path: TreePath, depth: Depth, content: bool, stamps: Option<Stamps>, taken: Stamp) {
        self.ready_since.get_or_insert(taken);
        merge(&mut self.ready, path, Look { depth, content, stamps });
    }

    fn moved(&mut self, from: TreePath, to: TreePath, directory: bool, stamps: Stamps) {
        let depth = if directory { Depth::Below } else { Depth::Entry };
        if directory {
            if self.renamed.len() == RENAMED_MAX {
                self.renamed.pop_front();
            }
            self.renamed.push_back((stamps.seen, to.clone()));
        }
        // What waited under the old name has to be looked at under the new one.
        let repeated = self.ready.len() + from.at_or_below(&self.ready).count();
        let depth = if directory && repeated > self.config.backlog_max / REPEATED_SHARE {
            Depth::Content
        } else {
            for (path, look) in at_or_below(&self.ready, &from) {
                if let Some(path) = path.moved(&from, &to) {
                    merge(&mut self.ready, path, look);
                }
            }
            depth
        };
        for (path, waiting) in self.open.at_or_below(&from) {
            self.open.remove(&path);
            if let Some(path) = path.moved(&from, &to) {
                self.open.insert(path, waiting);
            }
        }
        self.ready(from.clone(), depth.min(Depth::Below), false, Some(stamps), stamps.taken);
        self.ready(to.clone(), depth, false, Some(stamps), stamps.taken);
        if self.moves.len() < MOVES_MAX {
            self.moves.push(Move { from, to });
        }
    }

    /// The kernel stamps an event before it walks its path, and a rename after it is done. So an
    /// event that comes after a rename with an older stamp may name a path that the rename has
    /// changed: then everything under the new name is looked at once more.
    fn look_again_after_overtaken_rename(&mut self, seen: Stamp, taken: Stamp) {
        let overtaken: Vec<TreePath> =
            self.renamed.iter().filter(|(renamed, _)| seen < *renamed).map(|(_, to)| to.clone()).collect();
        for to in overtaken {
            self.ready(to, Depth::Below, false, None, taken);
        }
    }

    /// Replaces a backlog past its bound by one look at everything (I6).
    fn bound_backlog(&mut self, taken: Stamp) {
        if self.waiting() <= self.config.backlog_max {
            return;
        }
        self.overflows += 1;
        self.gaps += 1;
        self.ready.clear();
        self.ready_bytes = 0;
        self.moves.clear();
        self.open = super::OpenFiles::default();
        self.ready(TreePath::root(), Depth::Below, true, None, taken);
        // Files that were open, and whose later writes the kernel keeps quiet about for a
        // while, are found by a second look.
        let due = taken.plus(self.config.open_file_interval.max(Duration::from_secs(1)));
        self.open.insert(TreePath::root(), Waiting { due, stamps: None });
    }

    /// Moves files that have been open for long to the next batch.
    pub(super) fn promote_due(&mut self, now: Stamp) {
        while let Some((path, Waiting { due: _, stamps })) = self.open.pop_due(now) {
            let depth = if path.is_root() { Depth::Below } else { Depth::Entry };
            self.ready(path, depth, true, stamps, now);
        }
    }
}

/// Adds a look; of two at one path the deeper, the more thorough and the older stamps stay.
fn merge(ready: &mut BTreeMap<TreePath, Look>, path: TreePath, look: Look) {
    ready
        .entry(path)
        .and_modify(|before| {
            before.depth = before.depth.max(look.depth);
            before.content |= look.content;
            before.stamps = match (before.stamps, look.stamps) {
                (Some(one), Some(other)) => Some(one.oldest(other)),
                (one, other) => one.or(other),
            };
        })
        .or_insert(look);
}

fn at_or_below(ready: &BTreeMap<TreePath, Look>, top: &TreePath) -> Vec<(TreePath, Look)> {
    top.at_or_below(ready).map(|(path, look)| (path.clone(), *look)).collect()
}
