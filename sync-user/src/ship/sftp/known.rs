//! Knows which files of the target hold what was put there, so that others may be built from them.
//!
//! SFTP tells of a file its size and a time in whole seconds, and hashes nothing. Somebody who writes to
//! a file leaves the second in which they do so as its time. So a file that has the time which it was
//! given is what was put there, if that second was over by the target's own clock when it was put; else
//! it is not known, and nothing is built from it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use crate::model::TreePath;

/// Files that are known at once, of some hundred bytes each; what is built from others is sent whole.
const FILES_MAX: usize = 10_000;

/// What shows that a file is the one that was put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    pub(super) size: u64,
    /// In whole seconds since 1970.
    pub(super) mtime: u32,
}

/// The files that were put over one connection, as far as they are known.
#[derive(Debug, Default)]
pub(super) struct Known {
    files: RefCell<BTreeMap<TreePath, Marks>>,
}

impl Known {
    /// A file was put. It was `written` last in that second of the target's clock.
    pub(super) fn put(&self, path: &TreePath, marks: Marks, written: u32) {
        let mut files = self.files.borrow_mut();
        files.remove(path);
        if written > marks.mtime {
            if files.len() == FILES_MAX {
                files.pop_first();
            }
            files.insert(path.clone(), marks);
        }
    }

    /// Something else becomes of a path, and of all below.
    pub(super) fn forget(&self, path: &TreePath) {
        let mut files = self.files.borrow_mut();
        let gone: Vec<TreePath> = path.at_or_below(&files).map(|(path, _)| path.clone()).collect();
        for path in gone {
            files.remove(&path);
        }
    }

    pub(super) fn marks(&self, path: &TreePath) -> Option<Marks> {
        self.files.borrow().get(path).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    const MARKS: Marks = Marks { size: 3, mtime: 1000 };

    #[test]
    fn a_file_is_known_if_its_second_was_over_when_it_was_put() {
        let known = Known::default();
        for (written, is_known) in [(1001, true), (1000, false), (999, false)] {
            known.put(&path("f"), MARKS, written);
            assert_eq!(known.marks(&path("f")), is_known.then_some(MARKS), "written in {written}");
        }
    }

    #[test]
    fn what_moves_is_known_no_more_and_memory_is_bounded() {
        let known = Known::default();
        for name in ["d/a", "d/b/c", "da", "e"] {
            known.put(&path(name), MARKS, 2000);
        }
        known.forget(&path("d"));
        let left = ["d/a", "d/b/c", "da", "e"].map(|name| known.marks(&path(name)).is_some());
        assert_eq!(left, [false, false, true, true]);
        for number in 0..=FILES_MAX {
            known.put(&path(&format!("f{number}")), MARKS, 2000);
        }
        assert_eq!(known.files.borrow().len(), FILES_MAX);
    }
}
