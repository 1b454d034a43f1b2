//! Remembers what has to be looked at again, and when.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::model::{Batch, Depth, Look, Stamp, TreePath};

/// The wait after the first failure of a path; it doubles up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(200);
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Paths to look at again. Their number is bounded by that of the paths in the tree.
#[derive(Debug, Default)]
pub(super) struct Retries {
    waiting: BTreeMap<TreePath, (Look, Stamp, u64)>,
    by_due: BTreeSet<(Stamp, TreePath)>,
    /// Failures in a row, by path, until one succeeds.
    attempts: BTreeMap<TreePath, u32>,
    /// How many of them are owed since each batch.
    by_since: BTreeMap<u64, usize>,
    /// The batch since which is owed what is put off now.
    since: u64,
}

impl Retries {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Looks at `path` again at `due`; an earlier time stays.
    pub(super) fn put_off(&mut self, path: TreePath, look: Look, due: Stamp) {
        let (mut look, mut due) = (look, due);
        let mut since = self.since;
        if let Some((before, earlier, owed)) = self.waiting.remove(&path) {
            self.by_due.remove(&(earlier, path.clone()));
            self.paid(owed);
            since = since.min(owed);
            due = due.min(earlier);
            look.depth = look.depth.max(before.depth);
            look.content |= before.content;
            look.stamps = before.stamps.or(look.stamps);
        }
        self.by_due.insert((due, path.clone()));
        self.waiting.insert(path, (look, due, since));
        *self.by_since.entry(since).or_default() += 1;
    }

    /// What is put off from now on is owed since this batch.
    pub(super) fn owe_since(&mut self, since: u64) {
        self.since = since;
    }

    /// The batch since which is owed what is being done now.
    pub(super) fn owed_since(&self) -> u64 {
        self.since
    }

    /// The oldest batch that any of the paths is owed since.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.by_since.first_key_value().map(|(since, _)| *since)
    }

    pub(super) fn waits(&self, path: &TreePath) -> bool {
        self.waiting.contains_key(path)
    }

    /// When `path` is looked at again, if it waits for that.
    pub(super) fn due_of(&self, path: &TreePath) -> Option<Stamp> {
        self.waiting.get(path).map(|(_, due, _)| *due)
    }

    pub(super) fn paths(&self) -> impl ExactSizeIterator<Item = &TreePath> {
        self.waiting.keys()
    }

    fn paid(&mut self, since: u64) {
        if let Entry::Occupied(mut count) = self.by_since.entry(since) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }

    /// Counts a failure, and looks again after a wait that grows. Says how many failures in a
    /// row that makes, and when the path is looked at again.
    pub(super) fn failed(&mut self, path: &TreePath, now: Stamp) -> (u32, Stamp) {
        let attempts = self.attempts.entry(path.clone()).or_default();
        *attempts = attempts.saturating_add(1);
        let attempt = *attempts;
        let wait = FIRST_WAIT.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(LONGEST_WAIT);
        let due = now.plus(wait);
        self.put_off(path.clone(), Look { depth: Depth::Entry, content: true, stamps: None }, due);
        (attempt, due)
    }

    pub(super) fn attempts(&self, path: &TreePath) -> u32 {
        self.attempts.get(path).copied().unwrap_or(0)
    }

    /// Whether `path` had failed until now.
    pub(super) fn succeeded(&mut self, path: &TreePath) -> bool {
        self.attempts.remove(path).is_some()
    }

    pub(super) fn first_due(&self) -> Option<Stamp> {
        self.by_due.first().map(|(due, _)| *due)
    }

    /// What is due at `now`, as a batch, which is owed since the oldest of its parts is.
    pub(super) fn due(&mut self, now: Stamp) -> Option<Batch> {
        let mut looks = BTreeMap::new();
        let mut oldest = u64::MAX;
        while self.first_due().is_some_and(|due| due <= now)
            && let Some((_, path)) = self.by_due.pop_first()
        {
            if let Some((look, _, since)) = self.waiting.remove(&path) {
                self.paid(since);
                oldest = oldest.min(since);
                looks.insert(path, look);
            }
        }
        if looks.is_empty() {
            return None;
        }
        self.owe_since(oldest);
        Some(Batch { looks, moves: Vec::new(), gaps: 0, closed: now })
    }

    /// Everything that waits, due or not: for a comparison of the whole tree.
    pub(super) fn take_all(&mut self) -> BTreeMap<TreePath, Look> {
        self.by_due.clear();
        self.by_since.clear();
        std::mem::take(&mut self.waiting).into_iter().map(|(path, (look, ..))| (path, look)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_keeps_failing_is_tried_ever_more_rarely() {
        let path = TreePath::new(b"a").unwrap();
        let mut retries = Retries::default();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let (_, due) = retries.failed(&path, Stamp(0));
            assert!(retries.due(Stamp(due.0 - 1)).is_none());
            assert_eq!(retries.due(due).map(|batch| batch.looks.len()), Some(1));
            waits.push(due.since(Stamp(0)));
        }
        assert_eq!(waits.first(), Some(&FIRST_WAIT));
        assert!(waits.is_sorted());
        assert_eq!(waits.last(), Some(&LONGEST_WAIT));
        assert!(retries.succeeded(&path) && !retries.succeeded(&path));
    }

    #[test]
    fn a_path_is_owed_since_its_first_batch_until_it_is_looked_at() {
        let (one, other) = (TreePath::new(b"a").unwrap(), TreePath::new(b"b").unwrap());
        let mut retries = Retries::default();
        for (path, since) in [(&one, 3), (&other, 5), (&one, 7)] {
            retries.owe_since(since);
            retries.failed(path, Stamp(since));
        }
        assert_eq!(retries.oldest(), Some(3));
        let due = retries.first_due().unwrap();
        assert!(retries.due(due).unwrap().looks.contains_key(&one));
        assert_eq!((retries.owed_since(), retries.oldest()), (3, Some(5)));
        retries.take_all();
        assert_eq!(retries.oldest(), None);
    }
}
