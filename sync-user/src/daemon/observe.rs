//! Looks at the source wherever a batch says, and sees what the plan has to compare.

use std::collections::{BTreeMap, BTreeSet};

use crate::clock;
use crate::ledger::{Ledger, Links};
use crate::model::{Batch, Depth, Entry, FileKind, Inode, Look, Move, Problem, TreePath, Version};
use crate::plan::{Hashed, Observed, State, worth_hashing};
use crate::tree::{Seen, Tree};

/// What was seen, and what could not be.
#[derive(Debug, Default)]
pub(super) struct Observation {
    pub(super) seen: BTreeMap<TreePath, Observed>,
    pub(super) problems: Vec<Problem>,
    /// Fifos, sockets and devices, which are not replicated.
    pub(super) special: Vec<TreePath>,
}

/// What each name in the batch's renames holds by now, with all that is below it.
pub(super) fn names_of_moves(moves: &[Move], tree: &Tree) -> BTreeMap<TreePath, Version> {
    let names: BTreeSet<&TreePath> = moves.iter().flat_map(|Move { from, to }| [from, to]).collect();
    let mut now = BTreeMap::new();
    for name in names {
        // It was below another name, which told of it.
        if !now.contains_key(name) {
            let found = tree.scan(name).entries.into_iter();
            now.extend(found.map(|(path, entry)| (path, entry.version)));
        }
    }
    now
}

/// What `path` holds now, if it is replicated at all.
pub(super) fn present(tree: &Tree, path: &TreePath) -> Option<Entry> {
    match tree.look(path) {
        Seen::Present(entry) => Some(entry),
        Seen::Absent | Seen::Special | Seen::Ignored | Seen::Unreadable(_) => None,
    }
}

/// Sees every path that `batch` asks for, and what else has to be known to replicate it: the
/// inside of directories that the target does not have, the directories above, and the other
/// names of a file that changed.
pub(super) fn observe(batch: &Batch, tree: &Tree, ledger: &Ledger, links: &mut Links) -> Observation {
    let mut observer = Observer {
        tree,
        ledger,
        links,
        scanned: BTreeMap::new(),
        others: BTreeMap::new(),
        looked_at: BTreeSet::new(),
        observation: Observation::default(),
    };
    for (path, look) in &batch.looks {
        observer.look(path, *look);
        while let Some((other, asked)) = observer.others.pop_first() {
            observer.looked_at.insert(other.clone());
            observer.other_name(&other, asked);
        }
    }
    observer.observation
}

/// Whether a change may have been made by another name.
fn has_several_names(entry: &Entry) -> bool {
    entry.links > 1 && entry.version.kind != FileKind::Directory
}

/// Whether what `path` holds is known, or was looked at in vain.
fn is_known(path: &TreePath, observation: &Observation, looked_at: &BTreeSet<TreePath>) -> bool {
    observation.seen.contains_key(path) || looked_at.contains(path)
}

struct Observer<'a> {
    tree: &'a Tree,
    ledger: &'a Ledger,
    links: &'a mut Links,
    /// Below these everything was seen, as thoroughly as this says. The changes that are asked for
    /// came before, so once is enough.
    scanned: BTreeMap<TreePath, Depth>,
    /// Other names of files that were seen, to be looked at; and whether a change says that their
    /// content may differ.
    others: BTreeMap<TreePath, bool>,
    /// Those that were looked at: each once, however many names a file has.
    looked_at: BTreeSet<TreePath>,
    observation: Observation,
}

impl Observer<'_> {
    fn look(&mut self, path: &TreePath, look: Look) {
        if path.is_root() {
            if look.depth >= Depth::Below {
                self.below(path, look.depth);
            }
            match self.tree.look(path) {
                // Only its attributes are replicated: it is there in any case.
                Seen::Present(entry) => self.present(path, entry, false),
                Seen::Absent | Seen::Special | Seen::Ignored => {}
                Seen::Unreadable(cause) => self.unreadable(path, &cause),
            }
            return;
        }
        let before = self.links.shared(path);
        let seen = self.sight(path);
        let now = if let Seen::Present(entry) = &seen { Some(entry.inode) } else { None };
        match seen {
            Seen::Present(entry) => {
                if let Some(top) = self.topmost_unknown_directory(path) {
                    self.below(&top, Depth::Below);
                }
                // Whatever is no directory takes along what the target has below.
                let directory = entry.version.kind == FileKind::Directory;
                if directory && (look.depth >= Depth::Below || !self.ledger.is_directory(path)) {
                    self.below(path, look.depth);
                }
                let (inode, several) = (entry.inode, has_several_names(&entry));
                self.present(path, entry, look.content);
                if several {
                    self.other_names(inode, path, look.content);
                }
            }
            Seen::Absent => self.add(path, State::Absent),
            Seen::Special => {
                self.add(path, State::Absent);
                self.observation.special.push(path.clone());
            }
            Seen::Ignored => self.add(path, State::Unknown),
            Seen::Unreadable(cause) => self.unreadable(path, &cause),
        }
        // The change may have been one of the file that had this name before.
        if let Some(before) = before.filter(|before| Some(*before) != now) {
            self.other_names(before, path, look.content);
        }
    }

    /// What is at `path`. Of a file with several names it is what is there once capture knows the
    /// name: whatever changes by another one from then on is told by this one, too.
    fn sight(&self, path: &TreePath) -> Seen {
        match self.tree.look(path) {
            Seen::Present(entry) if has_several_names(&entry) => self.sight_again(path, entry.inode),
            seen => {
                self.tree.aliases().forget(path);
                seen
            }
        }
    }

    /// What is at `path` once capture knows it for one of several names of `inode`.
    fn sight_again(&self, path: &TreePath, inode: Inode) -> Seen {
        self.tree.aliases().note(inode.number, path);
        self.tree.look(path)
    }

    /// The highest directory above `path` that the target is not known to have.
    fn topmost_unknown_directory(&self, path: &TreePath) -> Option<TreePath> {
        path.above().filter(|directory| !self.ledger.is_directory(directory)).last()
    }

    fn below(&mut self, place: &TreePath, depth: Depth) {
        let depth = depth.max(Depth::Below);
        let is_seen = |above: &TreePath| self.scanned.get(above).is_some_and(|seen| *seen >= depth);
        if is_seen(place) || place.above().any(|above| is_seen(&above)) {
            return;
        }
        self.scanned.insert(place.clone(), depth);
        let scan = self.tree.scan(place);
        let known = self.ledger.below(place).map(|(path, _)| path);
        // Both are in the order of their paths.
        let mut there = scan.entries.keys().peekable();
        let gone: Vec<TreePath> = known
            .filter(|path| {
                while there.next_if(|there| there < path).is_some() {}
                there.peek() != Some(path)
            })
            // Nothing is known of what lies below a place that could not be read (I3).
            .filter(|path| !scan.unreadable.iter().any(|unreadable| path.is_at_or_below(&unreadable.place)))
            // Nor are those ours that are left out by now, though the target has them from before (I3).
            .filter(|path| !self.tree.excludes_as(path, self.ledger.is_directory(path)))
            .cloned()
            .collect();
        for path in gone {
            self.add(&path, State::Absent);
        }
        self.observation.special.extend(scan.special);
        for unreadable in scan.unreadable {
            self.unreadable(&unreadable.place, &unreadable.cause);
        }
        let mut shared = Vec::new();
        for (path, mut entry) in scan.entries {
            if has_several_names(&entry) {
                // As it is now, if it still is.
                if let Seen::Present(now) = self.sight_again(&path, entry.inode) {
                    entry = now;
                }
                shared.push((entry.inode, path.clone()));
            }
            if !path.is_root() {
                self.present(&path, entry, depth == Depth::Content);
            }
        }
        // Names elsewhere decide whether one of here becomes a link to them.
        for (inode, path) in shared {
            self.other_names(inode, &path, false);
        }
    }

    fn present(&mut self, path: &TreePath, entry: Entry, asked: bool) {
        if self
            .observation
            .seen
            .get(path)
            .is_some_and(|before| before.content.is_some() || (before.asked && !asked))
        {
            return;
        }
        if entry.version.kind != FileKind::Directory {
            self.tree.aliases().see(entry.inode.number);
            self.links.note(entry.inode, entry.links, path);
        }
        self.twins(path);
        let content =
            worth_hashing(&entry, self.ledger.held(path), asked).then(|| self.hash(path, &entry)).flatten();
        self.observation.seen.insert(path.clone(), Observed { state: State::Present(entry), content, asked });
    }

    /// A file changed under the name `path`: it did so under all that it has.
    fn other_names(&mut self, inode: Inode, path: &TreePath, asked: bool) {
        for other in self.links.others(inode, path) {
            if !is_known(other, &self.observation, &self.looked_at) {
                *self.others.entry(other.clone()).or_default() |= asked;
            }
        }
    }

    /// It may be a name of another file by now, of which all names have to be known in their turn:
    /// seen alone, it would become a file of its own at the target.
    fn other_name(&mut self, path: &TreePath, asked: bool) {
        if self.observation.seen.contains_key(path) {
            return;
        }
        if let (Seen::Present(entry), None) = (self.sight(path), self.topmost_unknown_directory(path)) {
            let (inode, several) = (entry.inode, has_several_names(&entry));
            self.present(path, entry, asked);
            if several {
                self.other_names(inode, path, asked);
            }
        }
    }

    /// What the target has as other names of the same inode: whether they are that at the source
    /// too decides whether the path can be changed without them.
    fn twins(&mut self, path: &TreePath) {
        let Some(twin) = self.ledger.held(path).and_then(|held| held.twin) else { return };
        let ledger = self.ledger;
        for other in ledger.twins(twin).filter(|other| *other != path) {
            if is_known(other, &self.observation, &self.looked_at) || self.others.contains_key(other) {
                continue;
            }
            match self.tree.look(other) {
                Seen::Present(_) => {
                    self.others.insert(other.clone(), false);
                }
                Seen::Absent | Seen::Special => self.add(other, State::Absent),
                Seen::Ignored | Seen::Unreadable(_) => {}
            }
        }
    }

    /// `None` when the content is not that of `entry`, and has to be sent.
    fn hash(&self, path: &TreePath, entry: &Entry) -> Option<Hashed> {
        let read_at = clock::wall();
        let (version, content) = self.tree.hash(path).ok()?;
        (version == entry.version).then(|| Hashed { content, settled: version.mtime.settled(read_at) })
    }

    fn unreadable(&mut self, path: &TreePath, cause: &str) {
        self.add(path, State::Unknown);
        self.observation.problems.push(Problem { path: path.clone(), what: format!("read it: {cause}") });
    }

    fn add(&mut self, path: &TreePath, state: State) {
        if state == State::Absent {
            self.tree.aliases().forget(path);
        }
        self.observation.seen.insert(path.clone(), Observed { state, content: None, asked: false });
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::aliases::Found;
    use crate::ledger::{Held, Known};
    use crate::model::{Preserve, Stamp};
    use crate::tree::{Excludes, Rules};

    fn path(text: &str) -> TreePath {
        TreePath::new(text.as_bytes()).unwrap()
    }

    fn look_at(name: &str, depth: Depth) -> Batch {
        let look = Look { depth, content: true, stamps: None };
        Batch { looks: BTreeMap::from([(path(name), look)]), moves: Vec::new(), gaps: 0, closed: Stamp(0) }
    }

    /// A ledger whose target holds all that `tree` does.
    fn equal(tree: &Tree) -> Ledger {
        let mut ledger = Ledger::default();
        for (path, entry) in tree.scan(&TreePath::root()).entries {
            let held = Held { version: entry.version, content: None, settled: true, twin: None };
            ledger.set(path, Known::Holds(held));
        }
        ledger
    }

    #[test]
    fn a_shared_name_that_is_gone_has_the_others_looked_at() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("f"), "one").unwrap();
        fs::hard_link(root.path().join("f"), root.path().join("g")).unwrap();
        let tree = Tree::open(root.path(), Excludes::new(Rules::default()).unwrap(), Preserve::ALL).unwrap();
        let (ledger, mut links) = (equal(&tree), Links::default());
        observe(&look_at("", Depth::Below), &tree, &ledger, &mut links);
        let inode = fs::metadata(root.path().join("f")).unwrap().ino();
        assert_eq!(tree.aliases().of(inode), Found::Names(vec![path("f"), path("g")]), "for capture");
        // What was written through it is in the other name now, and only there.
        fs::write(root.path().join("g"), "one and more").unwrap();
        fs::remove_file(root.path().join("g")).unwrap();
        let seen = observe(&look_at("g", Depth::Entry), &tree, &ledger, &mut links).seen;
        assert_eq!(tree.aliases().of(inode), Found::Names(vec![]));
        assert_eq!(seen[&path("g")].state, State::Absent);
        assert!(matches!(&seen[&path("f")].state, State::Present(entry) if entry.version.size == 12));
    }

    #[test]
    fn a_name_that_belongs_to_another_file_by_now_has_the_names_of_that_looked_at() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("f"), "one").unwrap();
        fs::hard_link(root.path().join("f"), root.path().join("g")).unwrap();
        let tree = Tree::open(root.path(), Excludes::new(Rules::default()).unwrap(), Preserve::ALL).unwrap();
        let (ledger, mut links) = (equal(&tree), Links::default());
        // Before it became a directory, `a` was a name of the file that `f` was.
        let now = present(&tree, &path("f")).unwrap().inode;
        let before = Inode { number: now.number + 1, ..now };
        for (inode, name) in [(now, "f"), (now, "g"), (before, "f"), (before, "a")] {
            links.note(inode, 2, &path(name));
        }
        let seen = observe(&look_at("a", Depth::Entry), &tree, &ledger, &mut links).seen;
        assert!(seen.contains_key(&path("f")) && seen.contains_key(&path("g")), "{seen:?}");
    }

    #[test]
    fn below_a_directory_that_took_the_place_of_another_nothing_is_left() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        fs::write(root.path().join("a/f"), "").unwrap();
        let tree = Tree::open(root.path(), Excludes::new(Rules::default()).unwrap(), Preserve::ALL).unwrap();
        let ledger = equal(&tree);
        fs::remove_dir_all(root.path().join("a")).unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        let seen = observe(&look_at("a", Depth::Below), &tree, &ledger, &mut Links::default()).seen;
        assert_eq!(seen[&path("a/f")].state, State::Absent);
    }
}
