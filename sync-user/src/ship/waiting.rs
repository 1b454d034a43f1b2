//! Lets small steps overtake the content of large files.
//!
//! Large files have their turns one after the other, and what has to come after any of them waits
//! until the target has it. All other steps go past: a page is not late because somebody has put a
//! disk image into the tree.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::event::Ticket;
use crate::model::{FileKind, OldFile, Step, TreePath};
use crate::wire::OPEN_FILES_MAX;

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

/// Large files that are on their way or wait for their turn, and what has to come after them.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Both kinds, by their paths.
    large: Claims,
    /// How many of them are on their way.
    open: usize,
    /// The others, in the order of their turns.
    turns: VecDeque<Queued>,
    /// What these may be built from.
    read: Claims,
    /// What has to come after any of these, in order.
    steps: VecDeque<Queued>,
    /// Files whose content comes before steps, by all names that they will have then.
    contents: BTreeSet<TreePath>,
    /// What a later step must not touch before, as it must not touch large files.
    paths: BTreeSet<TreePath>,
    /// Directories that wait for their attributes only: what goes into them may go before.
    directories: BTreeSet<TreePath>,
}

/// Paths with the steps that need each: nothing may touch these before, nor any directory above or
/// anything below. What was submitted before such a step need not wait for it.
#[derive(Debug, Default)]
struct Claims(BTreeMap<TreePath, BTreeSet<Ticket>>);

impl Claims {
    fn add(&mut self, path: &TreePath, ticket: Ticket) {
        self.0.entry(path.clone()).or_default().insert(ticket);
    }

    fn remove(&mut self, path: &TreePath, ticket: Ticket) {
        if let Some(tickets) = self.0.get_mut(path) {
            tickets.remove(&ticket);
            if tickets.is_empty() {
                self.0.remove(path);
            }
        }
    }

    /// Whether any step before `ticket` needs `path`, what is above it or what is below it.
    fn hold(&self, path: &TreePath, ticket: Ticket) -> bool {
        let is_before = |tickets: &BTreeSet<Ticket>| tickets.first().is_some_and(|first| *first < ticket);
        self.0.get(path).is_some_and(is_before)
            || path.below(&self.0).any(|(_, tickets)| is_before(tickets))
            || path.above().any(|above| self.0.get(&above).is_some_and(is_before))
    }
}

impl Waiting {
    /// The content of `path` is on its way, until it is [ended](Self::end).
    pub(super) fn begin(&mut self, path: &TreePath, ticket: Ticket) {
        self.large.add(path, ticket);
        self.open += 1;
    }

    /// Whether the content of any file is on its way.
    pub(super) fn is_open(&self) -> bool {
        self.open > 0
    }

    /// Whether the content of another file may be on its way.
    pub(super) fn may_begin(&self) -> bool {
        self.open < OPEN_FILES_MAX
    }

    /// Adds a large file that waits for its turn, and for nothing else.
    pub(super) fn push_large(&mut self, queued: Queued) {
        self.large.add(queued.step.path(), queued.ticket);
        for old_file in &queued.old_files {
            self.read.add(&old_file.path, queued.ticket);
        }
        self.turns.push_back(queued);
    }

    pub(super) fn has_turn(&self) -> bool {
        !self.turns.is_empty()
    }

    /// The large file whose turn it is. It has to be begun, or ended.
    pub(super) fn next_turn(&mut self) -> Option<Queued> {
        let queued = self.turns.pop_front()?;
        for old_file in &queued.old_files {
            self.read.remove(&old_file.path, queued.ticket);
        }
        Some(queued)
    }

    /// Adds a step behind those that have to wait.
    pub(super) fn push(&mut self, queued: Queued) {
        let step = &queued.step;
        match step {
            Step::PutFile { path, .. } => {
                self.contents.insert(path.clone());
            }
            Step::Link { path, to, .. } if self.has_content(to, false) => {
                self.contents.insert(path.clone());
            }
            Step::Rename { from, to, .. } => {
                let moved = self.contents.iter().chain(self.large.0.keys());
                let moved: Vec<TreePath> = moved.filter_map(|path| path.moved(from, to)).collect();
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
    pub(super) fn holds_back(&self, queued: &Queued) -> bool {
        let Queued { ticket, step, old_files, .. } = queued;
        // What changes a file changes it by all names that the target has, also by those that wait to
        // be removed or replaced.
        if matches!(step, Step::SetAttributes { .. }) && !is_about_directory(step) {
            let first = self.steps.front().into_iter().chain(self.turns.front());
            if first.map(|earlier| earlier.ticket).any(|earlier| earlier < *ticket) {
                return true;
            }
        }
        // What a file is built from has to be there, and to stay until that is begun.
        if !is_about_directory(step) && step.paths().any(|path| self.read.hold(path, *ticket)) {
            return true;
        }
        let old_paths = old_files.iter().map(|old_file| &old_file.path).filter(|path| *path != step.path());
        step.paths().any(|path| {
            self.waits(path, *ticket)
                || self.directories.contains(path)
                || path.is_above_any(&self.directories)
        }) || old_paths.into_iter().any(|path| self.waits(path, *ticket))
    }

    /// Whether what was submitted before `ticket` has yet to do anything at `path`, above or below.
    fn waits(&self, path: &TreePath, ticket: Ticket) -> bool {
        self.large.hold(path, ticket)
            || self.paths.contains(path)
            || path.is_above_any(&self.paths)
            || path.above().any(|above| self.paths.contains(&above))
    }

    /// Whether the content of `path`, or `below` it, is on its way or waits.
    pub(super) fn has_content(&self, path: &TreePath, below: bool) -> bool {
        self.contents.contains(path)
            || self.large.0.contains_key(path)
            || (below && (path.is_above_any(&self.contents) || path.below(&self.large.0).next().is_some()))
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len() + self.turns.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= WAITING_MAX
    }

    pub(super) fn steps_mut(&mut self) -> impl Iterator<Item = &mut Step> {
        self.steps.iter_mut().chain(&mut self.turns).map(|queued| &mut queued.step)
    }

    /// The target has answered for the content of `path`, or it was never `begun`. Takes out the steps
    /// that had to wait, in their order: some may go now.
    pub(super) fn end(&mut self, path: &TreePath, ticket: Ticket, begun: bool) -> VecDeque<Queued> {
        self.open -= usize::from(begun);
        self.large.remove(path, ticket);
        self.contents.clear();
        self.paths.clear();
        self.directories.clear();
        std::mem::take(&mut self.steps)
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

    /// What waits while the content of `large` is on its way, before step 0 was submitted.
    fn behind(large: &str) -> Waiting {
        let mut waiting = Waiting::default();
        waiting.begin(&path(large), Ticket(0));
        waiting
    }

    /// The order in which steps are done, numbered from 1, when the content of each large file takes
    /// longer than all that may overtake it: `is_large` says which are.
    fn order(large: &str, steps: &[Step], is_large: impl Fn(&Step) -> bool) -> Vec<usize> {
        let (mut waiting, mut order) = (behind(large), Vec::new());
        let mut open = VecDeque::from([(path(large), Ticket(0))]);
        let mut queue: VecDeque<Queued> =
            (1..).zip(steps).map(|(number, step)| queued(number, step.clone())).collect();
        loop {
            while let Some(queued) = queue.pop_front() {
                if waiting.holds_back(&queued) {
                    waiting.push(queued);
                } else if is_large(&queued.step) {
                    waiting.push_large(queued);
                } else {
                    order.push(queued.ticket.0 as usize);
                }
            }
            // The next one begins before the last one is answered.
            if let Some(queued) = waiting.next_turn() {
                waiting.begin(queued.step.path(), queued.ticket);
                open.push_back((queued.step.path().clone(), queued.ticket));
            }
            let Some((path, ticket)) = open.pop_front() else { break };
            if ticket > Ticket(0) {
                order.push(ticket.0 as usize);
            }
            queue = waiting.end(&path, ticket, true);
        }
        order
    }

    fn order_of_small(large: &str, steps: &[Step]) -> Vec<usize> {
        order(large, steps, |_| false)
    }

    #[test]
    fn what_has_nothing_to_do_with_a_large_file_overtakes_it() {
        let steps = [put("d/page"), time("d"), put("d/other"), time("d"), put("page"), time("")];
        // Times of directories come after all that is put into them.
        assert_eq!(order_of_small("d/large", &steps), [1, 3, 5, 2, 4, 6]);
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
            assert_eq!(order_of_small("d/large", &[step.clone(), put("page")]), [2, 1], "{step:?}");
        }
        // What waits is not overtaken in its turn by what builds on it.
        assert_eq!(order_of_small("d/large", &[rename("d", "e"), put("e/page"), put("f")]), [3, 1, 2]);
        assert_eq!(order_of_small("d/large", &[time("d"), rename("d/sub", "e"), put("page")]), [2, 3, 1]);
    }

    #[test]
    fn what_has_nothing_to_do_with_a_waiting_file_does_not_wait_for_its_turn() {
        let is_large =
            |step: &Step| matches!(step, Step::PutFile { path: at, .. } if at.as_bytes().ends_with(b"large"));
        let steps = [put("b/large"), time("b"), put("c/large"), time("b"), rename("b", "e"), put("page")];
        assert_eq!(order("a/large", &steps, is_large), [6, 1, 2, 4, 5, 3]);
    }

    #[test]
    fn later_files_do_not_keep_a_step_waiting() {
        let attributes = Step::SetAttributes {
            path: path("page"),
            version: version(FileKind::File),
            expects: Expected::Anything,
        };
        let mut waiting = behind("d/large");
        waiting.push_large(queued(3, put("d/later")));
        assert!(waiting.holds_back(&queued(2, time("d"))), "the first large file is below");
        waiting.end(&path("d/large"), Ticket(0), true);
        assert!(!waiting.holds_back(&queued(2, time("d"))));
        assert!(!waiting.holds_back(&queued(2, attributes.clone())));
        assert!(waiting.holds_back(&queued(4, time("d"))) && waiting.holds_back(&queued(4, attributes)));
    }

    #[test]
    fn a_file_waits_for_what_it_is_to_be_built_from() {
        let content = crate::model::Content::of(b"x");
        let old_file = |at: &str| OldFile { path: path(at), version: version(FileKind::File), content };
        let waiting = behind("d/large");
        let from = |at: &str| Queued { old_files: vec![old_file(at)], ..queued(1, put("copy")) };
        assert!(waiting.holds_back(&from("d/large")) && !waiting.holds_back(&from("d/other")));
        assert!(!waiting.holds_back(&from("copy")), "what it replaces it waits for anyway");
        // Nobody takes away what one is to be built from whose turn has not come.
        let mut waiting = behind("d/large");
        waiting.push_large(from("e/old"));
        let remove = |at: &str| Step::RemoveFile { path: path(at), expects: Expected::Anything };
        assert!(waiting.holds_back(&queued(2, remove("e/old"))));
        assert!(
            waiting.holds_back(&queued(2, rename("e", "f"))) && !waiting.holds_back(&queued(2, time("e")))
        );
        let begun = waiting.next_turn().unwrap();
        waiting.begin(begun.step.path(), begun.ticket);
        assert!(!waiting.holds_back(&queued(2, remove("e/old"))));
    }

    #[test]
    fn what_changes_a_file_by_one_of_its_names_is_not_overtaken_at_the_others() {
        let attributes = |at: &str| {
            let version = version(FileKind::File);
            Step::SetAttributes { path: path(at), version, expects: Expected::Anything }
        };
        let remove = |at: &str| Step::RemoveFile { path: path(at), expects: Expected::Anything };
        let mut waiting = behind("d/large");
        waiting.push(queued(1, rename("d", "e")));
        assert!(!waiting.holds_back(&queued(2, remove("z"))));
        // A name that is to be removed may be another of the file.
        assert!(waiting.holds_back(&queued(2, attributes("z"))));
        waiting.push(Queued { twins: vec![path("z")], ..queued(2, attributes("e/b")) });
        assert!(waiting.holds_back(&queued(3, remove("z"))) && !waiting.holds_back(&queued(3, remove("y"))));
    }

    #[test]
    fn content_on_its_way_is_known_by_the_names_that_it_will_have() {
        let mut waiting = behind("d/large");
        let (expects, replaces) = (version(FileKind::File), Expected::Absent);
        let link = Step::Link { path: path("link"), to: path("d/large"), expects, replaces };
        for (number, step) in (1..).zip([link, rename("d", "e"), rename("a", "f")]) {
            waiting.push(queued(number, step));
        }
        let known = ["d/large", "link", "e/large", "f"].map(|at| waiting.has_content(&path(at), false));
        assert_eq!(known, [true, true, true, false]);
        assert!(waiting.has_content(&path("e"), true) && !waiting.has_content(&path("e"), false));
        waiting.end(&path("d/large"), Ticket(0), true);
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
        fn steps_that_depend_on_each_other_keep_their_order(steps in steps(), has_large: bool) {
            let is_large = |step: &Step| matches!(step, Step::PutFile { .. });
            let order = order("a/x", &steps, |step| has_large && is_large(step));
            prop_assert_eq!(order.len(), steps.len());
            for (place, &late) in order.iter().enumerate() {
                for &early in order[place + 1..].iter().filter(|early| **early < late) {
                    let (early, late) = (&steps[early - 1], &steps[late - 1]);
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
