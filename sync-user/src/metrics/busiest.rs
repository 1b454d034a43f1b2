//! Counts in which directories most changes happen, in memory that does not grow with the tree.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::{Stamp, TreePath};

/// Directories that are counted at a time. By the method of Misra and Gries each directory in which
/// more than one of so many changes happens is among them, counted too low by at most that share.
const COUNTED_MAX: usize = 512;

/// After this time counting begins anew; what was counted in the window before is still told.
const WINDOW: Duration = Duration::from_secs(15);

/// Changes by the directory in which they happen, over the last quarter of a minute or the last two.
#[derive(Debug, Default)]
pub struct Busiest(Mutex<Windows>);

#[derive(Debug, Default)]
struct Windows {
    now: HashMap<TreePath, u64>,
    /// When counting into `now` began.
    since: Stamp,
    before: HashMap<TreePath, u64>,
    /// How long `before` was counted into.
    took: Duration,
}

impl Busiest {
    /// Counts a change of `path`.
    pub fn count(&self, path: &TreePath, now: Stamp) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(now);
        let counted = &mut windows.now;
        let directory = path.parent().unwrap_or_else(TreePath::root);
        if let Some(count) = counted.get_mut(&directory) {
            *count += 1;
        } else if counted.len() < COUNTED_MAX {
            counted.insert(directory, 1);
        } else {
            // Each change that is forgotten here was counted once, so this is constant work a change.
            counted.retain(|_, count| {
                *count -= 1;
                *count > 0
            });
        }
    }

    /// The busiest directories, at most `max`, with changes a second.
    pub fn rates(&self, max: usize, now: Stamp) -> Vec<(TreePath, f64)> {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        windows.turn(now);
        let span = (windows.took + now.since(windows.since)).max(Duration::from_secs(1)).as_secs_f64();
        let mut sums = windows.before.clone();
        for (directory, count) in &windows.now {
            *sums.entry(directory.clone()).or_default() += count;
        }
        let mut rates: Vec<_> = sums.into_iter().collect();
        rates.sort_by(|(one, count), (other, more)| more.cmp(count).then_with(|| one.cmp(other)));
        rates.truncate(max);
        rates.into_iter().map(|(directory, count)| (directory, count as f64 / span)).collect()
    }
}

impl Windows {
    fn turn(&mut self, now: Stamp) {
        let past = now.since(self.since);
        if past < WINDOW {
            return;
        }
        self.before = std::mem::take(&mut self.now);
        self.took = past;
        // What is older than a window by itself is no longer how it is.
        if past >= WINDOW * 2 {
            self.before.clear();
            self.took = Duration::ZERO;
        }
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_busiest_are_told_first_and_forgotten_when_they_rest() {
        let (busiest, start) = (Busiest::default(), Stamp(1_000_000_000_000));
        for (at, times) in [("img/a.jpg", 20), ("index.html", 5), ("css/a.css", 10)] {
            (0..times).for_each(|_| busiest.count(&path(at), start));
        }
        let rates = |max, seconds| busiest.rates(max, start.plus(Duration::from_secs(seconds)));
        assert_eq!(rates(2, 10), [(path("img"), 2.0), (path("css"), 1.0)]);
        assert_eq!(rates(9, 20).len(), 3, "the window before counts");
        assert_eq!(rates(9, 60), []);
    }

    #[test]
    fn a_busy_directory_is_found_among_any_number_of_others() {
        let (busiest, now) = (Busiest::default(), Stamp(1_000_000_000_000));
        for number in 0..20_000 {
            busiest.count(&path(&format!("{number}/page")), now);
            if number % 20 == 0 {
                busiest.count(&path("busy/page"), now);
            }
        }
        assert_eq!(busiest.rates(1, now)[0].0, path("busy"));
        assert!(busiest.0.lock().unwrap().now.len() <= COUNTED_MAX);
    }
}
