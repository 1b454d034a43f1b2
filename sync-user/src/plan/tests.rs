use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Hashed, Observed, Planned, State, differences, directory_times, moves, pages_last, worth_hashing,
};
use crate::ledger::{Held, Known, Ledger, Listed};
use crate::model::{
    Content, Entry, Expected, FileKind, Inode, Mode, Move, Owner, Step, There, Time, TreePath, Version,
    XattrHash,
};

fn path(text: &str) -> TreePath {
    TreePath::new(text.as_bytes()).unwrap()
}

fn version(kind: FileKind, size: u64, seconds: i64) -> Version {
    let mtime = Time { seconds, nanoseconds: 0 };
    Version { kind, size, mtime, mode: Mode(0o644), owner: Owner::NOBODY, xattrs: XattrHash::NONE }
}

fn entry(version: Version) -> Entry {
    let destination = (version.kind == FileKind::Symlink).then(|| b"x".repeat(version.size as usize));
    Entry { version, inode: Inode { device: 1, number: 1 }, links: 1, destination }
}

fn held(version: Version) -> Known {
    let content = match version.kind {
        FileKind::Symlink => entry(version).destination.as_deref().map(Content::of),
        FileKind::File | FileKind::Directory => None,
    };
    Known::Holds(Held { version, content, settled: true, twin: None })
}

type Tree = BTreeMap<TreePath, Version>;

fn ledger_of(tree: &Tree) -> Ledger {
    let mut ledger = Ledger::default();
    for (path, version) in tree {
        ledger.set(path.clone(), held(*version));
    }
    ledger
}

/// Panics where a real target would find something else than the step expects.
fn expect(path: &TreePath, now: Option<Version>, expects: &Expected) {
    let there = now.map_or(There::Nothing, There::Version);
    assert!(expects.admits(&there), "{path}: {expects:?}, and there is {there:?}");
}

/// A target that does what a step says, and panics where the real one would refuse.
fn apply(step: &Step, target: &mut Tree) {
    let has_parent = |target: &Tree, path: &TreePath| {
        let parent = path.parent().expect("steps never name the root");
        parent.is_root() || target.get(&parent).is_some_and(|version| version.kind == FileKind::Directory)
    };
    match step {
        Step::MakeDirectory { path, entry, expects } => {
            expect(path, target.get(path).copied(), expects);
            assert!(has_parent(target, path), "{path}: no parent");
            target.insert(path.clone(), entry.version);
        }
        Step::PutFile { path, entry, expects } | Step::PutSymlink { path, entry, expects } => {
            expect(path, target.get(path).copied(), expects);
            assert!(has_parent(target, path), "{path}: no parent");
            assert!(
                target.get(path).is_none_or(|version| version.kind != FileKind::Directory),
                "{path}: a directory"
            );
            target.insert(path.clone(), entry.version);
        }
        Step::SetAttributes { path, version, expects } => {
            expect(path, target.get(path).copied(), expects);
            let before = target.insert(path.clone(), *version).expect("there");
            assert_eq!((before.kind, before.size), (version.kind, version.size), "{path}");
        }
        Step::Link { path, to, expects, replaces } => {
            assert_eq!(target.get(to), Some(expects));
            expect(path, target.get(path).copied(), replaces);
            target.insert(path.clone(), *expects);
        }
        Step::SetDirectoryTime { path, mtime } => target.get_mut(path).expect("there").mtime = *mtime,
        Step::RemoveFile { path, expects } => {
            expect(path, target.get(path).copied(), expects);
            let before = target.remove(path).expect("there");
            assert_ne!(before.kind, FileKind::Directory, "{path}");
        }
        Step::RemoveDirectory { path } => {
            assert!(target.keys().all(|other| !other.is_below(path)), "{path}: not empty");
            assert_eq!(target.remove(path).expect("there").kind, FileKind::Directory, "{path}");
        }
        Step::Rename { from, to, expects, replaces } => {
            assert_eq!(target.get(from), Some(expects));
            expect(to, target.get(to).copied(), replaces);
            assert!(has_parent(target, to));
            assert!(target.keys().all(|other| !other.is_below(to)), "{to}: not empty");
            let (moved, kept) = std::mem::take(target)
                .into_iter()
                .partition::<Tree, _>(|(path, _)| path.is_at_or_below(from));
            *target = kept;
            target.extend(moved.into_iter().map(|(path, version)| (path.moved(from, to).unwrap(), version)));
        }
        Step::Exchange { one, other, expects_one, expects_other } => {
            assert_eq!((target.get(one), target.get(other)), (Some(expects_one), Some(expects_other)));
            let renamed =
                |path: TreePath| path.moved(one, other).or_else(|| path.moved(other, one)).unwrap_or(path);
            *target =
                std::mem::take(target).into_iter().map(|(path, version)| (renamed(path), version)).collect();
        }
    }
}

fn observe_all(source: &Tree, target: &Tree) -> BTreeMap<TreePath, Observed> {
    let absent = target
        .keys()
        .map(|path| (path.clone(), Observed { state: State::Absent, content: None, asked: false }));
    let present = source.iter().map(|(path, version)| {
        (path.clone(), Observed { state: State::Present(entry(*version)), content: None, asked: false })
    });
    absent.chain(present).collect()
}

fn plan(hints: &[Move], source: &Tree, target: &Tree) -> Vec<Step> {
    plan_with_last(hints, source, target, "")
}

/// With the names that are `last` behind the others.
fn plan_with_last(hints: &[Move], source: &Tree, target: &Tree, last: &str) -> Vec<Step> {
    let mut ledger = ledger_of(target);
    let mut steps = moves(hints, source, &mut ledger);
    let known: Tree = ledger
        .below(&TreePath::root())
        .map(|(path, _)| (path.clone(), version(FileKind::File, 0, 0)))
        .collect();
    steps.extend(differences(&observe_all(source, &known), true, &mut ledger));
    let mut steps = pages_last(steps, |path| path.components().last() == Some(last.as_bytes()));
    steps.extend(directory_times(&steps, &BTreeMap::new(), |path| source.get(path).copied(), &mut ledger));
    only_steps(steps)
}

fn only_steps(planned: Vec<Planned>) -> Vec<Step> {
    planned.into_iter().map(|planned| planned.step).collect()
}

#[test]
fn a_renamed_directory_sends_no_content() {
    let (directory, file) = (version(FileKind::Directory, 0, 1), version(FileKind::File, 5, 2));
    let target = Tree::from([(path("d"), directory), (path("d/f"), file)]);
    let source = Tree::from([(path("e"), directory), (path("e/f"), file)]);
    let steps = plan(&[Move { from: path("d"), to: path("e") }], &source, &target);
    assert_eq!(
        steps,
        [Step::Rename { from: path("d"), to: path("e"), expects: directory, replaces: Expected::Absent }]
    );
}

/// I4: the directory is renamed between the look at what is in it and the look at its time.
#[test]
fn the_time_of_a_directory_that_left_meanwhile_is_not_known() {
    let (directory, file) = (version(FileKind::Directory, 0, 1), version(FileKind::File, 5, 2));
    let mut ledger = ledger_of(&Tree::from([(path("d"), directory), (path("d/f"), file)]));
    let gone = Observed { state: State::Absent, content: None, asked: false };
    let mut steps = differences(&BTreeMap::from([(path("d/f"), gone)]), true, &mut ledger);
    steps.extend(directory_times(&steps, &BTreeMap::new(), |_| None, &mut ledger));
    assert_eq!(only_steps(steps), [Step::RemoveFile { path: path("d/f"), expects: Expected::This(file) }]);
    let after = Tree::from([(path("e"), directory)]);
    let mut steps = moves(&[Move { from: path("d"), to: path("e") }], &after, &mut ledger);
    let seen = Observed { state: State::Present(entry(directory)), content: None, asked: false };
    steps.extend(differences(&BTreeMap::from([(path("e"), seen)]), true, &mut ledger));
    let step = only_steps(steps).pop().expect("two steps");
    assert!(
        matches!(step, Step::SetAttributes { path, version, .. } if (&path, version) == (&self::path("e"), directory))
    );
}

#[test]
fn pages_come_after_what_they_name_and_before_removals() {
    let (directory, file) = (version(FileKind::Directory, 0, 1), version(FileKind::File, 5, 2));
    let target = Tree::from([(path("old"), file)]);
    let source = Tree::from([
        (path("a.css"), file),
        (path("d"), directory),
        (path("d/page"), file),
        (path("page"), file),
        (path("z.css"), file),
    ]);
    let steps = plan_with_last(&[], &source, &target, "page");
    let order: Vec<String> = steps.iter().map(|step| step.path().to_string()).collect();
    assert_eq!(order, ["a.css", "d", "z.css", "d/page", "page", "old", "d"]);
}

#[test]
fn swapped_names_are_exchanged_in_one_step() {
    let (one, other) = (version(FileKind::File, 1, 1), version(FileKind::File, 2, 2));
    let target = Tree::from([(path("a"), one), (path("b"), other)]);
    let source = Tree::from([(path("a"), other), (path("b"), one)]);
    let hints = [Move { from: path("a"), to: path("b") }, Move { from: path("b"), to: path("a") }];
    let steps = plan(&hints, &source, &target);
    assert_eq!(
        steps,
        [Step::Exchange { one: path("a"), other: path("b"), expects_one: one, expects_other: other }]
    );
}

#[test]
fn a_name_that_is_taken_again_is_never_away_at_the_target() {
    // An editor: page → page~, then a new page under the old name.
    let (before, after) = (version(FileKind::File, 1, 1), version(FileKind::File, 2, 2));
    let target = Tree::from([(path("page"), before)]);
    let source = Tree::from([(path("page"), after), (path("page~"), before)]);
    let steps = plan(&[Move { from: path("page"), to: path("page~") }], &source, &target);
    assert!(steps.iter().all(|step| !matches!(step, Step::Rename { .. })), "I2: {steps:?}");
}

#[test]
fn a_rename_never_shows_a_version_that_the_source_had_only_under_the_old_name() {
    // The target got `new` while it was being written; it is whole, and `page`, by now.
    let (half, before, whole) =
        (version(FileKind::File, 0, 5), version(FileKind::File, 7, 1), version(FileKind::File, 9, 6));
    let target = Tree::from([(path("new"), half), (path("page"), before)]);
    let source = Tree::from([(path("page"), whole)]);
    let steps = plan(&[Move { from: path("new"), to: path("page") }], &source, &target);
    assert!(steps.iter().all(|step| !matches!(step, Step::Rename { .. })), "I2: {steps:?}");
    // The same inside of a directory: only the file that differs is sent again.
    let directory = version(FileKind::Directory, 0, 1);
    let target = Tree::from([(path("d"), directory), (path("d/f"), half), (path("d/g"), before)]);
    let source = Tree::from([(path("e"), directory), (path("e/f"), whole), (path("e/g"), before)]);
    let steps = plan(&[Move { from: path("d"), to: path("e") }], &source, &target);
    assert_eq!(steps[0], Step::RemoveFile { path: path("d/f"), expects: Expected::This(half) });
    assert!(matches!(steps[1], Step::Rename { .. }));
    assert!(matches!(&steps[2], Step::PutFile { path, .. } if *path == self::path("e/f")));
    assert!(steps[3..].iter().all(|step| matches!(step, Step::SetDirectoryTime { .. })), "{steps:?}");
}

#[test]
fn a_file_that_is_renamed_twice_is_renamed_twice_at_the_target() {
    let file = version(FileKind::File, 5, 2);
    let (target, source) = (Tree::from([(path("a"), file)]), Tree::from([(path("c"), file)]));
    let hints = [Move { from: path("a"), to: path("b") }, Move { from: path("b"), to: path("c") }];
    let steps = plan(&hints, &source, &target);
    assert!(steps.len() == 2 && steps.iter().all(|step| matches!(step, Step::Rename { .. })), "{steps:?}");
}

#[test]
fn what_could_not_be_read_is_left_alone() {
    let mut ledger = ledger_of(&Tree::from([
        (path("d"), version(FileKind::Directory, 0, 1)),
        (path("d/f"), version(FileKind::File, 1, 1)),
    ]));
    let observed =
        BTreeMap::from([(path("d"), Observed { state: State::Unknown, content: None, asked: false })]);
    assert_eq!(differences(&observed, true, &mut ledger), [], "I3");
    assert!(ledger.held(&path("d/f")).is_some());
}

#[test]
fn what_was_seen_below_a_directory_that_went_away_meanwhile_is_void() {
    let (directory, file) = (version(FileKind::Directory, 0, 1), version(FileKind::File, 1, 1));
    let seen = |state| Observed { state, content: None, asked: false };
    for instead in [State::Absent, State::Present(entry(file))] {
        let mut ledger = ledger_of(&Tree::from([(path("d"), directory), (path("d/f"), file)]));
        let observed = BTreeMap::from([
            (path("d"), seen(instead)),
            (path("d/f"), seen(State::Present(entry(version(FileKind::File, 2, 2))))),
        ]);
        let steps = only_steps(differences(&observed, true, &mut ledger));
        assert_eq!(
            steps[..2],
            [
                Step::RemoveFile { path: path("d/f"), expects: Expected::This(file) },
                Step::RemoveDirectory { path: path("d") }
            ]
        );
        assert_eq!(ledger.get(&path("d/f")), None, "I4: the ledger and the target agree that it is gone");
    }
}

#[test]
fn content_that_may_have_changed_is_sent_unless_its_hash_is_equal() {
    let file = version(FileKind::File, 1, 1);
    let known = Held { version: file, content: Some(Content::of(b"a")), settled: true, twin: None };
    assert!(worth_hashing(&entry(file), Some(known), true));
    assert!(!worth_hashing(&entry(file), Some(known), false));
    assert!(
        worth_hashing(&entry(file), Some(Held { settled: false, ..known }), false),
        "the same clock tick"
    );
    for (now, sent) in [(b"a", 0), (b"b", 1)] {
        let mut ledger = Ledger::default();
        ledger.set(path("f"), Known::Holds(known));
        let state = State::Present(entry(file));
        let observed = BTreeMap::from([(
            path("f"),
            Observed {
                state,
                content: Some(Hashed { content: Content::of(now), settled: true }),
                asked: true,
            },
        )]);
        assert_eq!(differences(&observed, true, &mut ledger).len(), sent);
    }
}

#[test]
fn a_touched_file_sends_its_attributes_only() {
    let (before, after) = (version(FileKind::File, 1, 1), version(FileKind::File, 1, 9));
    let mut ledger = Ledger::default();
    let content = Some(Content::of(b"a"));
    ledger.set(path("f"), Known::Holds(Held { version: before, content, settled: true, twin: None }));
    let content = content.map(|content| Hashed { content, settled: true });
    let observed = BTreeMap::from([(
        path("f"),
        Observed { state: State::Present(entry(after)), content, asked: false },
    )]);
    let steps = only_steps(differences(&observed, true, &mut ledger));
    let expects = Expected::This(before);
    assert_eq!(steps, [Step::SetAttributes { path: path("f"), version: after, expects }]);
}

fn tree() -> impl Strategy<Value = Tree> {
    let names = ["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/c", "b/b/c"];
    let kind = prop_oneof![Just(FileKind::File), Just(FileKind::Directory), Just(FileKind::Symlink)];
    prop::collection::vec(prop::option::of((kind, 1..4u64, 1..4i64)), names.len()).prop_map(move |entries| {
        let mut tree = Tree::new();
        for (name, entry) in names.iter().zip(entries) {
            let name = path(name);
            let parent = name.parent().unwrap();
            let reachable = parent.is_root()
                || tree.get(&parent).is_some_and(|version| version.kind == FileKind::Directory);
            if let (Some((kind, size, seconds)), true) = (entry, reachable) {
                let size = if kind == FileKind::Directory { 0 } else { size };
                tree.insert(name, version(kind, size, seconds));
            }
        }
        tree
    })
}

fn hints() -> impl Strategy<Value = Vec<Move>> {
    let name = prop::sample::select(vec!["a", "b", "a/a", "a/b", "b/a", "b/b", "a/a/c"]).prop_map(path);
    prop::collection::vec((name.clone(), name).prop_map(|(from, to)| Move { from, to }), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// I1: from any target to any source, with any hints, true or false: every step is one that
    /// the target accepts when its turn comes, and after all of them the trees are equal.
    #[test]
    fn a_plan_is_valid_at_every_step_and_ends_equal(
        source in tree(),
        before in tree(),
        hints in hints(),
        last in prop::sample::select(vec!["a", "b", "c", ""]),
    ) {
        let mut target = before.clone();
        for step in plan_with_last(&hints, &source, &before, last) {
            apply(&step, &mut target);
        }
        prop_assert_eq!(source, target);
    }
}

/// A tree of hard links: each name stands for an inode, each inode for a version.
type Linked = BTreeMap<TreePath, (u64, Version)>;

fn apply_linked(step: &Step, target: &mut Linked, next: &mut u64) {
    let now = |target: &Linked, path| target.get(path).map(|(_, version)| *version);
    match step {
        Step::PutFile { path, entry, expects } => {
            expect(path, now(target, path), expects);
            *next += 1;
            target.insert(path.clone(), (*next, entry.version));
        }
        Step::Link { path, to, expects, replaces } => {
            expect(path, now(target, path), replaces);
            let (inode, now) = target[to];
            assert_eq!((now.size, now.mtime), (expects.size, expects.mtime), "{path} to {to}");
            target.insert(path.clone(), (inode, now));
        }
        Step::SetAttributes { path, version, expects } => {
            expect(path, now(target, path), expects);
            let (inode, _) = target[path];
            for (other, now) in target.values_mut() {
                if *other == inode {
                    assert_eq!((now.kind, now.size), (version.kind, version.size), "{path}");
                    *now = *version;
                }
            }
        }
        Step::RemoveFile { path, expects } => {
            expect(path, now(target, path), expects);
            assert!(target.remove(path).is_some(), "{path}");
        }
        step => panic!("{step:?}"),
    }
}

proptest! {
    /// I1: whatever is linked to whatever at the target, names of one inode at the source become
    /// names of one inode there, and names of several do not stay names of one.
    #[test]
    fn names_are_linked_at_the_target_as_they_are_at_the_source(
        names in prop::collection::vec((0..4_u64, 0..5_u64, any::<bool>()), 1..6),
        versions in prop::collection::vec((0..3_u64, 0..2_i64, any::<bool>()), 9),
    ) {
        // Of equal sizes the content is equal, so that times alone are set.
        let content_of = |version: Version| Content::of(&[version.size as u8]);
        let version_of = |inode: u64| {
            let (size, seconds, other_mode) = versions[inode as usize];
            let mode = if other_mode { Mode(0o600) } else { Mode(0o644) };
            Version { mode, ..version(FileKind::File, size, seconds) }
        };
        let mut source = Linked::new();
        let (mut target, mut ledger) = (Linked::new(), Ledger::default());
        let mut listing = Vec::new();
        for (number, (at_source, at_target, is_gone)) in names.into_iter().enumerate() {
            let path = path(&number.to_string());
            if !is_gone {
                source.insert(path.clone(), (at_source, version_of(at_source)));
            }
            // 4 stands for nothing; 5 to 8 are the inodes of the target.
            if at_target < 4 {
                let version = version_of(at_target + 5);
                target.insert(path.clone(), (at_target + 5, version));
                let held = Held { version, content: Some(content_of(version)), settled: true, twin: None };
                let inode = Some(Inode { device: 2, number: at_target });
                listing.push(Listed { path, held, inode });
            }
        }
        ledger.relist(listing, false, |_| Some(Owner::NOBODY));
        let observed: BTreeMap<TreePath, Observed> = source
            .iter()
            .map(|(path, (inode, version))| {
                let links = source.values().filter(|(other, _)| other == inode).count() as u64;
                let inode = Inode { device: 1, number: *inode };
                let entry = Entry { version: *version, inode, links, destination: None };
                (path.clone(), State::Present(entry))
            })
            .chain(target.keys().filter(|path| !source.contains_key(*path)).map(|path| (path.clone(), State::Absent)))
            .map(|(path, state)| {
                let content = match &state {
                    State::Present(entry) => Some(content_of(entry.version)),
                    State::Absent | State::Unknown => None,
                };
                let content = content.map(|content| Hashed { content, settled: true });
                (path, Observed { state, content, asked: false })
            })
            .collect();
        let mut next = 100;
        for round in 0..2 {
            let steps = only_steps(differences(&observed, true, &mut ledger));
            prop_assert!(round == 0 || steps.is_empty(), "the ledger knows that all is done: {steps:?}");
            for step in steps {
                apply_linked(&step, &mut target, &mut next);
            }
        }
        prop_assert!(source.keys().eq(target.keys()));
        for (path, (inode, version)) in &source {
            prop_assert_eq!(target[path].1, *version);
            for (other, (other_inode, _)) in &source {
                prop_assert_eq!(inode == other_inode, target[path].0 == target[other].0, "{} {}", path, other);
            }
        }
    }
}
