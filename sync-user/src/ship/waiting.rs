//! Lets small steps overtake the content of large files.
//!
//! While one large file is on its way, the others wait, and with them whatever has to come after
//! any of them. All other steps go past: a page is not late because somebody has put a disk image
//! into the tree.

use std::collections::{BTreeSet, VecDeque};

use super::event::Ticket;
use crate::model::{FileKind, OldFile, Step, TreePath};

/// Steps that may wait; about 1 MB. Beyond, nothing overtakes any more (I6).
const WAITING_MAX: usize = 4096;

/// A step that is not sent yet.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) ticket: Ticket,
    pub(super) step: Step,
    /// What the target may build a file from.
    pub(super) old_files: Vec<OldFile>,
    /// Other names of the file that the step changes by one of them.
    pub(super) twins: Vec<TreePath>,
}

/// The large file that is on its way, and what has to wait for it.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    steps: VecDeque<Queued>,
    /// Files whose content is on its way or waits, by all names that they will have then.
    contents: BTreeSet<TreePath>,
    /// Paths that a later step must not touch before, nor any directory above or anything below.
    paths: BTreeSet<TreePath>,
    /// Directories that wait for their attributes only: what goes into them may go before.
    directories: BTreeSet<TreePath>,
}

impl Waiting {
    /// The content of `path` is on its way.
    pub(super) fn begin(&mut self, path: &TreePath) {
        self.contents.insert(path.clone());
        self.paths.insert(path.clone());
    }

    /// Adds a step behind those that wait.
    pub(super) fn push(&mut self, queued: Queued) {
        let step = &queued.step;
        match step {
            Step::PutFile { path, .. } => {
                self.contents.insert(path.clone());
            }
            Step::Link { path, to, .. } if self.contents.contains(to) => {
                self.contents.insert(path.clone());
            }
            Step::Rename { from, to, .. } => {
                let moved = self.contents.iter().filter_map(|path| path.moved(from, to));
                let moved: Vec<TreePath> = moved.collect();
                self.contents.extend(moved);
            }
            _ => {}
        }
        self.paths.extend(queued.twins.iter().cloned());
        let waiting = if is_about_directory(step) { &mut self.directories } else { &mut self.paths };
        waiting.extend(step.paths().cloned());
        self.steps.push_back(queued);
    }

    /// Whether a step must not overtake what waits.
    pub(super) fn holds_back(&self, step: &Step) -> bool {
        // What changes a file changes it by all names that the target has, also by those that wait to
        // be removed.
        if matches!(step, Step::SetAttributes { .. }) && !is_about_directory(step) && !self.steps.is_empty() {
            return true;
        }
        let has = |waiting: &BTreeSet<TreePath>, path: &TreePath| {
            waiting.contains(path) || path.is_above_any(waiting)
        };
        step.paths().any(|path| {
            has(&self.paths, path)
                || has(&self.directories, path)
                || path.above().any(|above| self.paths.contains(&above))
        })
    }

    /// Whether the content of `path`, or `below` it, is on its way or waits.
    pub(super) fn has_content(&self, path: &TreePath, below: bool) -> bool {
        self.contents.contains(path) || (below && path.is_above_any(&self.contents))
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.steps.len() >= WAITING_MAX
    }

    pub(super) fn steps_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        self.steps.iter_mut().map(|queued| &mut queued.step)
    }

    /// The large file has gone: takes out all steps, in their order.
    pub(super) fn end(&mut self) -> VecDeque<Queued> {
        std::mem::take(self).steps
    }
}

/// Whether a step sets no more than attributes of a directory.
fn is_about_directory(step: &Step) -> bool {
    match step {
        Step::SetDirectoryTime { .. } => true,
        Step::SetAttributes { version, .. } => version.kind == FileKind::Directory,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{Entry, Expected, Inode, Mode, Owner, Time, Version, XattrHash};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn version(kind: FileKind) -> Version {
        let mtime = Time { seconds: 1, nanoseconds: 0 };
        Version { kind, size: 1, mtime, mode: Mode(0o644), owner: Owner::NOBODY, xattrs: XattrHash::NONE }
    }

    fn put(at: &str) -> Step {
        let (version, inode) = (version(FileKind::File), Inode { device: 1, number: 1 });
        let entry = Entry { version, inode, links: 1, destination: None };
        Step::PutFile { path: path(at), entry, expects: Expected::Anything }
    }

    fn time(at: &str) -> Step {
        Step::SetDirectoryTime { path: path(at), mtime: Time { seconds: 1, nanoseconds: 0 } }
    }

    fn rename(from: &str, to: &str) -> Step {
        let (expects, replaces) = (version(FileKind::File), Expected::Anything);
        Step::Rename { from: path(from), to: path(to), expects, replaces }
    }

    fn queued(number: usize, step: Step) -> Queued {
        Queued { ticket: Ticket(number as u64), step, old_files: Vec::new(), twins: Vec::new() }
    }

    /// The order in which steps go while the content of `large` is on its way: those that overtake,
    /// then the rest.
    fn order(large: &str, steps: &[Step]) -> Vec<usize> {
        let (mut waiting, mut order) = (Waiting::default(), Vec::new());
        waiting.begin(&path(large));
        for (number, step) in steps.iter().enumerate() {
            if waiting.holds_back(step) {
                waiting.push(queued(number, step.clone()));
            } else {
                order.push(number);
            }
        }
        order.extend(waiting.end().into_iter().map(|queued| queued.ticket.0 as usize));
        order
    }

    #[test]
    fn what_has_nothing_to_do_with_a_large_file_overtakes_it() {
        let steps = [put("d/page"), time("d"), put("d/other"), time("d"), put("page"), time("")];
        // Times of directories come after all that is put into them.
        assert_eq!(order("d/large", &steps), [0, 2, 4, 1, 3, 5]);
    }

    #[test]
    fn whatever_names_a_large_file_comes_after_it() {
        let link = Step::Link {
            path: path("link"),
            to: path("d/large"),
            expects: version(FileKind::File),
            replaces: Expected::Absent,
        };
        let remove = Step::RemoveFile { path: path("d/large"), expects: Expected::Anything };
        for step in [link, remove, rename("d", "e"), rename("a", "d/large"), put("d/large"), put("d")] {
            assert_eq!(order("d/large", &[step.clone(), put("page")]), [1, 0], "{step:?}");
        }
        // What waits is not overtaken in its turn by what builds on it.
        assert_eq!(order("d/large", &[rename("d", "e"), put("e/page"), put("f")]), [2, 0, 1]);
        assert_eq!(order("d/large", &[time("d"), rename("d/sub", "e"), put("page")]), [1, 2, 0]);
    }

    #[test]
    fn what_changes_a_file_by_one_of_its_names_is_not_overtaken_at_the_others() {
        let attributes = |at: &str| {
            let version = version(FileKind::File);
            Step::SetAttributes { path: path(at), version, expects: Expected::Anything }
        };
        let remove = |at: &str| Step::RemoveFile { path: path(at), expects: Expected::Anything };
        let mut waiting = Waiting::default();
        waiting.begin(&path("d/large"));
        waiting.push(queued(0, rename("d", "e")));
        assert!(!waiting.holds_back(&remove("z")));
        // A name that is to be removed may be another of the file.
        assert!(waiting.holds_back(&attributes("z")));
        waiting.push(Queued { twins: vec![path("z")], ..queued(1, attributes("e/b")) });
        assert!(waiting.holds_back(&remove("z")) && !waiting.holds_back(&remove("y")));
    }

    #[test]
    fn content_on_its_way_is_known_by_the_names_that_it_will_have() {
        let mut waiting = Waiting::default();
        waiting.begin(&path("d/large"));
        let (expects, replaces) = (version(FileKind::File), Expected::Absent);
        let link = Step::Link { path: path("link"), to: path("d/large"), expects, replaces };
        for (number, step) in [link, rename("d", "e"), rename("a", "f")].into_iter().enumerate() {
            waiting.push(queued(number, step));
        }
        let known = ["d/large", "link", "e/large", "f"].map(|at| waiting.has_content(&path(at), false));
        assert_eq!(known, [true, true, true, false]);
        assert!(waiting.has_content(&path("e"), true) && !waiting.has_content(&path("e"), false));
        waiting.end();
        assert!(!waiting.has_content(&path("d/large"), false));
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let name = || prop::sample::select(vec!["a", "b", "a/x", "a/y", "b/x", "a/x/z"]);
        let put = name().prop_map(put);
        let time = prop::sample::select(vec!["a", "b", "a/x", ""]).prop_map(time);
        let remove = name().prop_map(|at| Step::RemoveDirectory { path: path(at) });
        let rename = (name(), name()).prop_map(|(from, to)| rename(from, to));
        prop::collection::vec(prop_oneof![put, time, remove, rename], 1..12)
    }

    proptest! {
        /// I1: two steps that name the same path, or one above the other, keep their order; but a
        /// directory may get its time after what was put into it.
        #[test]
        fn steps_that_depend_on_each_other_keep_their_order(steps in steps()) {
            let order = order("a/x", &steps);
            prop_assert_eq!(order.len(), steps.len());
            for (place, &late) in order.iter().enumerate() {
                for &early in order[place + 1..].iter().filter(|early| **early < late) {
                    let (early, late) = (&steps[early], &steps[late]);
                    for one in early.paths() {
                        for other in late.paths() {
                            let into = is_about_directory(early) && other.is_below(one);
                            let related = one.is_at_or_below(other) || other.is_at_or_below(one);
                            prop_assert!(!related || into, "{:?} overtook {:?}", late, early);
                        }
                    }
                }
            }
        }
    }
}
