//! Says which steps may be done at the same time, and in which order their receipts leave.
//!
//! A step waits for all steps before it that name the same path, or one above or below it: what is
//! put into a directory waits for the directory, and its time for what is put into it.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::{Receipt, Sequence, TreePath};

/// Steps that are not done.
#[derive(Debug, Default)]
pub(super) struct Order {
    open: BTreeMap<u64, Open>,
    by_path: BTreeMap<TreePath, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Open {
    paths: Vec<TreePath>,
    /// How many it waits for.
    before: usize,
    /// What waits for it.
    after: Vec<u64>,
}

impl Order {
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Adds a step behind all others, and says whether it may be done at once.
    pub(super) fn add(&mut self, number: u64, paths: Vec<TreePath>) -> bool {
        let mut before = BTreeSet::new();
        for path in &paths {
            before.extend(path.at_or_below(&self.by_path).flat_map(|(_, numbers)| numbers));
            before.extend(path.above().filter_map(|above| self.by_path.get(&above)).flatten());
        }
        for path in &paths {
            self.by_path.entry(path.clone()).or_default().insert(number);
        }
        for earlier in &before {
            if let Some(open) = self.open.get_mut(earlier) {
                open.after.push(number);
            }
        }
        self.open.insert(number, Open { paths, before: before.len(), after: Vec::new() });
        before.is_empty()
    }

    /// A step is done: gives those that may be done now.
    pub(super) fn done(&mut self, number: u64) -> Vec<u64> {
        let Some(Open { paths, before: _, after }) = self.open.remove(&number) else { return Vec::new() };
        for path in paths {
            if let Some(numbers) = self.by_path.get_mut(&path) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.by_path.remove(&path);
                }
            }
        }
        let mut free = Vec::new();
        for later in after {
            if let Some(open) = self.open.get_mut(&later) {
                open.before -= 1;
                if open.before == 0 {
                    free.push(later);
                }
            }
        }
        free
    }
}

/// Receipts that wait for those of earlier steps. Those of large files may come later than others,
/// and keep nobody waiting.
#[derive(Debug, Default)]
pub(super) struct Receipts {
    open: BTreeMap<Sequence, (bool, Option<Receipt>)>,
}

impl Receipts {
    pub(super) fn expect(&mut self, sequence: Sequence, is_large: bool) {
        self.open.insert(sequence, (is_large, None));
    }

    /// Adds a receipt, and gives all that may leave now.
    pub(super) fn add(&mut self, receipt: Receipt) -> Vec<Receipt> {
        if let Some((_, waiting)) = self.open.get_mut(&receipt.sequence) {
            *waiting = Some(receipt);
        }
        let mut leaving = Vec::new();
        let mut is_kept_back = false;
        self.open.retain(|_, (is_large, receipt)| {
            if is_kept_back {
                return true;
            }
            if let Some(receipt) = receipt.take() {
                leaving.push(receipt);
                return false;
            }
            is_kept_back = !*is_large;
            true
        });
        leaving
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Met, Outcome};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_has_nothing_to_do_with_each_other_goes_at_once() {
        let mut order = Order::default();
        assert!(order.add(1, vec![path("d")]));
        assert!(!order.add(2, vec![path("d/a")]) && !order.add(3, vec![path("d/b")]));
        assert!(order.add(4, vec![path("e/a")]));
        assert!(!order.add(5, vec![path("")]), "the root is above all");
        assert_eq!(order.done(1), [2, 3]);
        assert_eq!((order.done(2), order.done(4)), (vec![], vec![]));
        assert_eq!(order.done(3), [5]);
        assert_eq!((order.done(5), order.len()), (vec![], 0));
    }

    #[test]
    fn receipts_leave_in_order_but_for_large_files() {
        let receipt = |number| Receipt {
            sequence: Sequence(number),
            outcome: Outcome::Applied { lacks: Vec::new(), met: Met::Expected },
            took: Duration::ZERO,
        };
        let mut receipts = Receipts::default();
        for (number, is_large) in [(1, true), (2, false), (3, false), (4, true)] {
            receipts.expect(Sequence(number), is_large);
        }
        let mut add = |number| -> Vec<u64> {
            receipts.add(receipt(number)).iter().map(|receipt| receipt.sequence.0).collect()
        };
        assert_eq!(add(3), Vec::<u64>::new());
        assert_eq!(add(4), Vec::<u64>::new(), "what is behind a small one waits, however large");
        assert_eq!(add(2), [2, 3, 4], "the large one is no reason to wait");
        assert_eq!(add(1), [1]);
    }

    proptest! {
        /// I1: of two steps that name related paths the later one waits; and in the end all are done.
        #[test]
        fn related_steps_keep_their_order(
            steps in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["", "a", "a/x", "a/x/y", "ab", "b"]), 1..3), 1..20),
            picks in prop::collection::vec(any::<prop::sample::Index>(), 20),
        ) {
            let steps: Vec<Vec<TreePath>> = steps.iter().map(|paths| paths.iter().map(|at| path(at)).collect()).collect();
            let mut order = Order::default();
            let mut free = Vec::new();
            for (number, paths) in (0..).zip(&steps) {
                if order.add(number, paths.clone()) {
                    free.push(number);
                }
            }
            let mut done = Vec::new();
            for pick in picks {
                if free.is_empty() { break }
                let number = free.swap_remove(pick.index(free.len()));
                done.push(number);
                free.extend(order.done(number));
            }
            prop_assert_eq!(done.len(), steps.len());
            for (place, late) in done.iter().enumerate() {
                for early in done[place + 1..].iter().filter(|early| *early < late) {
                    for one in &steps[*early as usize] {
                        for other in &steps[*late as usize] {
                            prop_assert!(!one.is_at_or_below(other) && !other.is_at_or_below(one));
                        }
                    }
                }
            }
        }
    }
}
