//! Gathers what a target could not set, so that a batch of a thousand files is one problem.

use std::collections::BTreeMap;

use tracing::{debug, warn};

use super::Replica;
use crate::model::{Aspect, Lack, TreePath};

/// What the steps of a batch lack, by aspect.
#[derive(Debug, Default)]
pub(super) struct Lacks {
    gathered: BTreeMap<Aspect, Gathered>,
}

/// One aspect that could not be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gathered {
    /// How many entries lack it.
    pub(super) count: usize,
    /// The first of them, and how it failed.
    pub(super) path: TreePath,
    pub(super) detail: String,
}

impl Lacks {
    pub(super) fn note(&mut self, path: &TreePath, lacks: Vec<Lack>) {
        for Lack { aspect, detail } in lacks {
            self.gathered
                .entry(aspect)
                .or_insert_with(|| Gathered { count: 0, path: path.clone(), detail })
                .count += 1;
        }
    }

    /// All that was gathered since the last time.
    pub(super) fn take(&mut self) -> BTreeMap<Aspect, Gathered> {
        std::mem::take(&mut self.gathered)
    }
}

impl Replica {
    /// Tells what the last batches could not set: the first time as a warning.
    pub(super) fn tell_lacks(&mut self) {
        for (aspect, Gathered { count, path, detail }) in self.lacks.take() {
            self.setup.gauges.counters.problems.add(1);
            let target = &self.setup.target;
            if self.unable.insert(aspect) {
                warn!(%target, %path, count, "cannot {detail}; the rest is replicated, and --preserve can leave {aspect} out");
            } else {
                debug!(%target, %path, count, "cannot {detail}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_files_are_one_problem() {
        let mut lacks = Lacks::default();
        for number in 0..1_000 {
            let path = TreePath::new(format!("{number}").as_bytes()).unwrap();
            let lack = Lack { aspect: Aspect::Group, detail: format!("no {number}") };
            lacks.note(&path, vec![lack]);
        }
        let path = TreePath::new(b"0").unwrap();
        let expected = Gathered { count: 1_000, path, detail: "no 0".to_owned() };
        assert_eq!(lacks.take(), BTreeMap::from([(Aspect::Group, expected)]));
        assert_eq!(lacks.take(), BTreeMap::new());
    }
}
